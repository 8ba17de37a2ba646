/* SPDX-License-Identifier: MIT */
/*
 * The calls that ports and a door both answer.
 */
#include <stdio.h>
#include <string.h>

#include "deliver.h"
#include "fleet.h"
#include "lathe/base.h"

/* --- what the door says, as views --- */

static enum lathe_job_status status_of(const json_t *job)
{
    const char *name = json_string_value(json_object_get(job, "status"));
    for (int i = LATHE_JOB_QUEUED; name && i <= LATHE_JOB_CANCELLED; i++)
        if (strcmp(name, lathe_job_status_name((enum lathe_job_status)i)) == 0)
            return (enum lathe_job_status)i;
    return LATHE_JOB_QUEUED;
}

static int read_view(const json_t *job, struct lathe_job_view *ret, struct lathe_error *err)
{
    const char *id = json_string_value(json_object_get(job, "id"));
    const char *error = json_string_value(json_object_get(job, "error"));
    const json_t *result = json_object_get(job, "result");
    *ret = (struct lathe_job_view){
        .status = status_of(job),
        .priority = (int)json_integer_value(json_object_get(job, "priority")),
        .total_chunks = (uint32_t)json_integer_value(json_object_get(job, "total_chunks")),
        .completed_chunks = (uint32_t)json_integer_value(json_object_get(job, "completed_chunks")),
        .created_us = json_integer_value(json_object_get(job, "created_us")),
        .updated_us = json_integer_value(json_object_get(job, "updated_us")),
        .finished_us = json_integer_value(json_object_get(job, "finished_us")),
        .error = error ? strdup(error) : NULL,
        .result = json_is_object(result) ? json_dumps(result, JSON_COMPACT) : NULL,
    };
    snprintf(ret->id, sizeof ret->id, "%s", id ? id : "");
    return (error && !ret->error) || (json_is_object(result) && !ret->result)
               ? lathe_error_nomem(err)
               : 0;
}

static bool is_wanted(const json_t *job, enum lathe_job_filter filter)
{
    bool is_open = status_of(job) < LATHE_JOB_COMPLETED;
    return filter == LATHE_JOBS_ALL || is_open == (filter == LATHE_JOBS_OPEN);
}

static int list_at_door(struct lathe_door_client *door, enum lathe_job_filter filter,
                        uint32_t limit, struct lathe_job_view **ret, size_t *ret_count,
                        struct lathe_error *err)
{
    json_t *jobs = NULL, *job;
    size_t i, count = 0;
    int r = lathe_door_list(door, &jobs, err);
    if (r < 0)
        return r;
    struct lathe_job_view *list = calloc(json_array_size(jobs) + 1, sizeof *list);
    if (!list)
        r = lathe_error_nomem(err);
    json_array_foreach (jobs, i, job) {
        if (r == 0 && count < limit && is_wanted(job, filter))
            r = read_view(job, &list[count++], err);
    }
    json_decref(jobs);
    if (r < 0) {
        lathe_job_views_free(list, count);
        return r;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

/* --- for both --- */

int lathe_fleet_get(struct lathe_fleet *fleet, const char *job_id, struct lathe_job_view *ret,
                    struct lathe_error *err)
{
    if (!fleet->door)
        return lathe_state_get(fleet->flow.state, job_id, ret, err);
    json_t *job = NULL;
    int r = lathe_door_status(fleet->door, job_id, &job, err);
    if (r == 0)
        r = read_view(job, ret, err);
    json_decref(job);
    return r;
}

int lathe_fleet_list(struct lathe_fleet *fleet, enum lathe_job_filter filter, uint64_t cursor,
                     uint32_t limit, struct lathe_job_view **ret, size_t *ret_count,
                     uint64_t *ret_cursor, struct lathe_error *err)
{
    if (!fleet->door)
        return lathe_state_list(fleet->flow.state, filter, cursor, limit, ret, ret_count,
                                ret_cursor, err);
    *ret_cursor = 0;
    return list_at_door(fleet->door, filter, limit, ret, ret_count, err);
}

int lathe_fleet_cancel(struct lathe_fleet *fleet, const char *job_id, struct lathe_error *err)
{
    return fleet->door ? lathe_door_cancel(fleet->door, job_id, err)
                       : lathe_flow_cancel(&fleet->flow, job_id, "cancelled by lathe cancel", err);
}

int lathe_fleet_retry(struct lathe_fleet *fleet, const char *job_id, bool from_start,
                      struct lathe_error *err)
{
    return fleet->door ? lathe_door_retry(fleet->door, job_id, from_start, err)
                       : lathe_flow_retry(&fleet->flow, job_id, from_start, err);
}

int lathe_fleet_forget(struct lathe_fleet *fleet, const char *job_id, struct lathe_error *err)
{
    return fleet->door ? lathe_door_remove(fleet->door, job_id, err)
                       : lathe_flow_forget(&fleet->flow, job_id, err);
}

int lathe_fleet_fetch(struct lathe_fleet *fleet, const char *job_id, const char *rendition,
                      const char *path, struct lathe_error *err)
{
    if (!fleet->door) {
        _cleanup_free_ char *key = lathe_key_output(job_id, rendition);
        return key ? lathe_store_get(fleet->flow.store, key, path, fleet->flow.cancel, err)
                   : lathe_error_nomem(err);
    }
    uint64_t bytes;
    _cleanup_close_ int fd = -1;
    int r = lathe_door_fetch(fleet->door, job_id, rendition, &fd, &bytes, err);
    return r < 0 ? r : lathe_deliver_copy(fd, path, fleet->flow.cancel, err);
}
