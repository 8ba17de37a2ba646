/* SPDX-License-Identifier: MIT */
/*
 * What people do to a job (cancel, retry, rm) on the embedded drivers, without anybody who works:
 * what the state says afterwards, and what is left in the store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/flow.h"

#define JOB "job-1"

struct bench {
    char folder[64];
    struct lathe_flow flow;
};

static char *inside(const struct bench *b, const char *name)
{
    char *path = lathe_format("%s/%s", b->folder, name);
    assert_non_null(path);
    return path;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    snprintf(b->folder, sizeof b->folder, "/tmp/lathe-control-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    _cleanup_free_ char *queue = inside(b, "queue.db"), *db = inside(b, "state.db");
    _cleanup_free_ char *store = inside(b, "store");
    b->flow.scratch_dir = b->folder;
    assert_int_equal(lathe_queue_open("sqlite", queue, &b->flow.queue, NULL), 0);
    assert_int_equal(lathe_state_open("sqlite", db, &b->flow.state, NULL), 0);
    assert_int_equal(lathe_store_open("dir", store, &b->flow.store, NULL), 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    lathe_queue_close(b->flow.queue);
    lathe_state_close(b->flow.state);
    lathe_store_close(b->flow.store);
    assert_int_equal(lathe_remove_tree(b->folder, NULL), 0);
    free(b);
    return 0;
}

static void put(struct bench *b, const char *key)
{
    _cleanup_free_ char *path = inside(b, "object");
    assert_int_equal(lathe_write_file_atomic(path, "x", 1, NULL), 0);
    assert_int_equal(lathe_store_put(b->flow.store, key, path, NULL, 0, NULL, NULL), 0);
}

static bool exists(struct bench *b, const char *key)
{
    struct lathe_store_meta meta;
    return lathe_store_stat(b->flow.store, key, &meta, NULL) == 0;
}

/* The member `name` of the job's record in the store, or "" where there is none. */
static void recorded(struct bench *b, const char *name, char ret[64])
{
    _cleanup_free_ char *path = NULL;
    assert_int_equal(lathe_store_local_path(b->flow.store, "jobs/" JOB ".json", &path, NULL), 0);
    json_t *json = json_load_file(path, 0, NULL);
    const char *text = json_string_value(json_object_get(json, name));
    snprintf(ret, 64, "%s", text ? text : "");
    json_decref(json);
}

/* A job of one chunk, with all kinds of objects of it and of others. */
static void make_job(struct bench *b)
{
    struct lathe_job job;
    lathe_job_init(&job);
    strcpy(job.id, JOB);
    job.source_key = strdup("raw/" JOB ".mkv");
    assert_int_equal(lathe_job_add_rendition(&job, "240p", NULL), 0);
    assert_int_equal(lathe_job_validate(&job, NULL), 0);
    assert_int_equal(lathe_flow_submit(&b->flow, &job, NULL), 0);
    lathe_job_finish(&job);
    uint64_t fence;
    int wait_ms;
    enum lathe_verdict verdict;
    const struct lathe_unit units[] = {{.kind = LATHE_UNIT_AUDIO}, {.kind = LATHE_UNIT_CHUNK}};
    assert_int_equal(
        lathe_state_claim_split(b->flow.state, JOB, "me", 60000, &verdict, &fence, &wait_ms, NULL),
        0);
    assert_int_equal(lathe_state_set_units(b->flow.state, JOB, fence, units, 2, &verdict, NULL), 0);
    put(b, "raw/" JOB ".mkv");
    put(b, "raw/" JOB "-other.mkv");
    put(b, "chunks/" JOB "/plan.json");
    put(b, "transcoded/" JOB "/240p/chunk_000.4294967298.mp4");
    put(b, "transcoded/" JOB "-other/output_240p.mp4");
}

static struct lathe_claim claim(struct bench *b, uint32_t unit)
{
    struct lathe_claim c = {0};
    enum lathe_verdict verdict = LATHE_GONE;
    assert_int_equal(
        lathe_state_claim(b->flow.state, JOB, unit, "me", 60000, &verdict, &c, NULL, NULL), 0);
    assert_int_equal(verdict, LATHE_GRANTED);
    return c;
}

static void expect_status(struct bench *b, enum lathe_job_status status, uint32_t units_done)
{
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(b->flow.state, JOB, &view, NULL), 0);
    assert_string_equal(lathe_job_status_name(view.status), lathe_job_status_name(status));
    assert_int_equal(view.completed_units, units_done);
    lathe_job_view_clear(&view);
}

static void drain_bells(struct bench *b, int expected)
{
    struct lathe_message message;
    int n = 0;
    for (; lathe_queue_take(b->flow.queue, LATHE_TOPIC_JOBS, 0, &message, NULL, NULL) == 1; n++) {
        assert_int_equal(lathe_queue_done(b->flow.queue, &message, NULL), 0);
        lathe_message_clear(&message);
    }
    assert_int_equal(n, expected);
}

