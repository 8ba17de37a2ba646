/* SPDX-License-Identifier: MIT */
/*
 * A chunk's attempts. The placement says where; when a GPU fails, the same order goes elsewhere at
 * once, in the end to software, and each change is written down with its reason. None of this
 * counts as a failure of the chunk: that is the business of the attempt that nobody could save.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

#define SCANNED_AT_ONCE 16 /* results that are read to learn the family of a job */

void lathe_flow_ladder_request(const struct lathe_plan *plan, const struct lathe_job *job,
                               struct lathe_ladder_request *ret)
{
    const char *source = plan->source_pix_fmt;
    bool rates = false;
    *ret = (struct lathe_ladder_request){
        .source_codec = plan->video_codec,
        .source_width = plan->source_width,
        .source_height = plan->source_height,
        .source_bits = strstr(source, "10")   ? 10
                       : strstr(source, "12") ? 12
                                              : 8,
        .source_is_420 = strncmp(source, "yuv420p", 7) == 0 || strncmp(source, "yuvj420p", 8) == 0,
        .source_interlaced = plan->deinterlace || plan->interlaced,
        .codec = plan->codec,
        .bits = strstr(plan->renditions[0].pix_fmt, "10") ? 10 : 8,
        .n_renditions = plan->n_renditions,
        .software_filters = plan->deinterlace ? "deinterlacing" : NULL,
        .software_encoding = plan->interlaced ? "interlaced coding" : NULL,
        .encoder = job->encoder,
        .wish = job->hw,
    };
    for (int i = 0; i < plan->n_renditions; i++) {
        ret->renditions[i].width = plan->renditions[i].width;
        ret->renditions[i].height = plan->renditions[i].height;
        rates = rates || plan->renditions[i].quality < 0;
    }
    if (rates) {
        ret->any_feature = LATHE_HW_RC_VBR;
        ret->any_feature_for = "hold a bitrate";
    }
}

/* --- --mix never --- */

static enum lathe_encoder family_of(const json_t *body)
{
    const char *name = json_string_value(json_object_get(body, "family"));
    enum lathe_encoder family = LATHE_ENCODER_SOFTWARE; /* of results that do not say it */
    if (name)
        (void)lathe_encoder_from_name(name, &family);
    return family;
}

/* The family of the first finished chunk; auto: there is none. */
static int family_so_far(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                         enum lathe_encoder *ret, struct lathe_error *err)
{
    uint32_t first = fj->plan.n_pilots + (fj->plan.n_audio > 0);
    uint32_t end = first + fj->plan.n_chunks;
    *ret = lathe_placement_settled(flow->placement, fj->job.id);
    for (uint32_t at = first; at < end && *ret == LATHE_ENCODER_AUTO; at += SCANNED_AT_ONCE) {
        struct lathe_done *done = NULL;
        size_t count = 0;
        int r = lathe_state_results(flow->state, fj->job.id, at,
                                    end - at < SCANNED_AT_ONCE ? end : at + SCANNED_AT_ONCE, &done,
                                    &count, err);
        if (r < 0)
            return r;
        if (count > 0) {
            json_t *body = json_loads(done[0].result, 0, NULL);
            *ret = family_of(body);
            json_decref(body);
        }
        lathe_done_free(done, count);
    }
    return 0;
}

size_t lathe_flow_find_odd(const struct lathe_flow_job *fj, json_t *const *bodies,
                           const struct lathe_done *done, size_t count,
                           const struct lathe_done **list)
{
    /* Software did what a GPU could not, so the GPU cannot do all; software can. */
    uint32_t made[LATHE_ENCODER_SOFTWARE + 1] = {0};
    for (uint32_t i = 0; i < fj->plan.n_chunks; i++)
        made[family_of(bodies[i])]++;
    enum lathe_encoder keep = made[LATHE_ENCODER_SOFTWARE] ? LATHE_ENCODER_SOFTWARE
                              : made[LATHE_ENCODER_NVENC] >= made[LATHE_ENCODER_VAAPI]
                                  ? LATHE_ENCODER_NVENC
                                  : LATHE_ENCODER_VAAPI;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (done[i].what.kind == LATHE_UNIT_CHUNK && done[i].what.index < fj->plan.n_chunks &&
            family_of(bodies[done[i].what.index]) != keep)
            list[n++] = &done[i];
    return n;
}

/* --- what is written down --- */

static json_t *describe(enum lathe_ladder_step step, enum lathe_encoder encoder, const char *path)
{
    return json_pack("{s:s, s:s, s:o}", "step", lathe_ladder_step_name(step), "encoder",
                     lathe_encoder_name(encoder), "device",
                     path[0] ? json_string(path) : json_null());
}

