/* SPDX-License-Identifier: MIT */
/*
 * The short forms of contract_state.h.
 */
#include "contract_state.h"

#include <string.h>

#include "lathe/base.h"

#define OWNER "tester"
#define CALL(call)                                                                                 \
    do {                                                                                           \
        struct lathe_error err = {0};                                                              \
        if ((call) < 0)                                                                            \
            fail_msg("%s", err.what);                                                              \
    } while (0)

struct lathe_state *open_state(void)
{
    struct lathe_state *st = NULL;
    CALL(lathe_state_open(contract.driver, contract.location, &st, &err));
    return st;
}

void create_job(struct lathe_state *st, const char *job_id, int priority)
{
    CALL(lathe_state_create(st, job_id, priority, "{\"record\":1}", &err));
}

void plan_job(struct lathe_state *st, const char *job_id, int pilots, int audio, int chunks,
              int lag)
{
    uint32_t count = (uint32_t)(pilots + audio + chunks), n = 0;
    struct lathe_unit *units = calloc(count, sizeof(*units));
    assert_non_null(units);
    for (int i = 0; i < pilots; i++)
        units[n++] = (struct lathe_unit){.kind = LATHE_UNIT_PILOT, .index = (uint32_t)i};
    for (int i = 0; i < audio; i++)
        units[n++] = (struct lathe_unit){.kind = LATHE_UNIT_AUDIO, .index = (uint32_t)i};
    for (int i = 0; i < chunks; i++)
        units[n++] =
            (struct lathe_unit){.kind = LATHE_UNIT_CHUNK,
                                .index = (uint32_t)i,
                                .needs_pilots = pilots > 0,
                                .needs_chunks = lag && i + 1 > lag ? (uint32_t)(i + 1 - lag) : 0};
    uint64_t fence = 0;
    assert_int_equal(claim_split(st, job_id, LIVE_MS, &fence), LATHE_GRANTED);
    enum lathe_verdict verdict = LATHE_GONE;
    CALL(lathe_state_set_units(st, job_id, fence, units, count, &verdict, &err));
    assert_int_equal(verdict, LATHE_GRANTED);
    free(units);
}

enum lathe_verdict stored(struct lathe_state *st, const char *job_id, uint64_t fence,
                          uint32_t first, uint32_t last)
{
    enum lathe_verdict verdict = LATHE_BUSY;
    uint32_t units[16], count = 0;
    for (uint32_t unit = first; unit <= last; unit++)
        units[count++] = unit;
    CALL(lathe_state_stored(st, job_id, fence, units, count, &verdict, &err));
    return verdict;
}

enum lathe_verdict claim_split(struct lathe_state *st, const char *job_id, int ttl_ms,
                               uint64_t *ret_fence)
{
    enum lathe_verdict verdict = LATHE_GONE;
    int wait_ms = -1;
    CALL(lathe_state_claim_split(st, job_id, OWNER, ttl_ms, &verdict, ret_fence, &wait_ms, &err));
    if (verdict == LATHE_BUSY)
        assert_in_range(wait_ms, 1, LIVE_MS + 1);
    return verdict;
}

enum lathe_verdict claim(struct lathe_state *st, const char *job_id, uint32_t unit, int ttl_ms,
                         struct lathe_claim *ret)
{
    enum lathe_verdict verdict = LATHE_GONE;
    int wait_ms = -1;
    CALL(lathe_state_claim(st, job_id, unit, OWNER, ttl_ms, &verdict, ret, &wait_ms, &err));
    if (verdict == LATHE_BUSY)
        assert_in_range(wait_ms, 1, LIVE_MS + 1);
    if (verdict == LATHE_GRANTED) {
        assert_string_equal(ret->job_id, job_id);
        assert_int_equal(ret->unit, unit);
    }
    return verdict;
}

enum lathe_verdict claim_next(struct lathe_state *st, const char *job_id, int ttl_ms,
                              struct lathe_claim *ret)
{
    enum lathe_verdict verdict = LATHE_GONE;
    CALL(lathe_state_claim_next(st, &(struct lathe_claim_wish){.job_id = job_id}, OWNER, ttl_ms,
                                &verdict, ret, &err));
    return verdict;
}

