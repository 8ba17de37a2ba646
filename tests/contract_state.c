/* SPDX-License-Identifier: MIT */
/*
 * Contract of the state port, line by line of src/state/protocol.md, in one process. Processes that
 * die and race are in contract_state_faults.c, chance is in contract_state_model.c.
 */
#include "contract_state.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"

static void test_names_and_arguments(void **state)
{
    (void)state;
    assert_string_equal(lathe_job_status_name(LATHE_JOB_TRANSCODING), "transcoding");
    assert_string_equal(lathe_unit_kind_name(LATHE_UNIT_AUDIO), "audio");
    struct lathe_state *st = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_state_open("no-such", "x", &st, &err), -ENOENT);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);

    st = open_state();
    enum lathe_verdict verdict;
    struct lathe_claim c;
    assert_int_equal(lathe_state_create(st, "../evil", 0, "{}", NULL), -EINVAL);
    assert_int_equal(lathe_state_create(st, "ok", 0, NULL, NULL), -EINVAL);
    assert_int_equal(
        lathe_state_claim_next(st, &(struct lathe_claim_wish){0}, "", 1, &verdict, &c, NULL),
        -EINVAL);
    assert_int_equal(
        lathe_state_claim_next(st, &(struct lathe_claim_wish){0}, "o", 0, &verdict, &c, NULL),
        -EINVAL);
    assert_int_equal(lathe_state_complete(st, "ok", LATHE_UNIT_MERGE, 1, "{}", &verdict, NULL),
                     -EINVAL);
    assert_int_equal(lathe_state_finish(st, "ok", LATHE_JOB_COMPLETED, "", &verdict, NULL),
                     -EINVAL);
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(st, "unknown", &view, NULL), -ENOENT);

    create_job(st, "ok", 0);
    uint64_t fence;
    assert_int_equal(claim_split(st, "ok", LIVE_MS, &fence), LATHE_GRANTED);
    const struct lathe_unit bad[][2] = {
        {{.kind = LATHE_UNIT_CHUNK, .index = 0}, {.kind = LATHE_UNIT_PILOT, .index = 0}},
        {{.kind = LATHE_UNIT_CHUNK, .index = 0}, {.kind = LATHE_UNIT_CHUNK, .index = 2}},
        {{.kind = LATHE_UNIT_PILOT, .needs_pilots = true}, {.kind = LATHE_UNIT_CHUNK}},
        {{.kind = LATHE_UNIT_CHUNK, .needs_chunks = 1}, {.kind = LATHE_UNIT_CHUNK, .index = 1}},
        {{.kind = LATHE_UNIT_AUDIO, .needs_chunks = 2}, {.kind = LATHE_UNIT_CHUNK}},
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++)
        assert_int_equal(lathe_state_set_units(st, "ok", fence, bad[i], 2, &verdict, NULL),
                         -EINVAL);
    assert_int_equal(lathe_state_set_units(st, "ok", fence, bad[0], 0, &verdict, NULL), -EINVAL);
    lathe_state_close(st);
}

