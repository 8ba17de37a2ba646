/* SPDX-License-Identifier: MIT */
/*
 * Resuming. However the earlier run ended (interrupted, killed, failed), the job begins anew and
 * takes over the finished units whose objects are whole: no lease has to run out, no failure is
 * held against it. The list of them is saved first, so that a death in between loses none.
 */
#include "resume.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"

#define SAVED_MAX_BYTES (1u << 30)

static char *saved_path(const struct lathe_scratch *scratch)
{
    return lathe_format("%s/resume.json", scratch->dir);
}

static int save(const char *path, const char *job_id, const struct lathe_done *done, size_t count,
                struct lathe_error *err)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = json_array_append_new(
                 list, json_pack("{s:I, s:i, s:I, s:s}", "unit", (json_int_t)done[i].unit, "kind",
                                 (int)done[i].what.kind, "index", (json_int_t)done[i].what.index,
                                 "result", done[i].result)) == 0;
    json_t *json = ok ? json_pack("{s:s, s:O}", "job", job_id, "done", list) : NULL;
    _cleanup_free_ char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    json_decref(list);
    return text ? lathe_write_file_atomic(path, text, strlen(text), err) : lathe_error_nomem(err);
}

/* What a run that died while it was resuming had saved; nothing when there is no such file. */
static int load(const char *path, const char *job_id, struct lathe_done **ret, size_t *ret_count,
                struct lathe_error *err)
{
    *ret = NULL;
    *ret_count = 0;
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    if (access(path, F_OK) < 0)
        return 0;
    int r = lathe_read_file(path, SAVED_MAX_BYTES, &text, &size, err);
    if (r < 0)
        return r;
    json_t *json = json_loadb(text, size, 0, NULL);
    const char *of = json_string_value(json_object_get(json, "job"));
    const json_t *list = json_object_get(json, "done");
    size_t count = of && strcmp(of, job_id) == 0 ? json_array_size(list) : 0;
    struct lathe_done *done = count ? calloc(count, sizeof *done) : NULL;
    if (count && !done) {
        json_decref(json);
        return lathe_error_nomem(err);
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(list, i);
        const char *result = json_string_value(json_object_get(one, "result"));
        done[n].unit = (uint32_t)json_integer_value(json_object_get(one, "unit"));
        done[n].what.kind = (enum lathe_unit_kind)json_integer_value(json_object_get(one, "kind"));
        done[n].what.index = (uint32_t)json_integer_value(json_object_get(one, "index"));
        done[n].result = result ? strdup(result) : NULL;
        n += done[n].result != NULL;
    }
    json_decref(json);
    *ret = done;
    *ret_count = n;
    return 0;
}

/* Finished units of the job as the state knows them, or (more of them) as they were saved. */
static int earlier_results(struct lathe_flow *flow, const char *path, const char *job_id,
                           struct lathe_done **ret, size_t *ret_count, struct lathe_error *err)
{
    int r = load(path, job_id, ret, ret_count, err);
    if (r < 0)
        return r;
    struct lathe_job_view view = {0};
    struct lathe_error why = {0};
    r = lathe_state_get(flow->state, job_id, &view, &why);
    lathe_job_view_clear(&view);
    if (r == -ENOENT)
        return 0;
    struct lathe_done *done = NULL;
    size_t count = 0;
    if (r == 0)
        r = lathe_state_results(flow->state, job_id, 0, LATHE_UNITS_MAX, &done, &count, &why);
    if (r < 0) {
        if (err)
            *err = why;
        lathe_done_free(*ret, *ret_count);
        return r;
    }
    if (count > *ret_count) {
        lathe_done_free(*ret, *ret_count);
        *ret = done;
        *ret_count = count;
    } else {
        lathe_done_free(done, count);
    }
    return 0;
}

int lathe_cli_begin(struct lathe_agent *agent, const struct lathe_scratch *scratch,
                    const struct lathe_job *job, struct lathe_error *err)
{
    struct lathe_flow *flow = lathe_agent_flow(agent);
    if (!scratch->keep)
        return lathe_flow_submit(flow, job, err);

    _cleanup_free_ char *path = saved_path(scratch);
    if (!path)
        return lathe_error_nomem(err);
    struct lathe_done *done = NULL;
    size_t count = 0;
    int r = earlier_results(flow, path, job->id, &done, &count, err);
    if (r < 0)
        return r;
    if (count > 0)
        r = save(path, job->id, done, count, err);
    if (r == 0)
        r = lathe_state_remove(flow->state, job->id, err);
    if (r == 0)
        r = lathe_flow_submit(flow, job, err);
    if (r == 0 && count > 0) {
        r = lathe_flow_split(flow, job->id, err);
        if (r >= 0)
            r = lathe_flow_adopt(flow, job->id, done, count, err);
    }
    if (r >= 0) {
        unlink(path);
        r = 0;
    }
    lathe_done_free(done, count);
    return r;
}
