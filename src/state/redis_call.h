/* SPDX-License-Identifier: MIT */
/*
 * One call of the Redis state: its arguments packed, its reply read. Readers answer harmless values
 * where a reply has not what they look for.
 */
#ifndef LATHE_REDIS_CALL_H
#define LATHE_REDIS_CALL_H

#include "lathe/state.h"
#include "redis_link.h"
#include "state_findings.h"

static inline void redis_free_reply(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}
#define _cleanup_reply_ _cleanup_(redis_free_reply)

/* `types` has a letter for each argument: s = const char *, i = int64_t, f = fence, u = unit (they
 * are numbers, but for the split and the merge), b = const void *, size_t. The caller frees. */
int redis_run(struct redis_link *link, enum redis_script script, redisReply **ret,
              struct lathe_error *err, const char *types, ...);

int redis_malformed(struct lathe_error *err); /* -EBADMSG */
const char *redis_text_at(const redisReply *reply, size_t i);
int64_t redis_number_at(const redisReply *reply, size_t i);
/* malloc'd, or NULL where there is no text. */
int redis_copy_at(const redisReply *reply, size_t i, char **ret, struct lathe_error *err);
/* Reads "epoch-counter"; *ret_end is what follows. */
int redis_parse_fence(const char *text, uint64_t *ret, const char **ret_end);
/* `nothing` is what NONE means to the caller. */
int redis_read_verdict(const redisReply *reply, const char *job_id, int nothing,
                       enum lathe_verdict *ret, struct lathe_error *err);
/* Kind, index, needs_pilots, needs_chunks, from element `i` on. */
struct lathe_unit redis_unit_at(const redisReply *reply, size_t i);

/* --- redis_check.c --- */

void redis_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret);

/* --- redis_views.c --- */

int redis_announced(void *priv, const char *job_id, uint32_t *ret, struct lathe_error *err);
int redis_get(void *priv, const char *job_id, struct lathe_job_view *ret, struct lathe_error *err);
int redis_list(void *priv, enum lathe_job_filter filter, uint64_t cursor, uint32_t limit,
               struct lathe_job_view **ret, size_t *ret_count, uint64_t *ret_cursor,
               struct lathe_error *err);
int redis_units(void *priv, const char *job_id, uint32_t first, uint32_t end,
                struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err);
int redis_beat(void *priv, const char *worker, const char *host, const char *record, int ttl_ms,
               bool *ret_drain, struct lathe_error *err);
int redis_leave(void *priv, const char *worker, struct lathe_error *err);
int redis_workers(void *priv, struct lathe_worker_view **ret, size_t *ret_count,
                  struct lathe_error *err);
int redis_drain(void *priv, const char *host, uint32_t *ret_count, struct lathe_error *err);

#endif
