/* SPDX-License-Identifier: MIT */
/*
 * A job as JSON: what is kept as jobs/{job}.json and what a producer sends.
 *
 * Only "job_id", "source_key" and "renditions" are required; the rest has the defaults of
 * lathe_job_init(). A rendition may be written as users do, "720p:2500k". Members that are not
 * known are ignored, so that a newer producer can talk to an older worker.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"
#include "lathe/job.h"
#include "plan_limits.h"
#include "rendition.h"

#define JOB_VERSION 1

static json_t *rendition_to_json(const struct lathe_rendition *rendition)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:i}", "name", rendition->name, "short_side",
                     rendition->short_side, "bitrate_kbps", rendition->bitrate_kbps, "maxrate_kbps",
                     rendition->maxrate_kbps, "bufsize_kbit", rendition->bufsize_kbit);
}

int lathe_job_to_json(const struct lathe_job *job, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_int(&out, "v", JOB_VERSION);
    lathe_json_put_text(&out, "job_id", job->id);
    lathe_json_put_path(&out, "source_key", job->source_key);
    if (job->source_name)
        lathe_json_put_path(&out, "source_name", job->source_name);
    lathe_json_put(&out, "source_is_local", json_boolean(job->source_is_local));
    if (job->parts)
        lathe_json_put_int(&out, "parts", job->parts);
    json_t *renditions = json_array();
    for (int i = 0; i < job->n_renditions && renditions; i++) {
        if (json_array_append_new(renditions, rendition_to_json(&job->renditions[i])) < 0) {
            json_decref(renditions);
            renditions = NULL;
        }
    }
    lathe_json_put(&out, "renditions", renditions);
    lathe_json_put_text(&out, "codec", lathe_codec_name(job->codec));
    lathe_json_put_text(&out, "encoder", lathe_encoder_name(job->encoder));
    lathe_json_put_text(&out, "hw", lathe_hw_wish_name(job->hw));
    lathe_json_put_text(&out, "mix", lathe_mix_name(job->mix));
    lathe_json_put_text(&out, "preset", lathe_preset_name(job->preset));
    if (job->quality >= 0)
        lathe_json_put_real(&out, "quality", job->quality);
    lathe_json_put_int(&out, "passes", job->passes);
    lathe_json_put_real(&out, "chunk_seconds", job->chunk_seconds);
    lathe_json_put_real(&out, "gop_seconds", job->gop_seconds);
    lathe_json_put_text(&out, "damaged", job->conceal_damage ? "conceal" : "fail");
    lathe_json_put(&out, "upscale", json_boolean(job->upscale));
    lathe_json_put_int(&out, "priority", job->priority);
    return lathe_json_out_take(&out, ret);
}

static int read_rendition(const json_t *json, struct lathe_rendition *ret, struct lathe_error *err)
{
    if (json_is_string(json))
        return lathe_rendition_parse(json_string_value(json), ret, err);
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "job.renditions", err);
    *ret = (struct lathe_rendition){0};
    lathe_json_in_text(&in, "name", ret->name, sizeof(ret->name));
    ret->short_side =
        (int)lathe_json_in_int(&in, "short_side", LATHE_SHORT_SIDE_MIN, LATHE_SHORT_SIDE_MAX);
    ret->bitrate_kbps = (int)lathe_json_in_int_or(&in, "bitrate_kbps", 0, LATHE_KBPS_MAX, 0);
    ret->maxrate_kbps = (int)lathe_json_in_int_or(&in, "maxrate_kbps", 0, 2 * LATHE_KBPS_MAX, 0);
    ret->bufsize_kbit = (int)lathe_json_in_int_or(&in, "bufsize_kbit", 0, 2 * LATHE_KBPS_MAX, 0);
    return in.code;
}

static void read_choices(struct lathe_json_in *in, struct lathe_job *job)
{
    if (lathe_json_in_has(in, "codec") &&
        lathe_codec_from_name(lathe_json_in_name(in, "codec"), &job->codec) < 0)
        lathe_json_in_fail(in, "\"codec\" is neither h264 nor hevc");
    if (lathe_json_in_has(in, "encoder") &&
        lathe_encoder_from_name(lathe_json_in_name(in, "encoder"), &job->encoder) < 0)
        lathe_json_in_fail(in, "\"encoder\" is none of auto, nvenc, vaapi, software");
    if (lathe_json_in_has(in, "hw") &&
        lathe_hw_wish_from_name(lathe_json_in_name(in, "hw"), &job->hw) < 0)
        lathe_json_in_fail(in, "\"hw\" is neither prefer nor require");
    if (lathe_json_in_has(in, "mix") &&
        lathe_mix_from_name(lathe_json_in_name(in, "mix"), &job->mix) < 0)
        lathe_json_in_fail(in, "\"mix\" is none of fallback, allow, never");
    if (lathe_json_in_has(in, "preset") &&
        lathe_preset_from_name(lathe_json_in_name(in, "preset"), &job->preset) < 0)
        lathe_json_in_fail(in, "\"preset\" is none of ultrafast to veryslow");
    if (lathe_json_in_has(in, "damaged")) {
        const char *damaged = lathe_json_in_name(in, "damaged");
        job->conceal_damage = strcmp(damaged, "conceal") == 0;
        if (!job->conceal_damage && strcmp(damaged, "fail") != 0)
            lathe_json_in_fail(in, "\"damaged\" is neither fail nor conceal");
    }
}

/* From whomever: what is shown is no more than a name. */
static void read_source_name(struct lathe_json_in *in, struct lathe_job *job)
{
    _cleanup_free_ char *name = lathe_json_in_has(in, "source_name")
                                    ? lathe_json_in_path(in, "source_name", NAME_MAX)
                                    : NULL;
    if (name && lathe_job_name_source(job, name) < 0)
        in->code = lathe_error_nomem(in->err);
}

