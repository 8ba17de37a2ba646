/* SPDX-License-Identifier: MIT */
/*
 * Jobs on a made-up GPU with a fake slot: what its failures cost. Run as: unit_flow_gpu FAKE_SLOT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "flow_bench.h"
#include "lathe/base.h"
#include "lathe/metrics.h"

/* The fake GPU's job: the result, with the number of chunks by each step. */
static json_t *run_on_gpu(void **state, const char *faults, enum lathe_mix mix, int *ret_on_gpu)
{
    setenv("LATHE_HARDWARE_CACHE", "", 1);
    setenv("LATHE_STALL_SECONDS", "2", 1);
    struct bench *b = bench_open(state, faults, true);
    b->job.mix = mix;
    struct lathe_error err = {0};
    int r = bench_run(b, &err);
    unsetenv("LATHE_STALL_SECONDS");
    if (r < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL, *chunk;
    size_t i;
    bench_expect_status(b, LATHE_JOB_COMPLETED, &result);
    bench_expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    *ret_on_gpu = 0;
    json_array_foreach (json_object_get(result, "chunks"), i, chunk)
        *ret_on_gpu += json_is_string(json_object_get(chunk, "device"));
    return result;
}

static void expect_fallback(const json_t *result, int chunk, const char *verdict,
                            enum lathe_ladder_step from, enum lathe_ladder_step to)
{
    const json_t *list = json_object_get(result, "fallbacks"), *one = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        one = json_array_get(list, i);
        if (json_integer_value(json_object_get(one, "chunk")) == chunk)
            break;
    }
    assert_int_equal(json_integer_value(json_object_get(one, "chunk")), chunk);
    assert_string_equal(json_string_value(json_object_get(one, "verdict")), verdict);
    const json_t *step = json_object_get(json_object_get(one, "from"), "step");
    assert_string_equal(json_string_value(step), lathe_ladder_step_name(from));
    step = json_object_get(json_object_get(one, "to"), "step");
    assert_string_equal(json_string_value(step), lathe_ladder_step_name(to));
    assert_true(json_string_length(json_object_get(one, "reason")) > 0);
}

/* The source is of a codec that no GPU decodes, so that the first step is the second one. */
static void gpu_does_all(void **state)
{
    int on_gpu;
    json_t *result = run_on_gpu(state, "", LATHE_MIX_FALLBACK, &on_gpu);
    assert_int_equal(on_gpu, 4);
    assert_int_equal(json_array_size(json_object_get(result, "fallbacks")), 0);
    json_decref(result);
}

static void gpu_failures_cost_the_chunk_nothing(void **state)
{
    int on_gpu;
    json_t *result =
        run_on_gpu(state, "chunk:1:gpu-wrong:1 chunk:3:gpu-crash:1", LATHE_MIX_FALLBACK, &on_gpu);
    assert_int_equal(on_gpu, 4);
    expect_fallback(result, 1, "wrong", LATHE_STEP_GPU_FROM_SCALE, LATHE_STEP_GPU_ENCODE);
    expect_fallback(result, 3, "crashes", LATHE_STEP_GPU_FROM_SCALE, LATHE_STEP_GPU_ENCODE);
    assert_int_equal(json_array_size(json_object_get(result, "fallbacks")), 2);
    const json_t *chunk = json_array_get(json_object_get(result, "chunks"), 1);
    assert_int_equal(json_integer_value(json_object_get(chunk, "attempts")), 1);
    json_decref(result);
    const struct bench *b = *state;
    lathe_placement_collect(lathe_agent_flow(b->agent)->placement);
    assert_true(lathe_metrics_sum(LATHE_METRIC_FALLBACKS) == 2);
    assert_true(lathe_metrics_sum(LATHE_METRIC_DEVICE_FAILURES) == 2);
    assert_true(lathe_metrics_sum(LATHE_METRIC_DEVICE_USABLE) == 1);
    assert_true(lathe_metrics_sum(LATHE_METRIC_DEVICE_TRIAL) > 0);
    assert_true(lathe_metrics_sum(LATHE_METRIC_DEVICE_PROBED) > 0);
    const char *device = "nvenc:0";
    assert_true(lathe_metrics_get(LATHE_METRIC_DEVICE_LANES, LATHE_LABELS(device)) == 2);
    assert_true(lathe_metrics_get(LATHE_METRIC_FALLBACKS, LATHE_LABELS(device, "wrong")) == 1);
    assert_true(lathe_metrics_get(LATHE_METRIC_ENCODED_FRAMES, LATHE_LABELS(device)) == 100);
}

static void gpu_that_hangs_is_left_alone(void **state)
{
    int on_gpu;
    json_t *result = run_on_gpu(state, "chunk:*:gpu-silent", LATHE_MIX_FALLBACK, &on_gpu);
    assert_int_equal(on_gpu, 0);
    const json_t *list = json_object_get(result, "fallbacks"), *one;
    size_t i;
    bool seen[4] = {false};
    json_array_foreach (list, i, one) {
        assert_string_equal(json_string_value(json_object_get(one, "verdict")), "hangs");
        seen[json_integer_value(json_object_get(one, "chunk"))] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    json_decref(result);
}

static void odd_chunks_are_made_again(void **state)
{
    int on_gpu;
    json_t *result = run_on_gpu(state, "chunk:3:gpu-lost", LATHE_MIX_NEVER, &on_gpu);
    assert_int_equal(on_gpu, 0);
    expect_fallback(result, 3, "lost", LATHE_STEP_GPU_FROM_SCALE, LATHE_STEP_ALL_SOFTWARE);
    const json_t *chunk = json_array_get(json_object_get(result, "chunks"), 0);
    assert_int_equal(json_integer_value(json_object_get(chunk, "attempts")), 2);
    assert_int_equal(bench_orders(*state, "merge 0"), 1); /* nothing was joined in vain */
    json_decref(result);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    fake_slot = argv[1];
    const struct CMUnitTest tests[] = {
        BENCH_TEST(gpu_does_all),
        BENCH_TEST(gpu_failures_cost_the_chunk_nothing),
        BENCH_TEST(gpu_that_hangs_is_left_alone),
        BENCH_TEST(odd_chunks_are_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
