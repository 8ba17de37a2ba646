/* SPDX-License-Identifier: MIT */
/*
 * A job's life on the embedded drivers with a fake slot: what is retried, how often, and what a
 * failure leaves. Run as: unit_flow FAKE_SLOT
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
#include "lathe/metrics.h"

static double tasks(enum lathe_metric metric, const char *task)
{
    return lathe_metrics_get(metric, LATHE_LABELS(task, "internal"));
}

/* After a whole job without a fault. */
static void expect_counts(void)
{
    static const struct {
        const char *task;
        int times;
    } done[] = {{"split", 1}, {"pilot", 2}, {"audio", 1}, {"chunk", 4}, {"merge", 1}};
    for (size_t i = 0; i < LATHE_COUNT(done); i++) {
        assert_true(tasks(LATHE_METRIC_TASKS_FINISHED, done[i].task) == done[i].times);
        assert_true(tasks(LATHE_METRIC_TASK_DURATION, done[i].task) == done[i].times);
        assert_true(tasks(LATHE_METRIC_TASKS_RUNNING, done[i].task) == 0);
    }
    assert_true(lathe_metrics_get(LATHE_METRIC_ENCODED_FRAMES, LATHE_LABELS("software")) == 100);
    assert_true(lathe_metrics_get(LATHE_METRIC_ENCODED_BYTES, LATHE_LABELS("software")) > 0);
    assert_true(lathe_metrics_sum(LATHE_METRIC_OUTPUT_BYTES) > 0);
    assert_true(lathe_metrics_sum(LATHE_METRIC_JOBS_FINISHED) == 1);
    assert_true(lathe_metrics_sum(LATHE_METRIC_JOB_DURATION) == 1);
    assert_true(lathe_metrics_sum(LATHE_METRIC_JOB_QUEUE_WAIT) == 1);
    assert_true(lathe_metrics_sum(LATHE_METRIC_TASK_FAILURES) == 0);
    assert_true(lathe_metrics_get(LATHE_METRIC_BACKEND_REQUESTS,
                                  LATHE_LABELS("sqlite", "merge_commit")) == 1);
    assert_true(lathe_metrics_sum(LATHE_METRIC_BACKEND_FAILURES) == 0);
    assert_true(lathe_metrics_sum(LATHE_METRIC_STORE_WRITTEN) > 0);
}

static void figures_are_looked_up(void **state)
{
    struct bench *b = bench_open(state, "", false);
    struct lathe_observer *observer = NULL;
    assert_int_equal(lathe_flow_submit(lathe_agent_flow(b->agent), &b->job, NULL), 0);
    assert_int_equal(lathe_observer_start(b->agent, &observer, NULL), 0);
    for (int i = 0; i < 3000 && lathe_metrics_sum(LATHE_METRIC_SCRATCH_LIMIT) == 0; i++)
        usleep(10000);
    assert_true(lathe_metrics_get(LATHE_METRIC_JOBS, LATHE_LABELS("queued")) == 1);
    assert_true(lathe_metrics_sum(LATHE_METRIC_SCRATCH_LIMIT) > 0);
    _cleanup_free_ char *text = lathe_metrics_render(false);
    assert_non_null(strstr(text, "\nlathe_worker_slots 3\n"));
    lathe_observer_stop(observer);
}

static void whole_job(void **state)
{
    struct bench *b = bench_open(state, "", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), 0);
    json_t *result = NULL;
    bench_expect_status(b, LATHE_JOB_COMPLETED, &result);
    bench_expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    bench_expect_output(b, "transcoded/job-1/output_120p.mp4", "[chunk 0 ");
    /* nothing but the results and the record stays */
    assert_int_equal(bench_objects(b, "transcoded/"), 2);
    assert_int_equal(bench_objects(b, "chunks/"), 0);
    assert_int_equal(bench_objects(b, "jobs/"), 1);
    const json_t *output = json_array_get(json_object_get(result, "outputs"), 0);
    assert_int_equal(json_integer_value(json_object_get(output, "frames")), 100);
    assert_string_equal(json_string_value(json_object_get(output, "rendition")), "240p");
    assert_int_equal(json_array_size(json_object_get(result, "chunks")), 4);
    json_decref(result);
    struct lathe_agent_progress progress;
    lathe_agent_get_progress(b->agent, &progress);
    assert_int_equal(progress.phase, LATHE_PHASE_ENDED);
    assert_int_equal(progress.frames_done, 100);
    assert_int_equal(progress.chunks_done, 4);
    assert_int_equal(progress.chunks_resumed, 0);
    /* each order once: 1 split, 2 pilots, 1 audio, 4 chunks, 2 merges */
    struct lathe_usage usage;
    lathe_pool_usage(lathe_agent_flow(b->agent)->pool, &usage);
    assert_int_equal(usage.children, 10);
    expect_counts();
    /* publishing again changes nothing */
    assert_int_equal(lathe_flow_publish(lathe_agent_flow(b->agent), "job-1", NULL), 0);
    assert_int_equal(bench_objects(b, "transcoded/"), 2);
}

