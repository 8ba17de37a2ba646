/* SPDX-License-Identifier: MIT */
/*
 * What people may ask of the worker. Nothing that they say is a path or a key: jobs get their ids
 * here, sources and results are descriptors.
 */
#include "door.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"
#include "lathe/log.h"
#include "lathe/metrics.h"

#define LISTED_MAX 200
#define EXTENSION_MAX 8

static int refuse(struct lathe_error *err, int code, const char *what)
{
    return lathe_error_set(err, code, LATHE_FAULT_INPUT, "%s", what);
}

/* --- submit --- */

/* "mkv" of "Film.MKV"; what is none is "bin", since the name says nothing to Lathe. */
static void extension_of(const char *name, char ret[EXTENSION_MAX + 1])
{
    const char *dot = name ? strrchr(name, '.') : NULL;
    size_t n = dot ? strlen(dot + 1) : 0;
    strcpy(ret, "bin");
    if (n < 1 || n > EXTENSION_MAX)
        return;
    char lower[EXTENSION_MAX + 1] = "";
    for (size_t i = 0; i < n; i++) {
        char c = dot[1 + i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return;
        lower[i] = c;
    }
    strcpy(ret, lower);
}

static int check_source(int fd, struct lathe_error *err)
{
    struct stat st;
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) < 0)
        return refuse(err, -EBADF, "the request comes without the source's descriptor");
    if (!S_ISREG(st.st_mode))
        return refuse(err, -EINVAL, "the source is not a regular file");
    if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH))
        return refuse(err, -EACCES, "the source is not open for reading");
    if (st.st_size == 0)
        return refuse(err, -EINVAL, "the source is empty");
    return 0;
}

/* The worker's own copy, which it can read after a restart. */
static int keep_source(struct lathe_flow *flow, struct lathe_cancel *stop, int fd,
                       const struct lathe_job *job, struct lathe_error *err)
{
    _cleanup_free_ char *path = lathe_format("%s/door-%s", flow->scratch_dir, job->id);
    if (!path)
        return lathe_error_nomem(err);
    _cleanup_close_ int copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (copy < 0)
        return lathe_error_errno(err, -errno, "cannot copy the source");
    int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : lathe_copy_data(fd, copy, stop);
    if (r < 0)
        lathe_error_errno(err, r, "cannot copy the source");
    else
        r = lathe_store_put(flow->store, job->source_key, path, NULL, LATHE_STORE_MOVE, stop, err);
    unlink(path); /* moved, or of no use */
    return r;
}

static int read_job(const json_t *json, const char *name, struct lathe_job *ret,
                    struct lathe_error *err)
{
    char id[37], extension[EXTENSION_MAX + 1];
    int r = lathe_uuid7(id);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "no random numbers");
    extension_of(name, extension);
    json_t *own = json_is_object(json) ? json_copy((json_t *)json) : NULL;
    if (!own || json_object_set_new(own, "job_id", json_string(id)) < 0) {
        json_decref(own);
        return refuse(err, -EINVAL, "the request comes without a job");
    }
    r = lathe_job_from_json(own, ret, err);
    json_decref(own);
    if (r < 0)
        return r;
    strcpy(ret->id, id); /* whatever other name the record may have for it */
    free(ret->source_key);
    ret->source_key = lathe_format("raw/%s.%s", id, extension);
    ret->source_is_local = false;
    if (!ret->source_key || (name && *name && lathe_job_name_source(ret, name) < 0))
        r = lathe_error_nomem(err);
    if (r == 0)
        r = lathe_job_validate(ret, err);
    if (r < 0)
        lathe_job_finish(ret);
    return r;
}

static int submit(struct lathe_flow *flow, struct lathe_cancel *stop,
                  const struct lathe_door_peer *peer, const json_t *request, int fd, json_t **ret,
                  struct lathe_error *err)
{
    struct lathe_job job;
    const char *name = json_string_value(json_object_get(request, "name"));
    int r = check_source(fd, err);
    if (r < 0)
        return r;
    lathe_job_init(&job);
    r = read_job(json_object_get(request, "job"), name, &job, err);
    if (r < 0)
        return r;
    r = keep_source(flow, stop, fd, &job, err);
    if (r == 0 && (r = lathe_flow_submit(flow, &job, err)) < 0)
        (void)lathe_store_remove(flow->store, job.source_key, NULL);
    if (r == 0) {
        lathe_metrics_add(LATHE_METRIC_JOBS_SUBMITTED, NULL, 1);
        const struct lathe_log_fields fields = {.job = job.id, .chunk = -1, .attempt = -1};
        lathe_log_event(LATHE_LOG_INFO, &fields, "accepted from user %u", (unsigned)peer->uid);
        *ret = json_pack("{s:s}", "id", job.id);
    }
    lathe_job_finish(&job);
    return r;
}

/* --- the others --- */

static json_t *json_or_null(const char *text)
{
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    return json ? json : json_null();
}

static json_t *describe(const struct lathe_job_view *view, bool with_result)
{
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:s?}", "id", view->id, "status",
        lathe_job_status_name(view->status), "priority", view->priority, "total_chunks",
        (json_int_t)view->total_chunks, "completed_chunks", (json_int_t)view->completed_chunks,
        "created_us", (json_int_t)view->created_us, "updated_us", (json_int_t)view->updated_us,
        "finished_us", (json_int_t)view->finished_us, "error", view->error);
    if (json && with_result)
        (void)json_object_set_new(json, "result", json_or_null(view->result));
    return json;
}

