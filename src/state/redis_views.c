/* SPDX-License-Identifier: MIT */
/*
 * What people are shown of jobs and units, and who of the workers is alive, from a Redis server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "redis_call.h"

/* Of a job's hash, in the order in which they are asked for; a list leaves the last one out. */
enum view_field {
    V_EPOCH,
    V_STATUS,
    V_PRIORITY,
    V_TOTAL_CHUNKS,
    V_COMPLETED_CHUNKS,
    V_TOTAL_UNITS,
    V_COMPLETED_UNITS,
    V_UNSTORED_UNITS,
    V_CREATED_US,
    V_UPDATED_US,
    V_FINISHED_US,
    V_VERSION,
    V_ERROR,
    V_RECORD,
    V_REPLAN,
    V_RESULT,
};
#define LIST_FIELDS                                                                                \
    "epoch", "status", "priority", "total_chunks", "completed_chunks", "total_units",              \
        "completed_units", "unstored_units", "created_us", "updated_us", "finished_us", "v",       \
        "error", "record", "replan"
#define LIST_TYPES "sssssssssssssss"

/* See units.lua. */
enum unit_field {
    U_UNIT,
    U_WHAT,
    U_NEEDS_OBJECT = U_WHAT + 4,
    U_STATE,
    U_FAILURES,
    U_DEATHS,
    U_OWNER,
    U_SINCE_US,
    U_LEFT_MS,
    U_ERROR,
    U_RESULT,
};

static int status_from(const char *name, enum lathe_job_status *ret)
{
    for (int i = 0; name && i <= LATHE_JOB_CANCELLED; i++) {
        if (strcmp(name, lathe_job_status_name((enum lathe_job_status)i)))
            continue;
        *ret = (enum lathe_job_status)i;
        return 0;
    }
    return -EBADMSG;
}

static int read_view(const redisReply *reply, const char *job_id, struct lathe_job_view *ret,
                     struct lathe_error *err)
{
    const char *version = redis_text_at(reply, V_VERSION);
    if (!version || strcmp(version, "1"))
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_CONFIG,
                               "the state of job %s has format %s, this version of Lathe uses 1",
                               job_id, version ? version : "unknown");
    if (status_from(redis_text_at(reply, V_STATUS), &ret->status) < 0)
        return redis_malformed(err);
    snprintf(ret->id, sizeof(ret->id), "%s", job_id);
    ret->epoch = (uint32_t)redis_number_at(reply, V_EPOCH);
    ret->priority = (int)redis_number_at(reply, V_PRIORITY);
    ret->total_chunks = (uint32_t)redis_number_at(reply, V_TOTAL_CHUNKS);
    ret->completed_chunks = (uint32_t)redis_number_at(reply, V_COMPLETED_CHUNKS);
    ret->total_units = (uint32_t)redis_number_at(reply, V_TOTAL_UNITS);
    ret->completed_units = (uint32_t)redis_number_at(reply, V_COMPLETED_UNITS);
    ret->unstored_units = (uint32_t)redis_number_at(reply, V_UNSTORED_UNITS);
    ret->created_us = redis_number_at(reply, V_CREATED_US);
    ret->updated_us = redis_number_at(reply, V_UPDATED_US);
    ret->finished_us = redis_number_at(reply, V_FINISHED_US);
    char **const texts[] = {&ret->error, &ret->record, &ret->replan, &ret->result};
    int r = 0;
    for (size_t i = 0; r == 0 && i < LATHE_COUNT(texts); i++)
        r = redis_copy_at(reply, V_ERROR + i, texts[i], err);
    return r;
}

static int no_such_job(const char *job_id, struct lathe_error *err)
{
    return lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "there is no job %s", job_id);
}

int redis_announced(void *priv, const char *job_id, uint32_t *ret, struct lathe_error *err)
{
    char key[LATHE_ID_MAX + 8];
    snprintf(key, sizeof(key), "job:%s", job_id);
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_NONE, &reply, err, "sssss", "HMGET", key, "epoch", "status",
                      "total_chunks");
    if (r < 0)
        return r;
    if (redis_text_at(reply, 0) || !(redis_text_at(reply, 1) || redis_text_at(reply, 2)))
        return no_such_job(job_id, err);
    int64_t chunks = redis_number_at(reply, 2);
    *ret = chunks > 0 && chunks <= LATHE_UNITS_MAX ? (uint32_t)chunks : 0;
    return 0;
}

int redis_get(void *priv, const char *job_id, struct lathe_job_view *ret, struct lathe_error *err)
{
    char key[LATHE_ID_MAX + 8];
    snprintf(key, sizeof(key), "job:%s", job_id);
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_NONE, &reply, err, "ss" LIST_TYPES "s", "HMGET", key,
                      LIST_FIELDS, "result");
    if (r < 0)
        return r;
    return redis_text_at(reply, V_EPOCH) ? read_view(reply, job_id, ret, err)
                                         : no_such_job(job_id, err);
}

