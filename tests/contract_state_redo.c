/* SPDX-License-Identifier: MIT */
/*
 * Contract of the state port where work that was done has to be done again: results that the merge
 * cannot use, and a plan that cannot be followed.
 */
#include "contract_state.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"

static void merge_is_claimed(struct lathe_state *st, const char *job_id, uint64_t *ret_fence)
{
    assert_int_equal(merge_claim(st, job_id, LIVE_MS, ret_fence, NULL, NULL), LATHE_GRANTED);
}

static void expect_counts(struct lathe_state *st, const char *job_id, uint32_t units,
                          uint32_t chunks)
{
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(st, job_id, &view, NULL), 0);
    assert_int_equal(view.completed_units, units);
    assert_int_equal(view.completed_chunks, chunks);
    lathe_job_view_clear(&view);
}

void test_unusable_results(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const uint32_t sound_and_chunks[] = {1, 2, 5}, descending[] = {2, 1};
    uint64_t merge, again;
    enum lathe_verdict verdict;
    struct lathe_claim c, old;
    assert_int_equal(reopen(st, "a", 1, sound_and_chunks, 1), LATHE_GONE);
    create_job(st, "a", 0);
    plan_job(st, "a", 1, 1, 5, 2); /* units: pilot 0, sound 1, chunks 2 … 6 */
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(complete(st, "a", 0, c.fence, "{}"), LATHE_DONE);
    assert_int_equal(claim(st, "a", 2, LIVE_MS, &old), LATHE_GRANTED);
    assert_int_equal(complete(st, "a", 2, old.fence, "{\"damaged\":1}"), LATHE_DONE);
    assert_int_equal(reopen(st, "a", old.fence, sound_and_chunks, 1), LATHE_DUPLICATE);
    complete_all(st, "a");
    merge_is_claimed(st, "a", &merge);
    assert_int_equal(lathe_state_reopen(st, "a", merge, descending, 2, "", &verdict, NULL),
                     -EINVAL);
    assert_int_equal(lathe_state_reopen(st, "a", merge, NULL, 0, "", &verdict, NULL), -EINVAL);
    assert_int_equal(reopen(st, "a", merge, sound_and_chunks, 3), LATHE_RETRY);
    assert_int_equal(reopen(st, "a", merge, sound_and_chunks, 3), LATHE_DUPLICATE); /* a repeat */
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    expect_counts(st, "a", 4, 3);

    /* The merge waits, its lease is over, and the refused result does not come back. */
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &again, NULL, NULL), LATHE_WAIT);
    assert_int_equal(lathe_state_merge_commit(st, "a", merge, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(lathe_state_complete(st, "a", 2, old.fence, "{\"damaged\":1}", &verdict, NULL),
                     -ESTALE);

    /* Exactly these three are open; chunk 3 learns from chunk 0, so it waits for it. */
    assert_int_equal(claim(st, "a", 5, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(claim(st, "a", 3, LIVE_MS, &c), LATHE_DONE);
    assert_int_equal(claim_next(st, "a", LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.unit, 1);
    assert_int_equal(c.attempt, 2);
    assert_int_equal(complete(st, "a", 1, c.fence, "{}"), LATHE_DONE);
    assert_int_equal(claim_next(st, "a", LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.unit, 2);
    assert_int_equal(claim_next(st, "a", LIVE_MS, &old), LATHE_WAIT);
    assert_int_equal(complete(st, "a", 2, c.fence, "{\"damaged\":0}"), LATHE_DONE);
    assert_int_equal(claim_next(st, "a", LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.unit, 5);
    assert_int_equal(complete(st, "a", 5, c.fence, "{}"), LATHE_DONE);
    expect_counts(st, "a", 7, 5);

    struct lathe_done *done;
    size_t count;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &again, &done, &count), LATHE_GRANTED);
    assert_int_equal(count, 7);
    assert_string_equal(done[2].result, "{\"damaged\":0}");
    lathe_done_free(done, count);
    assert_int_equal(merge_commit(st, "a", again, "{}"), LATHE_DONE);
    assert_int_equal(reopen(st, "a", again, sound_and_chunks, 3), LATHE_GONE);
    lathe_state_close(st);
}

/* Refusals and failed attempts of a unit are counted together; the merge's own are not touched. */
void test_unusable_results_are_bounded(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const uint32_t unit = 1;
    uint64_t merge = 0;
    struct lathe_claim c;
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 2, 0);
    assert_int_equal(claim(st, "a", unit, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(attempt_failed(st, "a", unit, c.fence, false), LATHE_RETRY);
    for (int i = 2; i <= LATHE_LIMIT_SLOT_FAILURES; i++) {
        complete_all(st, "a");
        merge_is_claimed(st, "a", &merge);
        assert_int_equal(reopen(st, "a", merge, &unit, 1),
                         i < LATHE_LIMIT_SLOT_FAILURES ? LATHE_RETRY : LATHE_EXHAUSTED);
    }
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_int_equal(view.status, LATHE_JOB_FAILED);
    assert_non_null(strstr(view.error, "chunk 1"));
    assert_non_null(strstr(view.error, "it is damaged"));
    lathe_job_view_clear(&view);
    assert_int_equal(reopen(st, "a", merge, &unit, 1), LATHE_GONE);
    lathe_state_close(st);
}

/* A retry begins to count anew, but for the results that it keeps: the merge may refuse them yet.
 */
void test_kept_results_keep_their_failures(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const uint32_t kept = 0;
    uint64_t merge;
    struct lathe_claim c;
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 2, 0);
    for (uint32_t unit = 0; unit < 2; unit++)
        for (int i = 1; i < LATHE_LIMIT_SLOT_FAILURES; i++) {
            assert_int_equal(claim(st, "a", unit, LIVE_MS, &c), LATHE_GRANTED);
            assert_int_equal(attempt_failed(st, "a", unit, c.fence, false), LATHE_RETRY);
        }
    assert_int_equal(claim(st, "a", kept, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.attempt, LATHE_LIMIT_SLOT_FAILURES);
    assert_int_equal(complete(st, "a", kept, c.fence, "{}"), LATHE_DONE);
    assert_int_equal(retry(st, "a", 1, true), LATHE_GRANTED);
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.attempt, 1);
    assert_int_equal(complete(st, "a", 1, c.fence, "{}"), LATHE_DONE);
    merge_is_claimed(st, "a", &merge);
    assert_int_equal(reopen(st, "a", merge, &kept, 1), LATHE_EXHAUSTED);
    lathe_state_close(st);
}

void test_another_plan(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    uint64_t merge, split, zombie;
    enum lathe_verdict verdict;
    struct lathe_claim old, c;
    assert_int_equal(replan(st, "a", 1), LATHE_GONE);
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 1, 3, 0);
    assert_int_equal(claim(st, "a", 2, 1, &old), LATHE_GRANTED);
    contract_sleep_ms(4); /* a worker that will be late */
    complete_all(st, "a");
    assert_int_equal(replan(st, "a", old.fence), LATHE_DUPLICATE);
    assert_int_equal(merge_claim(st, "a", 1, &zombie, NULL, NULL), LATHE_GRANTED);
    contract_sleep_ms(4);
    merge_is_claimed(st, "a", &merge);
    assert_int_equal(replan(st, "a", zombie), LATHE_DUPLICATE);
    assert_int_equal(replan(st, "a", merge), LATHE_RETRY);
    assert_int_equal(replan(st, "a", merge), LATHE_DUPLICATE); /* a repeat */
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_int_equal(view.status, LATHE_JOB_QUEUED);
    assert_int_equal(view.epoch, 2);
    assert_int_equal(view.completed_units, 0);
    assert_string_equal(view.replan, "it cannot be cut");
    lathe_job_view_clear(&view);

    /* Nothing of the old plan counts any more, whoever brings it and when. */
    assert_int_equal(lathe_state_complete(st, "a", 2, old.fence, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(lathe_state_merge_commit(st, "a", merge, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(renew(st, "a", 2, old.fence, LIVE_MS), LATHE_GONE);
    plan_job(st, "a", 0, 1, 1, 0);
    assert_int_equal(claim(st, "a", 2, LIVE_MS, &c), LATHE_GONE); /* its old bell */
    assert_int_equal(lathe_state_complete(st, "a", 1, old.fence, "{}", &verdict, NULL), -ESTALE);
    complete_all(st, "a");
    struct lathe_done *done;
    size_t count;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &merge, &done, &count), LATHE_GRANTED);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(done[i].fence >> 32, 2);
    lathe_done_free(done, count);

    /* A second time is the end, also after a retry by people. */
    assert_int_equal(replan(st, "a", merge), LATHE_EXHAUSTED);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_FAILED);
    assert_int_equal(replan(st, "a", merge), LATHE_GONE);
    assert_int_equal(retry(st, "a", 2, false), LATHE_GRANTED);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &split), LATHE_GRANTED);
    assert_int_equal(replan(st, "a", split), LATHE_EXHAUSTED);

    /* Whoever splits may find that the job was replanned before its state was lost. */
    create_job(st, "lost", 0);
    assert_int_equal(claim_split(st, "lost", LIVE_MS, &split), LATHE_GRANTED);
    assert_int_equal(replan(st, "lost", split), LATHE_RETRY);
    const struct lathe_unit unit = {.kind = LATHE_UNIT_CHUNK};
    assert_int_equal(lathe_state_set_units(st, "lost", split, &unit, 1, &verdict, NULL), -ESTALE);
    assert_int_equal(claim_split(st, "lost", LIVE_MS, &split), LATHE_GRANTED);
    assert_int_equal(split >> 32, 2);
    lathe_state_close(st);
}
