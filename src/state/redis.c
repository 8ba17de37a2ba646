/* SPDX-License-Identifier: MIT */
/*
 * The state of a fleet in one Redis server. The transitions of protocol.md are the Lua scripts, one
 * for each call; this file only packs their arguments and unpacks their replies.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers.h"
#include "lathe/base.h"
#include "redis_call.h"

#define UNIT_BYTES 5         /* of a unit in the plan, see common.lua */
#define FIELDS_OF_A_RESULT 6 /* see read_results in common.lua */
#define FIELDS_OF_A_HEAD 3   /* verdict, fence, wait_ms */

static int open_redis(void *priv, const char *location, struct lathe_error *err)
{
    return redis_link_open(priv, location, err);
}

static void close_redis(void *priv)
{
    redis_link_close(priv);
}

/* Verdict, fence, wait_ms: how the answers to claims begin. */
static int read_head(const redisReply *reply, const char *job_id, enum lathe_verdict *ret,
                     uint64_t *ret_fence, int *ret_wait_ms, struct lathe_error *err)
{
    int r = redis_read_verdict(reply, job_id, -ENOENT, ret, err);
    if (r < 0)
        return r;
    if (*ret == LATHE_GRANTED && redis_parse_fence(redis_text_at(reply, 1), ret_fence, NULL) < 0)
        return redis_malformed(err);
    int64_t wait_ms = redis_number_at(reply, 2);
    if (ret_wait_ms)
        *ret_wait_ms = wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
    return 0;
}

static int read_claim(const redisReply *reply, const char *job_id, enum lathe_verdict *ret,
                      struct lathe_claim *ret_claim, int *ret_wait_ms, struct lathe_error *err)
{
    int r = read_head(reply, job_id, ret, &ret_claim->fence, ret_wait_ms, err);
    if (r < 0 || *ret != LATHE_GRANTED)
        return r;
    const char *id = redis_text_at(reply, 3);
    if (!id || strlen(id) > LATHE_ID_MAX)
        return redis_malformed(err);
    snprintf(ret_claim->job_id, sizeof(ret_claim->job_id), "%s", id);
    ret_claim->unit = (uint32_t)redis_number_at(reply, 4);
    ret_claim->what = redis_unit_at(reply, 5);
    ret_claim->attempt = (uint32_t)redis_number_at(reply, 9);
    return 0;
}

static int read_results(const redisReply *reply, struct lathe_done **ret_done, size_t *ret_count,
                        struct lathe_error *err)
{
    size_t count = (reply->elements - FIELDS_OF_A_HEAD) / FIELDS_OF_A_RESULT;
    struct lathe_done *list = count ? calloc(count, sizeof(*list)) : NULL;
    if (count && !list)
        return lathe_error_nomem(err);
    int r = 0;
    for (size_t n = 0; n < count && r == 0; n++) {
        size_t i = FIELDS_OF_A_HEAD + n * FIELDS_OF_A_RESULT;
        const char *result;
        list[n].unit = (uint32_t)redis_number_at(reply, i);
        list[n].what = redis_unit_at(reply, i + 1);
        if (redis_parse_fence(redis_text_at(reply, i + 5), &list[n].fence, &result) < 0 ||
            *result != ' ')
            r = redis_malformed(err);
        else if (!(list[n].result = strdup(result + 1)))
            r = lathe_error_nomem(err);
    }
    if (r < 0) {
        lathe_done_free(list, count);
        return r;
    }
    *ret_done = list;
    *ret_count = count;
    return 0;
}

/* --- calls --- */

static int create(void *priv, const char *job_id, int priority, const char *record,
                  struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    return redis_run(priv, SCRIPT_create, &reply, err, "sis", job_id, (int64_t)priority, record);
}

static int claim_split(void *priv, const char *job_id, const char *owner, int ttl_ms,
                       enum lathe_verdict *ret, uint64_t *ret_fence, int *ret_wait_ms,
                       struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_claim_split, &reply, err, "ssi", job_id, owner, (int64_t)ttl_ms);
    return r < 0 ? r : read_head(reply, job_id, ret, ret_fence, ret_wait_ms, err);
}

