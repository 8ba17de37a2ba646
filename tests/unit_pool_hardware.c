/* SPDX-License-Identifier: MIT */
/*
 * The parent's view of GPUs against a slot that makes one up: what a hang or a crash costs, what is
 * kept, and when it is tried anew. Run as: unit_pool_hardware FAKE_SLOT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"
#include "lathe/hardware.h"

static const char *fake_slot;
static char root[] = "/tmp/lathe-hardware-XXXXXX";
static char cache[64], log_path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(root) || setenv("LATHE_SLOT_FAKE_DIR", root, 1) < 0)
        return -1;
    snprintf(cache, sizeof cache, "%s/kept/hardware.json", root);
    snprintf(log_path, sizeof log_path, "%s/log", root);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return lathe_remove_tree(root, NULL);
}

static struct lathe_hardware load(const char *trial, const struct lathe_hardware_options *more)
{
    struct lathe_hardware_options options = more ? *more : (struct lathe_hardware_options){0};
    struct lathe_hardware hw;
    struct lathe_error err = {0};
    options.slot_path = fake_slot;
    options.cache_path = cache;
    options.stall_seconds = 1;
    if (trial)
        setenv("LATHE_SLOT_FAKE_TRIAL", trial, 1);
    else
        unsetenv("LATHE_SLOT_FAKE_TRIAL");
    remove(log_path);
    if (lathe_hardware_load(&options, NULL, &hw, &err) < 0)
        fail_msg("%s", err.what);
    return hw;
}

/* Processes that the last load() used. */
static int processes(void)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    int lines = 0;
    assert_int_equal(lathe_read_file(log_path, 1 << 20, &text, &size, NULL), 0);
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        lines++;
    return lines;
}

static void forget(void)
{
    const struct lathe_hardware_options options = {.cache_path = cache};
    assert_int_equal(lathe_hardware_invalidate(&options, NULL), 0);
    assert_int_equal(lathe_hardware_invalidate(&options, NULL), 0);
}

#define LISTS 2 /* a process a family */

static void test_all_in_one_process(void **state)
{
    (void)state;
    forget();
    struct lathe_hardware hw = load(NULL, NULL);
    assert_int_equal(processes(), LISTS + 1);
    assert_int_equal(hw.devices[0].n_trials, lathe_hw_n_trials - 1); /* no sessions */
    assert_string_equal(hw.notes[1], "none of these");
    assert_false(hw.from_cache);
    lathe_hardware_finish(&hw);
    const struct lathe_hardware_options sessions = {.sessions = true};
    hw = load(NULL, &sessions);
    assert_int_equal(hw.devices[0].n_trials, lathe_hw_n_trials);
    lathe_hardware_finish(&hw);
}

static void check_one_bad(const char *trial, enum lathe_hw_verdict verdict, const char *reason)
{
    forget();
    struct lathe_hardware hw = load(trial, NULL);
    const struct lathe_hw_device *d = &hw.devices[0];
    assert_int_equal(d->n_trials, lathe_hw_n_trials - 1);
    for (unsigned i = 0; i < d->n_trials; i++) {
        assert_int_equal(d->trials[i].verdict, i == 4 ? verdict : LATHE_HW_WORKS);
        assert_string_equal(d->trials[i].codec, lathe_hw_trials[i].codec);
    }
    if (!strstr(d->trials[4].reason, reason))
        fail_msg("%s: \"%s\"", trial, d->trials[4].reason);
    lathe_hardware_finish(&hw);
}

static void test_a_bad_trial_costs_no_other(void **state)
{
    (void)state;
    check_one_bad("4:crash", LATHE_HW_CRASHES, "signal 11");
    check_one_bad("4:standing", LATHE_HW_HANGS, "no progress");
    check_one_bad("4:garbage", LATHE_HW_ERROR, "broke the protocol");
    check_one_bad("4:other", LATHE_HW_ERROR, "another trial");
    check_one_bad("4:busy", LATHE_HW_BUSY, "the fake says so");
    check_one_bad("4:lost", LATHE_HW_LOST, "the fake says so");
    assert_int_equal(processes(), LISTS + 2); /* before and after it was lost */
}

static void test_no_device_no_trials(void **state)
{
    (void)state;
    forget();
    struct lathe_hardware hw = load("0:crash", NULL);
    assert_int_equal(processes(), LISTS + 2);
    assert_int_equal(hw.devices[0].trials[0].verdict, LATHE_HW_CRASHES);
    for (unsigned i = 1; i < hw.devices[0].n_trials; i++)
        assert_int_equal(hw.devices[0].trials[i].verdict, LATHE_HW_UNTRIED);
    char text[256];
    lathe_hardware_summary(&hw, text, sizeof text);
    assert_non_null(strstr(text, "it crashes"));
    lathe_hardware_finish(&hw);
}

