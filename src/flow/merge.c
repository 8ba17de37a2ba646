/* SPDX-License-Identifier: MIT */
/*
 * The merge: claimed by whoever completes the set, and made of exactly the manifest that the claim
 * returned, never of what happens to lie in the store.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "flow.h"

struct merge {
    struct lathe_flow *flow;
    struct lathe_flow_job fj;
    uint64_t fence;
    bool cannot_be_cut;
    const struct lathe_done **odd; /* to be made again in the family of the others */
    size_t n_odd;
    json_t **bodies; /* one a chunk */
    struct lathe_chunk_result *chunks;
    json_t *audio; /* body of its result, or NULL */
    char *audio_path;
    json_t *reports[LATHE_RENDITIONS_MAX];
    json_t *summary;
    char *keys[LATHE_RENDITIONS_MAX];
    atomic_int next; /* rendition to be taken by a thread */
    pthread_mutex_t lock;
    struct lathe_error why; /* the first failure */
};

static void merge_finish(struct merge *m)
{
    for (uint32_t i = 0; m->bodies && i < m->fj.plan.n_chunks; i++)
        json_decref(m->bodies[i]);
    free(m->bodies);
    free(m->odd);
    free(m->chunks);
    json_decref(m->audio);
    json_decref(m->summary);
    free(m->audio_path);
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++) {
        json_decref(m->reports[i]);
        free(m->keys[i]);
    }
    pthread_mutex_destroy(&m->lock);
    lathe_flow_job_finish(&m->fj);
}

/* The manifest, parsed; every chunk and the audio must be in it. */
static int read_manifest(struct merge *m, const struct lathe_done *done, size_t count,
                         struct lathe_error *err)
{
    const struct lathe_plan *plan = &m->fj.plan;
    m->bodies = calloc(plan->n_chunks, sizeof *m->bodies);
    m->chunks = calloc(plan->n_chunks, sizeof *m->chunks);
    if (!m->bodies || !m->chunks)
        return lathe_error_nomem(err);
    for (size_t i = 0; i < count; i++) {
        const struct lathe_unit *what = &done[i].what;
        json_t **at = what->kind == LATHE_UNIT_AUDIO ? &m->audio
                      : what->kind == LATHE_UNIT_CHUNK && what->index < plan->n_chunks
                          ? &m->bodies[what->index]
                          : NULL;
        if (!at || *at)
            continue;
        *at = json_loads(done[i].result, 0, NULL);
        if (!*at)
            return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                                   "the result of unit %u is not JSON", done[i].unit);
    }
    for (uint32_t i = 0; i < plan->n_chunks; i++) {
        if (!m->bodies[i])
            return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                                   "chunk %u is missing in the manifest", i);
        int r = lathe_flow_parse_chunk(m->bodies[i], plan->n_renditions, &m->chunks[i], err);
        if (r < 0)
            return r;
        if (m->chunks[i].plan_chunks != plan->n_chunks)
            return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                                   "the result of chunk %u is of another plan", i);
    }
    if (plan->n_audio > 0 && !m->audio)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "the audio is missing in the manifest");
    return 0;
}

/* --mix never, and a GPU failed after other chunks were done on it. */
static int check_families(struct merge *m, const struct lathe_done *done, size_t count,
                          struct lathe_error *err)
{
    if (m->fj.job.mix != LATHE_MIX_NEVER)
        return 0;
    m->odd = calloc(count, sizeof *m->odd);
    if (!m->odd)
        return lathe_error_nomem(err);
    m->n_odd = lathe_flow_find_odd(&m->fj, m->bodies, done, count, m->odd);
    return m->n_odd == 0
               ? 0
               : lathe_error_set(err, -EAGAIN, LATHE_FAULT_INTERNAL,
                                 "%zu of %u chunks are by another family of encoders than the rest "
                                 "(--mix never)",
                                 m->n_odd, m->fj.plan.n_chunks);
}

static int fetch_audio(struct merge *m, struct lathe_error *err)
{
    const char *key = json_string_value(json_array_get(json_object_get(m->audio, "keys"), 0));
    if (!m->audio || !key)
        return 0;
    const char *slash = strrchr(key, '/');
    return lathe_flow_fetch(m->flow, key, m->fj.dir, slash ? slash + 1 : key, &m->audio_path, err);
}

