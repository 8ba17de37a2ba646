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

#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/metrics.h"

static const char *fake_slot;

struct bench {
    char *folder;
    struct lathe_agent *agent;
    struct lathe_job job;
    struct lathe_cancel *cancel;
};

static char *inside(const struct bench *b, const char *name)
{
    char *path = lathe_format("%s/%s", b->folder, name);
    assert_non_null(path);
    return path;
}

static struct bench *open_bench_on(void **state, const char *faults, bool gpus)
{
    struct bench *b = *state;
    setenv("LATHE_SLOT_FAKE", faults, 1);
    setenv("LATHE_SLOT_FAKE_DIR", b->folder, 1);
    _cleanup_free_ char *queue = inside(b, "queue.db"), *db = inside(b, "state.db");
    _cleanup_free_ char *store = inside(b, "store"), *tmp = inside(b, "tmp");
    const struct lathe_agent_options options = {
        .queue_driver = "sqlite",
        .queue_location = queue,
        .state_driver = "sqlite",
        .state_location = db,
        .store_driver = "dir",
        .store_location = store,
        .scratch_dir = tmp,
        .slot_path = fake_slot,
        .slots = 3,
        .gpus = gpus,
        .only_host = true,
        .cancel = b->cancel,
        .lease_ttl_ms = 600,
    };
    struct lathe_error err = {0};
    if (lathe_agent_open(&options, &b->agent, &err) < 0)
        fail_msg("%s", err.what);
    lathe_job_init(&b->job);
    strcpy(b->job.id, "job-1");
    b->job.source_key = strdup("/source.mp4");
    b->job.source_is_local = true;
    assert_int_equal(lathe_job_add_rendition(&b->job, "240p", NULL), 0);
    assert_int_equal(lathe_job_add_rendition(&b->job, "120p", NULL), 0);
    assert_int_equal(lathe_job_validate(&b->job, NULL), 0);
    return b;
}

static struct bench *open_bench(void **state, const char *faults)
{
    return open_bench_on(state, faults, false);
}

static int run_job(struct bench *b, struct lathe_error *err)
{
    assert_int_equal(lathe_flow_submit(lathe_agent_flow(b->agent), &b->job, NULL), 0);
    return lathe_agent_run(b->agent, b->job.id, NULL, NULL, err);
}

/* How often the log has `line`. */
static int logged(struct bench *b, const char *line)
{
    _cleanup_free_ char *path = inside(b, "log"), *text = NULL;
    size_t size;
    if (lathe_read_file(path, 1 << 20, &text, &size, NULL) < 0)
        return 0;
    int n = 0;
    char *save = NULL;
    for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save))
        n += strcmp(at, line) == 0;
    return n;
}

static void expect_status(struct bench *b, enum lathe_job_status status, json_t **ret_result)
{
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(lathe_agent_flow(b->agent)->state, b->job.id, &view, NULL), 0);
    assert_int_equal(view.status, status);
    if (ret_result)
        *ret_result = json_loads(view.result, 0, NULL);
    lathe_job_view_clear(&view);
}

static int count_object(void *opaque, const char *key, uint64_t size)
{
    (void)key;
    (void)size;
    ++*(int *)opaque;
    return 0;
}

static int objects(struct bench *b, const char *prefix)
{
    int n = 0;
    assert_int_equal(
        lathe_store_list(lathe_agent_flow(b->agent)->store, prefix, count_object, &n, NULL), 0);
    return n;
}

static void expect_output(struct bench *b, const char *key, const char *begin)
{
    _cleanup_free_ char *path = NULL, *text = NULL;
    size_t size;
    assert_int_equal(lathe_store_local_path(lathe_agent_flow(b->agent)->store, key, &path, NULL),
                     0);
    assert_int_equal(lathe_read_file(path, 10000, &text, &size, NULL), 0);
    assert_memory_equal(text, begin, strlen(begin));
    assert_non_null(strstr(text, "[audio]"));
    for (int i = 0; i < 4; i++) {
        char mark[32];
        snprintf(mark, sizeof mark, "[chunk %d ", i);
        assert_non_null(strstr(text, mark));
    }
}

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
    struct bench *b = open_bench(state, "");
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
    struct bench *b = open_bench(state, "");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), 0);
    json_t *result = NULL;
    expect_status(b, LATHE_JOB_COMPLETED, &result);
    expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    expect_output(b, "transcoded/job-1/output_120p.mp4", "[chunk 0 ");
    /* nothing but the results and the record stays */
    assert_int_equal(objects(b, "transcoded/"), 2);
    assert_int_equal(objects(b, "chunks/"), 0);
    assert_int_equal(objects(b, "jobs/"), 1);
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
    assert_int_equal(objects(b, "transcoded/"), 2);
}

