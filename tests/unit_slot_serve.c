/* SPDX-License-Identifier: MIT */
/*
 * The slot's side of the conversation, with verbs that do no media work: one report an order,
 * progress at most ten times a second and the first at once, one set of files a process.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "serve.h"

static int say_done(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                    json_t **ret_body, struct lathe_error *err)
{
    (void)progress, (void)opaque, (void)err;
    *ret_body = json_pack("{s:s}", "source", order->source_path ? order->source_path : "");
    return *ret_body ? 0 : -ENOMEM;
}

static int say_much(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                    json_t **ret_body, struct lathe_error *err)
{
    for (uint64_t i = 1; i <= 5000; i++) {
        struct lathe_progress now = {.frames = i};
        int r = progress(opaque, &now);
        if (r)
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "told to stop");
        usleep(50);
    }
    return say_done(order, progress, opaque, ret_body, err);
}

static int fail_mutely(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                       json_t **ret_body, struct lathe_error *err)
{
    (void)order, (void)progress, (void)opaque, (void)ret_body, (void)err;
    return -EIO;
}

static int fail_with_reason(const struct lathe_order *order, lathe_media_progress progress,
                            void *opaque, json_t **ret_body, struct lathe_error *err)
{
    (void)order, (void)progress, (void)opaque;
    *ret_body = json_object();
    return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INPUT, "frame 7 is damaged");
}

static int answer_oddly(const struct lathe_order *order, lathe_media_progress progress,
                        void *opaque, json_t **ret_body, struct lathe_error *err)
{
    (void)order, (void)progress, (void)opaque, (void)err;
    *ret_body = json_array();
    return 0;
}

static int confine_always(const struct lathe_order *order, struct lathe_error *err)
{
    (void)order, (void)err;
    return 1;
}

static int confine_never(const struct lathe_order *order, struct lathe_error *err)
{
    (void)order;
    return lathe_error_set(err, -EPERM, LATHE_FAULT_INTERNAL, "no confinement");
}

static struct lathe_slot_service make_service(void)
{
    return (struct lathe_slot_service){
        .verbs = {[LATHE_VERB_SPLIT] = fail_mutely,
                  [LATHE_VERB_PILOT] = answer_oddly,
                  [LATHE_VERB_CHUNK] = fail_with_reason,
                  [LATHE_VERB_AUDIO] = say_done,
                  [LATHE_VERB_MERGE] = say_done,
                  [LATHE_VERB_INSPECT] = say_done,
                  [LATHE_VERB_ENCODERS] = say_much},
    };
}

struct slot {
    struct lathe_slot_service service;
    int fds[2]; /* parent, slot */
    int result;
    pthread_t thread;
};

static void *run_slot(void *opaque)
{
    struct slot *slot = opaque;
    slot->result = lathe_slot_serve(slot->fds[1], &slot->service, NULL);
    close(slot->fds[1]);
    return NULL;
}

static void start(struct slot *slot)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, slot->fds), 0);
    assert_int_equal(pthread_create(&slot->thread, NULL, run_slot, slot), 0);
}

static int stop(struct slot *slot)
{
    close(slot->fds[0]);
    pthread_join(slot->thread, NULL);
    return slot->result;
}

static void send_order(const struct slot *slot, enum lathe_verb verb)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[s], s:{s:s, s:s, s:[s]}}", "type",
                             "order", "verb", lathe_verb_name(verb), "source_path", "/in.mp4",
                             "plan_path", "/p", "index_path", "/i", "out_paths", "/o", "job",
                             "job_id", "j", "source_key", "k", "renditions", "720p");
    assert_non_null(json);
    assert_int_equal(lathe_wire_write(slot->fds[0], json), 0);
    json_decref(json);
}

/* Reads up to the report; returns how many progress messages came before it. */
static unsigned read_report(const struct slot *slot, struct lathe_report *ret)
{
    for (unsigned count = 0;; count++) {
        json_t *json = NULL;
        struct lathe_slot_message message;
        assert_int_equal(lathe_wire_read(slot->fds[0], &json, NULL), 1);
        assert_int_equal(lathe_slot_message_from_json(json, &message, NULL), 0);
        json_decref(json);
        if (message.type == LATHE_SLOT_REPORT) {
            *ret = message.report;
            return count;
        }
        if (count == 0)
            assert_int_equal(message.progress.frames, 1);
    }
}

static void test_reports(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    struct lathe_report report;
    start(&slot);
    send_order(&slot, LATHE_VERB_INSPECT);
    assert_int_equal(read_report(&slot, &report), 0);
    assert_true(report.ok);
    assert_string_equal(json_string_value(json_object_get(report.body, "source")), "/in.mp4");
    lathe_report_finish(&report);

    send_order(&slot, LATHE_VERB_CHUNK);
    read_report(&slot, &report);
    assert_true(!report.ok && report.err.code == -EILSEQ && !report.err.retriable);
    assert_string_equal(report.err.what, "frame 7 is damaged");

    send_order(&slot, LATHE_VERB_SPLIT);
    read_report(&slot, &report);
    assert_true(!report.ok && report.err.code == -EIO && report.err.what[0]);

    send_order(&slot, LATHE_VERB_PILOT);
    read_report(&slot, &report);
    assert_true(!report.ok && report.err.code == -EPROTO);
    assert_int_equal(stop(&slot), 0);
}

