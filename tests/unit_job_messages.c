/* SPDX-License-Identifier: MIT */
/*
 * What parent and slot say to each other: round trips, needs of each verb, framing, and mutated
 * messages, which must be refused or read, never crash (run under ASan and UBSan).
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/slot.h"
#include "unit_job_samples.h"

static json_t *order_json(enum lathe_verb verb)
{
    struct lathe_order order;
    sample_order(&order, verb);
    json_t *json = NULL;
    assert_int_equal(lathe_order_to_json(&order, &json), 0);
    lathe_order_finish(&order);
    return json;
}

static void test_order_round_trip(void **state)
{
    (void)state;
    for (int verb = 0; verb < LATHE_VERB_COUNT; verb++) {
        struct lathe_order a, b;
        sample_order(&a, (enum lathe_verb)verb);
        json_t *json = order_json((enum lathe_verb)verb);
        assert_int_equal(lathe_order_from_json(json, &b, NULL), 0);
        json_decref(json);
        assert_int_equal(b.verb, verb);
        assert_string_equal(a.source_path, b.source_path);
        assert_string_equal(a.plan_path, b.plan_path);
        assert_string_equal(a.index_path, b.index_path);
        assert_string_equal(a.audio_path, b.audio_path);
        assert_string_equal(a.job->source_key, b.job->source_key);
        assert_int_equal(a.index, b.index);
        for (int i = 0; i < LATHE_RENDITIONS_MAX; i++) {
            assert_true(a.rates[i].quality == b.rates[i].quality);
            assert_int_equal(a.rates[i].budget_bytes, b.rates[i].budget_bytes);
            assert_int_equal(a.rates[i].expected_bytes, b.rates[i].expected_bytes);
        }
        assert_string_equal(a.out_paths[1], b.out_paths[1]);
        assert_null(b.out_paths[2]);
        assert_int_equal(b.n_inputs, 2);
        assert_string_equal(a.inputs[1].path, b.inputs[1].path);
        assert_string_equal(a.inputs[1].sha256, b.inputs[1].sha256);
        assert_true(a.inputs[1].frames == b.inputs[1].frames);
        assert_true(a.inputs[1].first_time == b.inputs[1].first_time);
        assert_true(json_equal(a.audio_report, b.audio_report));
        assert_int_equal(a.gpu_family, b.gpu_family);
        assert_string_equal(a.gpu_path, b.gpu_path);
        assert_string_equal(a.packets_path, b.packets_path);
        assert_int_equal(b.n_parts, 2);
        assert_true(b.part_bytes[0] == 0 && b.part_bytes[1] == INT64_MAX);
        assert_int_equal(a.probe_trials, b.probe_trials);
        assert_int_equal(a.gpu_step, b.gpu_step);
        assert_int_equal(a.gpu_features, b.gpu_features);
        lathe_order_finish(&a);
        lathe_order_finish(&b);
    }
}

static void test_each_verb_has_its_needs(void **state)
{
    (void)state;
    static const struct {
        enum lathe_verb verb;
        const char *without;
        bool accepted;
    } cases[] = {
        {LATHE_VERB_SPLIT, "job", false},           {LATHE_VERB_SPLIT, "index_path", false},
        {LATHE_VERB_SPLIT, "out_paths", true},      {LATHE_VERB_CUT, "out_paths", false},
        {LATHE_VERB_CUT, "index_path", false},      {LATHE_VERB_CUT, "job", true},
        {LATHE_VERB_PILOT, "source_path", true},    {LATHE_VERB_PILOT, "plan_path", false},
        {LATHE_VERB_PILOT, "packets_path", true},   {LATHE_VERB_PILOT, "job", true},
        {LATHE_VERB_CHUNK, "out_paths", false},     {LATHE_VERB_CHUNK, "plan_path", false},
        {LATHE_VERB_AUDIO, "out_paths", false},     {LATHE_VERB_MERGE, "inputs", false},
        {LATHE_VERB_MERGE, "audio_path", true},     {LATHE_VERB_MERGE, "source_path", true},
        {LATHE_VERB_INSPECT, "source_path", false}, {LATHE_VERB_INSPECT, "plan_path", true},
        {LATHE_VERB_ENCODERS, "source_path", true}, {LATHE_VERB_PROBE, "gpu_family", false},
        {LATHE_VERB_PROBE, "gpu_path", true},
    };
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        json_t *json = order_json(cases[i].verb);
        json_object_del(json, cases[i].without);
        struct lathe_order order;
        int r = lathe_order_from_json(json, &order, NULL);
        if ((r == 0) != cases[i].accepted)
            fail_msg("%s without %s: %d", lathe_verb_name(cases[i].verb), cases[i].without, r);
        if (r == 0)
            lathe_order_finish(&order);
        json_decref(json);
    }
}

static void test_order_values_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } bad[] = {
        {"type", "'report'"},
        {"verb", "'exec'"},
        {"verb", "3"},
        {"index", "-1"},
        {"index", "4294967296"},
        {"source_path", "''"},
        {"source_path", "5"},
        {"out_paths", "['a', 5]"},
        {"out_paths", "['1','2','3','4','5','6','7','8','9']"},
        {"rates", "[{'quality': 1}]"},
        {"rates", "[{'quality': 1000, 'budget_bytes': 0}]"},
        {"rates", "[{'quality': 1, 'budget_bytes': -1}]"},
        {"inputs", "[['a', '', 1]]"},
        {"inputs", "[['a', 'XYZ', 1, 2]]"},
        {"inputs", "[['', '', 1, 2]]"},
        {"inputs", "[['a', '', -1, 2]]"},
        {"inputs", "[['a', '', 1, 2], 7]"},
        {"audio_report", "[]"},
        {"gpu_family", "'software'"},
        {"gpu_family", "'voodoo'"},
        {"probe_trials", "-1"},
        {"gpu_step", "6"},
        {"gpu_features", "4096"},
        {"job", "{}"},
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        json_t *json = order_json(LATHE_VERB_MERGE);
        char text[64];
        snprintf(text, sizeof(text), "%s", bad[i].value);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        json_object_set_new(json, bad[i].key, json_loads(text, JSON_DECODE_ANY, NULL));
        struct lathe_order order;
        if (lathe_order_from_json(json, &order, NULL) >= 0)
            fail_msg("accepted \"%s\": %s", bad[i].key, bad[i].value);
        json_decref(json);
    }
}

static void test_reports(void **state)
{
    (void)state;
    struct lathe_slot_message message;
    struct lathe_report report = {.ok = true, .body = json_pack("{s:i}", "frames", 300)};
    json_t *json = NULL;
    assert_int_equal(lathe_report_to_json(&report, &json), 0);
    assert_int_equal(lathe_slot_message_from_json(json, &message, NULL), 0);
    assert_int_equal(message.type, LATHE_SLOT_REPORT);
    assert_true(message.report.ok && json_equal(message.report.body, report.body));
    lathe_report_finish(&message.report);
    lathe_report_finish(&report);
    json_decref(json);

    lathe_error_set(&report.err, -EIO, LATHE_FAULT_RESOURCE, "disk \xff\x1b[31m failed");
    lathe_error_hint(&report.err, "look at it");
    report.err.gpu_verdict = LATHE_HW_STICKY;
    assert_int_equal(lathe_report_to_json(&report, &json), 0);
    assert_int_equal(lathe_slot_message_from_json(json, &message, NULL), 0);
    assert_false(message.report.ok);
    assert_int_equal(message.report.err.code, -EIO);
    assert_int_equal(message.report.err.fault, LATHE_FAULT_RESOURCE);
    assert_true(message.report.err.retriable);
    assert_string_equal(message.report.err.what, "disk ? [31m failed");
    assert_string_equal(message.report.err.hint, "look at it");
    assert_int_equal(message.report.err.gpu_verdict, LATHE_HW_STICKY);
    assert_null(message.report.body);
    json_decref(json);
}

static void test_progress(void **state)
{
    (void)state;
    struct lathe_progress progress = {.frames = 7, .bytes = INT64_MAX};
    struct lathe_slot_message message;
    json_t *json = NULL;
    assert_int_equal(lathe_progress_to_json(&progress, &json), 0);
    assert_int_equal(lathe_slot_message_from_json(json, &message, NULL), 0);
    assert_int_equal(message.type, LATHE_SLOT_PROGRESS);
    assert_true(message.progress.frames == 7 && message.progress.bytes == INT64_MAX);
    assert_false(message.progress.has_file);
    json_decref(json);
    progress.has_file = true;
    progress.file = (struct lathe_cut_file){
        .kind = LATHE_UNIT_CHUNK, .index = 9, .is_cut = true, .bytes = 1 << 20};
    memset(progress.file.sha256, 'a', 64);
    assert_int_equal(lathe_progress_to_json(&progress, &json), 0);
    assert_int_equal(lathe_slot_message_from_json(json, &message, NULL), 0);
    assert_true(message.progress.has_file);
    assert_memory_equal(&message.progress.file, &progress.file, sizeof progress.file);
    json_decref(json);
    progress.bytes = UINT64_MAX;
    assert_int_equal(lathe_progress_to_json(&progress, &json), -ERANGE);
}

static void test_odd_messages_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{'type':'order'}",
        "{'type':'progress','frames':1}",
        "{'type':'progress','frames':-1,'bytes':0}",
        "{'type':'progress','frames':'1','bytes':0}",
        "{'type':'progress','frames':1,'bytes':0,'file':{}}",
        "{'type':'progress','frames':1,'bytes':0,'file':{'kind':'split','index':0,'cut':false,"
        "'bytes':0,'sha256':''}}",
        "{'type':'progress','frames':1,'bytes':0,'file':{'kind':'chunk','index':-1,'cut':false,"
        "'bytes':0,'sha256':''}}",
        "{'type':'progress','frames':1,'bytes':0,'file':{'kind':'chunk','index':0,'cut':true,"
        "'bytes':0,'sha256':''}}",
        "{'type':'progress','frames':1,'bytes':0,'file':{'kind':'chunk','index':0,'cut':false,"
        "'bytes':0,'sha256':'xyz'}}",
        "{'type':'report'}",
        "{'type':'report','ok':true}",
        "{'type':'report','ok':true,'body':[]}",
        "{'type':'report','ok':'yes','body':{}}",
        "{'type':'report','ok':false}",
        "{'type':'report','ok':false,'error':{'code':0,'fault':'input','retriable':false,"
        "'what':'','hint':''}}",
        "{'type':'report','ok':false,'error':{'code':-5,'fault':'input','retriable':false,"
        "'what':7,'hint':''}}",
        "{'type':'report','ok':false,'error':{'code':-5,'fault':'input','retriable':false,"
        "'what':'','hint':'','gpu_verdict':'odd'}}",
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        char text[200];
        snprintf(text, sizeof(text), "%s", bad[i]);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        json_t *json = json_loads(text, 0, NULL);
        assert_non_null(json);
        struct lathe_slot_message message;
        if (lathe_slot_message_from_json(json, &message, NULL) >= 0)
            fail_msg("accepted %s", bad[i]);
        json_decref(json);
    }
}

static void test_rate_sample(void **state)
{
    (void)state;
    struct lathe_rate_sample sample = {300, 3, 90000, 800000, 23.456789012345678}, back;
    json_t *json = NULL;
    assert_int_equal(lathe_rate_sample_to_json(&sample, &json), 0);
    assert_int_equal(lathe_rate_sample_from_json(json, &back), 0);
    assert_memory_equal(&sample, &back, sizeof(sample));
    json_object_set_new(json, "key_frames", json_integer(301));
    assert_int_equal(lathe_rate_sample_from_json(json, &back), -EINVAL);
    json_decref(json);
    sample.quality = NAN;
    assert_true(lathe_rate_sample_to_json(&sample, &json) < 0);
}

struct writer {
    int fd;
    const json_t *message;
    int result;
};

static void *write_thread(void *opaque)
{
    struct writer *writer = opaque;
    writer->result = lathe_wire_write(writer->fd, writer->message);
    close(writer->fd);
    return NULL;
}

static void test_wire_carries_large_messages(void **state)
{
    (void)state;
    struct lathe_plan plan;
    sample_plan(&plan, 10000);
    json_t *json = NULL, *back = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    lathe_plan_finish(&plan);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct writer writer = {.fd = fds[0], .message = json};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_thread, &writer), 0);
    assert_int_equal(lathe_wire_read(fds[1], &back, NULL), 1);
    pthread_join(thread, NULL);
    assert_int_equal(writer.result, 0);
    assert_true(json_equal(json, back));
    json_decref(back);
    assert_int_equal(lathe_wire_read(fds[1], &back, NULL), 0);
    close(fds[1]);
    json_decref(json);
}

static int read_bytes(const void *data, size_t size)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(send(fds[0], data, size, MSG_NOSIGNAL), (ssize_t)size);
    close(fds[0]);
    json_t *json = NULL;
    int r = lathe_wire_read(fds[1], &json, NULL);
    close(fds[1]);
    json_decref(json);
    return r;
}

static void test_wire_refuses_nonsense(void **state)
{
    (void)state;
    assert_int_equal(read_bytes("\x02\0\0\0{}", 6), 1);
    assert_int_equal(read_bytes("\x02\0\0", 3), -EPROTO);
    assert_int_equal(read_bytes("\x03\0\0\0{}", 6), -EPROTO);
    assert_int_equal(read_bytes("\0\0\0\0", 4), -EMSGSIZE);
    assert_int_equal(read_bytes("\xff\xff\xff\xff{}", 6), -EMSGSIZE);
    assert_int_equal(read_bytes("\x02\0\0\0{{", 6), -EPROTO);
    assert_int_equal(read_bytes("\x0d\0\0\0{\"a\":1,\"a\":2}", 17), -EPROTO);

    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    close(fds[1]);
    json_t *json = json_object();
    assert_int_equal(lathe_wire_write(fds[0], json), -EPIPE); /* and no signal */
    json_decref(json);
    close(fds[0]);
}