/* Each kind of step may crash twice and lie once, and the job still ends well. */
static void faults_are_survived(void **state)
{
    struct bench *b = bench_open(state,
                                 "split:0:crash:2 pilot:1:garbage:2 audio:0:exit:2 chunk:2:crash:2 "
                                 "chunk:3:short:1 merge:0:crash:1 merge:1:miscount:1",
                                 false);
    struct lathe_error err = {0};
    if (bench_run(b, &err) < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL;
    bench_expect_status(b, LATHE_JOB_COMPLETED, &result);
    bench_expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    bench_expect_output(b, "transcoded/job-1/output_120p.mp4", "[chunk 0 ");
    const json_t *chunks = json_object_get(result, "chunks");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(chunks, 2), "attempts")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(chunks, 0), "attempts")), 1);
    json_decref(result);
    assert_int_equal(bench_orders(b, "split 0"), 3);
    assert_int_equal(bench_orders(b, "chunk 2"), 3);
    assert_int_equal(bench_orders(b, "chunk 3"), 2);
    json_t *retries = lathe_agent_retries(b->agent);
    assert_true(json_array_size(retries) >= 10);
    json_decref(retries);
    assert_true(tasks(LATHE_METRIC_TASK_FAILURES, "chunk") == 3);
    assert_true(tasks(LATHE_METRIC_TASK_RETRIES, "split") == 2);
    assert_true(tasks(LATHE_METRIC_TASKS_STARTED, "audio") == 3);
    assert_true(lathe_metrics_sum(LATHE_METRIC_TASKS_RUNNING) == 0);
    assert_true(lathe_metrics_sum(LATHE_METRIC_JOBS_FAILED) == 0);
    assert_int_equal(bench_objects(b, "transcoded/"), 2);
}

static size_t results_read;

int __real_lathe_state_results(struct lathe_state *st, const char *job_id, uint32_t first,
                               uint32_t end, struct lathe_done **ret_done, size_t *ret_count,
                               struct lathe_error *err);
int __wrap_lathe_state_results(struct lathe_state *st, const char *job_id, uint32_t first,
                               uint32_t end, struct lathe_done **ret_done, size_t *ret_count,
                               struct lathe_error *err);
int __wrap_lathe_state_results(struct lathe_state *st, const char *job_id, uint32_t first,
                               uint32_t end, struct lathe_done **ret_done, size_t *ret_count,
                               struct lathe_error *err)
{
    int r = __real_lathe_state_results(st, job_id, first, end, ret_done, ret_count, err);
    if (r == 0)
        __atomic_add_fetch(&results_read, *ret_count, __ATOMIC_RELAXED);
    return r;
}

/* Each chunk learns from nearly all before it, but each result is read once: 200, not 20,000. */
static void claims_read_each_result_once(void **state)
{
    setenv("LATHE_SLOT_FAKE_CHUNKS", "200", 1);
    struct bench *b = bench_open(state, "", false);
    struct lathe_error err = {0};
    results_read = 0;
    int r = bench_run(b, &err);
    unsetenv("LATHE_SLOT_FAKE_CHUNKS");
    if (r < 0)
        fail_msg("%s", err.what);
    bench_expect_status(b, LATHE_JOB_COMPLETED, NULL);
    assert_in_range(results_read, 190, 202); /* the pilots, and all chunks but the last */
}

static void retries_are_bounded(void **state)
{
    struct bench *b = bench_open(state, "chunk:1:crash", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -ECONNABORTED);
    assert_non_null(strstr(err.what, "chunk 1"));
    assert_non_null(strstr(err.what, "signal 11"));
    assert_int_equal(bench_orders(b, "chunk 1"), LATHE_LIMIT_SLOT_FAILURES);
    assert_int_equal(bench_orders(b, "merge 0"), 0);
    bench_expect_status(b, LATHE_JOB_FAILED, NULL);
    /* the record says so too, and the dead letter is there for people */
    struct lathe_message message = {0};
    assert_int_equal(lathe_queue_take(lathe_agent_flow(b->agent)->queue, LATHE_TOPIC_DEAD, 0,
                                      &message, NULL, NULL),
                     1);
    assert_non_null(strstr(message.body, "signal 11"));
    lathe_message_clear(&message);
    _cleanup_free_ char *path = NULL, *text = NULL;
    size_t size;
    assert_int_equal(
        lathe_store_local_path(lathe_agent_flow(b->agent)->store, "jobs/job-1.json", &path, NULL),
        0);
    assert_int_equal(lathe_read_file(path, 100000, &text, &size, NULL), 0);
    assert_non_null(strstr(text, "\"failed\""));
}

