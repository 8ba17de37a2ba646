/* SPDX-License-Identifier: MIT */
/*
 * Records of producers that know nothing of Lathe: each names one chunk that the producer has cut
 * and stored. All records of a job say the same of it, so any of them makes the job.
 */
#include <errno.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"
#include "lathe/job.h"
#include "plan_limits.h"
#include "rendition.h"

bool lathe_foreign_is_chunk(const json_t *json)
{
    return json_is_string(json_object_get(json, "job_id")) &&
           json_is_string(json_object_get(json, "s3_key")) && !json_object_get(json, "unit");
}

static void read_key(struct lathe_json_in *in, const struct lathe_foreign_chunk *chunk)
{
    _cleanup_free_ char *found = lathe_json_in_path(in, "s3_key", 1024);
    _cleanup_free_ char *expected = lathe_key_part(chunk->job_id, chunk->chunk_index);
    if (in->code)
        return;
    if (!expected)
        in->code = lathe_error_nomem(in->err);
    else if (!found || strcmp(found, expected) != 0)
        lathe_json_in_fail(in, "\"s3_key\" is not %s", expected);
}

static void read_rendition(struct lathe_json_in *in, struct lathe_rendition *ret)
{
    char name[LATHE_NAME_MAX + 1] = "", text[LATHE_NAME_MAX + 16];
    lathe_json_in_text(in, "resolution", name, sizeof(name));
    int64_t kbps = lathe_json_in_int_or(in, "bitrate", 1, LATHE_KBPS_MAX, 0);
    if (in->code)
        return;
    if (strchr(name, ':')) {
        lathe_json_in_fail(in, "\"resolution\" is no height, as \"1080p\" is");
        return;
    }
    if (kbps)
        snprintf(text, sizeof(text), "%s:%lld", name, (long long)kbps);
    else
        snprintf(text, sizeof(text), "%s", name);
    in->code = lathe_rendition_parse(text, ret, in->err);
}

int lathe_foreign_chunk_from_json(const json_t *json, struct lathe_foreign_chunk *ret,
                                  struct lathe_error *err)
{
    struct lathe_foreign_chunk chunk = {.chunk_index = 0};
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "record", err);
    lathe_json_in_int_or(&in, "v", 1, 1, 1);
    lathe_json_in_text(&in, "job_id", chunk.job_id, sizeof(chunk.job_id));
    if (!in.code && !lathe_job_id_is_valid(chunk.job_id))
        lathe_json_in_fail(&in, "\"job_id\" is not made of a-z, 0-9 and -");
    chunk.chunk_index =
        (uint32_t)lathe_json_in_int(&in, "chunk_index", 0, LATHE_PLAN_CHUNKS_MAX - 1);
    read_key(&in, &chunk);
    read_rendition(&in, &chunk.rendition);
    if (in.code) {
        if (err && err->fault == LATHE_FAULT_USAGE)
            err->fault = LATHE_FAULT_INPUT;
        return in.code;
    }
    *ret = chunk;
    return 0;
}

int lathe_foreign_make_job(const struct lathe_foreign_chunk *chunk, uint32_t parts,
                           const char *sound_key, struct lathe_job *ret, struct lathe_error *err)
{
    if (parts < 1 || parts > LATHE_PLAN_CHUNKS_MAX || chunk->chunk_index >= parts)
        return lathe_error_set(err, -ERANGE, LATHE_FAULT_INPUT,
                               "job %s has %u chunks, and a record names chunk %u", chunk->job_id,
                               parts, chunk->chunk_index);
    struct lathe_job job;
    lathe_job_init(&job);
    memcpy(job.id, chunk->job_id, sizeof(job.id));
    job.source_key = sound_key ? strdup(sound_key) : lathe_key_part(chunk->job_id, 0);
    job.parts = parts;
    job.renditions[job.n_renditions++] = chunk->rendition;
    int r = job.source_key ? lathe_job_validate(&job, err) : lathe_error_nomem(err);
    if (r < 0) {
        lathe_job_finish(&job);
        return r;
    }
    *ret = job;
    return 0;
}
