/* SPDX-License-Identifier: MIT */
/*
 * From settings to a job. Its id follows from what decides the bytes of the result: the content of
 * the source (not its name), every such setting, and the program's version. So the same command
 * finds its own unfinished work in a work folder, and no other command's.
 */
#include "jobs.h"

#include <errno.h>
#include <string.h>

#include "commands.h"
#include "lathe/base.h"
#include "lathe/plan.h"
#include "lathe/slot.h"

static void take_settings(const struct lathe_settings *settings, struct lathe_job *job)
{
    job->source_is_local = true;
    job->codec = (enum lathe_codec)settings->codec;
    job->encoder = (enum lathe_encoder)settings->encoder;
    job->mix = (enum lathe_mix)settings->mix;
    /* Who names a family wants that one, not whatever there is. */
    bool is_named = job->encoder == LATHE_ENCODER_NVENC || job->encoder == LATHE_ENCODER_VAAPI;
    job->hw = settings->hw >= 0 ? (enum lathe_hw_wish)settings->hw
              : is_named        ? LATHE_HW_REQUIRE
                                : LATHE_HW_PREFER;
    job->preset = (enum lathe_preset)settings->preset;
    job->quality = settings->quality;
    job->passes = settings->passes;
    job->chunk_seconds = settings->chunk_seconds;
    job->gop_seconds = settings->gop_seconds;
    job->conceal_damage = settings->damaged == 1;
    job->upscale = settings->upscale;
}

static int add_renditions(const struct lathe_settings *settings, struct lathe_job *job,
                          struct lathe_error *err)
{
    for (int i = 0; i < settings->n_renditions; i++) {
        int r = lathe_job_add_rendition(job, settings->renditions[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

int lathe_cli_check_settings(const struct lathe_settings *settings, struct lathe_error *err)
{
    struct lathe_job job;
    lathe_job_init(&job);
    take_settings(settings, &job);
    strcpy(job.id, "check");
    job.source_key = strdup("/check");
    int r = job.source_key ? add_renditions(settings, &job, err) : lathe_error_nomem(err);
    if (r == 0 && job.n_renditions == 0)
        r = lathe_job_add_rendition(&job, "720p", err);
    if (r == 0)
        r = lathe_job_validate(&job, err);
    lathe_job_finish(&job);
    return r;
}

int lathe_cli_inspect(struct lathe_pool *pool, const char *path, json_t **ret_body,
                      struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_INSPECT;
    order.source_path = strdup(path);
    int r = order.source_path
                ? lathe_pool_run(pool, &order, NULL, NULL, lathe_cli_cancel, ret_body, NULL, err)
                : lathe_error_nomem(err);
    lathe_order_finish(&order);
    return r;
}

int lathe_cli_ask_encoders(struct lathe_pool *pool, json_t **ret_body, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_ENCODERS;
    int r = lathe_pool_run(pool, &order, NULL, NULL, lathe_cli_cancel, ret_body, NULL, err);
    lathe_order_finish(&order);
    return r;
}

/* One rendition of the source's own size. */
static int add_source_size(struct lathe_pool *pool, const char *path, struct lathe_job *job,
                           struct lathe_error *err)
{
    json_t *body = NULL;
    int r = lathe_cli_inspect(pool, path, &body, err);
    if (r < 0)
        return r;
    const json_t *video = json_object_get(body, "video");
    json_int_t side = json_integer_value(json_object_get(video, "short_side"));
    json_decref(body);
    if (side <= 0 || side > 100000) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "the size of the picture is not known");
        lathe_error_hint(err, "say which you want: --rendition 720p");
        return -EINVAL;
    }
    char text[32];
    snprintf(text, sizeof text, "%dp", (int)side);
    return lathe_job_add_rendition(job, text, err);
}

static int set_id(const struct lathe_input *input, struct lathe_job *job, struct lathe_error *err)
{
    json_t *json = NULL;
    if (lathe_job_to_json(job, &json) < 0)
        return lathe_error_nomem(err);
    static const char *const elsewhere[] = {"id", "job_id", "source_key", "source_is_local",
                                            "priority"};
    for (size_t i = 0; i < LATHE_COUNT(elsewhere); i++)
        json_object_del(json, elsewhere[i]);
    _cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    _cleanup_free_ char *all =
        text ? lathe_format("%s %d %s %s", LATHE_VERSION, LATHE_PLAN_VERSION, input->identity, text)
             : NULL;
    if (!all)
        return lathe_error_nomem(err);
    snprintf(job->id, sizeof job->id, "run-%016llx%016llx",
             (unsigned long long)lathe_fnv1a(LATHE_FNV1A_START, all, strlen(all)),
             (unsigned long long)lathe_fnv1a(~LATHE_FNV1A_START, all, strlen(all)));
    return 0;
}

int lathe_cli_make_request(const struct lathe_settings *settings, const char *path,
                           struct lathe_pool *pool, struct lathe_job *ret, struct lathe_error *err)
{
    struct lathe_job job;
    lathe_job_init(&job);
    take_settings(settings, &job);
    strcpy(job.id, "new"); /* until everything that decides it is known */
    job.source_key = strdup(path ? path : "/new");
    int r = job.source_key ? add_renditions(settings, &job, err) : lathe_error_nomem(err);
    if (r == 0 && job.n_renditions == 0)
        r = add_source_size(pool, path, &job, err);
    if (r == 0)
        r = lathe_job_validate(&job, err);
    if (r < 0) {
        lathe_job_finish(&job);
        return r;
    }
    *ret = job;
    return 0;
}

int lathe_cli_make_job(const struct lathe_settings *settings, const struct lathe_input *input,
                       struct lathe_pool *pool, struct lathe_job *ret, struct lathe_error *err)
{
    int r = lathe_cli_make_request(settings, input->path, pool, ret, err);
    if (r < 0)
        return r;
    r = set_id(input, ret, err);
    if (r < 0)
        lathe_job_finish(ret);
    return r;
}
