/* SPDX-License-Identifier: MIT */
/*
 * A job's defaults and the checks that every job passes, whoever wrote it.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/job.h"
#include "rendition.h"

void lathe_job_init(struct lathe_job *job)
{
    *job = (struct lathe_job){
        .codec = LATHE_CODEC_H264,
        .encoder = LATHE_ENCODER_AUTO,
        .preset = LATHE_PRESET_FAST,
        .quality = -1,
        .passes = 1,
    };
}

void lathe_job_finish(struct lathe_job *job)
{
    free(job->source_key);
    free(job->source_name);
    *job = (struct lathe_job){0};
}

const char *lathe_job_source(const struct lathe_job *job)
{
    return job->source_name ? job->source_name : job->source_key;
}

int lathe_job_name_source(struct lathe_job *job, const char *path)
{
    const char *slash = strrchr(path, '/');
    free(job->source_name);
    job->source_name = strndup(slash ? slash + 1 : path, NAME_MAX);
    for (char *c = job->source_name; c && *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
    return job->source_name ? 0 : -ENOMEM;
}

bool lathe_job_id_is_valid(const char *id)
{
    size_t length = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz-");
    return length > 0 && length <= LATHE_ID_MAX && id[length] == '\0';
}

/* The rules of store keys, checked here too so that a bad message is refused before any work. */
static bool is_valid_key(const char *key)
{
    size_t length =
        strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-");
    if (length == 0 || length > 511 || key[length] != '\0')
        return false;
    for (const char *part = key; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t size = strcspn(part, "/");
        if (size == 0 || (size <= 2 && strspn(part, ".") >= size))
            return false;
    }
    return key[0] != '/';
}

static int check_source(const struct lathe_job *job, struct lathe_error *err)
{
    if (!job->source_key || job->source_key[0] == '\0')
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "the job names no source");
    if (job->source_is_local && job->source_key[0] != '/') {
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "source \"%.200s\" is not an absolute path", job->source_key);
    }
    if (!job->source_is_local && !is_valid_key(job->source_key)) {
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "\"%.200s\" is not an object key",
                               job->source_key);
    }
    return 0;
}

static int check_real(const char *name, double value, double min, double max,
                      struct lathe_error *err)
{
    if (value >= min && value <= max)
        return 0;
    return lathe_error_set(err, -ERANGE, LATHE_FAULT_USAGE, "%s is %g, outside %g to %g", name,
                           value, min, max);
}

static int check_choices(const struct lathe_job *job, struct lathe_error *err)
{
    /* CRF 0 is lossless in x264, which needs a profile that few devices play. */
    if (!(job->quality < 0)) {
        int r = check_real("quality", job->quality, 1, 51, err);
        if (r < 0)
            return r;
    }
    if (job->passes != 1 && job->passes != 2) {
        return lathe_error_set(err, -ERANGE, LATHE_FAULT_USAGE, "%d passes: 1 or 2 can be made",
                               job->passes);
    }
    if (job->passes == 2 && job->quality >= 0) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                        "two passes serve a bitrate, but a constant quality was asked for");
        lathe_error_hint(err, "leave out either --quality or --passes 2");
        return -EINVAL;
    }
    int r = job->chunk_seconds == 0
                ? 0
                : check_real("the chunk length in seconds", job->chunk_seconds, 0.001, 86400, err);
    if (r == 0 && job->gop_seconds != 0)
        r = check_real("the GOP length in seconds", job->gop_seconds, 0.001, 86400, err);
    if (r == 0)
        r = check_real("the priority", job->priority, -1000000, 1000000, err);
    if (r == 0 &&
        ((unsigned)job->codec > LATHE_CODEC_HEVC ||
         (unsigned)job->encoder > LATHE_ENCODER_SOFTWARE || (unsigned)job->hw > LATHE_HW_REQUIRE ||
         (unsigned)job->mix > LATHE_MIX_NEVER || (unsigned)job->preset > LATHE_PRESET_VERYSLOW)) {
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "unknown codec, encoder or preset");
    }
    if (r == 0 && job->encoder == LATHE_ENCODER_SOFTWARE && job->hw == LATHE_HW_REQUIRE) {
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                            "a GPU is required, but the software encoder was asked for");
        lathe_error_hint(err, "leave out --hw require, or choose another encoder");
    }
    return r;
}

/* Fills the rates that were left open: with a bitrate or a cap everything gets a buffer. */
static int complete_rendition(const struct lathe_job *job, struct lathe_rendition *rendition,
                              struct lathe_error *err)
{
    if (!lathe_rendition_name_is_valid(rendition->name)) {
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "\"%.31s\" cannot name a rendition",
                               rendition->name);
    }
    int r = check_real("the height of a rendition", rendition->short_side, LATHE_SHORT_SIDE_MIN,
                       LATHE_SHORT_SIDE_MAX, err);
    if (r < 0)
        return r;
    if (rendition->bitrate_kbps == 0 && job->quality < 0)
        rendition->bitrate_kbps = lathe_rendition_default_kbps(rendition->short_side);
    if (rendition->maxrate_kbps == 0 && rendition->bitrate_kbps <= LATHE_KBPS_MAX)
        rendition->maxrate_kbps = 2 * rendition->bitrate_kbps;
    if (rendition->bufsize_kbit == 0)
        rendition->bufsize_kbit = rendition->maxrate_kbps;
    int max = 2 * LATHE_KBPS_MAX;
    r = check_real("a bitrate in kbit/s", rendition->bitrate_kbps, 0, LATHE_KBPS_MAX, err);
    if (r == 0)
        r = check_real("a maxrate in kbit/s", rendition->maxrate_kbps, 0, max, err);
    if (r == 0)
        r = check_real("a bufsize in kbit", rendition->bufsize_kbit, 0, max, err);
    if (r == 0 && rendition->maxrate_kbps < rendition->bitrate_kbps) {
        r = lathe_error_set(err, -ERANGE, LATHE_FAULT_USAGE,
                            "rendition %s: maxrate %d is below the bitrate %d", rendition->name,
                            rendition->maxrate_kbps, rendition->bitrate_kbps);
    }
    return r;
}

int lathe_job_validate(struct lathe_job *job, struct lathe_error *err)
{
    if (job->id[0] != '\0' && !lathe_job_id_is_valid(job->id)) {
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "\"%.64s\" is not a job id: lower-case letters, digits and - are",
                               job->id);
    }
    int r = check_source(job, err);
    if (r == 0)
        r = check_choices(job, err);
    if (r == 0 && (job->n_renditions < 1 || job->n_renditions > LATHE_RENDITIONS_MAX)) {
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "%d renditions: 1 to %d can be made",
                            job->n_renditions, LATHE_RENDITIONS_MAX);
    }
    for (int i = 0; r == 0 && i < job->n_renditions; i++) {
        r = complete_rendition(job, &job->renditions[i], err);
        for (int k = 0; r == 0 && k < i; k++) {
            if (strcmp(job->renditions[k].name, job->renditions[i].name) == 0) {
                r = lathe_error_set(err, -EEXIST, LATHE_FAULT_USAGE,
                                    "rendition %s is asked for twice", job->renditions[i].name);
            }
        }
    }
    return r;
}