static void test_life_of_a_job(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    uint64_t fence, other;
    assert_int_equal(claim_split(st, "a", LIVE_MS, &fence), LATHE_GONE);
    create_job(st, "a", 5);
    assert_int_equal(lathe_state_create(st, "a", 9, "{\"other\":2}", NULL),
                     0); /* changes nothing */
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_int_equal(view.status, LATHE_JOB_QUEUED);
    assert_int_equal(view.priority, 5);
    assert_int_equal(view.epoch, 1);
    assert_string_equal(view.record, "{\"record\":1}");
    assert_null(view.error);
    assert_null(view.result);
    assert_true(view.created_us > 0);
    assert_int_equal(view.finished_us, 0);
    lathe_job_view_clear(&view);

    struct lathe_claim c;
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_WAIT); /* nothing is published yet */
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_WAIT);
    plan_job(st, "a", 0, 1, 2, 0);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &other), LATHE_DONE);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);

    for (uint32_t unit = 0; unit < 3; unit++) {
        assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_WAIT);
        assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
        assert_int_equal(c.unit, unit);
        assert_int_equal(c.attempt, 1);
        assert_int_equal(c.what.kind, unit ? LATHE_UNIT_CHUNK : LATHE_UNIT_AUDIO);
        assert_int_equal(c.fence >> 32, 1);
        char result[32];
        snprintf(result, sizeof(result), "{\"r\":%u}", unit);
        assert_int_equal(complete(st, "a", unit, c.fence, result), LATHE_DONE);
        assert_int_equal(claim(st, "a", unit, LIVE_MS, &c), LATHE_DONE);
    }
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);

    struct lathe_done *done;
    size_t count;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, &done, &count), LATHE_GRANTED);
    assert_int_equal(count, 3);
    for (uint32_t unit = 0; unit < 3; unit++) {
        char result[32];
        snprintf(result, sizeof(result), "{\"r\":%u}", unit);
        assert_int_equal(done[unit].unit, unit);
        assert_string_equal(done[unit].result, result);
        assert_true(done[unit].fence < fence);
    }
    assert_int_equal(done[2].what.index, 1);
    lathe_done_free(done, count);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_MERGING);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &other, NULL, NULL), LATHE_BUSY);
    assert_int_equal(renew(st, "a", LATHE_UNIT_MERGE, fence, LIVE_MS), LATHE_GRANTED);
    assert_int_equal(merge_commit(st, "a", fence, "{\"out\":1}"), LATHE_DONE);
    assert_int_equal(merge_commit(st, "a", fence, "{\"out\":2}"), LATHE_DONE); /* a repeat */
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &other, NULL, NULL), LATHE_DONE);
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GONE);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &other), LATHE_GONE);
    assert_int_equal(finish(st, "a", LATHE_JOB_CANCELLED), LATHE_GONE);
    assert_int_equal(retry(st, "a", 1, false), LATHE_DONE); /* completed stays completed */
    lathe_state_close(st);

    st = open_state(); /* and all of it is still there */
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_int_equal(view.status, LATHE_JOB_COMPLETED);
    assert_string_equal(view.result, "{\"out\":1}");
    assert_int_equal(view.total_chunks, 2);
    assert_int_equal(view.completed_chunks, 2);
    assert_int_equal(view.total_units, 3);
    assert_int_equal(view.completed_units, 3);
    assert_true(view.finished_us >= view.created_us);
    lathe_job_view_clear(&view);
    assert_int_equal(lathe_state_results(st, "a", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_int_equal(count, 3);
    lathe_done_free(done, count);
    assert_int_equal(lathe_state_results(st, "a", 1, 2, &done, &count, NULL), 0); /* a part */
    assert_int_equal(count, 1);
    assert_int_equal(done[0].unit, 1);
    lathe_done_free(done, count);
    assert_int_equal(lathe_state_results(st, "a", 2, 1, &done, &count, NULL), -EINVAL);
    assert_int_equal(lathe_state_remove(st, "a", NULL), 0);
    assert_int_equal(lathe_state_remove(st, "a", NULL), 0);
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), -ENOENT);
    assert_int_equal(lathe_state_results(st, "a", 0, LATHE_UNITS_MAX, &done, &count, NULL),
                     -ENOENT);
    assert_int_equal(complete(st, "a", 0, 1ULL << 32 | 1, "{}"), LATHE_GONE);
    lathe_state_close(st);
}

