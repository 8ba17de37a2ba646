/* SPDX-License-Identifier: MIT */
/*
 * The state of a fleet in one Redis server. The transitions of protocol.md are the Lua scripts, one
 * for each call; this file only packs their arguments and unpacks their replies.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers.h"
#include "lathe/base.h"
#include "redis_link.h"

#define UNIT_BYTES 5         /* of a unit in the plan, see common.lua */
#define FIELDS_OF_A_RESULT 6 /* see read_results in common.lua */
#define FIELDS_OF_A_HEAD 3   /* verdict, fence, wait_ms */

static void free_reply(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}
#define _cleanup_reply_ _cleanup_(free_reply)

static int open_redis(void *priv, const char *location, struct lathe_error *err)
{
    return redis_link_open(priv, location, err);
}

static void close_redis(void *priv)
{
    redis_link_close(priv);
}

/* --- arguments --- */

/* `types` has a letter for each argument: s = const char *, i = int64_t, f = fence, u = unit (they
 * are numbers, but for the split and the merge), b = const void *, size_t. */
static int run(struct redis_link *link, enum redis_script script, redisReply **ret,
               struct lathe_error *err, const char *types, ...)
{
    const char *argv[REDIS_ARGS_MAX];
    size_t lengths[REDIS_ARGS_MAX];
    char numbers[REDIS_ARGS_MAX][32];
    int argc = 0;
    va_list args;
    va_start(args, types);
    for (; *types; types++, argc++) {
        char *number = numbers[argc];
        argv[argc] = number;
        if (*types == 's') {
            argv[argc] = va_arg(args, const char *);
        } else if (*types == 'i') {
            snprintf(number, sizeof(numbers[0]), "%" PRId64, va_arg(args, int64_t));
        } else if (*types == 'f') {
            uint64_t fence = va_arg(args, uint64_t);
            snprintf(number, sizeof(numbers[0]), "%" PRIu64 "-%" PRIu64, fence >> 32,
                     fence & UINT32_MAX);
        } else if (*types == 'u') {
            uint32_t unit = va_arg(args, uint32_t);
            if (unit == LATHE_UNIT_SPLIT || unit == LATHE_UNIT_MERGE)
                argv[argc] = unit == LATHE_UNIT_SPLIT ? "split" : "merge";
            else
                snprintf(number, sizeof(numbers[0]), "%" PRIu32, unit);
        } else {
            argv[argc] = va_arg(args, const void *);
            lengths[argc] = va_arg(args, size_t);
            continue;
        }
        lengths[argc] = strlen(argv[argc]);
    }
    va_end(args);
    return redis_link_call(link, script, argc, argv, lengths, ret, err);
}

/* --- replies --- */

static int malformed(struct lathe_error *err)
{
    return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                           "Redis gave an answer that this version of Lathe does not understand");
}

static const char *text_at(const redisReply *reply, size_t i)
{
    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements)
        return NULL;
    const redisReply *element = reply->element[i];
    return element->type == REDIS_REPLY_STRING ? element->str : NULL;
}

static int64_t number_at(const redisReply *reply, size_t i)
{
    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements)
        return 0;
    const redisReply *element = reply->element[i];
    if (element->type == REDIS_REPLY_INTEGER)
        return element->integer;
    return element->type == REDIS_REPLY_STRING ? strtoll(element->str, NULL, 10) : 0;
}

static char *copy_of(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* Reads "epoch-counter"; *ret_end is what follows. */
static int parse_fence(const char *text, uint64_t *ret, const char **ret_end)
{
    char *end = NULL;
    uint64_t epoch = text ? strtoull(text, &end, 10) : 0;
    if (!text || *end != '-')
        return -EBADMSG;
    *ret = epoch << 32 | strtoull(end + 1, &end, 10);
    if (ret_end)
        *ret_end = end;
    return 0;
}

/* `nothing` is what NONE means to the caller. */
static int read_verdict(const redisReply *reply, const char *job_id, int nothing,
                        enum lathe_verdict *ret, struct lathe_error *err)
{
    static const char *const names[] = {
        [LATHE_GRANTED] = "GRANTED", [LATHE_BUSY] = "BUSY",
        [LATHE_WAIT] = "WAIT",       [LATHE_DONE] = "DONE",
        [LATHE_GONE] = "GONE",       [LATHE_DUPLICATE] = "DUPLICATE",
        [LATHE_RETRY] = "RETRY",     [LATHE_EXHAUSTED] = "EXHAUSTED"};
    const char *name = text_at(reply, 0);
    for (size_t i = 0; name && i < LATHE_COUNT(names); i++) {
        if (strcmp(name, names[i]))
            continue;
        *ret = (enum lathe_verdict)i;
        return 0;
    }
    if (name && strcmp(name, "STALE") == 0)
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERRUPTED,
                               "this work on job %s was overtaken by a retry or another worker",
                               job_id);
    if (name && strcmp(name, "NONE") == 0)
        return lathe_error_set(err, nothing,
                               nothing == -ENOENT ? LATHE_FAULT_INPUT : LATHE_FAULT_INTERNAL,
                               "job %s has no such unit, or there is no such job", job_id);
    return malformed(err);
}