enum lathe_verdict claim_youngest(struct lathe_state *st, int ttl_ms, struct lathe_claim *ret)
{
    enum lathe_verdict verdict = LATHE_GONE;
    CALL(lathe_state_claim_next(st, &(struct lathe_claim_wish){.order = LATHE_YOUNGEST_FIRST},
                                OWNER, ttl_ms, &verdict, ret, &err));
    return verdict;
}

enum lathe_verdict renew(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                         int ttl_ms)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_renew(st, job_id, unit, fence, ttl_ms, &verdict, &err));
    return verdict;
}

enum lathe_verdict complete(struct lathe_state *st, const char *job_id, uint32_t unit,
                            uint64_t fence, const char *result)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_complete(st, job_id, unit, fence, result, &verdict, &err));
    return verdict;
}

enum lathe_verdict attempt_failed(struct lathe_state *st, const char *job_id, uint32_t unit,
                                  uint64_t fence, bool permanent)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_attempt_failed(st, job_id, unit, fence, permanent, "the encoder crashed",
                                    &verdict, &err));
    return verdict;
}

void release(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence)
{
    CALL(lathe_state_release(st, job_id, unit, fence, &err));
}

enum lathe_verdict merge_claim(struct lathe_state *st, const char *job_id, int ttl_ms,
                               uint64_t *ret_fence, struct lathe_done **ret_done, size_t *ret_count)
{
    enum lathe_verdict verdict = LATHE_GONE;
    struct lathe_done *done = NULL;
    size_t count = 0;
    int wait_ms = -1;
    CALL(lathe_state_merge_claim(st, job_id, OWNER, ttl_ms, &verdict, ret_fence, &done, &count,
                                 &wait_ms, &err));
    if (verdict == LATHE_BUSY)
        assert_in_range(wait_ms, 1, LIVE_MS + 1);
    if (verdict != LATHE_GRANTED)
        assert_int_equal(count, 0);
    if (ret_done) {
        *ret_done = done;
        *ret_count = count;
    } else {
        lathe_done_free(done, count);
    }
    return verdict;
}

enum lathe_verdict merge_commit(struct lathe_state *st, const char *job_id, uint64_t fence,
                                const char *result)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_merge_commit(st, job_id, fence, result, &verdict, &err));
    return verdict;
}

enum lathe_verdict reopen(struct lathe_state *st, const char *job_id, uint64_t fence,
                          const uint32_t *units, uint32_t count)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_reopen(st, job_id, fence, units, count, "it is damaged", &verdict, &err));
    return verdict;
}

enum lathe_verdict replan(struct lathe_state *st, const char *job_id, uint64_t fence)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_replan(st, job_id, fence, "it cannot be cut", &verdict, &err));
    return verdict;
}

enum lathe_verdict finish(struct lathe_state *st, const char *job_id, enum lathe_job_status status)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_finish(st, job_id, status, "asked to", &verdict, &err));
    return verdict;
}

enum lathe_verdict retry(struct lathe_state *st, const char *job_id, uint32_t seen_epoch,
                         bool keep_results)
{
    enum lathe_verdict verdict = LATHE_WAIT;
    CALL(lathe_state_retry(st, job_id, seen_epoch, keep_results, &verdict, &err));
    return verdict;
}

enum lathe_job_status status_of(struct lathe_state *st, const char *job_id)
{
    struct lathe_job_view view = {0};
    CALL(lathe_state_get(st, job_id, &view, &err));
    enum lathe_job_status status = view.status;
    lathe_job_view_clear(&view);
    return status;
}

void complete_all(struct lathe_state *st, const char *job_id)
{
    struct lathe_claim c;
    while (claim_next(st, job_id, LIVE_MS, &c) == LATHE_GRANTED)
        assert_int_equal(complete(st, job_id, c.unit, c.fence, "{}"), LATHE_DONE);
}

void expire(void)
{
    contract_sleep_ms(4); /* the leases that the tests let run out have 1 ms */
}