static void test_wire_bounds_values(void **state)
{
    (void)state;
    size_t size = 9u << 20;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, '[', size);
    json_t *json = NULL;
    assert_int_equal(lathe_wire_parse(text, size, &json, NULL), -EMSGSIZE);
    free(text);
    assert_int_equal(lathe_wire_parse("[1,2]", 5, &json, NULL), 0);
    json_decref(json);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Swaps one value, anywhere in the tree, for something unexpected. */
static void mutate(json_t *json, uint64_t *seed)
{
    static const char *const odd[] = {"null",
                                      "true",
                                      "-1",
                                      "0",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "1e308",
                                      "-0.5",
                                      "\"\"",
                                      "\"\xc2\x9b\"",
                                      "[]",
                                      "{}",
                                      "[[[]]]",
                                      "{\"hex\":\"ff\"}",
                                      "{\"hex\":\"00\"}"};
    for (;;) {
        json_t *child = NULL;
        size_t at = 0;
        const char *name = NULL;
        if (json_is_array(json) && json_array_size(json) > 0) {
            at = next_random(seed) % json_array_size(json);
            child = json_array_get(json, at);
        } else if (json_is_object(json) && json_object_size(json) > 0) {
            size_t steps = next_random(seed) % json_object_size(json);
            void *iter = json_object_iter(json);
            while (steps-- > 0)
                iter = json_object_iter_next(json, iter);
            name = json_object_iter_key(iter);
            child = json_object_iter_value(iter);
        } else {
            return;
        }
        if ((json_is_array(child) || json_is_object(child)) && next_random(seed) % 4 > 0) {
            json = child;
            continue;
        }
        json_t *value =
            json_loads(odd[next_random(seed) % LATHE_COUNT(odd)], JSON_DECODE_ANY, NULL);
        if (name && next_random(seed) % 8 == 0) {
            json_object_del(json, name);
            json_decref(value);
        } else if (name) {
            json_object_set_new(json, name, value);
        } else {
            json_array_set_new(json, at, value);
        }
        return;
    }
}