static void bad_input_is_not_retried(void **state)
{
    struct bench *b = bench_open(state, "chunk:2:input", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -EBADMSG);
    assert_int_equal(err.fault, LATHE_FAULT_INPUT);
    assert_string_equal(err.what, "the fake was told to fail");
    assert_int_equal(bench_orders(b, "chunk 2"), 1);
    bench_expect_status(b, LATHE_JOB_FAILED, NULL);
}

static void split_failure_ends_the_job(void **state)
{
    struct bench *b = bench_open(state, "split:0:crash", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -ECONNABORTED);
    assert_int_equal(bench_orders(b, "split 0"), LATHE_LIMIT_SLOT_FAILURES);
    bench_expect_status(b, LATHE_JOB_FAILED, NULL);
}

/* A source that cannot be cut is transcoded in one piece, from nothing of the first plan. */
static void seam_mismatch_is_replanned(void **state)
{
    struct bench *b = bench_open(state, "chunk:2:seam", false);
    struct lathe_error err = {0};
    if (bench_run(b, &err) < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL;
    bench_expect_status(b, LATHE_JOB_COMPLETED, &result);
    const json_t *output = json_array_get(json_object_get(result, "outputs"), 0);
    assert_int_equal(json_integer_value(json_object_get(output, "frames")), 100);
    assert_int_equal(json_array_size(json_object_get(result, "chunks")), 1);
    const json_t *warnings = json_object_get(result, "warnings");
    assert_int_equal(json_array_size(warnings), 1);
    assert_string_equal(json_string_value(json_array_get(warnings, 0)),
                        "this source cannot be cut; transcoded in one piece: at 2.000 s decoding "
                        "from there gives other pictures than decoding up to there");
    json_decref(result);
    assert_int_equal(bench_orders(b, "split 0"), 1); /* the other plan follows from the first */
    assert_int_equal(bench_orders(b, "chunk 0"), 2);
    assert_int_equal(bench_orders(b, "chunk 3"), 1);
    assert_int_equal(bench_orders(b, "merge 0"), 1);
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(lathe_agent_flow(b->agent)->state, b->job.id, &view, NULL), 0);
    assert_int_equal(view.epoch, 2);
    lathe_job_view_clear(&view);
    struct lathe_agent_progress progress;
    lathe_agent_get_progress(b->agent, &progress);
    assert_int_equal(progress.chunks_total, 1);
    assert_int_equal(progress.frames_done, 100);
}

/* What fails in one piece as well fails, in bounded time. */
static void second_plan_is_the_last(void **state)
{
    struct bench *b = bench_open(state, "chunk:1:seam merge:*:miscount", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -EBADMSG);
    assert_int_equal(bench_orders(b, "chunk 0"), 2);
    assert_int_equal(bench_orders(b, "merge 0"), LATHE_LIMIT_SLOT_FAILURES);
    bench_expect_status(b, LATHE_JOB_FAILED, NULL);
}

static void *cancel_when_at_work(void *opaque)
{
    struct bench *b = opaque;
    struct lathe_state *st = lathe_agent_flow(b->agent)->state;
    enum lathe_verdict verdict;
    while (bench_orders(b, "chunk 0") == 0 || bench_orders(b, "chunk 1") == 0)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_int_equal(
        lathe_state_finish(st, b->job.id, LATHE_JOB_CANCELLED, "by a test", &verdict, NULL), 0);
    return NULL;
}

/* Slots that would go on for ever are stopped by the renewal of their leases, and the agent lives
 * on: without that, this test does not end. */
static void cancelled_work_is_stopped(void **state)
{
    struct bench *b = bench_open(state, "chunk:0:endless chunk:1:endless", false);
    struct lathe_error err = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_at_work, b), 0);
    assert_int_equal(bench_run(b, &err), -EIO);
    assert_non_null(strstr(err.what, "cancelled"));
    pthread_join(thread, NULL);
    bench_expect_status(b, LATHE_JOB_CANCELLED, NULL);
    assert_int_equal(bench_orders(b, "chunk 0"), 1);
}

