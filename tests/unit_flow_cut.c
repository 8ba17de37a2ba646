/* SPDX-License-Identifier: MIT */
/*
 * Jobs whose source is cut into packets, with a fake slot: who reads what, and where the cutting
 * goes on after a failure. Run as: unit_flow_cut FAKE_SLOT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "flow_bench.h"
#include "lathe/base.h"

static void open_agent(struct bench *b, const char *faults, enum lathe_chunks chunks)
{
    bench_open_agent(b, faults,
                     &(struct lathe_agent_options){.chunks = chunks, .keep_intermediates = true});
}

static void expect_success(struct bench *b)
{
    struct lathe_error err = {0};
    if (bench_run(b, &err) < 0)
        fail_msg("%s", err.what);
}

static bool has_object(struct bench *b, const char *name)
{
    _cleanup_free_ char *key = lathe_format("chunks/job-1/%s", name);
    struct lathe_store_meta meta;
    return lathe_store_stat(lathe_agent_flow(b->agent)->store, key, &meta, NULL) == 0;
}

static void each_unit_reads_its_packets(void **state)
{
    struct bench *b = *state;
    open_agent(b, "", LATHE_CHUNKS_OBJECTS);
    expect_success(b);
    assert_int_equal(bench_orders(b, "cut 0"), 1);
    assert_int_equal(bench_orders(b, "pilot 0 from packets"), 1);
    assert_int_equal(bench_orders(b, "pilot 1 from packets"), 1);
    assert_int_equal(bench_orders(b, "audio 0 from packets"), 1);
    for (int i = 0; i < 4; i++) {
        char line[32], name[32];
        snprintf(line, sizeof line, "chunk %d from packets", i);
        snprintf(name, sizeof name, "chunk_%03d.ts", i);
        assert_int_equal(bench_orders(b, line), 1);
        assert_true(has_object(b, name));
    }
    assert_true(has_object(b, "plan.json"));
    assert_true(has_object(b, "pilot_001.ts"));
    assert_true(has_object(b, "audio.mka"));
    assert_true(has_object(b, "audio.bin"));
}

static void files_are_read_in_place(void **state)
{
    struct bench *b = *state;
    open_agent(b, "", LATHE_CHUNKS_AUTO);
    expect_success(b);
    assert_int_equal(bench_orders(b, "cut 0"), 0);
    assert_int_equal(bench_orders(b, "chunk 3"), 1);
    assert_false(has_object(b, "chunk_000.ts"));
}

static void cutting_goes_on_where_it_ended(void **state)
{
    struct bench *b = *state;
    open_agent(b, "cut:0:midway:1 cut:3:midway:1", LATHE_CHUNKS_OBJECTS);
    expect_success(b);
    assert_int_equal(bench_orders(b, "cut 0"), 1);
    assert_int_equal(bench_orders(b, "cut 3"), 1);
    assert_int_equal(bench_orders(b, "cut 6"), 1);
    assert_int_equal(bench_orders(b, "split 0"), 1);
    assert_int_equal(bench_orders(b, "chunk 0 from packets"), 1);
}

static void what_is_not_cut_is_read_from_the_source(void **state)
{
    struct bench *b = *state;
    open_agent(b, "cut:*:leave", LATHE_CHUNKS_OBJECTS);
    expect_success(b);
    assert_int_equal(bench_orders(b, "chunk 0 from packets"), 1);
    assert_int_equal(bench_orders(b, "chunk 1"), 1);
    assert_int_equal(bench_orders(b, "chunk 2 from packets"), 1);
}

static void nonsense_is_bounded(void **state)
{
    struct bench *b = *state;
    struct lathe_error err = {0};
    open_agent(b, "cut:*:disorder", LATHE_CHUNKS_OBJECTS);
    assert_int_equal(bench_run(b, &err), -EPROTO);
    assert_non_null(strstr(err.what, "where pilot 0 comes next"));
    assert_int_equal(bench_orders(b, "cut 0"), LATHE_LIMIT_SLOT_FAILURES);
}

static void too_little_is_a_failure(void **state)
{
    struct bench *b = *state;
    open_agent(b, "cut:0:few:1", LATHE_CHUNKS_OBJECTS);
    expect_success(b);
    assert_int_equal(bench_orders(b, "cut 0"), 1);
    assert_int_equal(bench_orders(b, "cut 3"), 1);
}

static void *cancel_soon(void *opaque)
{
    const struct timespec t = {0, 500000000};
    nanosleep(&t, NULL);
    lathe_cancel_trigger(opaque);
    return NULL;
}

/* Another worker takes over: what is stored stays stored. */
static void another_worker_goes_on(void **state)
{
    struct bench *b = *state;
    pthread_t thread;
    struct lathe_error err = {0};
    open_agent(b, "cut:0:midway:1 cut:3:long", LATHE_CHUNKS_OBJECTS);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, b->cancel), 0);
    assert_int_equal(bench_run(b, &err), -ECANCELED);
    pthread_join(thread, NULL);
    lathe_agent_close(b->agent);
    b->agent = NULL;
    lathe_cancel_destroy(b->cancel);
    assert_int_equal(lathe_cancel_create(&b->cancel), 0);
    open_agent(b, "", LATHE_CHUNKS_OBJECTS);
    expect_success(b);
    assert_int_equal(bench_orders(b, "cut 0"), 1);
    assert_true(bench_orders(b, "cut 3") >= 2);
    assert_int_equal(bench_orders(b, "pilot 0 from packets"), 1);
}

static int setup(void **state)
{
    if (bench_setup(state) < 0)
        return -1;
    struct bench *b = *state;
    bench_make_job(b);
    return lathe_job_validate(&b->job, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, bench_teardown)

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    fake_slot = argv[1];
    const struct CMUnitTest tests[] = {
        TEST(each_unit_reads_its_packets),
        TEST(files_are_read_in_place),
        TEST(cutting_goes_on_where_it_ended),
        TEST(what_is_not_cut_is_read_from_the_source),
        TEST(nonsense_is_bounded),
        TEST(too_little_is_a_failure),
        TEST(another_worker_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