static int fill_inputs(struct merge *m, int rendition, struct lathe_order *order,
                       struct lathe_error *err)
{
    uint32_t n = m->fj.plan.n_chunks;
    order->inputs = calloc(n, sizeof *order->inputs);
    if (!order->inputs)
        return lathe_error_nomem(err);
    order->n_inputs = n;
    for (uint32_t i = 0; i < n; i++) {
        const struct lathe_chunk_result *chunk = &m->chunks[i];
        struct lathe_merge_input *input = &order->inputs[i];
        const char *key = chunk->renditions[rendition].key;
        if (!key)
            return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "chunk %u has no object",
                                   i);
        /* Keeps the object's own name, which an error is recognized by (redo.c). */
        const char *slash = strrchr(key, '/');
        _cleanup_free_ char *name = lathe_format("merge-%d-%s", rendition, slash ? slash + 1 : key);
        if (!name)
            return lathe_error_nomem(err);
        int r = lathe_flow_fetch(m->flow, key, m->fj.dir, name, &input->path, err);
        if (r < 0)
            return r;
        memcpy(input->sha256, chunk->renditions[rendition].sha256, sizeof input->sha256);
        input->frames = chunk->frames;
        input->first_time = chunk->first_time;
    }
    return 0;
}

/* Frames of the file that was written and read back, against what the chunks said. */
static int check_report(const struct merge *m, const json_t *body, struct lathe_error *err)
{
    uint64_t expected = 0;
    for (uint32_t i = 0; i < m->fj.plan.n_chunks; i++)
        expected += m->chunks[i].frames;
    const json_t *frames = json_object_get(body, "frames");
    if (!json_is_integer(frames) || (uint64_t)json_integer_value(frames) != expected)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "the merged file has %lld frames, its chunks have %llu",
                               (long long)json_integer_value(frames), (unsigned long long)expected);
    return 0;
}

static int store_merged(struct merge *m, int rendition, const char *path, const json_t *body,
                        struct lathe_error *err)
{
    uint64_t bytes = 0;
    char sha256[65];
    int r = check_report(m, body, err);
    if (r == 0)
        r = lathe_flow_parse_file(body, &bytes, sha256, err);
    if (r == 0)
        r = lathe_flow_check_file(path, bytes, err);
    if (r < 0)
        return r;
    m->keys[rendition] =
        lathe_key_merged(m->fj.job.id, m->fj.plan.renditions[rendition].name, m->fence);
    if (!m->keys[rendition])
        return lathe_error_nomem(err);
    uint64_t frames = (uint64_t)json_integer_value(json_object_get(body, "frames"));
    return lathe_flow_put(m->flow, m->keys[rendition], path, sha256, frames, false, err);
}

static int merge_rendition(struct merge *m, int rendition, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_MERGE;
    order.index = (uint32_t)rendition;
    order.plan_path = strdup(m->fj.plan_path);
    order.index_path = strdup(m->fj.index_path);
    order.out_paths[0] =
        lathe_format("%s/merged-%d.%llu.mp4", m->fj.dir, rendition, (unsigned long long)m->fence);
    order.audio_path = m->audio_path ? strdup(m->audio_path) : NULL;
    order.audio_report = m->audio_path ? json_deep_copy(m->audio) : NULL;
    struct lathe_flow_meter meter = {m->flow, m->fj.job.id, LATHE_UNIT_MERGE, LATHE_TASK_MERGE, 0};
    int r = 0;
    if (!order.plan_path || !order.index_path || !order.out_paths[0] ||
        (m->audio_path && (!order.audio_path || !order.audio_report)))
        r = lathe_error_nomem(err);
    if (r == 0)
        r = fill_inputs(m, rendition, &order, err);
    if (r == 0)
        r = lathe_pool_run(m->flow->pool, &order, lathe_flow_meter_tick, &meter, m->flow->cancel,
                           &m->reports[rendition], NULL, err);
    if (r == 0)
        r = store_merged(m, rendition, order.out_paths[0], m->reports[rendition], err);
    if (order.out_paths[0])
        unlink(order.out_paths[0]);
    lathe_order_finish(&order);
    return r;
}

static void *merge_some(void *opaque)
{
    struct merge *m = opaque;
    for (;;) {
        int rendition = atomic_fetch_add(&m->next, 1);
        if (rendition >= m->fj.plan.n_renditions)
            return NULL;
        struct lathe_error why = {0};
        if (merge_rendition(m, rendition, &why) < 0) {
            pthread_mutex_lock(&m->lock);
            if (!m->why.code)
                m->why = why;
            pthread_mutex_unlock(&m->lock);
            atomic_store(&m->next, LATHE_RENDITIONS_MAX);
            return NULL;
        }
    }
}

static int merge_all(struct merge *m, struct lathe_error *err)
{
    pthread_t threads[LATHE_RENDITIONS_MAX];
    int n = 0;
    int wanted = m->flow->merge_parallel < m->fj.plan.n_renditions ? m->flow->merge_parallel
                                                                   : m->fj.plan.n_renditions;
    while (n < wanted - 1 && pthread_create(&threads[n], NULL, merge_some, m) == 0)
        n++;
    merge_some(m);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (m->why.code && err)
        *err = m->why;
    return m->why.code;
}

