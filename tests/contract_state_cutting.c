/* SPDX-License-Identifier: MIT */
/*
 * Contract of the state port while the split still stores what its units read: who waits, and what
 * happens to the rest when it dies.
 */
#include <errno.h>

#include "contract_state.h"

/* Units 0 pilot, 1 audio, 2 … 4 chunks, of which each needs the one before; all need objects but
 * the last. */
static uint64_t begin(struct lathe_state *st, const char *job_id, int ttl_ms)
{
    static const struct lathe_unit units[] = {
        {.kind = LATHE_UNIT_PILOT, .needs_object = true},
        {.kind = LATHE_UNIT_AUDIO, .needs_object = true},
        {.kind = LATHE_UNIT_CHUNK, .index = 0, .needs_pilots = true, .needs_object = true},
        {.kind = LATHE_UNIT_CHUNK,
         .index = 1,
         .needs_pilots = true,
         .needs_chunks = 1,
         .needs_object = true},
        {.kind = LATHE_UNIT_CHUNK, .index = 2, .needs_pilots = true},
    };
    uint64_t fence = 0;
    enum lathe_verdict verdict = LATHE_GONE;
    create_job(st, job_id, 0);
    assert_int_equal(claim_split(st, job_id, ttl_ms, &fence), LATHE_GRANTED);
    const uint32_t none = 0;
    assert_int_equal(lathe_state_stored(st, job_id, fence, &none, 1, &verdict, NULL), -ENOENT);
    assert_int_equal(lathe_state_set_units(st, job_id, fence, units, 5, &verdict, NULL), 0);
    assert_int_equal(verdict, LATHE_GRANTED);
    return fence;
}

static uint32_t unstored(struct lathe_state *st, const char *job_id)
{
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(st, job_id, &view, NULL), 0);
    uint32_t ret = view.unstored_units;
    lathe_job_view_clear(&view);
    return ret;
}

static void finish_unit(struct lathe_state *st, const char *job_id, uint32_t unit)
{
    struct lathe_claim c;
    assert_int_equal(claim_next(st, job_id, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.unit, unit);
    assert_int_equal(complete(st, job_id, unit, c.fence, "{}"), LATHE_DONE);
}

void test_units_wait_for_their_objects(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    enum lathe_verdict verdict;
    struct lathe_claim c;
    uint64_t fence = begin(st, "a", LIVE_MS);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    assert_int_equal(unstored(st, "a"), 4);
    /* It is Lathe's own, and of the other nobody has said anything. */
    uint32_t chunks;
    assert_int_equal(lathe_state_announced(st, "a", &chunks, NULL), -ENOENT);
    assert_int_equal(lathe_state_announced(st, "none", &chunks, NULL), -ENOENT);
    for (uint32_t unit = 0; unit < 5; unit++)
        assert_int_equal(claim(st, "a", unit, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(claim_next(st, "a", LIVE_MS, &c), LATHE_WAIT);
    /* The split is at work, under the lease that it has. */
    uint64_t other;
    assert_int_equal(claim_split(st, "a", LIVE_MS, &other), LATHE_BUSY);
    assert_int_equal(renew(st, "a", LATHE_UNIT_SPLIT, fence, LIVE_MS), LATHE_GRANTED);
    /* Nobody was given such a unit, so nobody can have a result of it. */
    assert_int_equal(lathe_state_complete(st, "a", 2, fence, "{}", &verdict, NULL), -ESTALE);
    const uint32_t pilot = 0;
    assert_int_equal(lathe_state_stored(st, "a", fence + 7, &pilot, 1, &verdict, NULL), -ESTALE);

    assert_int_equal(stored(st, "a", fence, 0, 0), LATHE_GRANTED);
    assert_int_equal(stored(st, "a", fence, 0, 0), LATHE_GRANTED); /* a repeat */
    assert_int_equal(unstored(st, "a"), 3);
    finish_unit(st, "a", 0);
    finish_unit(st, "a", 4); /* needs only the pilot */
    assert_int_equal(claim_next(st, "a", LIVE_MS, &c), LATHE_WAIT);
    /* An object is not all that a unit may need. */
    assert_int_equal(stored(st, "a", fence, 2, 3), LATHE_GRANTED);
    assert_int_equal(claim(st, "a", 3, LIVE_MS, &c), LATHE_WAIT);
    finish_unit(st, "a", 2);
    finish_unit(st, "a", 3);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &other, NULL, NULL), LATHE_WAIT);

    /* With the last one the split is done, and that stays so. */
    assert_int_equal(stored(st, "a", fence, 1, 1), LATHE_DONE);
    assert_int_equal(stored(st, "a", fence, 0, 4), LATHE_DONE);
    assert_int_equal(renew(st, "a", LATHE_UNIT_SPLIT, fence, LIVE_MS), LATHE_GONE);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &other), LATHE_DONE);
    assert_int_equal(unstored(st, "a"), 0);
    finish_unit(st, "a", 1);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &other, NULL, NULL), LATHE_GRANTED);
    assert_int_equal(merge_commit(st, "a", other, "{}"), LATHE_DONE);
    assert_int_equal(stored(st, "a", fence, 0, 4), LATHE_GONE);
    assert_int_equal(stored(st, "none", fence, 0, 4), LATHE_GONE);
    lathe_state_close(st);
}