static void test_split_lease(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    const struct lathe_unit unit = {.kind = LATHE_UNIT_CHUNK};
    enum lathe_verdict verdict;
    uint64_t zombie, fence, other;
    assert_int_equal(claim_split(st, "a", 1, &zombie), LATHE_GRANTED);
    expire();
    assert_int_equal(claim_split(st, "a", LIVE_MS, &fence), LATHE_GRANTED);
    assert_true(fence > zombie);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_SPLITTING);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &other), LATHE_BUSY);
    assert_int_equal(lathe_state_set_units(st, "a", zombie, &unit, 1, &verdict, NULL), -ESTALE);
    assert_int_equal(renew(st, "a", LATHE_UNIT_SPLIT, zombie, LIVE_MS), LATHE_GONE);
    assert_int_equal(renew(st, "a", LATHE_UNIT_SPLIT, fence, LIVE_MS), LATHE_GRANTED);
    release(st, "a", LATHE_UNIT_SPLIT, zombie); /* not its lease any more: nothing happens */
    assert_int_equal(claim_split(st, "a", LIVE_MS, &other), LATHE_BUSY);
    release(st, "a", LATHE_UNIT_SPLIT, fence);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_QUEUED);
    assert_int_equal(lathe_state_set_units(st, "a", fence, &unit, 1, &verdict, NULL), -ESTALE);
    assert_int_equal(claim_split(st, "a", LIVE_MS, &fence), LATHE_GRANTED);
    assert_int_equal(lathe_state_set_units(st, "a", fence, &unit, 1, &verdict, NULL), 0);
    assert_int_equal(verdict, LATHE_GRANTED);
    assert_int_equal(lathe_state_set_units(st, "a", fence, &unit, 1, &verdict, NULL), 0);
    assert_int_equal(verdict, LATHE_DONE); /* a repeat */

    create_job(st, "b", 0);
    for (int i = 1; i <= LATHE_LIMIT_SLOT_FAILURES; i++) {
        assert_int_equal(claim_split(st, "b", LIVE_MS, &fence), LATHE_GRANTED);
        assert_int_equal(attempt_failed(st, "b", LATHE_UNIT_SPLIT, fence, false),
                         i < LATHE_LIMIT_SLOT_FAILURES ? LATHE_RETRY : LATHE_EXHAUSTED);
    }
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(st, "b", &view, NULL), 0);
    assert_int_equal(view.status, LATHE_JOB_FAILED);
    assert_non_null(strstr(view.error, "the encoder crashed"));
    lathe_job_view_clear(&view);
    lathe_state_close(st);
}