static json_t *describe_place(const struct lathe_place *place)
{
    return describe(place->step, place->encoder, place->path);
}

struct chunk_run {
    struct lathe_flow *flow;
    const struct lathe_flow_job *fj;
    const struct lathe_claim *claim;
    struct lathe_attempts attempts;
    json_t *fallbacks;
    json_t *open; /* the newest one, until it is known where the chunk goes */
};

static int tell(struct chunk_run *run, json_t *fallback)
{
    const struct lathe_flow_sink *sink = &run->flow->sink;
    if (!fallback || json_array_append_new(run->fallbacks, fallback) < 0)
        return -ENOMEM;
    lathe_flow_count_fallback(fallback);
    if (sink->fell_back)
        sink->fell_back(sink->opaque, run->claim->job_id, run->claim->unit, fallback);
    return 0;
}

/* `rendition`: 1 + the one that it was about; all renditions of a chunk leave together. */
static json_t *make_fallback(const struct chunk_run *run, json_t *from,
                             enum lathe_hw_verdict verdict, const char *reason, int rendition)
{
    const struct lathe_plan *plan = &run->fj->plan;
    json_t *name = rendition > 0 && rendition <= plan->n_renditions
                       ? json_string(plan->renditions[rendition - 1].name)
                       : json_null();
    return json_pack("{s:I, s:o, s:o, s:s, s:s}", "chunk", (json_int_t)run->claim->what.index,
                     "rendition", name, "from", from, "verdict", lathe_hw_verdict_name(verdict),
                     "reason", reason);
}

/* The chunk goes to `place`, which closes what failed before, or what was passed over. */
static int note_place(struct chunk_run *run, const struct lathe_place *place)
{
    json_t *fallback = run->open;
    run->open = NULL;
    if (!fallback && place->over_step != LATHE_STEP_NONE)
        fallback =
            make_fallback(run, describe(place->over_step, place->over_encoder, place->over_path),
                          place->over_verdict, place->over_reason, 0);
    else if (!fallback)
        return 0;
    if (fallback && json_object_set_new(fallback, "to", describe_place(place)) < 0) {
        json_decref(fallback);
        fallback = NULL;
    }
    return tell(run, fallback);
}

/* What a failed run says about the GPU; untried: nothing, the fault lies elsewhere. */
static enum lathe_hw_verdict verdict_of(int code, const struct lathe_error *why)
{
    if (why->gpu_verdict > LATHE_HW_WORKS && why->gpu_verdict < LATHE_HW_VERDICT_COUNT)
        return (enum lathe_hw_verdict)why->gpu_verdict;
    if (code == -ECANCELED || code == -ENOSPC || code == -EDQUOT ||
        why->fault == LATHE_FAULT_INTERRUPTED || why->fault == LATHE_FAULT_INPUT ||
        why->fault == LATHE_FAULT_CONFIG)
        return LATHE_HW_UNTRIED;
    return code == -ETIMEDOUT      ? LATHE_HW_HANGS
           : code == -ECONNABORTED ? LATHE_HW_CRASHES
                                   : LATHE_HW_ERROR;
}

static int prepare(struct lathe_order *order, const struct lathe_place *place,
                   struct lathe_error *err)
{
    free(order->gpu_path);
    order->gpu_path = NULL;
    order->gpu_family = LATHE_ENCODER_AUTO;
    order->gpu_step = LATHE_STEP_NONE;
    order->gpu_features = 0;
    for (int i = 0; i < LATHE_RENDITIONS_MAX && order->out_paths[i]; i++)
        unlink(order->out_paths[i]); /* of an attempt before */
    if (place->device < 0)
        return 0;
    order->gpu_family = place->family;
    order->gpu_step = place->step;
    order->gpu_features = place->features;
    order->gpu_path = strdup(place->path);
    return order->gpu_path ? 0 : lathe_error_nomem(err);
}

/* A slot that quietly took another step would hide what is wrong. */
static int check_step(const struct lathe_place *place, const json_t *body, struct lathe_error *err)
{
    const char *ordered = lathe_ladder_step_name(place->step);
    const char *taken = json_string_value(json_object_get(body, "step"));
    if (place->device < 0 || (taken && strcmp(taken, ordered) == 0))
        return 0;
    return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                           "lathe-slot was ordered \"%s\" and took \"%.60s\"", ordered,
                           taken ? taken : "");
}