/* The whole result would not fit into a packet when a job has thousands of chunks: they stay. */
static void drop_chunks(json_t *job)
{
    json_t *result = json_object_get(job, "result");
    if (json_is_object(result)) {
        (void)json_object_del(result, "chunks");
        (void)json_object_del(result, "fallbacks");
    }
}

static int status(struct lathe_flow *flow, const char *id, json_t **ret, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(flow->state, id, &view, err);
    if (r < 0)
        return r;
    json_t *job = describe(&view, true);
    lathe_job_view_clear(&view);
    drop_chunks(job);
    *ret = job ? json_pack("{s:o}", "job", job) : NULL;
    return 0;
}

static int list(struct lathe_flow *flow, json_t **ret, struct lathe_error *err)
{
    struct lathe_job_view *views = NULL;
    size_t count = 0;
    uint64_t cursor = 0;
    int r =
        lathe_state_list(flow->state, LATHE_JOBS_ALL, 0, LISTED_MAX, &views, &count, &cursor, err);
    if (r < 0)
        return r;
    json_t *jobs = json_array();
    for (size_t i = 0; jobs && i < count; i++)
        (void)json_array_append_new(jobs, describe(&views[i], false));
    lathe_job_views_free(views, count);
    *ret = jobs ? json_pack("{s:o}", "jobs", jobs) : NULL;
    return 0;
}

static int cancel(struct lathe_flow *flow, const struct lathe_door_peer *peer, const char *id,
                  struct lathe_error *err)
{
    char reason[64];
    snprintf(reason, sizeof reason, "cancelled by user %u", (unsigned)peer->uid);
    int r = lathe_flow_cancel(flow, id, reason, err);
    const struct lathe_log_fields fields = {.job = id, .chunk = -1, .attempt = -1};
    if (r == 0)
        lathe_log_event(LATHE_LOG_INFO, &fields, "%s", reason);
    return r;
}

static int open_result(struct lathe_flow *flow, struct lathe_cancel *stop, const char *key,
                       int *ret_fd, struct lathe_error *err)
{
    _cleanup_free_ char *path = NULL;
    bool is_copy = false;
    int r = lathe_store_local_path(flow->store, key, &path, err);
    if (r == -EOPNOTSUPP) {
        char unique[37];
        r = lathe_uuid7(unique);
        path = r == 0 ? lathe_format("%s/door-%s", flow->scratch_dir, unique) : NULL;
        is_copy = path != NULL;
        r = path ? lathe_store_get(flow->store, key, path, stop, err) : lathe_error_nomem(err);
    }
    if (r == 0) {
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (*ret_fd < 0)
            r = lathe_error_errno(err, -errno, "cannot open the result");
    }
    if (is_copy)
        unlink(path);
    return r;
}

static int fetch(struct lathe_flow *flow, struct lathe_cancel *stop, const char *id,
                 const char *rendition, json_t **ret, int *ret_fd, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    struct stat st;
    int r = lathe_state_get(flow->state, id, &view, err);
    enum lathe_job_status found = view.status;
    lathe_job_view_clear(&view);
    if (r < 0)
        return r;
    if (found != LATHE_JOB_COMPLETED)
        return lathe_error_set(err, -EAGAIN, LATHE_FAULT_INPUT, "job %s is %s: it has no result",
                               id, lathe_job_status_name(found));
    if (!rendition || !*rendition || strlen(rendition) > LATHE_NAME_MAX ||
        strspn(rendition, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(rendition))
        return refuse(err, -EINVAL, "the request names no rendition");
    _cleanup_free_ char *key = lathe_key_output(id, rendition);
    r = key ? open_result(flow, stop, key, ret_fd, err) : lathe_error_nomem(err);
    if (r == 0 && fstat(*ret_fd, &st) < 0)
        r = lathe_error_errno(err, -errno, "cannot open the result");
    if (r == 0)
        *ret = json_pack("{s:I}", "bytes", (json_int_t)st.st_size);
    return r;
}

int lathe_door_answer(struct lathe_flow *flow, struct lathe_cancel *stop,
                      const struct lathe_door_peer *peer, const json_t *request, int passed_fd,
                      json_t **ret, int *ret_fd, struct lathe_error *err)
{
    const char *what = json_string_value(json_object_get(request, "request"));
    const char *id = json_string_value(json_object_get(request, "id"));
    *ret = NULL;
    *ret_fd = -1;
    if (!what || json_integer_value(json_object_get(request, "v")) != 1)
        return refuse(err, -EPROTO, "this worker does not understand the request");
    int r;
    if (strcmp(what, "submit") == 0)
        r = submit(flow, stop, peer, request, passed_fd, ret, err);
    else if (strcmp(what, "list") == 0)
        r = list(flow, ret, err);
    else if (!id || !lathe_job_id_is_valid(id))
        r = refuse(err, -EINVAL, "the request names no job");
    else if (strcmp(what, "status") == 0)
        r = status(flow, id, ret, err);
    else if (strcmp(what, "cancel") == 0)
        r = cancel(flow, peer, id, err);
    else if (strcmp(what, "retry") == 0)
        r = lathe_flow_retry(flow, id, json_is_true(json_object_get(request, "from_start")), err);
    else if (strcmp(what, "fetch") == 0)
        r = fetch(flow, stop, id, json_string_value(json_object_get(request, "rendition")), ret,
                  ret_fd, err);
    else if (strcmp(what, "remove") == 0)
        r = lathe_flow_forget(flow, id, err);
    else
        r = refuse(err, -EPROTO, "this worker does not understand the request");
    if (r == 0 && !*ret)
        *ret = json_object(); /* done, and that is all */
    return r == 0 && !*ret ? lathe_error_nomem(err) : r;
}
