/* SPDX-License-Identifier: MIT */
/*
 * Cutting: after the units are published, one slot cuts the source into the packets of each, and
 * each becomes claimable when its object is stored. Files are stored while the slot cuts on; it
 * waits when the store is slower (see slot.h). Their order is fixed, so whoever takes over from a
 * dead worker knows from the number of units that still wait where to go on.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

struct cutting {
    struct lathe_flow *flow;
    const struct lathe_flow_job *fj;
    uint64_t fence;
    const struct lathe_unit *units;
    uint32_t count;
    char *prefix;     /* of the slot's files */
    uint32_t next;    /* file: pilots, chunks, then the sound */
    bool is_finished; /* no unit waits any more */
    struct lathe_flow_meter meter;
    struct lathe_error why;
};

/* --- files and units --- */

static uint32_t pilot_files(const struct lathe_plan *plan)
{
    return lathe_plan_shares_packets(plan) ? 0 : plan->n_pilots;
}

static uint32_t picture_files(const struct lathe_plan *plan)
{
    return plan->packets_container[0] ? pilot_files(plan) + plan->n_chunks : 0;
}

static uint32_t sound_files(const struct lathe_plan *plan)
{
    return plan->n_audio && plan->sound_container[0] ? 1 : 0;
}

static struct lathe_unit file_at(const struct lathe_plan *plan, uint32_t number)
{
    if (number >= picture_files(plan))
        return (struct lathe_unit){.kind = LATHE_UNIT_AUDIO};
    uint32_t pilots = pilot_files(plan);
    return number < pilots
               ? (struct lathe_unit){.kind = LATHE_UNIT_PILOT, .index = number}
               : (struct lathe_unit){.kind = LATHE_UNIT_CHUNK, .index = number - pilots};
}

/* The units that read this file, ascending: one, or a chunk's and its pilot's. */
static uint32_t units_of(const struct lathe_plan *plan, const struct lathe_unit *file,
                         uint32_t ret[2])
{
    uint32_t n = 0;
    if (file->kind == LATHE_UNIT_PILOT ||
        (file->kind == LATHE_UNIT_CHUNK && lathe_plan_shares_packets(plan)))
        ret[n++] = file->index;
    if (file->kind == LATHE_UNIT_AUDIO)
        ret[n++] = plan->n_pilots;
    if (file->kind == LATHE_UNIT_CHUNK)
        ret[n++] = plan->n_pilots + (plan->n_audio > 0) + file->index;
    return n;
}

static uint32_t files_left(const struct lathe_plan *plan, uint32_t unstored)
{
    uint32_t sound = sound_files(plan);
    if (!lathe_plan_shares_packets(plan) || unstored <= sound)
        return unstored;
    return (unstored - sound) / 2 + sound;
}

/* --- what the slot has made --- */

static int store_file(struct cutting *c, const struct lathe_cut_file *file, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->fj->plan;
    const bool is_sound = file->kind == LATHE_UNIT_AUDIO;
    _cleanup_free_ char *path = lathe_cut_path(c->prefix, file->kind, file->index, plan);
    _cleanup_free_ char *key = lathe_key_packets(plan, file->kind, file->index);
    _cleanup_free_ char *table_path = lathe_cut_table_path(c->prefix);
    _cleanup_free_ char *table_key = lathe_key_sound_table(c->fj->job.id);
    if (!path || !key || !table_path || !table_key)
        return lathe_error_nomem(err);
    int r = lathe_flow_check_file(path, file->bytes, err);
    if (r == 0 && is_sound)
        r = lathe_flow_put(c->flow, table_key, table_path, NULL, 0, false, err);
    if (r == 0)
        r = lathe_flow_put(c->flow, key, path, file->sha256, 0, false, err);
    unlink(path); /* mostly renamed away; the slot sees that there is room again */
    if (is_sound)
        unlink(table_path);
    return r;
}

static int release_units(struct cutting *c, const struct lathe_unit *file, struct lathe_error *err)
{
    uint32_t units[2];
    uint32_t n = units_of(&c->fj->plan, file, units);
    enum lathe_verdict verdict = LATHE_GONE;
    int r = lathe_state_stored(c->flow->state, c->fj->job.id, c->fence, units, n, &verdict, err);
    if (r < 0)
        return r;
    if (verdict == LATHE_GONE)
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERRUPTED, "job %s has ended",
                               c->fj->job.id);
    c->is_finished = verdict == LATHE_DONE;
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = lathe_flow_ring_unit(c->flow, &c->fj->job, &c->units[units[i]], units[i], err);
    return r;
}