static void test_progress_is_thinned(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    struct lathe_report report;
    start(&slot);
    send_order(&slot, LATHE_VERB_ENCODERS);
    int64_t start_us = lathe_clock_monotonic_us();
    unsigned told = read_report(&slot, &report);
    double seconds = (double)(lathe_clock_monotonic_us() - start_us) / 1e6;
    assert_true(report.ok);
    lathe_report_finish(&report);
    assert_in_range(told, 1, (unsigned)(seconds * 10) + 2);
    assert_int_equal(stop(&slot), 0);
}

static void test_bad_order_gets_a_report(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    struct lathe_report report;
    start(&slot);
    json_t *json = json_pack("{s:s, s:s}", "type", "order", "verb", "merge");
    assert_int_equal(lathe_wire_write(slot.fds[0], json), 0);
    json_decref(json);
    read_report(&slot, &report);
    assert_true(!report.ok && report.err.code == -EINVAL);
    send_order(&slot, LATHE_VERB_AUDIO);
    read_report(&slot, &report);
    assert_true(report.ok);
    lathe_report_finish(&report);
    assert_int_equal(stop(&slot), 0);
}

static void test_parent_that_leaves_ends_the_work(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    start(&slot);
    send_order(&slot, LATHE_VERB_ENCODERS);
    json_t *json = NULL;
    assert_int_equal(lathe_wire_read(slot.fds[0], &json, NULL), 1);
    json_decref(json);
    assert_int_equal(stop(&slot), -EPIPE);
}

static void test_nonsense_ends_the_slot(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    start(&slot);
    assert_int_equal(send(slot.fds[0], "\xff\xff\xff\xff", 4, MSG_NOSIGNAL), 4);
    assert_int_equal(stop(&slot), -EMSGSIZE);
}

static void test_one_set_of_files(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    struct lathe_report report;
    slot.service.confine = confine_always;
    start(&slot);
    send_order(&slot, LATHE_VERB_AUDIO);
    read_report(&slot, &report);
    assert_true(report.ok);
    lathe_report_finish(&report);
    send_order(&slot, LATHE_VERB_AUDIO);
    read_report(&slot, &report);
    assert_true(!report.ok && report.err.code == -EPERM && report.err.retriable);
    assert_int_equal(stop(&slot), 0);
}

/* Chunks of one job on one GPU, whose files the first one's confinement covers. */
static void test_orders_of_the_same_reach_follow(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        enum lathe_encoder family;
        bool follows;
    } cases[] = {{"/in.mp4", LATHE_ENCODER_NVENC, true},
                 {"/in.mp4", LATHE_ENCODER_NVENC, true},
                 {"/other.mp4", LATHE_ENCODER_NVENC, false},
                 {"/in.mp4", LATHE_ENCODER_VAAPI, false},
                 {"/in.mp4", LATHE_ENCODER_NVENC, true}};
    struct slot slot = {.service = make_service()};
    slot.service.confine = confine_always;
    slot.service.verbs[LATHE_VERB_CHUNK] = say_done;
    start(&slot);
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        struct lathe_order order;
        struct lathe_report report;
        json_t *json = NULL;
        lathe_order_init(&order);
        order.verb = LATHE_VERB_CHUNK;
        order.index = (uint32_t)i;
        order.source_path = strdup(cases[i].source);
        order.plan_path = strdup("/plan.json");
        order.index_path = strdup("/index.bin");
        order.out_paths[0] = lathe_format("/out/%zu.mp4", i);
        order.gpu_family = cases[i].family;
        order.gpu_path = strdup("0");
        order.gpu_step = LATHE_STEP_ALL_GPU;
        assert_int_equal(lathe_order_to_json(&order, &json), 0);
        assert_int_equal(lathe_wire_write(slot.fds[0], json), 0);
        json_decref(json);
        lathe_order_finish(&order);
        read_report(&slot, &report);
        assert_int_equal(report.ok, cases[i].follows);
        assert_int_equal(report.err.code, cases[i].follows ? 0 : -EPERM);
        lathe_report_finish(&report);
    }
    assert_int_equal(stop(&slot), 0);
}

static void test_no_work_without_confinement(void **state)
{
    (void)state;
    struct slot slot = {.service = make_service()};
    struct lathe_report report;
    slot.service.confine = confine_never;
    start(&slot);
    send_order(&slot, LATHE_VERB_AUDIO);
    read_report(&slot, &report);
    assert_true(!report.ok);
    assert_string_equal(report.err.what, "no confinement");
    assert_int_equal(stop(&slot), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_progress_is_thinned),
        cmocka_unit_test(test_bad_order_gets_a_report),
        cmocka_unit_test(test_parent_that_leaves_ends_the_work),
        cmocka_unit_test(test_nonsense_ends_the_slot),
        cmocka_unit_test(test_one_set_of_files),
        cmocka_unit_test(test_orders_of_the_same_reach_follow),
        cmocka_unit_test(test_no_work_without_confinement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