int redis_list(void *priv, enum lathe_job_filter filter, uint64_t cursor, uint32_t limit,
               struct lathe_job_view **ret, size_t *ret_count, uint64_t *ret_cursor,
               struct lathe_error *err)
{
    static const char *const filters[] = {"all", "open", "ended"};
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_list, &reply, err, "ssii" LIST_TYPES, "", filters[filter],
                      (int64_t)cursor, (int64_t)limit, LIST_FIELDS);
    if (r < 0)
        return r;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 == 0)
        return redis_malformed(err);
    size_t count = reply->elements / 2;
    *ret = calloc(count + 1, sizeof(**ret));
    if (!*ret)
        return lathe_error_nomem(err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        const char *id = redis_text_at(reply, 1 + 2 * i);
        if (!id || strlen(id) > LATHE_ID_MAX)
            return redis_malformed(err);
        r = read_view(reply->element[2 + 2 * i], id, &(*ret)[(*ret_count)++], err);
    }
    *ret_cursor = (uint64_t)redis_number_at(reply, 0);
    return r;
}

static int read_unit_view(const redisReply *reply, struct lathe_unit_view *ret,
                          struct lathe_error *err)
{
    const char *unit = redis_text_at(reply, U_UNIT);
    if (!unit)
        return redis_malformed(err);
    ret->unit = strcmp(unit, "split") == 0   ? LATHE_UNIT_SPLIT
                : strcmp(unit, "merge") == 0 ? LATHE_UNIT_MERGE
                                             : (uint32_t)redis_number_at(reply, U_UNIT);
    ret->what = redis_unit_at(reply, U_WHAT);
    ret->what.needs_object = redis_number_at(reply, U_NEEDS_OBJECT) != 0;
    ret->state = (enum lathe_unit_state)redis_number_at(reply, U_STATE);
    ret->failures = (uint32_t)redis_number_at(reply, U_FAILURES);
    ret->deaths = (uint32_t)redis_number_at(reply, U_DEATHS);
    ret->leased_us = redis_number_at(reply, U_SINCE_US);
    ret->lease_left_ms = redis_number_at(reply, U_LEFT_MS);
    int r = redis_copy_at(reply, U_OWNER, &ret->owner, err);
    if (r == 0)
        r = redis_copy_at(reply, U_ERROR, &ret->error, err);
    return r < 0 ? r : redis_copy_at(reply, U_RESULT, &ret->result, err);
}

int redis_units(void *priv, const char *job_id, uint32_t first, uint32_t end,
                struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_units, &reply, err, "siii", job_id, (int64_t)first, (int64_t)end,
                      (int64_t)(end == LATHE_UNITS_MAX));
    if (r < 0)
        return r;
    const char *found = redis_text_at(reply, 0);
    if (!found)
        return redis_malformed(err);
    if (strcmp(found, "NONE") == 0)
        return no_such_job(job_id, err);
    *ret = calloc(reply->elements, sizeof(**ret));
    if (!*ret)
        return lathe_error_nomem(err);
    for (size_t i = 1; r == 0 && i < reply->elements; i++)
        r = read_unit_view(reply->element[i], &(*ret)[(*ret_count)++], err);
    return r;
}

int redis_beat(void *priv, const char *worker, const char *host, const char *record, int ttl_ms,
               bool *ret_drain, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r =
        redis_run(priv, SCRIPT_beat, &reply, err, "sssi", worker, host, record, (int64_t)ttl_ms);
    if (r == 0)
        *ret_drain = reply->type == REDIS_REPLY_INTEGER && reply->integer != 0;
    return r;
}

int redis_leave(void *priv, const char *worker, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    return redis_run(priv, SCRIPT_leave, &reply, err, "s", worker);
}

int redis_workers(void *priv, struct lathe_worker_view **ret, size_t *ret_count,
                  struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_workers, &reply, err, "s", "");
    if (r < 0)
        return r;
    if (reply->type != REDIS_REPLY_ARRAY)
        return redis_malformed(err);
    *ret = calloc(reply->elements + 1, sizeof(**ret));
    if (!*ret)
        return lathe_error_nomem(err);
    for (size_t i = 0; r == 0 && i < reply->elements; i++) {
        const redisReply *one = reply->element[i];
        struct lathe_worker_view *view = &(*ret)[(*ret_count)++];
        char **const texts[] = {&view->name, &view->host, &view->record};
        for (size_t k = 0; r == 0 && k < LATHE_COUNT(texts); k++) {
            r = redis_copy_at(one, k, texts[k], err);
            if (r == 0 && !*texts[k])
                r = redis_malformed(err);
        }
        view->drain = redis_number_at(one, 3) != 0;
        view->seen_us = redis_number_at(one, 4);
        view->ttl_left_ms = redis_number_at(one, 5);
    }
    return r;
}

int redis_drain(void *priv, const char *host, uint32_t *ret_count, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_drain, &reply, err, "s", host);
    if (r == 0 && reply->type == REDIS_REPLY_INTEGER)
        *ret_count = (uint32_t)reply->integer;
    return r;
}
