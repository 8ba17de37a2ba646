/* SPDX-License-Identifier: MIT */
/*
 * Jobs of foreign producers: they have cut the source, stored the chunks, and said in the job's
 * hash how many there are. The chunks are joined to one source again, in which the usual split
 * finds its way; the sound is that of the original where it is stored. What the producer stored is
 * never changed, and removed only with the job.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "flow.h"

#define COPY_BYTES (1 << 20)

bool lathe_flow_sound_is_apart(const struct lathe_job *job)
{
    return job->parts && strncmp(job->source_key, "raw/", 4) == 0;
}

/* --- accepting --- */

struct parts_found {
    const char *job_id;
    uint32_t wanted, found;
};

static bool is_part(const char *key, const char *job_id, uint32_t parts)
{
    const char *name = strrchr(key, '/');
    if (!name || strncmp(name, "/chunk_", 7) != 0 || name[7] < '0' || name[7] > '9')
        return false;
    unsigned long number = strtoul(name + 7, NULL, 10);
    if (number >= parts)
        return false;
    _cleanup_free_ char *expected = lathe_key_part(job_id, (uint32_t)number);
    return expected && strcmp(expected, key) == 0;
}

static int count_part(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    struct parts_found *f = opaque;
    f->found += is_part(key, f->job_id, f->wanted);
    return 0;
}

static int note_first(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    char **first = opaque;
    if (*first && strcmp(*first, key) <= 0)
        return 0;
    free(*first);
    *first = strdup(key);
    return *first ? 0 : -ENOMEM;
}

/* 1: made; 0: not all parts are stored yet. */
static int make_job(struct lathe_flow *flow, const struct lathe_foreign_chunk *chunk,
                    uint32_t parts, struct lathe_error *err)
{
    struct parts_found found = {.job_id = chunk->job_id, .wanted = parts};
    _cleanup_free_ char *chunks = lathe_key_prefix_chunks(chunk->job_id);
    _cleanup_free_ char *raw = lathe_format("raw/%s.", chunk->job_id);
    _cleanup_free_ char *sound_key = NULL;
    if (!chunks || !raw)
        return lathe_error_nomem(err);
    int r = lathe_store_list(flow->store, chunks, count_part, &found, err);
    if (r < 0 || found.found < parts)
        return r;
    r = lathe_store_list(flow->store, raw, note_first, &sound_key, err);
    if (r < 0)
        return r == -ENOMEM ? lathe_error_nomem(err) : r;
    struct lathe_job job;
    r = lathe_foreign_make_job(chunk, parts, sound_key, &job, err);
    if (r < 0)
        return r;
    r = lathe_flow_submit(flow, &job, err);
    lathe_job_finish(&job);
    return r < 0 ? r : 1;
}

int lathe_flow_accept_foreign(struct lathe_flow *flow, const json_t *record,
                              char ret_job_id[LATHE_ID_MAX + 1], struct lathe_error *err)
{
    struct lathe_foreign_chunk chunk;
    struct lathe_job_view view = {0};
    struct lathe_error why = {0};
    uint32_t parts = 0;
    int r = lathe_foreign_chunk_from_json(record, &chunk, err);
    if (r < 0)
        return r;
    snprintf(ret_job_id, LATHE_ID_MAX + 1, "%s", chunk.job_id);
    r = lathe_state_get(flow->state, chunk.job_id, &view, &why);
    lathe_job_view_clear(&view);
    const bool is_known = r == 0;
    if (r == -ENOENT)
        r = lathe_state_announced(flow->state, chunk.job_id, &parts, &why);
    if (r == 0 && !is_known && parts)
        r = make_job(flow, &chunk, parts, &why);
    if (r < 0 && err)
        *err = why;
    return is_known ? 1 : r;
}

/* --- the source --- */