static int take_file(struct cutting *c, const struct lathe_cut_file *file, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->fj->plan;
    if (c->next >= picture_files(plan) + sound_files(plan))
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL, "lathe-slot cuts too much");
    const struct lathe_unit expected = file_at(plan, c->next);
    if (file->kind != expected.kind || file->index != expected.index)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "lathe-slot cut %s %u where %s %u comes next",
                               lathe_unit_kind_name(file->kind), file->index,
                               lathe_unit_kind_name(expected.kind), expected.index);
    int r = file->is_cut ? store_file(c, file, err) : 0;
    lathe_fail_point("cut");
    if (r == 0)
        r = release_units(c, &expected, err);
    lathe_fail_point("released");
    c->next += r == 0;
    return r;
}

static int tick(void *opaque, const struct lathe_progress *progress)
{
    struct cutting *c = opaque;
    (void)lathe_flow_meter_tick(&c->meter, progress);
    return progress->has_file ? take_file(c, &progress->file, &c->why) : 0;
}

/* --- the step --- */

/* Objects that the worker before stored and did not come to say so. */
static int skip_stored(struct cutting *c, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->fj->plan;
    int r = 0;
    while (r == 0 && !c->is_finished) {
        const struct lathe_unit file = file_at(plan, c->next);
        _cleanup_free_ char *key = lathe_key_packets(plan, file.kind, file.index);
        struct lathe_store_meta meta;
        struct lathe_error why = {0};
        if (!key)
            return lathe_error_nomem(err);
        r = lathe_store_stat(c->flow->store, key, &meta, &why);
        if (r == -ENOENT)
            return 0;
        if (r < 0) {
            if (err)
                *err = why;
            return r;
        }
        r = release_units(c, &file, err);
        c->next += r == 0;
    }
    return r;
}

static int run_slot(struct cutting *c, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_CUT;
    order.source_path = strdup(c->fj->source_path);
    order.plan_path = strdup(c->fj->plan_path);
    order.index_path = strdup(c->fj->index_path);
    order.out_paths[0] = strdup(c->prefix);
    order.index = c->next;
    json_t *body = NULL;
    int r = order.source_path && order.plan_path && order.index_path && order.out_paths[0]
                ? lathe_pool_run(c->flow->pool, &order, tick, c, c->flow->cancel, &body, NULL, err)
                : lathe_error_nomem(err);
    json_decref(body);
    lathe_order_finish(&order);
    if (r < 0 && c->why.code) { /* not the slot's fault */
        r = c->why.code;
        if (err)
            *err = c->why;
    }
    if (r == 0 && !c->is_finished)
        r = lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                            "lathe-slot ended before all was cut");
    return r;
}

int lathe_flow_cut(struct lathe_flow *flow, struct lathe_flow_job *fj, uint64_t fence,
                   const struct lathe_unit *units, uint32_t count, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(flow->state, fj->job.id, &view, err);
    uint32_t left = files_left(&fj->plan, view.unstored_units);
    lathe_job_view_clear(&view);
    const uint32_t files = picture_files(&fj->plan) + sound_files(&fj->plan);
    if (r < 0 || left == 0)
        return r;
    struct cutting c = {.flow = flow,
                        .fj = fj,
                        .fence = fence,
                        .units = units,
                        .count = count,
                        .next = left < files ? files - left : 0,
                        .meter = {flow, fj->job.id, LATHE_UNIT_SPLIT, LATHE_TASK_SPLIT, 0}};
    _cleanup_free_ char *dir = lathe_format("%s/cut.%llu", fj->dir, (unsigned long long)fence);
    c.prefix = dir ? lathe_format("%s/cut", dir) : NULL;
    r = c.prefix ? lathe_mkdir_p(dir, err) : lathe_error_nomem(err);
    if (r == 0)
        r = skip_stored(&c, err);
    if (r == 0 && !c.is_finished)
        r = lathe_flow_source(flow, fj, err);
    if (r == 0 && !c.is_finished)
        r = run_slot(&c, err);
    if (dir)
        (void)lathe_remove_tree(dir, NULL); /* with what a slot left that failed */
    free(c.prefix);
    return r;
}