static void test_leases_and_late_completions(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 4, 0);
    struct lathe_claim c, d;

    /* Held: busy also for its own holder; passed over by claim_next. */
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &d), LATHE_BUSY);
    assert_int_equal(claim_next(st, "a", LIVE_MS, &d), LATHE_GRANTED);
    assert_int_equal(d.unit, 1);
    assert_true(d.fence > c.fence);
    struct lathe_claim none;
    enum lathe_verdict verdict;
    assert_int_equal(claim(st, "a", 99, LIVE_MS, &none), LATHE_GONE); /* not in this plan */

    /* A release counts as nothing. */
    for (int i = 0; i < 2 * LATHE_LIMIT_WORKER_DEATHS; i++) {
        release(st, "a", 1, d.fence);
        assert_int_equal(claim(st, "a", 1, LIVE_MS, &d), LATHE_GRANTED);
        assert_int_equal(d.attempt, 1);
    }
    release(st, "a", 1, c.fence); /* the fence of another lease */
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c), LATHE_BUSY);

    /* Expired but not taken over: still its own. */
    assert_int_equal(claim(st, "a", 2, 1, &c), LATHE_GRANTED);
    expire();
    assert_int_equal(renew(st, "a", 2, c.fence, 1), LATHE_GRANTED);
    expire();
    assert_int_equal(claim(st, "a", 2, LIVE_MS, &d), LATHE_GRANTED);
    assert_int_equal(d.attempt, 2);
    assert_int_equal(renew(st, "a", 2, c.fence, LIVE_MS), LATHE_GONE);
    assert_int_equal(attempt_failed(st, "a", 2, c.fence, true), LATHE_DUPLICATE);

    /* The late one is first: it wins, the holder of the lease is told so. */
    assert_int_equal(complete(st, "a", 2, c.fence, "{\"late\":1}"), LATHE_DONE);
    assert_int_equal(renew(st, "a", 2, d.fence, LIVE_MS), LATHE_GONE);
    assert_int_equal(complete(st, "a", 2, d.fence, "{\"late\":0}"), LATHE_DUPLICATE);
    assert_int_equal(attempt_failed(st, "a", 2, d.fence, true), LATHE_DUPLICATE);
    release(st, "a", 2, d.fence);
    assert_int_equal(complete(st, "a", 2, c.fence, "{\"late\":1}"), LATHE_DONE); /* a repeat */

    /* A fence that was never granted is no ticket. */
    assert_int_equal(lathe_state_complete(st, "a", 3, 1ULL << 32 | 4000, "{}", &verdict, NULL),
                     -ESTALE);
    assert_int_equal(lathe_state_complete(st, "a", 3, 2ULL << 32 | 1, "{}", &verdict, NULL),
                     -ESTALE);
    assert_int_equal(lathe_state_complete(st, "a", 3, 0, "{}", &verdict, NULL), -ESTALE);

    struct lathe_done *done;
    size_t count;
    assert_int_equal(lathe_state_results(st, "a", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(done[0].result, "{\"late\":1}");
    assert_true(done[0].fence == c.fence);
    lathe_done_free(done, count);
    lathe_state_close(st);
}

static void test_limits_count_apart(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 2, 0);
    struct lathe_claim c;
    /* Two failures and nine deaths, mixed: neither limit is reached. */
    for (int i = 0; i < LATHE_LIMIT_WORKER_DEATHS - 1; i++) {
        if (i == 2 || i == 5) {
            assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GRANTED);
            assert_int_equal(attempt_failed(st, "a", 0, c.fence, false), LATHE_RETRY);
            assert_int_equal(attempt_failed(st, "a", 0, c.fence, false), LATHE_DUPLICATE);
        }
        assert_int_equal(claim(st, "a", 0, 1, &c), LATHE_GRANTED);
        expire();
    }
    assert_int_equal(claim_next(st, "a", 1, &c), LATHE_GRANTED); /* the ninth death is counted */
    assert_int_equal(c.unit, 0);
    assert_int_equal(c.attempt, 1 + 2 + LATHE_LIMIT_WORKER_DEATHS - 1);
    expire();
    /* The tenth fails the job; claim_next goes on to other jobs. */
    create_job(st, "b", 0);
    plan_job(st, "b", 0, 0, 1, 0);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "b");
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_int_equal(view.status, LATHE_JOB_FAILED);
    assert_non_null(strstr(view.error, "chunk 0"));
    lathe_job_view_clear(&view);
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c), LATHE_GONE);

    /* Deaths found by claim itself. */
    create_job(st, "c", 0);
    plan_job(st, "c", 0, 0, 1, 0);
    for (int i = 0; i < LATHE_LIMIT_WORKER_DEATHS; i++) {
        assert_int_equal(claim(st, "c", 0, 1, &c), LATHE_GRANTED);
        expire();
    }
    assert_int_equal(claim(st, "c", 0, 1, &c), LATHE_GONE);
    assert_int_equal(status_of(st, "c"), LATHE_JOB_FAILED);

    /* Three failures, and a permanent one. */
    create_job(st, "d", 0);
    plan_job(st, "d", 0, 0, 1, 0);
    for (int i = 1; i <= LATHE_LIMIT_SLOT_FAILURES; i++) {
        assert_int_equal(claim(st, "d", 0, LIVE_MS, &c), LATHE_GRANTED);
        assert_int_equal(attempt_failed(st, "d", 0, c.fence, false),
                         i < LATHE_LIMIT_SLOT_FAILURES ? LATHE_RETRY : LATHE_EXHAUSTED);
    }
    create_job(st, "e", 0);
    plan_job(st, "e", 0, 0, 1, 0);
    assert_int_equal(claim(st, "e", 0, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(attempt_failed(st, "e", 0, c.fence, true), LATHE_EXHAUSTED);
    assert_int_equal(attempt_failed(st, "e", 0, c.fence, true), LATHE_GONE);
    assert_int_equal(complete(st, "e", 0, c.fence, "{}"), LATHE_GONE);
    lathe_state_close(st);
}

static void test_needs(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 2, 1, 6, 3); /* units 0, 1 pilots; 2 audio; 3 … 8 chunks that lag by 3 */
    struct lathe_claim pilots[2], audio, c, chunks[6];
    assert_int_equal(claim(st, "a", 3, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &pilots[0]), LATHE_GRANTED);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &pilots[1]), LATHE_GRANTED);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &audio), LATHE_GRANTED);
    assert_int_equal(audio.what.kind, LATHE_UNIT_AUDIO);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(complete(st, "a", 1, pilots[1].fence, "{}"), LATHE_DONE);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(complete(st, "a", 0, pilots[0].fence, "{}"), LATHE_DONE);
    /* Chunks 0, 1, 2 need nothing else; 3 needs 0 (needs_chunks 1), 4 needs 0 and 1, … */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(claim_next(st, NULL, LIVE_MS, &chunks[i]), LATHE_GRANTED);
        assert_int_equal(chunks[i].what.index, i);
        assert_true(chunks[i].what.needs_pilots);
    }
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(claim(st, "a", 6, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(complete(st, "a", 4, chunks[1].fence, "{}"), LATHE_DONE);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT); /* 0 is missing */
    assert_int_equal(complete(st, "a", 3, chunks[0].fence, "{}"), LATHE_DONE);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &chunks[3]), LATHE_GRANTED);
    assert_int_equal(chunks[3].what.needs_chunks, 1);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &chunks[4]), LATHE_GRANTED);
    assert_int_equal(chunks[4].unit, 7);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);
    /* A unit that comes open again stays claimable. */
    release(st, "a", 7, chunks[4].fence);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &chunks[4]), LATHE_GRANTED);
    assert_int_equal(chunks[4].unit, 7);

    /* A retry that keeps the results keeps the needs too. */
    assert_int_equal(retry(st, "a", 1, true), LATHE_GRANTED);
    assert_int_equal(claim(st, "a", 8, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.unit, 2);
    complete_all(st, "a");
    uint64_t fence;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_WAIT);
    assert_int_equal(complete(st, "a", 2, c.fence, "{}"), LATHE_DONE);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_GRANTED);
    lathe_state_close(st);
}

