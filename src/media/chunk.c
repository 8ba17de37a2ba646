/* SPDX-License-Identifier: MIT */
/* The verbs that encode: a chunk for the result, a pilot only to learn its size. */
#include <errno.h>

#include "hash.h"
#include "setup.h"
#include "stretch.h"
#include "task.h"

static const char *name_of_source(const struct lathe_order *order)
{
    return order->source_path ? order->source_path : order->packets_path;
}

static int append_rendition(json_t *list, const struct media_stretch *stretch, int i,
                            const char *path, struct lathe_error *err)
{
    json_t *rate = NULL;
    if (lathe_rate_sample_to_json(&stretch->samples[i], &rate) < 0)
        return lathe_error_nomem(err);
    if (!path)
        return json_array_append_new(list, rate) < 0 ? lathe_error_nomem(err) : 0;
    char sha256[65];
    uint64_t bytes = 0;
    int r = media_hash_file(path, sha256, &bytes, err);
    if (r < 0) {
        json_decref(rate);
        return r;
    }
    json_t *entry =
        json_pack("{s:I, s:I, s:s, s:o}", "bytes", (json_int_t)bytes, "budget_bytes",
                  (json_int_t)stretch->rates[i].budget_bytes, "sha256", sha256, "rate", rate);
    if (!entry || json_array_append_new(list, entry) < 0)
        return lathe_error_nomem(err);
    return 0;
}

int lathe_media_chunk(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err)
{
    struct media_task task;
    const int64_t cpu_before_us = media_cpu_us(); /* of orders before this one, on a GPU */
    int r = media_task_load(&task, order, true, err);
    if (r < 0)
        return r;
    json_t *renditions = NULL;
    struct media_gpu *gpu = NULL;
    struct media_need *needs = NULL;
    if (order->index >= task.plan.n_chunks) {
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL, "the plan has no chunk %u",
                            order->index);
        goto out;
    }
    const struct lathe_plan_chunk *chunk = &task.plan.chunks[order->index];
    if (order->packets_path && media_need_chunks(&task.plan, &task.index, &needs) < 0) {
        r = lathe_error_nomem(err);
        goto out;
    }
    r = media_gpu_open(order, &gpu, err);
    if (r < 0)
        goto out;
    struct media_stretch stretch = {
        .plan = &task.plan,
        .index = &task.index,
        .source_path = name_of_source(order),
        .packets_path = order->packets_path,
        .need = needs ? &needs[order->index] : NULL,
        .first_packet = chunk->first_packet,
        .start = chunk->start,
        .end = chunk->end,
        .out_paths = order->out_paths,
        .gpu = gpu,
        .progress = progress,
        .opaque = opaque,
    };
    for (int i = 0; i < task.plan.n_renditions; i++)
        stretch.rates[i] = order->rates[i];
    r = media_gpu_judge(gpu, media_stretch_run(&stretch, err), err);
    if (r < 0)
        goto out;
    if (chunk->end != INT64_MAX && !stretch.tail_hash[0] && !task.plan.conceal_damage) {
        if (media_gpu_decodes(gpu))
            r = media_gpu_refuse(err, LATHE_HW_WRONG,
                                 "the GPU did not decode what follows chunk %u", order->index);
        else
            r = lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT,
                                "%s ended before the frame that follows chunk %u",
                                name_of_source(order), order->index);
        goto out;
    }
    renditions = json_array();
    for (int i = 0; i < task.plan.n_renditions && renditions && r >= 0; i++)
        r = append_rendition(renditions, &stretch, i, order->out_paths[i], err);
    if (r < 0)
        goto out;
    *ret_body = json_pack(
        "{s:i, s:I, s:I, s:I, s:s, s:o, s:s, s:s, s:s, s:s, s:I, s:O, s:I, s:s, s:s, s:i, s:o}",
        "frames", (int)stretch.frames, "first_time", (json_int_t)stretch.first_time, "last_time",
        (json_int_t)stretch.last_time, "last_duration", (json_int_t)stretch.last_duration,
        "head_hash", stretch.head_hash, "tail_hash",
        stretch.tail_hash[0] ? json_string(stretch.tail_hash) : json_null(), "decoder",
        stretch.decoder, "scaler", stretch.filter, "encoder", stretch.encoder, "encoder_options",
        stretch.encoder_options, "concealed", (json_int_t)stretch.damaged, "renditions", renditions,
        "cpu_us", (json_int_t)(media_cpu_us() - cpu_before_us), "step",
        lathe_ladder_step_name(gpu ? gpu->step : LATHE_STEP_ALL_SOFTWARE), "device",
        gpu ? gpu->path : "", "gpu_checked", (int)stretch.gpu_checked, "load", media_gpu_load(gpu));
    if (!*ret_body)
        r = lathe_error_nomem(err);
out:
    free(needs);
    json_decref(renditions);
    media_task_finish(&task);
    return r;
}

int lathe_media_pilot(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err)
{
    struct media_task task;
    int r = media_task_load(&task, order, true, err);
    if (r < 0)
        return r;
    json_t *renditions = NULL;
    struct media_need *needs = NULL;
    if (order->index >= task.plan.n_pilots) {
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL, "the plan has no pilot %u",
                            order->index);
        goto out;
    }
    struct media_stretch stretch = {
        .plan = &task.plan,
        .index = &task.index,
        .source_path = name_of_source(order),
        .packets_path = order->packets_path,
        .progress = progress,
        .opaque = opaque,
    };
    if (order->packets_path) {
        r = lathe_plan_shares_packets(&task.plan)
                ? media_need_chunks(&task.plan, &task.index, &needs)
                : media_need_pilots(&task.plan, &task.index, &needs);
        if (r < 0) {
            r = lathe_error_nomem(err);
            goto out;
        }
        stretch.need = &needs[order->index];
    }
    media_stretch_of_pilot(&stretch, order->index);
    for (int i = 0; i < task.plan.n_renditions; i++)
        stretch.rates[i].quality = task.plan.renditions[i].pilot_quality;
    r = media_stretch_run(&stretch, err);
    renditions = json_array();
    for (int i = 0; i < task.plan.n_renditions && renditions && r >= 0; i++)
        r = append_rendition(renditions, &stretch, i, NULL, err);
    if (r >= 0) {
        *ret_body =
            json_pack("{s:O, s:I}", "renditions", renditions, "cpu_us", (json_int_t)media_cpu_us());
        if (!*ret_body)
            r = lathe_error_nomem(err);
    }
out:
    free(needs);
    json_decref(renditions);
    media_task_finish(&task);
    return r;
}
