/* SPDX-License-Identifier: MIT */
/*
 * What a unit's slot reads: the packets that were cut for it, fetched for this attempt alone; or
 * the source, where nothing was cut: with a store whose objects are files, for a plan in one chunk,
 * or where the cutter said that the source is cheaper; or where it is at hand and as good.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

#define SOURCE_NAME "source"

int lathe_chunks_from_name(const char *name, enum lathe_chunks *ret)
{
    static const char *const names[] = {"auto", "virtual", "objects"};
    for (size_t i = 0; i < LATHE_COUNT(names); i++) {
        if (name && *name && strcmp(name, names[i]) != 0)
            continue;
        *ret = (enum lathe_chunks)i;
        return 0;
    }
    return -EINVAL;
}

bool lathe_flow_is_cut(const struct lathe_flow *flow, const struct lathe_flow_job *fj)
{
    bool wanted = flow->chunks == LATHE_CHUNKS_OBJECTS ||
                  (flow->chunks == LATHE_CHUNKS_AUTO && !lathe_store_is_local(flow->store));
    return wanted && !fj->replan;
}

bool lathe_flow_needs_object(const struct lathe_plan *plan, const struct lathe_unit *unit)
{
    return (unit->kind == LATHE_UNIT_AUDIO ? plan->sound_container : plan->packets_container)[0];
}

int lathe_flow_source(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err)
{
    if (fj->source_path)
        return 0;
    if (fj->job.parts)
        return lathe_flow_join(flow, fj, err);
    if (!fj->job.source_is_local)
        return lathe_flow_fetch(flow, fj->job.source_key, fj->dir, SOURCE_NAME, &fj->source_path,
                                err);
    fj->source_path = strdup(fj->job.source_key);
    return fj->source_path ? 0 : lathe_error_nomem(err);
}

int lathe_flow_sound(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err)
{
    if (fj->sound_path)
        return 0;
    return lathe_flow_fetch(flow, fj->job.source_key, fj->dir, "sound", &fj->sound_path, err);
}

/* With two passes a pilot is its chunk. */
char *lathe_flow_packets_key(const struct lathe_plan *plan, const struct lathe_unit *unit)
{
    enum lathe_unit_kind kind = unit->kind == LATHE_UNIT_PILOT && lathe_plan_shares_packets(plan)
                                    ? LATHE_UNIT_CHUNK
                                    : unit->kind;
    return lathe_key_packets(plan, kind, unit->index);
}

/* A path of an object that was fetched for this attempt, or lies in the store. -ENOENT. */
static int fetch(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                 const struct lathe_claim *claim, const char *key, char **ret,
                 struct lathe_error *err)
{
    int r = lathe_store_local_path(flow->store, key, ret, err);
    if (r != -EOPNOTSUPP) {
        if (r == 0 && access(*ret, R_OK) < 0) {
            free(*ret);
            *ret = NULL;
            return -ENOENT;
        }
        return r;
    }
    const char *slash = strrchr(key, '/');
    *ret = lathe_format("%s/%llu.%s", fj->dir, (unsigned long long)claim->fence,
                        slash ? slash + 1 : key);
    if (!*ret)
        return lathe_error_nomem(err);
    unlink(*ret); /* a slot failed, and the same attempt tries once more */
    r = lathe_store_get(flow->store, key, *ret, flow->cancel, err);
    if (r < 0) {
        free(*ret);
        *ret = NULL;
    }
    return r;
}

static int fetch_packets(struct lathe_flow *flow, struct lathe_flow_job *fj,
                         const struct lathe_claim *claim, struct lathe_order *order,
                         struct lathe_error *err)
{
    const bool is_sound = claim->what.kind == LATHE_UNIT_AUDIO;
    _cleanup_free_ char *key = lathe_flow_packets_key(&fj->plan, &claim->what);
    _cleanup_free_ char *table_key = is_sound ? lathe_key_sound_table(fj->job.id) : NULL;
    if (!key || (is_sound && !table_key))
        return lathe_error_nomem(err);
    int r = fetch(flow, fj, claim, key, &order->packets_path, err);
    if (r == 0 && is_sound)
        r = fetch(flow, fj, claim, table_key, &order->index_path, err);
    return r;
}

/* This worker has cut the source, so it has it all, and any picture of it is found by the
 * container's table: fetching the same packets would be in vain. What the slot makes is the same
 * from both. */
static bool is_at_hand(const struct lathe_flow_job *fj, const struct lathe_claim *claim)
{
    if (claim->what.kind == LATHE_UNIT_AUDIO || fj->job.parts ||
        strncmp(fj->plan.container, "mov,", 4) != 0)
        return false;
    _cleanup_free_ char *path = lathe_format("%s/" SOURCE_NAME, fj->dir);
    return path && access(path, R_OK) == 0;
}

int lathe_flow_take_input(struct lathe_flow *flow, struct lathe_flow_job *fj,
                          const struct lathe_claim *claim, struct lathe_order *order,
                          struct lathe_error *err)
{
    int r = -ENOENT;
    order->plan_path = strdup(fj->plan_path);
    if (!order->plan_path)
        return lathe_error_nomem(err);
    if (lathe_flow_is_cut(flow, fj) && lathe_flow_needs_object(&fj->plan, &claim->what) &&
        !is_at_hand(fj, claim))
        r = fetch_packets(flow, fj, claim, order, err);
    if (r < 0 && r != -ENOENT)
        return r;
    const bool is_apart = claim->what.kind == LATHE_UNIT_AUDIO && fj->plan.sound_apart;
    if (r == -ENOENT) {
        lathe_flow_drop_input(flow, order);
        r = is_apart ? lathe_flow_sound(flow, fj, err) : lathe_flow_source(flow, fj, err);
        if (r < 0)
            return r;
    }
    const char *path = is_apart ? fj->sound_path : fj->source_path;
    order->source_path = strdup(path ? path : fj->job.source_key);
    if (!order->index_path)
        order->index_path = strdup(fj->index_path);
    return order->source_path && order->index_path ? 0 : lathe_error_nomem(err);
}

void lathe_flow_drop_input(struct lathe_flow *flow, struct lathe_order *order)
{
    if (!order->packets_path)
        return;
    if (!lathe_store_is_local(flow->store)) {
        unlink(order->packets_path);
        if (order->verb == LATHE_VERB_AUDIO && order->index_path)
            unlink(order->index_path);
    }
    free(order->packets_path);
    order->packets_path = NULL;
    if (order->verb == LATHE_VERB_AUDIO) {
        free(order->index_path);
        order->index_path = NULL;
    }
}