static void test_merge_lease_and_zombies(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 2, 0);
    complete_all(st, "a");
    uint64_t zombie, fence, other;
    enum lathe_verdict verdict;
    assert_int_equal(merge_claim(st, "a", 1, &zombie, NULL, NULL), LATHE_GRANTED);
    expire();
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_GRANTED);
    assert_int_equal(lathe_state_merge_commit(st, "a", zombie, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(attempt_failed(st, "a", LATHE_UNIT_MERGE, zombie, true), LATHE_DUPLICATE);
    release(st, "a", LATHE_UNIT_MERGE, fence);
    assert_int_equal(lathe_state_merge_commit(st, "a", fence, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_GRANTED);
    assert_int_equal(attempt_failed(st, "a", LATHE_UNIT_MERGE, fence, false), LATHE_RETRY);
    assert_int_equal(merge_claim(st, "a", 1, &fence, NULL, NULL), LATHE_GRANTED);
    expire();
    /* Expired, but nobody took over: the commit counts, once. */
    assert_int_equal(merge_commit(st, "a", fence, "{\"by\":1}"), LATHE_DONE);
    assert_int_equal(merge_commit(st, "a", zombie, "{\"by\":2}"), LATHE_DUPLICATE);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &other, NULL, NULL), LATHE_DONE);
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_string_equal(view.result, "{\"by\":1}");
    lathe_job_view_clear(&view);

    create_job(st, "b", 0);
    plan_job(st, "b", 0, 0, 1, 0);
    complete_all(st, "b");
    for (int i = 0; i < LATHE_LIMIT_WORKER_DEATHS; i++) {
        assert_int_equal(merge_claim(st, "b", 1, &fence, NULL, NULL), LATHE_GRANTED);
        expire();
    }
    assert_int_equal(merge_claim(st, "b", 1, &fence, NULL, NULL), LATHE_GONE);
    assert_int_equal(status_of(st, "b"), LATHE_JOB_FAILED);
    lathe_state_close(st);
}