static void test_what_is_known_is_believed(void **state)
{
    (void)state;
    forget();
    struct lathe_hardware hw = load("9:unsupported", NULL);
    lathe_hardware_finish(&hw);
    hw = load(NULL, NULL); /* it would work now, but nobody asks */
    assert_true(hw.from_cache);
    assert_int_equal(processes(), LISTS);
    assert_int_equal(hw.devices[0].trials[9].verdict, LATHE_HW_UNSUPPORTED);
    assert_true(hw.age_seconds >= 0 && hw.age_seconds < 60);
    lathe_hardware_finish(&hw);

    const struct lathe_hardware_options refresh = {.refresh = true};
    hw = load(NULL, &refresh);
    assert_false(hw.from_cache);
    assert_int_equal(hw.devices[0].trials[9].verdict, LATHE_HW_WORKS);
    lathe_hardware_finish(&hw);

    setenv("LATHE_SLOT_FAKE_DRIVER", "driver 2", 1);
    hw = load(NULL, NULL);
    assert_false(hw.from_cache);
    assert_string_equal(hw.devices[0].driver, "driver 2");
    lathe_hardware_finish(&hw);
    unsetenv("LATHE_SLOT_FAKE_DRIVER");

    hw = load(NULL, NULL);
    lathe_hardware_finish(&hw);
    forget();
    hw = load(NULL, NULL);
    assert_false(hw.from_cache);
    lathe_hardware_finish(&hw);
}

/* Makes the kept results older. */
static void age(double seconds)
{
    json_t *json = json_load_file(cache, 0, NULL);
    assert_non_null(json);
    size_t i;
    json_t *known;
    json_array_foreach (json_object_get(json, "devices"), i, known) {
        json_int_t then = json_integer_value(json_object_get(known, "probed_us"));
        json_object_set_new(known, "probed_us", json_integer(then - (json_int_t)(seconds * 1e6)));
    }
    assert_int_equal(json_dump_file(json, cache, 0), 0);
    json_decref(json);
}

static void test_what_may_pass_is_tried_again(void **state)
{
    (void)state;
    forget();
    struct lathe_hardware hw = load("1:busy", NULL);
    lathe_hardware_finish(&hw);
    hw = load("1:busy", NULL); /* not at once */
    assert_true(hw.from_cache);
    lathe_hardware_finish(&hw);
    age(70);
    hw = load("1:busy", NULL); /* after a minute */
    assert_false(hw.from_cache);
    assert_int_equal(hw.failures, 1);
    lathe_hardware_finish(&hw);
    age(70);
    hw = load("1:busy", NULL); /* then later */
    assert_true(hw.from_cache);
    lathe_hardware_finish(&hw);
    age(60);
    hw = load(NULL, NULL); /* and it has passed */
    assert_false(hw.from_cache);
    assert_int_equal(hw.failures, 0);
    lathe_hardware_finish(&hw);
    age(3600);
    hw = load(NULL, NULL);
    assert_true(hw.from_cache);
    lathe_hardware_finish(&hw);
    age(86400);
    hw = load(NULL, NULL);
    assert_false(hw.from_cache);
    lathe_hardware_finish(&hw);
}

static void test_only_what_came_is_tried(void **state)
{
    (void)state;
    forget();
    struct lathe_hardware hw = load("9:unsupported", NULL);
    assert_int_equal(hw.n_devices, 1);
    lathe_hardware_finish(&hw);
    setenv("LATHE_SLOT_FAKE_DEVICES", "2", 1);
    hw = load(NULL, NULL);
    assert_int_equal(hw.n_devices, 2);
    assert_int_equal(processes(), LISTS + 1);
    assert_int_equal(hw.devices[0].trials[9].verdict, LATHE_HW_UNSUPPORTED); /* as it was */
    assert_int_equal(hw.devices[1].trials[9].verdict, LATHE_HW_WORKS);
    lathe_hardware_finish(&hw);
    setenv("LATHE_SLOT_FAKE_DEVICES", "0", 1); /* a machine without any keeps what was known */
    hw = load(NULL, NULL);
    assert_int_equal(hw.n_devices, 0);
    assert_false(hw.from_cache);
    lathe_hardware_finish(&hw);
    unsetenv("LATHE_SLOT_FAKE_DEVICES");
    hw = load(NULL, NULL);
    assert_int_equal(hw.n_devices, 1);
    assert_true(hw.from_cache);
    lathe_hardware_finish(&hw);
}

static void test_a_broken_file_is_no_error(void **state)
{
    (void)state;
    static const char *const broken[] = {"", "{", "[]", "{\"v\":1}",
                                         "{\"v\":1,\"key\":\"x\",\"probed_us\":1}"};
    struct lathe_hardware hw = load(NULL, NULL);
    lathe_hardware_finish(&hw);
    for (size_t i = 0; i < LATHE_COUNT(broken); i++) {
        assert_int_equal(lathe_write_file_atomic(cache, broken[i], strlen(broken[i]), NULL), 0);
        hw = load(NULL, NULL);
        assert_false(hw.from_cache);
        lathe_hardware_finish(&hw);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    fake_slot = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_in_one_process),
        cmocka_unit_test(test_a_bad_trial_costs_no_other),
        cmocka_unit_test(test_no_device_no_trials),
        cmocka_unit_test(test_what_is_known_is_believed),
        cmocka_unit_test(test_what_may_pass_is_tried_again),
        cmocka_unit_test(test_only_what_came_is_tried),
        cmocka_unit_test(test_a_broken_file_is_no_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