static json_t *plan_json(void)
{
    struct lathe_plan plan;
    sample_plan(&plan, 4);
    json_t *json = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    lathe_plan_finish(&plan);
    return json;
}

/* What was accepted must survive being written and read again: no half-checked member. */
static bool read_order_again(const json_t *json)
{
    struct lathe_order order, again;
    if (lathe_order_from_json(json, &order, NULL) < 0)
        return false;
    json_t *out = NULL;
    assert_int_equal(lathe_order_to_json(&order, &out), 0);
    assert_int_equal(lathe_order_from_json(out, &again, NULL), 0);
    lathe_order_finish(&again);
    lathe_order_finish(&order);
    json_decref(out);
    return true;
}

static bool read_plan_again(const json_t *json)
{
    struct lathe_plan plan, again;
    if (lathe_plan_from_json(json, &plan, NULL) < 0)
        return false;
    json_t *out = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &out), 0);
    assert_int_equal(lathe_plan_from_json(out, &again, NULL), 0);
    lathe_plan_finish(&again);
    lathe_plan_finish(&plan);
    json_decref(out);
    return true;
}

static void test_mutations(void **state)
{
    (void)state;
    uint64_t seed = 0x1234567;
    json_t *order = order_json(LATHE_VERB_MERGE), *plan = plan_json();
    unsigned accepted = 0, refused = 0;
    for (int i = 0; i < 20000; i++) {
        json_t *copy = json_deep_copy(i % 2 ? order : plan);
        for (uint64_t n = 1 + next_random(&seed) % 3; n > 0; n--)
            mutate(copy, &seed);
        if (i % 2 ? read_order_again(copy) : read_plan_again(copy))
            accepted++;
        else
            refused++;
        json_decref(copy);
    }
    json_decref(order);
    json_decref(plan);
    assert_true(accepted > 500 && refused > 5000);
}

static void test_mutated_bytes(void **state)
{
    (void)state;
    uint64_t seed = 0x7654321;
    json_t *order = order_json(LATHE_VERB_CHUNK);
    char *text = json_dumps(order, JSON_COMPACT);
    size_t size = strlen(text);
    json_decref(order);
    unsigned parsed = 0;
    for (int i = 0; i < 20000; i++) {
        size_t at = next_random(&seed) % size;
        char old = text[at];
        text[at] = (char)next_random(&seed);
        json_t *json = NULL;
        if (lathe_wire_parse(text, size, &json, NULL) == 0) {
            struct lathe_slot_message message;
            assert_true(lathe_slot_message_from_json(json, &message, NULL) < 0);
            read_order_again(json);
            json_decref(json);
            parsed++;
        }
        text[at] = old;
    }
    free(text);
    assert_true(parsed > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_round_trip),
        cmocka_unit_test(test_each_verb_has_its_needs),
        cmocka_unit_test(test_order_values_are_checked),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_odd_messages_are_refused),
        cmocka_unit_test(test_rate_sample),
        cmocka_unit_test(test_wire_carries_large_messages),
        cmocka_unit_test(test_wire_refuses_nonsense),
        cmocka_unit_test(test_wire_bounds_values),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_mutated_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