/* Verdict, fence, wait_ms: how the answers to claims begin. */
static int read_head(const redisReply *reply, const char *job_id, enum lathe_verdict *ret,
                     uint64_t *ret_fence, int *ret_wait_ms, struct lathe_error *err)
{
    int r = read_verdict(reply, job_id, -ENOENT, ret, err);
    if (r < 0)
        return r;
    if (*ret == LATHE_GRANTED && parse_fence(text_at(reply, 1), ret_fence, NULL) < 0)
        return malformed(err);
    int64_t wait_ms = number_at(reply, 2);
    if (ret_wait_ms)
        *ret_wait_ms = wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
    return 0;
}

static struct lathe_unit unit_at(const redisReply *reply, size_t i)
{
    return (struct lathe_unit){.kind = (enum lathe_unit_kind)number_at(reply, i),
                               .index = (uint32_t)number_at(reply, i + 1),
                               .needs_pilots = number_at(reply, i + 2) != 0,
                               .needs_chunks = (uint32_t)number_at(reply, i + 3)};
}

static int read_claim(const redisReply *reply, const char *job_id, enum lathe_verdict *ret,
                      struct lathe_claim *ret_claim, int *ret_wait_ms, struct lathe_error *err)
{
    int r = read_head(reply, job_id, ret, &ret_claim->fence, ret_wait_ms, err);
    if (r < 0 || *ret != LATHE_GRANTED)
        return r;
    const char *id = text_at(reply, 3);
    if (!id || strlen(id) > LATHE_ID_MAX)
        return malformed(err);
    snprintf(ret_claim->job_id, sizeof(ret_claim->job_id), "%s", id);
    ret_claim->unit = (uint32_t)number_at(reply, 4);
    ret_claim->what = unit_at(reply, 5);
    ret_claim->attempt = (uint32_t)number_at(reply, 9);
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
        list[n].unit = (uint32_t)number_at(reply, i);
        list[n].what = unit_at(reply, i + 1);
        if (parse_fence(text_at(reply, i + 5), &list[n].fence, &result) < 0 || *result != ' ')
            r = malformed(err);
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
    return run(priv, SCRIPT_create, &reply, err, "sis", job_id, (int64_t)priority, record);
}

static int claim_split(void *priv, const char *job_id, const char *owner, int ttl_ms,
                       enum lathe_verdict *ret, uint64_t *ret_fence, int *ret_wait_ms,
                       struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_claim_split, &reply, err, "ssi", job_id, owner, (int64_t)ttl_ms);
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
    int r = run(priv, SCRIPT_set_units, &reply, err, "sfiiib", job_id, fence,
                counts[LATHE_UNIT_PILOT], counts[LATHE_UNIT_AUDIO], counts[LATHE_UNIT_CHUNK],
                (const void *)plan, (size_t)count * UNIT_BYTES);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
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
    int r = run(priv, SCRIPT_stored, &reply, err, "sfs", job_id, fence, list);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int claim(void *priv, const char *job_id, uint32_t unit, const char *owner, int ttl_ms,
                 enum lathe_verdict *ret, struct lathe_claim *ret_claim, int *ret_wait_ms,
                 struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_claim, &reply, err, "susi", job_id, unit, owner, (int64_t)ttl_ms);
    return r < 0 ? r : read_claim(reply, job_id, ret, ret_claim, ret_wait_ms, err);
}

static int claim_next(void *priv, const char *job_id, const char *owner, int ttl_ms,
                      enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                      struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_claim_next, &reply, err, "ssi", job_id ? job_id : "", owner,
                (int64_t)ttl_ms);
    return r < 0 ? r : read_claim(reply, job_id ? job_id : "", ret, ret_claim, NULL, err);
}

static int renew(void *priv, const char *job_id, uint32_t unit, uint64_t fence, int ttl_ms,
                 enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_renew, &reply, err, "sufi", job_id, unit, fence, (int64_t)ttl_ms);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int complete(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                    const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_complete, &reply, err, "sufs", job_id, unit, fence, result);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int attempt_failed(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                          bool permanent, const char *reason, enum lathe_verdict *ret,
                          struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_attempt_failed, &reply, err, "sufis", job_id, unit, fence,
                (int64_t)permanent, reason);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int release_lease(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                         struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    return run(priv, SCRIPT_release, &reply, err, "suf", job_id, unit, fence);
}

