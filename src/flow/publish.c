/* SPDX-License-Identifier: MIT */
/*
 * After the commit: the results get their final names, then everything that only served to make
 * them is removed. Each step can be repeated by anybody, so a death in between costs nothing.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

/* A new name in the scratch folder; no file of it exists. */
static char *temporary_path(struct lathe_flow *flow)
{
    char id[37];
    return lathe_uuid7(id) < 0 ? NULL : lathe_format("%s/publish-%s", flow->scratch_dir, id);
}

/* Brings the object to `path`: a second link where the store is a folder of this file system, so
 * that the object stays whole until its new name is durable; else a copy. -EXDEV when only moving
 * the object itself is left. */
static int bring(struct lathe_flow *flow, const char *from, const char *path, char **ret_in_place,
                 struct lathe_error *err)
{
    int r = lathe_store_local_path(flow->store, from, ret_in_place, err);
    if (r == -EOPNOTSUPP)
        return lathe_store_get(flow->store, from, path, flow->cancel, err);
    if (r < 0)
        return r;
    return link(*ret_in_place, path) < 0 ? -EXDEV : 0;
}

static int move_object(struct lathe_flow *flow, const char *from, const char *to,
                       const struct lathe_store_meta *meta, struct lathe_error *err)
{
    _cleanup_free_ char *path = temporary_path(flow);
    _cleanup_free_ char *in_place = NULL;
    if (!path)
        return lathe_error_nomem(err);
    int r = bring(flow, from, path, &in_place, err);
    if (r == -EXDEV && in_place)
        r = lathe_store_put(flow->store, to, in_place, meta, LATHE_STORE_MOVE, flow->cancel, err);
    else if (r == 0)
        r = lathe_store_put(flow->store, to, path, meta, LATHE_STORE_MOVE, flow->cancel, err);
    unlink(path); /* mostly renamed away, or never made */
    if (r == 0)
        r = lathe_store_remove(flow->store, from, err);
    return r;
}

static int publish_output(struct lathe_flow *flow, const char *job_id, const json_t *output,
                          struct lathe_error *err)
{
    const char *rendition = json_string_value(json_object_get(output, "rendition"));
    const char *from = json_string_value(json_object_get(output, "key"));
    if (!rendition || !from)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "the result of job %s cannot be read", job_id);
    _cleanup_free_ char *to = lathe_key_output(job_id, rendition);
    if (!to)
        return lathe_error_nomem(err);
    struct lathe_store_meta meta;
    struct lathe_error why = {0};
    int r = lathe_store_stat(flow->store, from, &meta, &why);
    if (r == -ENOENT) /* published before; whoever wants the output looks for it there */
        return 0;
    if (r == 0)
        r = move_object(flow, from, to, &meta, &why);
    if (r == -ENOENT) /* another publisher was faster */
        return 0;
    if (r < 0 && err)
        *err = why;
    return r;
}

struct doomed {
    char **keys;
    size_t count;
    size_t keep_prefix_length; /* of "transcoded/{job}/" */
};

static int note_doomed(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    struct doomed *d = opaque;
    if (strncmp(key + d->keep_prefix_length, "output_", strlen("output_")) == 0)
        return 0;
    char **keys = realloc(d->keys, (d->count + 1) * sizeof *keys);
    if (!keys)
        return -ENOMEM;
    d->keys = keys;
    d->keys[d->count] = strdup(key);
    return d->keys[d->count++] ? 0 : -ENOMEM;
}

static int remove_intermediates(struct lathe_flow *flow, const char *job_id, const char *record,
                                struct lathe_error *err)
{
    _cleanup_free_ char *transcoded = lathe_key_prefix_transcoded(job_id);
    if (!transcoded)
        return lathe_error_nomem(err);
    struct doomed doomed = {.keep_prefix_length = strlen(transcoded)};
    int r = lathe_store_list(flow->store, transcoded, note_doomed, &doomed, err);
    if (r == -ENOMEM)
        r = lathe_error_nomem(err);
    for (size_t i = 0; i < doomed.count; i++) {
        if (r == 0)
            r = lathe_store_remove(flow->store, doomed.keys[i], err);
        free(doomed.keys[i]);
    }
    free(doomed.keys);
    return r < 0 ? r : lathe_flow_remove_chunks(flow, job_id, record, err);
}

int lathe_flow_publish_outputs(struct lathe_flow *flow, const char *job_id, const json_t *result,
                               struct lathe_error *err)
{
    int r = 0;
    size_t i;
    json_t *output;
    json_array_foreach (json_object_get(result, "outputs"), i, output) {
        if (r == 0)
            r = publish_output(flow, job_id, output, err);
    }
    return r;
}

int lathe_flow_publish(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(flow->state, job_id, &view, err);
    if (r < 0)
        return r;
    json_t *result = NULL;
    if (view.status == LATHE_JOB_COMPLETED && view.result)
        result = json_loads(view.result, 0, NULL);
    if (!result)
        r = lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "job %s has no result", job_id);
    /* The record first: from here on the store knows what was committed, without the state. */
    if (r == 0)
        r = lathe_flow_record_end(flow, job_id, err);
    lathe_fail_point("recorded");
    if (r == 0)
        r = lathe_flow_publish_outputs(flow, job_id, result, err);
    lathe_fail_point("published");
    json_decref(result);
    if (r == 0 && !flow->keep_intermediates)
        r = remove_intermediates(flow, job_id, view.record, err);
    lathe_job_view_clear(&view);
    return r;
}