static void cancel_leaves_the_source(void **state)
{
    struct bench *b = *state;
    struct lathe_error err = {0};
    char text[64];
    assert_int_equal(lathe_flow_cancel(&b->flow, JOB, "by a test", &err), -ENOENT);
    make_job(b);
    struct lathe_claim c = claim(b, 1);
    assert_int_equal(lathe_flow_cancel(&b->flow, JOB, "by a test", &err), 0);
    expect_status(b, LATHE_JOB_CANCELLED, 0);
    enum lathe_verdict verdict = LATHE_GRANTED;
    assert_int_equal(lathe_state_renew(b->flow.state, JOB, 1, c.fence, 60000, &verdict, NULL), 0);
    assert_int_equal(verdict, LATHE_GONE);
    assert_false(exists(b, "chunks/" JOB "/plan.json"));
    assert_false(exists(b, "transcoded/" JOB "/240p/chunk_000.4294967298.mp4"));
    assert_true(exists(b, "raw/" JOB ".mkv"));
    assert_true(exists(b, "transcoded/" JOB "-other/output_240p.mp4"));
    recorded(b, "status", text); /* so that nobody builds it anew from the store */
    assert_string_equal(text, "cancelled");
    recorded(b, "error", text);
    assert_string_equal(text, "by a test");

    /* What a slow worker stored after that goes with the repeat. */
    put(b, "transcoded/" JOB "/240p/chunk_001.4294967299.mp4");
    assert_int_equal(lathe_flow_cancel(&b->flow, JOB, "again", &err), 0);
    assert_false(exists(b, "transcoded/" JOB "/240p/chunk_001.4294967299.mp4"));
    recorded(b, "error", text);
    assert_string_equal(text, "by a test");
}

static void retry_keeps_what_is_done(void **state)
{
    struct bench *b = *state;
    struct lathe_error err = {0};
    char text[64];
    enum lathe_verdict verdict;
    make_job(b);
    drain_bells(b, 1);
    assert_int_equal(lathe_flow_retry(&b->flow, JOB, false, &err), -EBUSY);
    struct lathe_claim c = claim(b, 0);
    assert_int_equal(lathe_state_complete(b->flow.state, JOB, 0, c.fence, "{}", &verdict, NULL), 0);
    c = claim(b, 1);
    assert_int_equal(
        lathe_state_attempt_failed(b->flow.state, JOB, 1, c.fence, true, "poison", &verdict, NULL),
        0);
    expect_status(b, LATHE_JOB_FAILED, 1);
    assert_int_equal(lathe_flow_cancel(&b->flow, JOB, "", &err), -EALREADY);
    assert_true(exists(b, "chunks/" JOB "/plan.json"));
    assert_int_equal(lathe_flow_retry(&b->flow, JOB, false, &err), 0);
    expect_status(b, LATHE_JOB_TRANSCODING, 1);
    recorded(b, "status", text); /* open again, also for who rebuilds from the store */
    assert_string_equal(text, "");
    drain_bells(b, 1);

    /* All of it, and after a cancel there is nothing to keep. */
    assert_int_equal(lathe_state_finish(b->flow.state, JOB, LATHE_JOB_FAILED, "", &verdict, NULL),
                     0);
    assert_int_equal(lathe_flow_retry(&b->flow, JOB, true, &err), 0);
    expect_status(b, LATHE_JOB_QUEUED, 0);
    assert_int_equal(lathe_flow_cancel(&b->flow, JOB, "", &err), 0);
    assert_int_equal(lathe_flow_retry(&b->flow, JOB, false, &err), 0);
    expect_status(b, LATHE_JOB_QUEUED, 0);
    assert_int_equal(lathe_flow_retry(&b->flow, "unknown", false, &err), -ENOENT);
    assert_non_null(strstr(err.hint, "lathe list"));
}

static void forget_leaves_nothing(void **state)
{
    struct bench *b = *state;
    struct lathe_error err = {0};
    make_job(b);
    assert_int_equal(lathe_flow_forget(&b->flow, JOB, &err), -EBUSY);
    assert_true(exists(b, "raw/" JOB ".mkv"));
    assert_int_equal(lathe_flow_cancel(&b->flow, JOB, "", &err), 0);
    assert_int_equal(lathe_flow_forget(&b->flow, JOB, &err), 0);
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(b->flow.state, JOB, &view, NULL), -ENOENT);
    assert_false(exists(b, "raw/" JOB ".mkv"));
    assert_false(exists(b, "jobs/" JOB ".json"));
    assert_true(exists(b, "raw/" JOB "-other.mkv"));
    assert_true(exists(b, "transcoded/" JOB "-other/output_240p.mp4"));
    assert_int_equal(lathe_flow_forget(&b->flow, JOB, &err), -ENOENT);

    /* The state forgets ended jobs by itself; their objects can still be removed. */
    put(b, "jobs/" JOB ".json");
    put(b, "transcoded/" JOB "/output_240p.mp4");
    assert_int_equal(lathe_flow_forget(&b->flow, JOB, &err), 0);
    assert_false(exists(b, "transcoded/" JOB "/output_240p.mp4"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(cancel_leaves_the_source),
        TEST(retry_keeps_what_is_done),
        TEST(forget_leaves_nothing),
    };
    return cmocka_run_group_tests_name("flow control", tests, NULL, NULL);
}
