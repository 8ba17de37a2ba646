/* SPDX-License-Identifier: MIT */
/*
 * What is known about GPUs: round trips through JSON, values that are refused, words.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/hw.h"

static struct lathe_hw_device sample(void)
{
    struct lathe_hw_device d = {
        .family = LATHE_ENCODER_NVENC,
        .path = "1",
        .id = "0000:41:00.0",
        .name = "NVIDIA L4",
        .driver = "550.54.14",
        .memory_bytes = 24ull << 30,
        .compute_major = 8,
        .compute_minor = 9,
        .n_trials = 4,
    };
    d.trials[0] = (struct lathe_hw_trial){.kind = LATHE_HW_OPEN, .verdict = LATHE_HW_WORKS};
    d.trials[1] = (struct lathe_hw_trial){.kind = LATHE_HW_ENCODE,
                                          .codec = "h264",
                                          .bits = 8,
                                          .verdict = LATHE_HW_WORKS,
                                          .with = "h264_nvenc",
                                          .reason = "no temporal-aq: not supported",
                                          .features = LATHE_HW_B_FRAMES | LATHE_HW_RC_CQP};
    d.trials[2] = (struct lathe_hw_trial){.kind = LATHE_HW_DECODE,
                                          .codec = "hevc",
                                          .bits = 10,
                                          .verdict = LATHE_HW_HANGS,
                                          .reason = "no answer"};
    d.trials[3] = (struct lathe_hw_trial){
        .kind = LATHE_HW_SESSIONS, .verdict = LATHE_HW_WORKS, .sessions = 8};
    return d;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct lathe_hw_device a = sample(), b;
    json_t *json = NULL, *again = NULL;
    assert_int_equal(lathe_hw_device_to_json(&a, &json), 0);
    assert_int_equal(lathe_hw_device_from_json(json, &b, NULL), 0);
    assert_int_equal(lathe_hw_device_to_json(&b, &again), 0);
    assert_true(json_equal(json, again));
    assert_true(b.memory_bytes == 24ull << 30 && b.compute_minor == 9 && b.n_trials == 4);
    assert_int_equal(b.trials[1].features, a.trials[1].features);
    assert_int_equal(b.trials[2].verdict, LATHE_HW_HANGS);
    assert_int_equal(b.trials[3].sessions, 8);
    json_decref(json);
    json_decref(again);
}

static void test_values_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *path, *key, *value;
    } bad[] = {
        {"", "family", "'software'"},
        {"", "family", "'auto'"},
        {"", "memory_bytes", "-1"},
        {"", "name", "7"},
        {"", "trials", "{}"},
        {"", "trials", "[{}]"},
        {"", "compute_major", "1001"},
        {"trials", "kind", "'fly'"},
        {"trials", "verdict", "'maybe'"},
        {"trials", "bits", "17"},
        {"trials", "reason", "null"},
        {"trials", "features", "'all'"},
        {"trials", "sessions", "17"},
        {"trials", "codec", "'averylongcodecname'"},
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        struct lathe_hw_device a = sample(), b;
        json_t *json = NULL;
        assert_int_equal(lathe_hw_device_to_json(&a, &json), 0);
        char text[64];
        snprintf(text, sizeof(text), "%s", bad[i].value);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        json_t *at = bad[i].path[0] ? json_array_get(json_object_get(json, "trials"), 1) : json;
        json_object_set_new(at, bad[i].key, json_loads(text, JSON_DECODE_ANY, NULL));
        if (lathe_hw_device_from_json(json, &b, NULL) >= 0)
            fail_msg("accepted \"%s\": %s", bad[i].key, bad[i].value);
        json_decref(json);
    }
}

static void test_every_verdict_has_its_word(void **state)
{
    (void)state;
    for (int i = 0; i < LATHE_HW_VERDICT_COUNT; i++) {
        enum lathe_hw_verdict back;
        assert_int_equal(
            lathe_hw_verdict_from_name(lathe_hw_verdict_name((enum lathe_hw_verdict)i), &back), 0);
        assert_int_equal(back, i);
    }
    assert_int_equal(lathe_hw_verdict_from_name("perhaps", &(enum lathe_hw_verdict){0}), -EINVAL);
    assert_true(lathe_hw_verdict_is_passing(LATHE_HW_BUSY));
    assert_false(lathe_hw_verdict_is_passing(LATHE_HW_ABSENT));
    assert_false(lathe_hw_verdict_is_passing(LATHE_HW_WORKS));
}

static void test_trials_are_distinct(void **state)
{
    (void)state;
    struct lathe_hw_device d = {0};
    for (unsigned i = 0; i < lathe_hw_n_trials; i++) {
        const struct lathe_hw_trial *t = &lathe_hw_trials[i];
        assert_null(lathe_hw_find(&d, t->kind, t->codec, t->bits));
        d.trials[d.n_trials++] = *t;
    }
    assert_int_equal(lathe_hw_trials[0].kind, LATHE_HW_OPEN);
    assert_int_equal(lathe_hw_trials[lathe_hw_n_trials - 1].kind, LATHE_HW_SESSIONS);
}

static void test_summaries(void **state)
{
    (void)state;
    char text[300];
    struct lathe_hw_device d = sample();
    lathe_hw_summary(&d, text, sizeof(text));
    assert_string_equal(text, "encodes h264");
    d.trials[1].verdict = LATHE_HW_ABSENT;
    strcpy(d.trials[1].reason, "this GPU has no encoder");
    d.trials[2].verdict = LATHE_HW_WORKS;
    lathe_hw_summary(&d, text, sizeof(text));
    assert_string_equal(text, "decodes hevc 10 bit; does not encode: this GPU has no encoder");
    d.trials[0].verdict = LATHE_HW_HANGS;
    strcpy(d.trials[0].reason, "no answer for 30 s");
    lathe_hw_summary(&d, text, sizeof(text));
    assert_string_equal(text, "not used, it hangs: no answer for 30 s");
    lathe_hw_summary(&d, text, 12);
    assert_int_equal(strlen(text), 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_values_are_checked),
        cmocka_unit_test(test_every_verdict_has_its_word),
        cmocka_unit_test(test_trials_are_distinct),
        cmocka_unit_test(test_summaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