static int set_units(void *priv, const char *job_id, uint64_t fence, const struct lathe_unit *units,
                     uint32_t count, enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_free_ unsigned char *plan = malloc((size_t)count * UNIT_BYTES);
    if (!plan)
        return lathe_error_nomem(err);
    int64_t counts[3] = {0};
    for (uint32_t i = 0; i < count; i++) {
        unsigned char *p = plan + (size_t)i * UNIT_BYTES;
        uint32_t needs = units[i].needs_chunks;
        p[0] = (unsigned char)((unsigned)units[i].kind + (units[i].needs_pilots ? 4 : 0) +
                               (units[i].needs_object ? 8 : 0));
        for (int byte = 0; byte < 4; byte++)
            p[1 + byte] = (unsigned char)(needs >> (24 - 8 * byte));
        counts[units[i].kind]++;
    }
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_set_units, &reply, err, "sfiiib", job_id, fence,
                      counts[LATHE_UNIT_PILOT], counts[LATHE_UNIT_AUDIO], counts[LATHE_UNIT_CHUNK],
                      (const void *)plan, (size_t)count * UNIT_BYTES);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

/* "1 2 7 ", or NULL (memory). */
static char *list_of(const uint32_t *units, uint32_t count)
{
    size_t capacity = (size_t)count * 11 + 1, length = 0; /* ten digits and a blank */
    char *list = malloc(capacity);
    for (uint32_t i = 0; i < count && list; i++)
        length += (size_t)snprintf(list + length, capacity - length, "%" PRIu32 " ", units[i]);
    return list;
}

static int stored(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                  uint32_t count, enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_free_ char *list = list_of(units, count);
    if (!list)
        return lathe_error_nomem(err);
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_stored, &reply, err, "sfs", job_id, fence, list);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int claim(void *priv, const char *job_id, uint32_t unit, const char *owner, int ttl_ms,
                 enum lathe_verdict *ret, struct lathe_claim *ret_claim, int *ret_wait_ms,
                 struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r =
        redis_run(priv, SCRIPT_claim, &reply, err, "susi", job_id, unit, owner, (int64_t)ttl_ms);
    return r < 0 ? r : read_claim(reply, job_id, ret, ret_claim, ret_wait_ms, err);
}

static int claim_next(void *priv, const struct lathe_claim_wish *wish, const char *owner,
                      int ttl_ms, enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                      struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    _cleanup_free_ char *except = lathe_state_except_json(wish);
    const char *job_id = wish->job_id ? wish->job_id : "";
    if (!except)
        return lathe_error_nomem(err);
    int r = redis_run(priv, SCRIPT_claim_next, &reply, err, "ssiss", job_id, owner, (int64_t)ttl_ms,
                      wish->order == LATHE_YOUNGEST_FIRST ? "youngest" : "oldest", except);
    return r < 0 ? r : read_claim(reply, job_id, ret, ret_claim, NULL, err);
}

static int renew(void *priv, const char *job_id, uint32_t unit, uint64_t fence, int ttl_ms,
                 enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r =
        redis_run(priv, SCRIPT_renew, &reply, err, "sufi", job_id, unit, fence, (int64_t)ttl_ms);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int complete(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                    const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_complete, &reply, err, "sufs", job_id, unit, fence, result);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int attempt_failed(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                          bool permanent, const char *reason, enum lathe_verdict *ret,
                          struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_attempt_failed, &reply, err, "sufis", job_id, unit, fence,
                      (int64_t)permanent, reason);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int release_lease(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                         struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    return redis_run(priv, SCRIPT_release, &reply, err, "suf", job_id, unit, fence);
}

static int merge_claim(void *priv, const char *job_id, const char *owner, int ttl_ms,
                       enum lathe_verdict *ret, uint64_t *ret_fence, struct lathe_done **ret_done,
                       size_t *ret_count, int *ret_wait_ms, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_merge_claim, &reply, err, "ssi", job_id, owner, (int64_t)ttl_ms);
    if (r == 0)
        r = read_head(reply, job_id, ret, ret_fence, ret_wait_ms, err);
    if (r < 0 || *ret != LATHE_GRANTED)
        return r;
    return read_results(reply, ret_done, ret_count, err);
}