static int append(int out, const char *path, uint64_t *ret_bytes, struct lathe_error *err)
{
    _cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *buffer = malloc(COPY_BYTES);
    if (!buffer)
        return lathe_error_nomem(err);
    if (in < 0)
        return lathe_error_errno(err, -errno, "cannot read %s", path);
    *ret_bytes = 0;
    for (;;) {
        ssize_t n = read(in, buffer, COPY_BYTES);
        if (n == 0)
            return 0;
        for (ssize_t done = 0, k; done < n; done += k) {
            k = write(out, buffer + done, (size_t)(n - done));
            if (k < 0)
                return lathe_error_errno(err, -errno, "cannot join the parts of the source");
        }
        if (n < 0)
            return lathe_error_errno(err, -errno, "cannot read %s", path);
        *ret_bytes += (uint64_t)n;
    }
}

static int add_part(struct lathe_flow *flow, struct lathe_flow_job *fj, uint32_t part, int out,
                    const char *scratch, struct lathe_error *err)
{
    _cleanup_free_ char *key = lathe_key_part(fj->job.id, part);
    _cleanup_free_ char *path = NULL;
    if (!key)
        return lathe_error_nomem(err);
    int r = lathe_store_local_path(flow->store, key, &path, err);
    if (r == 0)
        return append(out, path, &fj->part_bytes[part], err);
    if (r != -EOPNOTSUPP)
        return r;
    r = lathe_store_get(flow->store, key, scratch, flow->cancel, err);
    if (r == 0)
        r = append(out, scratch, &fj->part_bytes[part], err);
    unlink(scratch);
    return r;
}

int lathe_flow_join(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err)
{
    char id[37]; /* several steps of a job may join at once, each for itself */
    if (lathe_uuid7(id) < 0)
        return lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL, "no random numbers");
    char *path = lathe_format("%s/joined-%s.ts", fj->dir, id);
    _cleanup_free_ char *part = lathe_format("%s/part-%s.ts", fj->dir, id);
    fj->part_bytes = calloc(fj->job.parts, sizeof *fj->part_bytes);
    int r = path && part && fj->part_bytes ? 0 : lathe_error_nomem(err);
    _cleanup_close_ int out =
        r == 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (r == 0 && out < 0)
        r = lathe_error_errno(err, -errno, "cannot create %s", path);
    for (uint32_t i = 0; r == 0 && i < fj->job.parts; i++)
        r = add_part(flow, fj, i, out, part, err);
    if (r < 0) {
        if (path)
            unlink(path);
        free(path);
        return r;
    }
    fj->source_path = path;
    return 0;
}

/* --- after the end --- */

struct own_objects {
    const char *job_id;
    uint32_t parts;
    char **keys;
    size_t count;
};

static int note_own(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    struct own_objects *o = opaque;
    if (is_part(key, o->job_id, o->parts))
        return 0;
    char **keys = realloc(o->keys, (o->count + 1) * sizeof *keys);
    if (!keys)
        return -ENOMEM;
    o->keys = keys;
    o->keys[o->count] = strdup(key);
    return o->keys[o->count++] ? 0 : -ENOMEM;
}

int lathe_flow_remove_chunks(struct lathe_flow *flow, const char *job_id, const char *record,
                             struct lathe_error *err)
{
    _cleanup_free_ char *prefix = lathe_key_prefix_chunks(job_id);
    json_t *json = record ? json_loads(record, 0, NULL) : NULL;
    json_int_t parts = json_integer_value(json_object_get(json, "parts"));
    json_decref(json);
    if (!prefix)
        return lathe_error_nomem(err);
    if (parts <= 0)
        return lathe_store_remove_prefix(flow->store, prefix, err);
    struct own_objects own = {.job_id = job_id, .parts = (uint32_t)parts};
    int r = lathe_store_list(flow->store, prefix, note_own, &own, err);
    if (r == -ENOMEM)
        r = lathe_error_nomem(err);
    for (size_t i = 0; i < own.count; i++) {
        if (r == 0)
            r = lathe_store_remove(flow->store, own.keys[i], err);
        free(own.keys[i]);
    }
    free(own.keys);
    return r;
}