/* Each kind of step may crash twice and lie once, and the job still ends well. */
static void faults_are_survived(void **state)
{
    struct bench *b =
        open_bench(state, "split:0:crash:2 pilot:1:garbage:2 audio:0:exit:2 chunk:2:crash:2 "
                          "chunk:3:short:1 merge:0:crash:1 merge:1:miscount:1");
    struct lathe_error err = {0};
    if (run_job(b, &err) < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL;
    expect_status(b, LATHE_JOB_COMPLETED, &result);
    expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    expect_output(b, "transcoded/job-1/output_120p.mp4", "[chunk 0 ");
    const json_t *chunks = json_object_get(result, "chunks");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(chunks, 2), "attempts")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(chunks, 0), "attempts")), 1);
    json_decref(result);
    assert_int_equal(logged(b, "split 0"), 3);
    assert_int_equal(logged(b, "chunk 2"), 3);
    assert_int_equal(logged(b, "chunk 3"), 2);
    json_t *retries = lathe_agent_retries(b->agent);
    assert_true(json_array_size(retries) >= 10);
    json_decref(retries);
    assert_true(tasks(LATHE_METRIC_TASK_FAILURES, "chunk") == 3);
    assert_true(tasks(LATHE_METRIC_TASK_RETRIES, "split") == 2);
    assert_true(tasks(LATHE_METRIC_TASKS_STARTED, "audio") == 3);
    assert_true(lathe_metrics_sum(LATHE_METRIC_TASKS_RUNNING) == 0);
    assert_true(lathe_metrics_sum(LATHE_METRIC_JOBS_FAILED) == 0);
    assert_int_equal(objects(b, "transcoded/"), 2);
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
    struct bench *b = open_bench(state, "");
    struct lathe_error err = {0};
    results_read = 0;
    int r = run_job(b, &err);
    unsetenv("LATHE_SLOT_FAKE_CHUNKS");
    if (r < 0)
        fail_msg("%s", err.what);
    expect_status(b, LATHE_JOB_COMPLETED, NULL);
    assert_in_range(results_read, 190, 202); /* the pilots, and all chunks but the last */
}

static void retries_are_bounded(void **state)
{
    struct bench *b = open_bench(state, "chunk:1:crash");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -ECONNABORTED);
    assert_non_null(strstr(err.what, "chunk 1"));
    assert_non_null(strstr(err.what, "signal 11"));
    assert_int_equal(logged(b, "chunk 1"), LATHE_LIMIT_SLOT_FAILURES);
    assert_int_equal(logged(b, "merge 0"), 0);
    expect_status(b, LATHE_JOB_FAILED, NULL);
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
    struct bench *b = open_bench(state, "chunk:2:input");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -EBADMSG);
    assert_int_equal(err.fault, LATHE_FAULT_INPUT);
    assert_string_equal(err.what, "the fake was told to fail");
    assert_int_equal(logged(b, "chunk 2"), 1);
    expect_status(b, LATHE_JOB_FAILED, NULL);
}

static void split_failure_ends_the_job(void **state)
{
    struct bench *b = open_bench(state, "split:0:crash");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -ECONNABORTED);
    assert_int_equal(logged(b, "split 0"), LATHE_LIMIT_SLOT_FAILURES);
    expect_status(b, LATHE_JOB_FAILED, NULL);
}