static void test_cancel_in_each_phase(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const char *const ids[] = {"queued", "splitting", "planned", "leased", "done", "merging"};
    for (size_t phase = 0; phase < LATHE_COUNT(ids); phase++) {
        const char *id = ids[phase];
        uint64_t split = 0, merge = 0;
        struct lathe_claim c = {0};
        const struct lathe_unit unit = {.kind = LATHE_UNIT_CHUNK};
        enum lathe_verdict verdict;
        create_job(st, id, 0);
        if (phase == 1)
            assert_int_equal(claim_split(st, id, LIVE_MS, &split), LATHE_GRANTED);
        if (phase >= 2)
            plan_job(st, id, 0, 0, 1, 0);
        if (phase >= 3)
            assert_int_equal(claim(st, id, 0, LIVE_MS, &c), LATHE_GRANTED);
        if (phase >= 4)
            assert_int_equal(complete(st, id, 0, c.fence, "{}"), LATHE_DONE);
        if (phase >= 5)
            assert_int_equal(merge_claim(st, id, LIVE_MS, &merge, NULL, NULL), LATHE_GRANTED);

        assert_int_equal(finish(st, id, LATHE_JOB_CANCELLED), LATHE_DONE);
        assert_int_equal(finish(st, id, LATHE_JOB_FAILED), LATHE_GONE);
        assert_int_equal(status_of(st, id), LATHE_JOB_CANCELLED);
        assert_int_equal(claim_split(st, id, LIVE_MS, &split), LATHE_GONE);
        assert_int_equal(lathe_state_set_units(st, id, split, &unit, 1, &verdict, NULL), 0);
        assert_int_equal(verdict, LATHE_GONE);
        struct lathe_claim d;
        assert_int_equal(claim(st, id, 0, LIVE_MS, &d), LATHE_GONE);
        assert_int_equal(claim_next(st, NULL, LIVE_MS, &d), LATHE_WAIT);
        assert_int_equal(renew(st, id, 0, c.fence, LIVE_MS), LATHE_GONE);
        assert_int_equal(attempt_failed(st, id, 0, c.fence, false), LATHE_GONE);
        release(st, id, 0, c.fence);
        if (phase == 3)
            assert_int_equal(complete(st, id, 0, c.fence, "{}"), LATHE_GONE);
        assert_int_equal(merge_claim(st, id, LIVE_MS, &split, NULL, NULL), LATHE_GONE);
        assert_int_equal(merge_commit(st, id, merge, "{}"), LATHE_GONE);
        assert_int_equal(status_of(st, id), LATHE_JOB_CANCELLED);
    }
    lathe_state_close(st);
}