static int merge_claim(void *priv, const char *job_id, const char *owner, int ttl_ms,
                       enum lathe_verdict *ret, uint64_t *ret_fence, struct lathe_done **ret_done,
                       size_t *ret_count, int *ret_wait_ms, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_merge_claim, &reply, err, "ssi", job_id, owner, (int64_t)ttl_ms);
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
    int r = run(priv, SCRIPT_merge_commit, &reply, err, "sfs", job_id, fence, result);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int reopen(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                  uint32_t count, const char *reason, enum lathe_verdict *ret,
                  struct lathe_error *err)
{
    _cleanup_free_ char *list = list_of(units, count);
    if (!list)
        return lathe_error_nomem(err);
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_reopen, &reply, err, "sfss", job_id, fence, reason, list);
    return r < 0 ? r : read_verdict(reply, job_id, -EINVAL, ret, err);
}

static int replan(void *priv, const char *job_id, uint64_t fence, const char *reason,
                  enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_replan, &reply, err, "sfs", job_id, fence, reason);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int finish(void *priv, const char *job_id, enum lathe_job_status status, const char *reason,
                  enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r =
        run(priv, SCRIPT_finish, &reply, err, "sss", job_id, lathe_job_status_name(status), reason);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int retry(void *priv, const char *job_id, uint32_t seen_epoch, bool keep_results,
                 enum lathe_verdict *ret, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_retry, &reply, err, "sii", job_id, (int64_t)seen_epoch,
                (int64_t)keep_results);
    return r < 0 ? r : read_verdict(reply, job_id, -ENOENT, ret, err);
}

static int results(void *priv, const char *job_id, uint32_t first, uint32_t end,
                   struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    enum lathe_verdict verdict;
    int r = run(priv, SCRIPT_results, &reply, err, "sii", job_id, (int64_t)first, (int64_t)end);
    if (r == 0)
        r = read_verdict(reply, job_id, -ENOENT, &verdict, err);
    return r < 0 ? r : read_results(reply, ret_done, ret_count, err);
}

static int status_from(const char *name, enum lathe_job_status *ret)
{
    for (int i = 0; name && i <= LATHE_JOB_CANCELLED; i++) {
        if (strcmp(name, lathe_job_status_name((enum lathe_job_status)i)))
            continue;
        *ret = (enum lathe_job_status)i;
        return 0;
    }
    return -EBADMSG;
}

static int get(void *priv, const char *job_id, struct lathe_job_view *ret, struct lathe_error *err)
{
    char key[LATHE_ID_MAX + 8];
    snprintf(key, sizeof(key), "job:%s", job_id);
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_NONE, &reply, err, "ssssssssssssssssss", "HMGET", key, "epoch",
                "status", "priority", "total_chunks", "completed_chunks", "total_units",
                "completed_units", "created_us", "updated_us", "finished_us", "error", "record",
                "result", "replan", "v", "unstored_units");
    if (r < 0)
        return r;
    if (!text_at(reply, 0))
        return lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "there is no job %s", job_id);
    const char *version = text_at(reply, 14);
    if (!version || strcmp(version, "1"))
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_CONFIG,
                               "the state of job %s has format %s, this version of Lathe uses 1",
                               job_id, version ? version : "unknown");
    if (status_from(text_at(reply, 1), &ret->status) < 0)
        return malformed(err);
    snprintf(ret->id, sizeof(ret->id), "%s", job_id);
    ret->epoch = (uint32_t)number_at(reply, 0);
    ret->priority = (int)number_at(reply, 2);
    ret->total_chunks = (uint32_t)number_at(reply, 3);
    ret->completed_chunks = (uint32_t)number_at(reply, 4);
    ret->total_units = (uint32_t)number_at(reply, 5);
    ret->completed_units = (uint32_t)number_at(reply, 6);
    ret->created_us = number_at(reply, 7);
    ret->updated_us = number_at(reply, 8);
    ret->finished_us = number_at(reply, 9);
    ret->unstored_units = (uint32_t)number_at(reply, 15);
    char **const texts[] = {&ret->error, &ret->record, &ret->result, &ret->replan};
    for (size_t i = 0; i < LATHE_COUNT(texts); i++) {
        const char *text = text_at(reply, 10 + i);
        *texts[i] = copy_of(text);
        if (text && !*texts[i])
            return lathe_error_nomem(err);
    }
    return 0;
}

static int list_open(void *priv, char ***ret_ids, size_t *ret_count, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int r = run(priv, SCRIPT_NONE, &reply, err, "ssss", "ZRANGE", "lathe:open", "0", "-1");
    if (r < 0)
        return r;
    if (reply->type != REDIS_REPLY_ARRAY)
        return malformed(err);
    *ret_ids = calloc(reply->elements + 1, sizeof(**ret_ids));
    if (!*ret_ids)
        return lathe_error_nomem(err);
    for (size_t i = 0; i < reply->elements; i++) {
        const char *place = text_at(reply, i), *id = place ? strchr(place, ':') : NULL;
        if (!id)
            return malformed(err);
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
    return run(priv, SCRIPT_remove, &reply, err, "s", job_id);
}

const struct lathe_state_driver lathe_state_redis = {
    .name = "redis",
    .priv_size = sizeof(struct redis_link),
    .open = open_redis,
    .close = close_redis,
    .create = create,
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
    .get = get,
    .list_open = list_open,
    .remove = remove_job,
};