static int merge_commit(void *priv, const char *job_id, uint64_t fence, const char *result,
                        enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_merge_commit, &reply, err, "sfs", job_id, fence, result);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int reopen(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                  uint32_t count, const char *reason, enum lathe_verdict *ret,
                  struct lathe_error *err)
{
    _cleanup_free_ char *list = list_of(units, count);
    if (!list)
        return lathe_error_nomem(err);
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_reopen, &reply, err, "sfss", job_id, fence, reason, list);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -EINVAL, ret, err);
}

static int replan(void *priv, const char *job_id, uint64_t fence, const char *reason,
                  enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_replan, &reply, err, "sfs", job_id, fence, reason);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int finish(void *priv, const char *job_id, enum lathe_job_status status, const char *reason,
                  enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_finish, &reply, err, "sss", job_id,
                      lathe_job_status_name(status), reason);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int retry(void *priv, const char *job_id, uint32_t seen_epoch, bool keep_results,
                 enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_retry, &reply, err, "sii", job_id, (int64_t)seen_epoch,
                      (int64_t)keep_results);
    return r < 0 ? r : redis_read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int results(void *priv, const char *job_id, uint32_t first, uint32_t end,
                   struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    enum lathe_verdict verdict;
    int r =
        redis_run(priv, SCRIPT_results, &reply, err, "sii", job_id, (int64_t)first, (int64_t)end);
    if (r == 0)
        r = redis_read_verdict(reply, job_id, -ENOENT, &verdict, err);
    return r < 0 ? r : read_results(reply, ret_done, ret_count, err);
}

static int list_open(void *priv, char ***ret_ids, size_t *ret_count, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(priv, SCRIPT_NONE, &reply, err, "ssss", "ZRANGE", "lathe:open", "0", "-1");
    if (r < 0)
        return r;
    if (reply->type != REDIS_REPLY_ARRAY)
        return redis_malformed(err);
    *ret_ids = calloc(reply->elements + 1, sizeof(**ret_ids));
    if (!*ret_ids)
        return lathe_error_nomem(err);
    for (size_t i = 0; i < reply->elements; i++) {
        const char *place = redis_text_at(reply, i), *id = place ? strchr(place, ':') : NULL;
        if (!id)
            return redis_malformed(err);
        (*ret_ids)[i] = strdup(id + 1);
        if (!(*ret_ids)[i])
            return lathe_error_nomem(err);
        (*ret_count)++;
    }
    return 0;
}

static int remove_job(void *priv, const char *job_id, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    return redis_run(priv, SCRIPT_remove, &reply, err, "s", job_id);
}

const struct lathe_state_driver lathe_state_redis = {
    .name = "redis",
    .priv_size = sizeof(struct redis_link),
    .open = open_redis,
    .close = close_redis,
    .create = create,
    .announced = redis_announced,
    .claim_split = claim_split,
    .set_units = set_units,
    .stored = stored,
    .claim = claim,
    .claim_next = claim_next,
    .renew = renew,
    .complete = complete,
    .attempt_failed = attempt_failed,
    .release = release_lease,
    .merge_claim = merge_claim,
    .merge_commit = merge_commit,
    .reopen = reopen,
    .replan = replan,
    .finish = finish,
    .retry = retry,
    .results = results,
    .get = redis_get,
    .list_open = list_open,
    .remove = remove_job,
    .list = redis_list,
    .units = redis_units,
    .beat = redis_beat,
    .leave = redis_leave,
    .workers = redis_workers,
    .drain = redis_drain,
    .check = redis_check,
};