static int read_job(const json_t *json, struct lathe_job *job, struct lathe_error *err)
{
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "job", err);
    if (lathe_json_in_has(&in, "v"))
        lathe_json_in_version(&in, JOB_VERSION);
    lathe_json_in_text(&in, "job_id", job->id, sizeof(job->id));
    if (!in.code && job->id[0] == '\0')
        lathe_json_in_fail(&in, "\"job_id\" is empty");
    job->source_key = lathe_json_in_path(&in, "source_key", PATH_MAX - 1);
    read_source_name(&in, job);
    job->source_is_local = lathe_json_in_bool_or(&in, "source_is_local", false);
    job->parts = (uint32_t)lathe_json_in_int_or(&in, "parts", 0, LATHE_PLAN_CHUNKS_MAX, 0);
    read_choices(&in, job);
    job->quality = lathe_json_in_real_or(&in, "quality", 0, 51, job->quality);
    job->passes = (int)lathe_json_in_int_or(&in, "passes", 1, 2, job->passes);
    job->chunk_seconds = lathe_json_in_real_or(&in, "chunk_seconds", 0, 86400, 0);
    job->gop_seconds = lathe_json_in_real_or(&in, "gop_seconds", 0, 86400, 0);
    job->upscale = lathe_json_in_bool_or(&in, "upscale", false);
    job->priority = (int)lathe_json_in_int_or(&in, "priority", -1000000, 1000000, 0);

    const json_t *renditions = lathe_json_in_array(&in, "renditions", 1, LATHE_RENDITIONS_MAX);
    size_t i;
    json_t *rendition;
    json_array_foreach (renditions, i, rendition) {
        int r = read_rendition(rendition, &job->renditions[i], err);
        if (r < 0)
            return r;
        job->n_renditions++;
    }
    return in.code ? in.code : lathe_job_validate(job, err);
}

int lathe_job_from_json(const json_t *json, struct lathe_job *ret, struct lathe_error *err)
{
    struct lathe_job job;
    lathe_job_init(&job);
    int r = read_job(json, &job, err);
    if (r < 0) {
        lathe_job_finish(&job);
        /* Checks shared with the command line speak of usage; here the message is at fault. */
        if (err && err->fault == LATHE_FAULT_USAGE)
            err->fault = LATHE_FAULT_INPUT;
        return r;
    }
    *ret = job;
    return 0;
}
