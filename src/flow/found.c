/* SPDX-License-Identifier: MIT */
/*
 * Results of units in the store, beside the objects that they name. The state has the truth about
 * what is done, and may be lost with it; then whoever claims a unit anew finds what an earlier life
 * of the job has made, and nothing is encoded twice.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

/* {"kind", "index", "plan_chunks", "result"} */
int lathe_flow_keep_result(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                           const struct lathe_claim *claim, json_t *result, struct lathe_error *err)
{
    if (flow->only_host) /* its state lies beside its store */
        return 0;
    _cleanup_free_ char *key = lathe_key_result(claim->job_id, claim->unit, claim->fence);
    json_t *json =
        key ? json_pack("{s:s, s:I, s:I, s:O}", "kind", lathe_unit_kind_name(claim->what.kind),
                        "index", (json_int_t)claim->what.index, "plan_chunks",
                        (json_int_t)fj->plan.n_chunks, "result", result)
            : NULL;
    int r = json ? lathe_flow_put_json(flow, key, json, err) : lathe_error_nomem(err);
    json_decref(json);
    return r;
}

void lathe_flow_drop_result(struct lathe_flow *flow, const struct lathe_claim *claim,
                            const json_t *result)
{
    _cleanup_free_ char *key = lathe_key_result(claim->job_id, claim->unit, claim->fence);
    if (key && !flow->only_host)
        (void)lathe_store_remove(flow->store, key, NULL); /* swept later */
    lathe_flow_remove_objects(flow, result);
}

/* Attempts of one unit are few; the first one that was stored is as good as any. */
static int note_first(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    char **first = opaque;
    /* Fences of one length sort as texts do. */
    if (*first && (strlen(*first) < strlen(key) ||
                   (strlen(*first) == strlen(key) && strcmp(*first, key) <= 0)))
        return 0;
    free(*first);
    *first = strdup(key);
    return *first ? 0 : -ENOMEM;
}

/* Whether it is of this very unit of this plan, with all its objects. */
static int is_usable(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, const json_t *json)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    if (!kind || strcmp(kind, lathe_unit_kind_name(claim->what.kind)) != 0 ||
        json_integer_value(json_object_get(json, "index")) != claim->what.index ||
        json_integer_value(json_object_get(json, "plan_chunks")) != fj->plan.n_chunks)
        return 0;
    return lathe_flow_result_is_whole(flow, &fj->plan, &claim->what,
                                      json_object_get(json, "result"));
}

int lathe_flow_find_result(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                           const struct lathe_claim *claim, json_t **ret, struct lathe_error *err)
{
    /* In a first life there is nothing to be found; what failed in this one is not trusted. */
    if (flow->only_host || claim->fence >> 32 <= 1 || claim->attempt > 1)
        return 0;
    _cleanup_free_ char *prefix = lathe_key_prefix_results(claim->job_id, claim->unit);
    _cleanup_free_ char *key = NULL;
    if (!prefix)
        return lathe_error_nomem(err);
    int r = lathe_store_list(flow->store, prefix, note_first, &key, err);
    if (r == -ENOMEM)
        return lathe_error_nomem(err);
    if (r < 0 || !key)
        return r;
    json_t *json = NULL;
    struct lathe_error why = {0};
    r = lathe_flow_get_json(flow, key, &json, &why);
    if (r == 0 && is_usable(flow, fj, claim, json) == 1)
        *ret = json_incref(json_object_get(json, "result"));
    json_decref(json);
    if (r == -ENOENT || r == -EBADMSG)
        return 0;
    if (r < 0 && err)
        *err = why;
    return r;
}