/* A source that cannot be cut is transcoded in one piece, from nothing of the first plan. */
static void seam_mismatch_is_replanned(void **state)
{
    struct bench *b = open_bench(state, "chunk:2:seam");
    struct lathe_error err = {0};
    if (run_job(b, &err) < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL;
    expect_status(b, LATHE_JOB_COMPLETED, &result);
    const json_t *output = json_array_get(json_object_get(result, "outputs"), 0);
    assert_int_equal(json_integer_value(json_object_get(output, "frames")), 100);
    assert_int_equal(json_array_size(json_object_get(result, "chunks")), 1);
    const json_t *warnings = json_object_get(result, "warnings");
    assert_int_equal(json_array_size(warnings), 1);
    assert_string_equal(json_string_value(json_array_get(warnings, 0)),
                        "this source cannot be cut; transcoded in one piece: at 2.000 s decoding "
                        "from there gives other pictures than decoding up to there");
    json_decref(result);
    assert_int_equal(logged(b, "split 0"), 1); /* the other plan follows from the first */
    assert_int_equal(logged(b, "chunk 0"), 2);
    assert_int_equal(logged(b, "chunk 3"), 1);
    assert_int_equal(logged(b, "merge 0"), 1);
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
    struct bench *b = open_bench(state, "chunk:1:seam merge:*:miscount");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -EBADMSG);
    assert_int_equal(logged(b, "chunk 0"), 2);
    assert_int_equal(logged(b, "merge 0"), LATHE_LIMIT_SLOT_FAILURES);
    expect_status(b, LATHE_JOB_FAILED, NULL);
}

static void *cancel_when_at_work(void *opaque)
{
    struct bench *b = opaque;
    struct lathe_state *st = lathe_agent_flow(b->agent)->state;
    enum lathe_verdict verdict;
    while (logged(b, "chunk 0") == 0 || logged(b, "chunk 1") == 0)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_int_equal(
        lathe_state_finish(st, b->job.id, LATHE_JOB_CANCELLED, "by a test", &verdict, NULL), 0);
    return NULL;
}

/* Slots that would go on for ever are stopped by the renewal of their leases, and the agent lives
 * on: without that, this test does not end. */
static void cancelled_work_is_stopped(void **state)
{
    struct bench *b = open_bench(state, "chunk:0:endless chunk:1:endless");
    struct lathe_error err = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_at_work, b), 0);
    assert_int_equal(run_job(b, &err), -EIO);
    assert_non_null(strstr(err.what, "cancelled"));
    pthread_join(thread, NULL);
    expect_status(b, LATHE_JOB_CANCELLED, NULL);
    assert_int_equal(logged(b, "chunk 0"), 1);
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
    struct bench *b = open_bench(state, "chunk:1:seam merge:0:input");
    struct lathe_flow *flow = lathe_agent_flow(b->agent);
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -EBADMSG);
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
    struct bench *b = open_bench(state, "merge:0:input");
    struct lathe_flow *flow = lathe_agent_flow(b->agent);
    assert_int_equal(run_job(b, NULL), -EBADMSG);
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
    struct bench *b = open_bench(state, "chunk:1:rot:1 merge:1:lose:1");
    struct lathe_error err = {0};
    if (run_job(b, &err) < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL;
    expect_status(b, LATHE_JOB_COMPLETED, &result);
    expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
    const json_t *chunks = json_object_get(result, "chunks");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(chunks, 1), "attempts")), 2);
    json_decref(result);
    assert_int_equal(logged(b, "chunk 0"), 1);
    assert_int_equal(logged(b, "chunk 1"), 2); /* it did not parse */
    assert_int_equal(logged(b, "chunk 2"), 2); /* its object was gone */
    assert_int_equal(logged(b, "chunk 3"), 1);
    assert_int_equal(logged(b, "audio 0"), 1);
    assert_int_equal(objects(b, "transcoded/"), 2);
    struct lathe_agent_progress progress;
    lathe_agent_get_progress(b->agent, &progress);
    assert_int_equal(progress.frames_done, 100);
}

static void chunk_that_never_merges_is_bounded(void **state)
{
    struct bench *b = open_bench(state, "chunk:2:rot");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -EBADMSG);
    assert_non_null(strstr(err.what, "chunk_002"));
    assert_int_equal(logged(b, "chunk 1"), 1);
    assert_int_equal(logged(b, "chunk 2"), LATHE_LIMIT_SLOT_FAILURES);
    expect_status(b, LATHE_JOB_FAILED, NULL);
}