static int merge(struct merge *m, const struct lathe_done *done, size_t count,
                 struct lathe_error *err)
{
    int r = read_manifest(m, done, count, err);
    if (r == 0)
        r = check_families(m, done, count, err);
    if (r == 0) {
        r = lathe_flow_check_seams(&m->fj.plan, m->chunks, err);
        m->cannot_be_cut = r < 0;
    }
    if (r == 0)
        r = fetch_audio(m, err);
    if (r == 0)
        r = merge_all(m, err);
    if (r < 0)
        return r;
    if (lathe_flow_summary(&m->fj.plan, m->bodies, m->audio, m->reports, m->keys, &m->summary) < 0)
        return lathe_error_nomem(err);
    return 0;
}

/* The one commit, then what follows from it. */
static int commit(struct merge *m, const struct lathe_flow_work *work, struct lathe_error *err)
{
    _cleanup_free_ char *summary = json_dumps(m->summary, JSON_COMPACT);
    if (!summary)
        return lathe_error_nomem(err);
    struct lathe_flow *flow = m->flow;
    const char *job_id = m->fj.job.id;
    enum lathe_verdict verdict = LATHE_DONE;
    lathe_fail_point("merged");
    /* A bell that rings until the job is published, for when this worker dies in between. */
    int r = flow->only_host ? 0 : lathe_flow_ring_job(flow, job_id, err);
    if (r < 0)
        return r;
    r = lathe_state_merge_commit(flow->state, job_id, m->fence, summary, &verdict, err);
    if (r == -ESTALE || (r == 0 && verdict != LATHE_DONE)) {
        for (int i = 0; i < m->fj.plan.n_renditions; i++)
            if (m->keys[i])
                (void)lathe_store_remove(flow->store, m->keys[i], NULL); /* swept later */
        enum lathe_job_status status;
        r = r == 0 && verdict == LATHE_GONE ? lathe_flow_revive(flow, job_id, &status, err) : 0;
        return r < 0 ? r : 0;
    }
    lathe_fail_point("committed");
    if (r == 0)
        r = lathe_flow_publish(flow, job_id, err);
    if (r == 0) {
        lathe_flow_count_job(&m->fj, m->summary);
        lathe_flow_done(flow, work, m->summary);
    }
    return r;
}

static int merge_granted(struct lathe_flow *flow, const char *job_id, uint64_t fence,
                         const struct lathe_done *done, size_t count, struct lathe_error *err)
{
    struct lathe_flow own;
    int r = lathe_flow_hold(flow, job_id, LATHE_UNIT_MERGE, fence, &own, err);
    if (r < 0)
        return r;
    struct lathe_flow_work work = {
        .job_id = job_id, .unit = LATHE_UNIT_MERGE, .task = LATHE_TASK_MERGE};
    lathe_flow_begin(flow, &work);
    struct merge m = {.flow = &own, .fence = fence};
    pthread_mutex_init(&m.lock, NULL);
    struct lathe_error why = {0};
    r = lathe_flow_job_load(&own, job_id, fence, true, &m.fj, &why);
    bool loaded = r == 0;
    if (r == 0)
        r = merge(&m, done, count, &why);
    if (r < 0 && loaded)
        lathe_flow_name_source(&m.fj, &why);
    if (r < 0 && m.n_odd > 0) {
        r = lathe_flow_reopen(flow, &m.fj.job, &work, fence, m.odd, m.n_odd, &why, err);
    } else if (r < 0 && !loaded) {
        r = lathe_flow_attempt_failed(&own, &work, fence, &why, err);
    } else if (r < 0 && m.cannot_be_cut) {
        r = lathe_flow_replan(flow, &work, fence, &why, err);
    } else if (r < 0) {
        r = lathe_flow_merge_failed(&own, &m.fj, &work, fence, done, count, &why, err);
    } else {
        r = commit(&m, &work, err);
        if (r == 0)
            r = lathe_remove_tree(m.fj.dir, err);
    }
    lathe_flow_leave(&work);
    merge_finish(&m);
    lathe_flow_let_go(&own, job_id, LATHE_UNIT_MERGE, fence);
    return r < 0 ? r : 1;
}

int lathe_flow_merge(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    enum lathe_verdict verdict;
    uint64_t fence = 0;
    struct lathe_done *done = NULL;
    size_t count = 0;
    int wait_ms = 0;
    int r = lathe_state_merge_claim(flow->state, job_id, flow->owner, flow->lease_ttl_ms, &verdict,
                                    &fence, &done, &count, &wait_ms, err);
    if (r < 0)
        return r;
    if (verdict == LATHE_GRANTED) {
        r = merge_granted(flow, job_id, fence, done, count, err);
        lathe_done_free(done, count);
    } else if (verdict == LATHE_DONE) { /* its committer may have died before publishing */
        r = lathe_flow_publish(flow, job_id, err);
    }
    return r;
}