/* For the metrics; the result of the chunk is better off without. */
static void note_load(struct lathe_flow *flow, const struct lathe_place *place, json_t *body)
{
    struct lathe_hw_load load;
    if (lathe_hw_load_from_json(json_object_get(body, "load"), &load, NULL) == 0)
        lathe_placement_note_load(flow->placement, place, &load);
    json_object_del(body, "load");
}

/* 0 and a body; 1: the GPU failed and the chunk may go elsewhere; negative: the end. */
static int attempt(struct chunk_run *run, struct lathe_order *order, struct lathe_place *place,
                   json_t **ret_body, struct lathe_error *err)
{
    struct lathe_flow *flow = run->flow;
    struct lathe_flow_meter meter = {flow, run->claim->job_id, run->claim->unit, LATHE_TASK_CHUNK,
                                     0};
    struct lathe_error why = {0};
    enum lathe_hw_verdict verdict = LATHE_HW_UNTRIED;
    int r = note_place(run, place) < 0 ? lathe_error_nomem(&why) : prepare(order, place, &why);
    if (r == 0) {
        r = lathe_pool_run(flow->pool, order, lathe_flow_meter_tick, &meter, flow->cancel, ret_body,
                           NULL, &why);
        if (r == 0)
            r = check_step(place, *ret_body, &why);
        if (r < 0) {
            json_decref(*ret_body);
            *ret_body = NULL;
        } else {
            note_load(flow, place, *ret_body);
        }
        verdict = r == 0              ? LATHE_HW_WORKS
                  : place->device < 0 ? LATHE_HW_UNTRIED
                                      : verdict_of(r, &why);
    }
    lathe_placement_give(flow->placement, &run->attempts, place, verdict, why.what);
    if (r == 0)
        return 0;
    if (verdict == LATHE_HW_UNTRIED) {
        if (err)
            *err = why;
        return r;
    }
    run->open = make_fallback(run, describe_place(place), verdict, why.what, why.gpu_rendition);
    return run->open ? 1 : lathe_error_nomem(err);
}

static int finish(struct chunk_run *run, const struct lathe_place *place, json_t *body,
                  struct lathe_error *err)
{
    json_t *device = place->path[0] ? json_string(place->path) : json_null();
    int r = json_object_set_new(body, "family", json_string(lathe_encoder_name(place->encoder)));
    r |= json_object_set_new(body, "step", json_string(lathe_ladder_step_name(place->step)));
    r |= json_object_set_new(body, "device", device);
    r |= json_object_set(body, "fallbacks", run->fallbacks);
    if (run->fj->job.mix == LATHE_MIX_NEVER && place->encoder == LATHE_ENCODER_SOFTWARE)
        lathe_placement_settle(run->flow->placement, run->fj->job.id, LATHE_ENCODER_SOFTWARE);
    return r == 0 ? 0 : lathe_error_nomem(err);
}

int lathe_flow_run_placed(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                          const struct lathe_claim *claim, struct lathe_order *order,
                          json_t **ret_body, struct lathe_error *err)
{
    struct lathe_ladder_request request;
    lathe_flow_ladder_request(&fj->plan, &fj->job, &request);
    struct chunk_run run = {.flow = flow, .fj = fj, .claim = claim, .fallbacks = json_array()};
    run.attempts.request = &request;
    run.attempts.mix = fj->job.mix;
    run.attempts.waits = lathe_state_is_of_one_host(flow->state);
    run.attempts.chunks_left = fj->plan.n_chunks - claim->what.index;
    int r = run.fallbacks ? 0 : lathe_error_nomem(err);
    if (r == 0 && fj->job.mix == LATHE_MIX_NEVER && request.encoder != LATHE_ENCODER_SOFTWARE) {
        enum lathe_encoder settled = LATHE_ENCODER_AUTO;
        r = family_so_far(flow, fj, &settled, err);
        if (r == 0 && settled != LATHE_ENCODER_AUTO &&
            !(settled == LATHE_ENCODER_SOFTWARE && request.wish == LATHE_HW_REQUIRE))
            request.encoder = settled;
    }
    struct lathe_place place;
    json_t *body = NULL;
    for (int more = r == 0; more;) {
        r = lathe_placement_take(flow->placement, &run.attempts, flow->cancel, &place, err);
        if (r == 0)
            r = attempt(&run, order, &place, &body, err);
        more = r > 0;
    }
    if (r == 0)
        r = finish(&run, &place, body, err);
    if (r == 0)
        *ret_body = body;
    else
        json_decref(body);
    json_decref(run.open);
    json_decref(run.fallbacks);
    return r;
}