/* Whoever takes the split over goes on from what is stored; the one before cannot disturb it. */
void test_cutting_changes_hands(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    enum lathe_verdict verdict;
    struct lathe_claim c;
    uint64_t first = begin(st, "a", 1), second, third;
    assert_int_equal(stored(st, "a", first, 0, 0), LATHE_GRANTED);
    contract_sleep_ms(4);
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GRANTED); /* goes on meanwhile */
    assert_int_equal(claim_split(st, "a", LIVE_MS, &second), LATHE_GRANTED);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    const uint32_t chunk = 2;
    assert_int_equal(lathe_state_stored(st, "a", first, &chunk, 1, &verdict, NULL), -ESTALE);
    assert_int_equal(unstored(st, "a"), 3);
    assert_int_equal(stored(st, "a", second, 0, 2), LATHE_GRANTED);
    assert_int_equal(attempt_failed(st, "a", LATHE_UNIT_SPLIT, second, false), LATHE_RETRY);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &third), LATHE_GRANTED);
    release(st, "a", LATHE_UNIT_SPLIT, third);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &third), LATHE_GRANTED);
    assert_int_equal(complete(st, "a", 0, c.fence, "{}"), LATHE_DONE);
    assert_int_equal(stored(st, "a", third, 3, 3), LATHE_DONE);
    complete_all(st, "a");
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &third, NULL, NULL), LATHE_GRANTED);

    /* Limits hold for the split as before. */
    first = begin(st, "b", LIVE_MS);
    assert_int_equal(attempt_failed(st, "b", LATHE_UNIT_SPLIT, first, true), LATHE_EXHAUSTED);
    assert_int_equal(status_of(st, "b"), LATHE_JOB_FAILED);
    lathe_state_close(st);
}

void test_cutting_job_is_retried(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    struct lathe_claim c;
    uint64_t fence = begin(st, "a", LIVE_MS), again;
    assert_int_equal(stored(st, "a", fence, 0, 0), LATHE_GRANTED);
    finish_unit(st, "a", 0);
    assert_int_equal(stored(st, "a", fence, 2, 2), LATHE_GRANTED);
    assert_int_equal(finish(st, "a", LATHE_JOB_CANCELLED), LATHE_DONE);
    assert_int_equal(retry(st, "a", 1, true), LATHE_GRANTED);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    assert_int_equal(unstored(st, "a"), 2);
    assert_int_equal(claim(st, "a", 3, LIVE_MS, &c), LATHE_WAIT);
    finish_unit(st, "a", 2);
    finish_unit(st, "a", 4);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &again), LATHE_GRANTED);
    assert_int_equal(again >> 32, 2);
    assert_int_equal(stored(st, "a", again, 1, 1), LATHE_GRANTED);
    assert_int_equal(stored(st, "a", again, 3, 3), LATHE_DONE);
    complete_all(st, "a");
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &again, NULL, NULL), LATHE_GRANTED);

    /* Without the results all begins anew. */
    begin(st, "b", LIVE_MS);
    assert_int_equal(retry(st, "b", 1, false), LATHE_GRANTED);
    assert_int_equal(unstored(st, "b"), 0);
    assert_int_equal(status_of(st, "b"), LATHE_JOB_QUEUED);
    plan_job(st, "b", 1, 1, 3, 0);
    complete_all(st, "b");
    assert_int_equal(merge_claim(st, "b", LIVE_MS, &again, NULL, NULL), LATHE_GRANTED);
    lathe_state_close(st);
}