static int find_whole(void *opaque, const char *key, uint64_t size)
{
    (void)size;
    if (strstr(key, "plan_whole"))
        *(bool *)opaque = true;
    return 0;
}

/* A repeat of the command knows from the store what the first one learned. */
static void replan_outlives_the_state(void **state)
{
    struct bench *b = bench_open(state, "chunk:1:seam merge:0:input", false);
    struct lathe_flow *flow = lathe_agent_flow(b->agent);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -EBADMSG);
    bool whole = false;
    assert_int_equal(lathe_store_list(flow->store, "chunks/", find_whole, &whole, NULL), 0);
    assert_true(whole);
    struct lathe_done *done = NULL;
    size_t count = 0;
    assert_int_equal(
        lathe_state_results(flow->state, "job-1", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_int_equal(count, 4); /* two pilots, the sound, one chunk */

    assert_int_equal(lathe_state_remove(flow->state, "job-1", NULL), 0);
    assert_int_equal(lathe_flow_submit(flow, &b->job, NULL), 0);
    assert_int_equal(lathe_flow_split(flow, "job-1", NULL), 1);
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(flow->state, b->job.id, &view, NULL), 0);
    assert_non_null(view.replan);
    assert_int_equal(view.total_chunks, 1);
    lathe_job_view_clear(&view);
    assert_int_equal(lathe_flow_adopt(flow, "job-1", done, count, NULL), 4);
    lathe_done_free(done, count);
}

/* Results of another plan are not taken over, even where their numbers fit. */
static void results_of_another_plan_are_not_adopted(void **state)
{
    struct bench *b = bench_open(state, "merge:0:input", false);
    struct lathe_flow *flow = lathe_agent_flow(b->agent);
    assert_int_equal(bench_run(b, NULL), -EBADMSG);
    struct lathe_done *done = NULL;
    size_t count = 0;
    assert_int_equal(
        lathe_state_results(flow->state, "job-1", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_int_equal(count, 7);
    assert_int_equal(lathe_state_remove(flow->state, "job-1", NULL), 0);
    assert_int_equal(lathe_flow_submit(flow, &b->job, NULL), 0);
    uint64_t fence = 0;
    enum lathe_verdict verdict;
    assert_int_equal(
        lathe_state_claim_split(flow->state, "job-1", "test", 1000, &verdict, &fence, NULL, NULL),
        0);
    assert_int_equal(lathe_state_replan(flow->state, "job-1", fence, "test", &verdict, NULL), 0);
    assert_int_equal(verdict, LATHE_RETRY);
    assert_int_equal(lathe_flow_split(flow, "job-1", NULL), 1);
    assert_int_equal(lathe_flow_adopt(flow, "job-1", done, count, NULL), 3); /* no chunk */
    lathe_done_free(done, count);
}

/* What the merge cannot use is made again, and nothing else. */
static void damaged_chunk_is_redone(void **state)
{
    struct bench *b = bench_open(state, "chunk:1:rot:1 merge:1:lose:1", false);
    struct lathe_error err = {0};
    if (bench_run(b, &err) < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL;
    bench_expect_status(b, LATHE_JOB_COMPLETED, &result);
    bench_expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    const json_t *chunks = json_object_get(result, "chunks");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(chunks, 1), "attempts")), 2);
    json_decref(result);
    assert_int_equal(bench_orders(b, "chunk 0"), 1);
    assert_int_equal(bench_orders(b, "chunk 1"), 2); /* it did not parse */
    assert_int_equal(bench_orders(b, "chunk 2"), 2); /* its object was gone */
    assert_int_equal(bench_orders(b, "chunk 3"), 1);
    assert_int_equal(bench_orders(b, "audio 0"), 1);
    assert_int_equal(bench_objects(b, "transcoded/"), 2);
    struct lathe_agent_progress progress;
    lathe_agent_get_progress(b->agent, &progress);
    assert_int_equal(progress.frames_done, 100);
}

static void chunk_that_never_merges_is_bounded(void **state)
{
    struct bench *b = bench_open(state, "chunk:2:rot", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -EBADMSG);
    assert_non_null(strstr(err.what, "chunk_002"));
    assert_int_equal(bench_orders(b, "chunk 1"), 1);
    assert_int_equal(bench_orders(b, "chunk 2"), LATHE_LIMIT_SLOT_FAILURES);
    bench_expect_status(b, LATHE_JOB_FAILED, NULL);
}

