/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "flow_bench.h"
#include "lathe/base.h"
#include "lathe/metrics.h"

const char *fake_slot;

char *bench_path(const struct bench *b, const char *name)
{
    char *path = lathe_format("%s/%s", b->folder, name);
    assert_non_null(path);
    return path;
}

void bench_open_agent(struct bench *b, const char *faults, const struct lathe_agent_options *wishes)
{
    setenv("LATHE_SLOT_FAKE", faults, 1);
    setenv("LATHE_SLOT_FAKE_DIR", b->folder, 1);
    _cleanup_free_ char *queue = bench_path(b, "queue.db"), *db = bench_path(b, "state.db");
    _cleanup_free_ char *store = bench_path(b, "store"), *tmp = bench_path(b, "tmp");
    struct lathe_agent_options options = *wishes;
    options.queue_driver = options.state_driver = "sqlite";
    options.queue_location = queue;
    options.state_location = db;
    options.store_driver = "dir";
    options.store_location = store;
    options.scratch_dir = tmp;
    options.slot_path = fake_slot;
    options.slots = 3;
    options.only_host = true;
    options.cancel = b->cancel;
    struct lathe_error err = {0};
    lathe_agent_close(b->agent);
    if (lathe_agent_open(&options, &b->agent, &err) < 0)
        fail_msg("%s", err.what);
}

void bench_make_job(struct bench *b)
{
    lathe_job_init(&b->job);
    strcpy(b->job.id, "job-1");
    b->job.source_key = strdup("/source.mp4");
    b->job.source_is_local = true;
    assert_int_equal(lathe_job_add_rendition(&b->job, "240p", NULL), 0);
}

struct bench *bench_open(void **state, const char *faults, bool gpus)
{
    struct bench *b = *state;
    bench_open_agent(b, faults, &(struct lathe_agent_options){.gpus = gpus, .lease_ttl_ms = 600});
    bench_make_job(b);
    assert_int_equal(lathe_job_add_rendition(&b->job, "120p", NULL), 0);
    assert_int_equal(lathe_job_validate(&b->job, NULL), 0);
    return b;
}

int bench_run(struct bench *b, struct lathe_error *err)
{
    assert_int_equal(lathe_flow_submit(lathe_agent_flow(b->agent), &b->job, NULL), 0);
    return lathe_agent_run(b->agent, b->job.id, NULL, NULL, err);
}

int bench_orders(struct bench *b, const char *line)
{
    _cleanup_free_ char *path = bench_path(b, "log"), *text = NULL;
    size_t size;
    if (lathe_read_file(path, 1 << 20, &text, &size, NULL) < 0)
        return 0;
    int n = 0;
    char *save = NULL;
    for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save))
        n += strcmp(at, line) == 0;
    return n;
}

void bench_expect_status(struct bench *b, enum lathe_job_status status, json_t **ret_result)
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

int bench_objects(struct bench *b, const char *prefix)
{
    int n = 0;
    assert_int_equal(
        lathe_store_list(lathe_agent_flow(b->agent)->store, prefix, count_object, &n, NULL), 0);
    return n;
}

void bench_expect_output(struct bench *b, const char *key, const char *begin)
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

int bench_setup(void **state)
{
    lathe_metrics_reset();
    struct bench *b = calloc(1, sizeof *b);
    b->folder = strdup("/tmp/lathe-unit-flow-XXXXXX");
    *state = b;
    return !mkdtemp(b->folder) || lathe_cancel_create(&b->cancel) < 0 ? -1 : 0;
}

int bench_teardown(void **state)
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