static void miscounted_merge_is_refused(void **state)
{
    struct bench *b = open_bench(state, "merge:0:miscount");
    struct lathe_error err = {0};
    assert_int_equal(run_job(b, &err), -EBADMSG);
    assert_non_null(strstr(err.what, "101 frames"));
    assert_int_equal(logged(b, "merge 0"), LATHE_LIMIT_SLOT_FAILURES);
    expect_status(b, LATHE_JOB_FAILED, NULL);
    assert_int_equal(objects(b, "transcoded/job-1/output_"), 0);
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
    struct bench *b = open_bench(state, "chunk:*:long");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, b->cancel), 0);
    struct lathe_error err = {0};
    int64_t begin_us = lathe_clock_monotonic_us();
    assert_int_equal(run_job(b, &err), -ECANCELED);
    pthread_join(thread, NULL);
    assert_int_equal(lathe_error_exit_code(&err), 130);
    assert_true(lathe_clock_monotonic_us() - begin_us < 5000000);
    expect_status(b, LATHE_JOB_TRANSCODING, NULL);
    /* the leases are back: somebody else gets a chunk at once, on its first attempt */
    struct lathe_claim claim;
    enum lathe_verdict verdict;
    assert_int_equal(lathe_state_claim_next(lathe_agent_flow(b->agent)->state, NULL, "other", 1000,
                                            &verdict, &claim, NULL),
                     0);
    assert_int_equal(verdict, LATHE_GRANTED);
    assert_int_equal(claim.what.kind, LATHE_UNIT_CHUNK);
}

static void finished_units_are_adopted(void **state)
{
    struct bench *b = open_bench(state, "chunk:3:input");
    assert_int_equal(run_job(b, NULL), -EBADMSG);
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
    assert_int_equal(logged(b, "split 0"), 1); /* the stored plan was taken */
    assert_int_equal(lathe_flow_adopt(flow, "job-1", done, count, NULL), (int)count - 1);
    lathe_done_free(done, count);

    struct lathe_done *now = NULL;
    size_t now_count = 0;
    assert_int_equal(
        lathe_state_results(flow->state, "job-1", 0, LATHE_UNITS_MAX, &now, &now_count, NULL), 0);
    assert_int_equal(now_count, count - 1);
    lathe_done_free(now, now_count);
}

/* The fake GPU's job: the result, with the number of chunks by each step. */
static json_t *run_on_gpu(void **state, const char *faults, enum lathe_mix mix, int *ret_on_gpu)
{
    setenv("LATHE_HARDWARE_CACHE", "", 1);
    setenv("LATHE_STALL_SECONDS", "2", 1);
    struct bench *b = open_bench_on(state, faults, true);
    b->job.mix = mix;
    struct lathe_error err = {0};
    int r = run_job(b, &err);
    unsetenv("LATHE_STALL_SECONDS");
    if (r < 0)
        fail_msg("%s", err.what);
    json_t *result = NULL, *chunk;
    size_t i;
    expect_status(b, LATHE_JOB_COMPLETED, &result);
    expect_output(b, "transcoded/job-1/output_240p.mp4", "[chunk 0 ");
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
    assert_int_equal(logged(*state, "merge 0"), 1); /* nothing was joined in vain */
    json_decref(result);
}

static int setup(void **state)
{
    lathe_metrics_reset();
    struct bench *b = calloc(1, sizeof *b);
    b->folder = strdup("/tmp/lathe-unit-flow-XXXXXX");
    *state = b;
    return !mkdtemp(b->folder) || lathe_cancel_create(&b->cancel) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    lathe_agent_close(b->agent);
    lathe_job_finish(&b->job);
    lathe_cancel_destroy(b->cancel);
    int r = lathe_remove_tree(b->folder, NULL);
    free(b->folder);
    free(b);
    return r;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    fake_slot = argv[1];
    const struct CMUnitTest tests[] = {
        TEST(whole_job),
        TEST(figures_are_looked_up),
        TEST(faults_are_survived),
        TEST(claims_read_each_result_once),
        TEST(retries_are_bounded),
        TEST(bad_input_is_not_retried),
        TEST(split_failure_ends_the_job),
        TEST(seam_mismatch_is_replanned),
        TEST(second_plan_is_the_last),
        TEST(replan_outlives_the_state),
        TEST(cancelled_work_is_stopped),
        TEST(results_of_another_plan_are_not_adopted),
        TEST(damaged_chunk_is_redone),
        TEST(chunk_that_never_merges_is_bounded),
        TEST(miscounted_merge_is_refused),
        TEST(interruption_gives_back),
        TEST(finished_units_are_adopted),
        TEST(gpu_does_all),
        TEST(gpu_failures_cost_the_chunk_nothing),
        TEST(gpu_that_hangs_is_left_alone),
        TEST(odd_chunks_are_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
