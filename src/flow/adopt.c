/* SPDX-License-Identifier: MIT */
/*
 * Takes finished units of an earlier life of the same job over: same source, same settings, so the
 * same plan. What counts is that the attempts' objects are still there, whole.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

static int object_is_whole(struct lathe_flow *flow, const char *key, uint64_t bytes,
                           const char *sha256)
{
    struct lathe_store_meta meta;
    int r = key ? lathe_store_stat(flow->store, key, &meta, NULL) : -ENOENT;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return meta.size_bytes == bytes && strcmp(meta.sha256, sha256) == 0;
}

int lathe_flow_result_is_whole(struct lathe_flow *flow, const struct lathe_plan *plan,
                               const struct lathe_unit *what, const json_t *body)
{
    int r = 1;
    struct lathe_rate_sample samples[LATHE_RENDITIONS_MAX];
    struct lathe_chunk_result chunk;
    uint64_t bytes;
    char sha256[65];
    switch (what->kind) {
    case LATHE_UNIT_PILOT:
        return lathe_flow_parse_samples(body, plan->n_renditions, samples, NULL) == 0;
    case LATHE_UNIT_AUDIO:
        if (lathe_flow_parse_file(body, &bytes, sha256, NULL) < 0)
            return 0;
        return object_is_whole(flow,
                               json_string_value(json_array_get(json_object_get(body, "keys"), 0)),
                               bytes, sha256);
    case LATHE_UNIT_CHUNK:
        if (lathe_flow_parse_chunk(body, plan->n_renditions, &chunk, NULL) < 0 ||
            chunk.plan_chunks != plan->n_chunks)
            return 0;
        for (int i = 0; r == 1 && i < plan->n_renditions; i++)
            r = object_is_whole(flow, chunk.renditions[i].key, chunk.renditions[i].bytes,
                                chunk.renditions[i].sha256);
        return r;
    }
    return 0;
}

/* 1 when taken over, 0 when not. */
static int adopt_unit(struct lathe_flow *flow, const char *job_id, const struct lathe_done *done,
                      struct lathe_error *err)
{
    struct lathe_claim claim;
    enum lathe_verdict verdict;
    int wait_ms = 0;
    int r = lathe_state_claim(flow->state, job_id, done->unit, flow->owner, flow->lease_ttl_ms,
                              &verdict, &claim, &wait_ms, err);
    if (r < 0 || verdict != LATHE_GRANTED)
        return r < 0 ? r : 0;
    if (claim.what.kind != done->what.kind || claim.what.index != done->what.index) {
        r = lathe_state_release(flow->state, job_id, done->unit, claim.fence, err);
        return r < 0 ? r : 0;
    }
    r = lathe_state_complete(flow->state, job_id, done->unit, claim.fence, done->result, &verdict,
                             err);
    if (r == 0 && flow->sink.done)
        flow->sink.done(flow->sink.opaque, job_id, done->unit);
    return r < 0 ? r : 1;
}

int lathe_flow_adopt(struct lathe_flow *flow, const char *job_id, const struct lathe_done *done,
                     size_t count, struct lathe_error *err)
{
    struct lathe_flow_job fj;
    int r = lathe_flow_job_load(flow, job_id, 0, true, &fj, err);
    if (r < 0)
        return r;
    int taken = 0;
    for (size_t i = 0; i < count && r >= 0; i++) {
        json_t *body = json_loads(done[i].result, 0, NULL);
        if (body && lathe_flow_result_is_whole(flow, &fj.plan, &done[i].what, body) == 1)
            r = adopt_unit(flow, job_id, &done[i], err);
        else
            r = 0;
        if (r > 0)
            taken++;
        json_decref(body);
    }
    lathe_flow_job_finish(&fj);
    return r < 0 ? r : taken;
}