static void miscounted_merge_is_refused(void **state)
{
    struct bench *b = bench_open(state, "merge:0:miscount", false);
    struct lathe_error err = {0};
    assert_int_equal(bench_run(b, &err), -EBADMSG);
    assert_non_null(strstr(err.what, "101 frames"));
    assert_int_equal(bench_orders(b, "merge 0"), LATHE_LIMIT_SLOT_FAILURES);
    bench_expect_status(b, LATHE_JOB_FAILED, NULL);
    assert_int_equal(bench_objects(b, "transcoded/job-1/output_"), 0);
}

static void *cancel_soon(void *opaque)
{
    struct timespec t = {0, 700000000};
    nanosleep(&t, NULL);
    lathe_cancel_trigger(opaque);
    return NULL;
}

static void interruption_gives_back(void **state)
{
    struct bench *b = bench_open(state, "chunk:*:long", false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, b->cancel), 0);
    struct lathe_error err = {0};
    int64_t begin_us = lathe_clock_monotonic_us();
    assert_int_equal(bench_run(b, &err), -ECANCELED);
    pthread_join(thread, NULL);
    assert_int_equal(lathe_error_exit_code(&err), 130);
    assert_true(lathe_clock_monotonic_us() - begin_us < 5000000);
    bench_expect_status(b, LATHE_JOB_TRANSCODING, NULL);
    /* the leases are back: somebody else gets a chunk at once, on its first attempt */
    struct lathe_claim claim;
    enum lathe_verdict verdict;
    assert_int_equal(lathe_state_claim_next(lathe_agent_flow(b->agent)->state,
                                            &(struct lathe_claim_wish){0}, "other", 1000, &verdict,
                                            &claim, NULL),
                     0);
    assert_int_equal(verdict, LATHE_GRANTED);
    assert_int_equal(claim.what.kind, LATHE_UNIT_CHUNK);
}

static void finished_units_are_adopted(void **state)
{
    struct bench *b = bench_open(state, "chunk:3:input", false);
    assert_int_equal(bench_run(b, NULL), -EBADMSG);
    struct lathe_flow *flow = lathe_agent_flow(b->agent);
    struct lathe_done *done = NULL;
    size_t count = 0;
    assert_int_equal(
        lathe_state_results(flow->state, "job-1", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_true(count >= 3); /* at least what chunk 3 waited for */

    /* a new life; one object has been damaged meanwhile */
    int chunks = 0;
    const char *lost = NULL;
    json_t *body = NULL;
    for (size_t i = 0; i < count; i++)
        if (done[i].what.kind == LATHE_UNIT_CHUNK && chunks++ == 0) {
            body = json_loads(done[i].result, 0, NULL);
            lost = json_string_value(json_array_get(json_object_get(body, "keys"), 1));
        }
    assert_non_null(lost);
    assert_int_equal(lathe_store_remove(flow->store, lost, NULL), 0);
    json_decref(body);

    setenv("LATHE_SLOT_FAKE", "", 1);
    assert_int_equal(lathe_state_remove(flow->state, "job-1", NULL), 0);
    assert_int_equal(lathe_flow_submit(flow, &b->job, NULL), 0);
    assert_int_equal(lathe_flow_split(flow, "job-1", NULL), 1);
    assert_int_equal(bench_orders(b, "split 0"), 1); /* the stored plan was taken */
    assert_int_equal(lathe_flow_adopt(flow, "job-1", done, count, NULL), (int)count - 1);
    lathe_done_free(done, count);

    struct lathe_done *now = NULL;
    size_t now_count = 0;
    assert_int_equal(
        lathe_state_results(flow->state, "job-1", 0, LATHE_UNITS_MAX, &now, &now_count, NULL), 0);
    assert_int_equal(now_count, count - 1);
    lathe_done_free(now, now_count);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    fake_slot = argv[1];
    const struct CMUnitTest tests[] = {
        BENCH_TEST(whole_job),
        BENCH_TEST(figures_are_looked_up),
        BENCH_TEST(faults_are_survived),
        BENCH_TEST(claims_read_each_result_once),
        BENCH_TEST(retries_are_bounded),
        BENCH_TEST(bad_input_is_not_retried),
        BENCH_TEST(split_failure_ends_the_job),
        BENCH_TEST(seam_mismatch_is_replanned),
        BENCH_TEST(second_plan_is_the_last),
        BENCH_TEST(replan_outlives_the_state),
        BENCH_TEST(cancelled_work_is_stopped),
        BENCH_TEST(results_of_another_plan_are_not_adopted),
        BENCH_TEST(damaged_chunk_is_redone),
        BENCH_TEST(chunk_that_never_merges_is_bounded),
        BENCH_TEST(miscounted_merge_is_refused),
        BENCH_TEST(interruption_gives_back),
        BENCH_TEST(finished_units_are_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
