/* SPDX-License-Identifier: MIT */
/*
 * The pool against a slot that does everything wrong. Run as: unit_pool FAKE_SLOT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "lathe/base.h"
#include "lathe/pool.h"

static const char *fake_slot;

struct outcome {
    int code;
    struct lathe_error err;
    json_t *body;
    struct lathe_usage usage;
    double seconds;
    uint64_t last_frames;
    uint32_t ticks;
};

static int on_progress(void *opaque, const struct lathe_progress *progress)
{
    struct outcome *o = opaque;
    assert_true(progress->frames > o->last_frames);
    o->last_frames = progress->frames;
    o->ticks++;
    return 0;
}

static struct outcome run_order(const struct lathe_order *order, const char *fault, double stall,
                                struct lathe_cancel *cancel)
{
    setenv("LATHE_SLOT_FAKE", fault, 1);
    const struct lathe_pool_options options = {.slot_path = fake_slot, .stall_seconds = stall};
    struct lathe_pool *pool = NULL;
    struct outcome o = {0};
    assert_int_equal(lathe_pool_create(&options, &pool, NULL), 0);
    int64_t begin_us = lathe_clock_monotonic_us();
    o.code = lathe_pool_run(pool, order, on_progress, &o, cancel, &o.body, &o.usage, &o.err);
    o.seconds = (double)(lathe_clock_monotonic_us() - begin_us) / 1e6;
    assert_int_equal(lathe_pool_stuck_on(pool, LATHE_ENCODER_AUTO, NULL), 0);
    lathe_pool_destroy(pool);
    /* whatever happened, no child is left, not even a dead one */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    if (o.code == 0)
        assert_non_null(o.body);
    else
        assert_null(o.body);
    return o;
}

static struct outcome run_fault(const char *fault, double stall)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_INSPECT;
    order.source_path = strdup("/in.mp4");
    char text[64];
    snprintf(text, sizeof text, "inspect:*:%s", fault);
    struct outcome o = run_order(&order, text, stall, NULL);
    lathe_order_finish(&order);
    return o;
}

static int count_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void obedient(void **state)
{
    (void)state;
    int before = count_fds();
    struct outcome o = run_fault("none", 5);
    assert_int_equal(o.code, 0);
    assert_int_equal(o.ticks, 1);
    assert_int_equal(o.usage.children, 1);
    assert_true(o.usage.max_rss_bytes > 0);
    json_decref(o.body);
    assert_int_equal(count_fds(), before);
}

static void nothing_leaks_into_the_slot(void **state)
{
    (void)state;
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("FFREPORT", "file=/tmp/x", 1);
    int extra = dup(1); /* without close-on-exec */
    struct outcome o = run_fault("none", 5);
    close(extra);
    assert_int_equal(o.code, 0);
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get(o.body, "environment"), i, name) {
        assert_string_not_equal(json_string_value(name), "AWS_SECRET_ACCESS_KEY");
        assert_string_not_equal(json_string_value(name), "FFREPORT");
    }
    assert_true(i > 0);
    assert_int_equal(json_integer_value(json_object_get(o.body, "descriptors")), 4);
    assert_true(json_is_true(json_object_get(o.body, "leads_group")));
    json_decref(o.body);
}

static void crash_names_signal_and_last_words(void **state)
{
    (void)state;
    struct outcome o = run_fault("crash", 5);
    assert_int_equal(o.code, -ECONNABORTED);
    assert_true(o.err.retriable);
    assert_int_equal(o.err.fault, LATHE_FAULT_INTERNAL);
    assert_non_null(strstr(o.err.what, "inspect"));
    assert_non_null(strstr(o.err.what, "signal 11"));
    assert_non_null(strstr(o.err.what, "the fake says why"));
    assert_int_equal(o.usage.children, 1);
}

static void bad_exit_is_a_crash(void **state)
{
    (void)state;
    struct outcome o = run_fault("exit", 5);
    assert_int_equal(o.code, -ECONNABORTED);
    assert_non_null(strstr(o.err.what, "exit code 3"));
    o = run_fault("exit-after", 5);
    assert_int_equal(o.code, -ECONNABORTED);
    assert_non_null(strstr(o.err.what, "exit code 4"));
    o = run_fault("half", 5);
    assert_int_equal(o.code, -ECONNABORTED);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    const char *const faults[] = {"garbage", "oversize", "shape", "twice"};
    for (size_t i = 0; i < LATHE_COUNT(faults); i++) {
        struct outcome o = run_fault(faults[i], 30);
        assert_int_equal(o.code, -EPROTO);
        assert_true(o.err.retriable);
        assert_non_null(strstr(o.err.what, "protocol"));
        assert_true(o.seconds < 10);
    }
}

static void no_progress_is_killed(void **state)
{
    (void)state;
    const char *const faults[] = {"silent", "stop", "standing"};
    for (size_t i = 0; i < LATHE_COUNT(faults); i++) {
        struct outcome o = run_fault(faults[i], 0.6);
        assert_int_equal(o.code, -ETIMEDOUT);
        assert_true(o.err.retriable);
        assert_true(o.seconds >= 0.5 && o.seconds < 5);
    }
}

static void slow_progress_is_left_alone(void **state)
{
    (void)state;
    struct outcome o = run_fault("slow", 0.9); /* runs 1.2 s, a step each 0.2 s */
    assert_int_equal(o.code, 0);
    assert_true(o.seconds > 1);
    assert_int_equal(o.last_frames, 7);
    json_decref(o.body);
}