static void test_epochs(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    enum lathe_verdict verdict;
    struct lathe_claim old[2], c;
    assert_int_equal(retry(st, "a", 1, true), LATHE_GONE);
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 2, 0);
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &old[0]), LATHE_GRANTED);
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &old[1]), LATHE_GRANTED);
    assert_int_equal(complete(st, "a", 0, old[0].fence, "{\"e\":1}"), LATHE_DONE);
    assert_int_equal(attempt_failed(st, "a", 1, old[1].fence, true), LATHE_EXHAUSTED);

    assert_int_equal(retry(st, "a", 1, true), LATHE_GRANTED);
    assert_int_equal(retry(st, "a", 1, true), LATHE_DONE); /* a repeat */
    assert_int_equal(status_of(st, "a"), LATHE_JOB_TRANSCODING);
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_int_equal(view.epoch, 2);
    assert_null(view.error);
    assert_int_equal(view.finished_us, 0);
    assert_int_equal(view.completed_units, 1);
    lathe_job_view_clear(&view);

    assert_int_equal(lathe_state_complete(st, "a", 1, old[1].fence, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(attempt_failed(st, "a", 1, old[1].fence, true), LATHE_DUPLICATE);
    assert_int_equal(renew(st, "a", 1, old[1].fence, LIVE_MS), LATHE_GONE);
    /* The kept result is still its winner's. */
    assert_int_equal(complete(st, "a", 0, old[0].fence, "{\"e\":1}"), LATHE_DONE);
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.attempt, 1);
    assert_true(c.fence > old[1].fence);
    assert_int_equal(c.fence >> 32, 2);
    assert_int_equal(complete(st, "a", 1, c.fence, "{\"e\":2}"), LATHE_DONE);
    uint64_t merge, again;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &merge, NULL, NULL), LATHE_GRANTED);

    /* From the beginning, while a merge runs: its commit is stale. */
    assert_int_equal(retry(st, "a", 2, false), LATHE_GRANTED);
    assert_int_equal(status_of(st, "a"), LATHE_JOB_QUEUED);
    assert_int_equal(lathe_state_merge_commit(st, "a", merge, "{}", &verdict, NULL), -ESTALE);
    assert_int_equal(lathe_state_complete(st, "a", 0, old[0].fence, "{}", &verdict, NULL), -ESTALE);
    struct lathe_done *done;
    size_t count;
    assert_int_equal(lathe_state_results(st, "a", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_int_equal(count, 0);
    lathe_done_free(done, count);
    plan_job(st, "a", 1, 0, 2, 0); /* another plan */
    complete_all(st, "a");
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &again, &done, &count), LATHE_GRANTED);
    assert_int_equal(again >> 32, 3);
    assert_int_equal(count, 3);
    lathe_done_free(done, count);
    assert_int_equal(merge_commit(st, "a", again, "{}"), LATHE_DONE);

    /* Rebuilding a lost state: every fence that may still be around is stale. */
    create_job(st, "lost", 0);
    assert_int_equal(retry(st, "lost", 41, false), LATHE_GRANTED);
    assert_int_equal(retry(st, "lost", 41, false), LATHE_DONE); /* the second rebuilder */
    plan_job(st, "lost", 0, 0, 1, 0);
    assert_int_equal(claim(st, "lost", 0, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(c.fence >> 32, 42);
    lathe_state_close(st);
}

int main(int argc, char **argv)
{
    contract_init(argc, argv, "sqlite", "state.db");
#define TEST(name) cmocka_unit_test_setup_teardown(name, contract_setup, contract_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names_and_arguments),
        TEST(test_life_of_a_job),
        TEST(test_split_lease),
        TEST(test_leases_and_late_completions),
        TEST(test_limits_count_apart),
        TEST(test_order_of_claims),
        TEST(test_youngest_job_first),
        TEST(test_excepted_jobs),
        TEST(test_needs),
        TEST(test_merge_lease_and_zombies),
        TEST(test_cancel_in_each_phase),
        TEST(test_epochs),
        TEST(test_units_wait_for_their_objects),
        TEST(test_cutting_changes_hands),
        TEST(test_cutting_job_is_retried),
        TEST(test_unusable_results),
        TEST(test_unusable_results_are_bounded),
        TEST(test_kept_results_keep_their_failures),
        TEST(test_another_plan),
        TEST(test_lists_of_jobs),
        TEST(test_views_of_units),
        TEST(test_cancel_ends_every_lease),
        TEST(test_registry_of_workers),
        TEST(test_killed_between_steps),
        TEST(test_last_two_units_race),
        TEST(test_claims_race),
        TEST(test_shared_handle),
        TEST(test_large_job),
        TEST(test_random_calls_match_the_table),
        TEST(test_redis_settings),
        TEST(test_redis_forgets_scripts),
        TEST(test_redis_killed),
        TEST(test_redis_hangs),
        TEST(test_redis_emptied),
    };
    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