static void closed_socket_does_not_hang(void **state)
{
    (void)state;
    struct outcome o = run_fault("close", 30);
    assert_int_equal(o.code, -ECONNABORTED);
    assert_true(o.seconds < 10);
}

static void unread_order_stalls(void **state)
{
    (void)state;
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_MERGE;
    order.n_inputs = 20000; /* megabytes: more than a socket holds */
    order.inputs = calloc(order.n_inputs, sizeof *order.inputs);
    assert_non_null(order.inputs);
    order.plan_path = strdup("/plan");
    order.out_paths[0] = strdup("/out");
    for (uint32_t i = 0; i < order.n_inputs; i++) {
        order.inputs[i].path = strdup("/a/path/of/some/length/chunk.mp4");
        memset(order.inputs[i].sha256, 'a', 64);
    }
    struct outcome o = run_order(&order, "deaf", 0.6, NULL);
    lathe_order_finish(&order);
    assert_int_equal(o.code, -ETIMEDOUT);
    assert_true(o.seconds < 5);
}

static void own_error_passes_through(void **state)
{
    (void)state;
    struct outcome o = run_fault("input", 5);
    assert_int_equal(o.code, -EBADMSG);
    assert_int_equal(o.err.fault, LATHE_FAULT_INPUT);
    assert_false(o.err.retriable);
    assert_string_equal(o.err.what, "the fake was told to fail");
    o = run_fault("internal", 5);
    assert_true(o.err.retriable);
    assert_string_equal(o.err.what, "inspect: the fake was told to fail");
}

static void *cancel_soon(void *opaque)
{
    struct timespec t = {0, 300000000};
    nanosleep(&t, NULL);
    lathe_cancel_trigger(opaque);
    return NULL;
}

static void cancel_kills(void **state)
{
    (void)state;
    struct lathe_cancel *cancel = NULL;
    assert_int_equal(lathe_cancel_create(&cancel), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, cancel), 0);
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_INSPECT;
    order.source_path = strdup("/in.mp4");
    struct outcome o = run_order(&order, "inspect:*:silent", 30, cancel);
    pthread_join(thread, NULL);
    assert_int_equal(o.code, -ECANCELED);
    assert_int_equal(o.err.fault, LATHE_FAULT_INTERRUPTED);
    assert_true(o.seconds < 3);
    o = run_order(&order, "", 30, cancel); /* not even started */
    assert_int_equal(o.code, -ECANCELED);
    assert_int_equal(o.usage.children, 0);
    lathe_order_finish(&order);
    lathe_cancel_destroy(cancel);
}

static void *run_many(void *opaque)
{
    struct lathe_pool *pool = opaque;
    for (int i = 0; i < 10; i++) {
        struct lathe_order order;
        lathe_order_init(&order);
        order.verb = LATHE_VERB_INSPECT;
        order.source_path = strdup("/in.mp4");
        json_t *body = NULL;
        if (lathe_pool_run(pool, &order, NULL, NULL, NULL, &body, NULL, NULL) < 0)
            return opaque;
        json_decref(body);
        lathe_order_finish(&order);
    }
    return NULL;
}

static void threads_share_a_pool(void **state)
{
    (void)state;
    setenv("LATHE_SLOT_FAKE", "", 1);
    const struct lathe_pool_options options = {.slot_path = fake_slot, .stall_seconds = 20};
    struct lathe_pool *pool = NULL;
    assert_int_equal(lathe_pool_create(&options, &pool, NULL), 0);
    pthread_t threads[4];
    for (size_t i = 0; i < LATHE_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, pool), 0);
    for (size_t i = 0; i < LATHE_COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct lathe_usage usage;
    lathe_pool_usage(pool, &usage);
    assert_int_equal(usage.children, 40);
    assert_true(lathe_pool_peak_bytes(pool) >= usage.max_rss_bytes);
    lathe_pool_destroy(pool);
}

static void absent_program_is_configuration(void **state)
{
    (void)state;
    setenv("LATHE_SLOT", "/nowhere/lathe-slot", 1);
    struct lathe_error err = {0};
    char *path = NULL;
    assert_int_equal(lathe_pool_find_slot(&path, &err), -ENOENT);
    assert_int_equal(lathe_error_exit_code(&err), 78);
    setenv("LATHE_SLOT", fake_slot, 1);
    assert_int_equal(lathe_pool_find_slot(&path, NULL), 0);
    assert_string_equal(path, fake_slot);
    free(path);
    unsetenv("LATHE_SLOT");

    const struct lathe_pool_options options = {.slot_path = "/nowhere/lathe-slot"};
    struct lathe_pool *pool = NULL;
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_ENCODERS;
    json_t *body = NULL;
    assert_int_equal(lathe_pool_create(&options, &pool, NULL), 0);
    err = (struct lathe_error){0};
    assert_true(lathe_pool_run(pool, &order, NULL, NULL, NULL, &body, NULL, &err) < 0);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);
    lathe_pool_destroy(pool);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    fake_slot = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(obedient),
        cmocka_unit_test(nothing_leaks_into_the_slot),
        cmocka_unit_test(crash_names_signal_and_last_words),
        cmocka_unit_test(bad_exit_is_a_crash),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(no_progress_is_killed),
        cmocka_unit_test(slow_progress_is_left_alone),
        cmocka_unit_test(closed_socket_does_not_hang),
        cmocka_unit_test(unread_order_stalls),
        cmocka_unit_test(own_error_passes_through),
        cmocka_unit_test(cancel_kills),
        cmocka_unit_test(threads_share_a_pool),
        cmocka_unit_test(absent_program_is_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
