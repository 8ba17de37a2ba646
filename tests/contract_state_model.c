/* SPDX-License-Identifier: MIT */
/*
 * Random calls against a model of src/state/protocol.md: every verdict must be the table's, and the
 * invariants hold after every call. Replay with LATHE_SEED.
 *
 * The model knows nothing of drivers: it is the table once more, written as directly as possible.
 */
#include "contract_state.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"

#define JOBS 2
#define UNITS 5 /* a pilot, an audio unit, three chunks that lag by two */
#define CALLS 4000
#define FENCES 64

enum model_state { NONE, OPEN, LEASED, DONE };

struct model_unit {
    enum model_state state;
    bool is_live, unstored;
    uint64_t fence, floor;
    int failures, deaths;
    char result[32];
};

struct model_job {
    char id[16];
    bool exists, planned, replanned;
    enum lathe_job_status status;
    uint32_t epoch, counter;
    struct model_unit units[UNITS], split, merge;
    uint64_t fences[FENCES]; /* granted some time, for calls that come late */
    int n_fences, commits;
    char result[32];
};

static struct model_job jobs[JOBS];
static int next_result;

static bool ended(const struct model_job *job)
{
    return job->status >= LATHE_JOB_COMPLETED;
}

static bool needs_met(const struct model_job *job, int unit)
{
    if (job->units[unit].unstored)
        return false;
    if (unit < 2)
        return true;
    bool met = job->units[0].state == DONE;
    for (int chunk = 0; chunk < unit - 3; chunk++)
        met = met && job->units[2 + chunk].state == DONE;
    return met;
}

static void model_end(struct model_job *job, enum lathe_job_status status)
{
    job->status = status;
    for (int i = 0; i < UNITS; i++)
        if (job->units[i].state == LEASED)
            job->units[i].state = OPEN;
}

static void model_reset_unit(struct model_unit *unit)
{
    *unit = (struct model_unit){.state = OPEN};
}

static enum lathe_verdict model_lease(struct model_job *job, struct model_unit *unit, bool live)
{
    if (unit->state == DONE)
        return LATHE_DONE;
    if (unit->state == LEASED && unit->is_live)
        return LATHE_BUSY;
    if (unit->state == LEASED && ++unit->deaths >= LATHE_LIMIT_WORKER_DEATHS) {
        model_end(job, LATHE_JOB_FAILED);
        return LATHE_GONE;
    }
    unit->state = LEASED;
    unit->is_live = live;
    unit->fence = (uint64_t)job->epoch << 32 | ++job->counter;
    job->fences[job->n_fences++ % FENCES] = unit->fence;
    return LATHE_GRANTED;
}

/* A lease of 1 ms is let run out at once, so the model never has to know the time. */
static int choose_ttl(bool *ret_live)
{
    *ret_live = contract_random(3) != 0;
    return *ret_live ? LIVE_MS : 1;
}

static void let_run_out(enum lathe_verdict verdict, bool live)
{
    if (verdict == LATHE_GRANTED && !live)
        contract_sleep_ms(3);
}

/* A fence that fits, or one of those granted before. */
static uint64_t choose_fence(const struct model_job *job, const struct model_unit *unit)
{
    if (contract_random(3) && unit->fence)
        return unit->fence;
    int known = job->n_fences < FENCES ? job->n_fences : FENCES;
    return known ? job->fences[contract_random((uint32_t)known)] : 1;
}

static struct model_unit *choose_leasable(struct model_job *job, uint32_t *ret_number)
{
    uint32_t choice = contract_random(UNITS + 2);
    if (choice == UNITS) {
        *ret_number = LATHE_UNIT_SPLIT;
        return &job->split;
    }
    if (choice == UNITS + 1) {
        *ret_number = LATHE_UNIT_MERGE;
        return &job->merge;
    }
    *ret_number = choice;
    return &job->units[choice];
}

static bool owns(const struct model_job *job, const struct model_unit *unit, uint64_t fence)
{
    return job->exists && !ended(job) && unit->state == LEASED && unit->fence == fence;
}

static void do_create(struct lathe_state *st, struct model_job *job)
{
    create_job(st, job->id, 0);
    if (job->exists)
        return;
    job->exists = true;
    job->epoch = 1;
    model_reset_unit(&job->split);
    model_reset_unit(&job->merge);
}

static void do_split(struct lathe_state *st, struct model_job *job)
{
    bool live;
    int ttl_ms = choose_ttl(&live);
    enum lathe_verdict expected =
        !job->exists || ended(job) ? LATHE_GONE : model_lease(job, &job->split, live);
    uint64_t fence = 0;
    assert_int_equal(claim_split(st, job->id, ttl_ms, &fence), expected);
    if (expected == LATHE_GRANTED) {
        assert_true(fence == job->split.fence);
        if (!job->planned)
            job->status = LATHE_JOB_SPLITTING;
    }
    let_run_out(expected, live);
}

static void do_set_units(struct lathe_state *st, struct model_job *job)
{
    struct lathe_unit units[UNITS] = {
        {.kind = LATHE_UNIT_PILOT},
        {.kind = LATHE_UNIT_AUDIO},
        {.kind = LATHE_UNIT_CHUNK, .index = 0, .needs_pilots = true},
        {.kind = LATHE_UNIT_CHUNK, .index = 1, .needs_pilots = true},
        {.kind = LATHE_UNIT_CHUNK, .index = 2, .needs_pilots = true, .needs_chunks = 1},
    };
    const bool objects = contract_random(2);
    for (int i = 1; i < UNITS; i++)
        units[i].needs_object = objects;
    uint64_t fence = choose_fence(job, &job->split);
    enum lathe_verdict verdict = LATHE_WAIT;
    int r = lathe_state_set_units(st, job->id, fence, units, UNITS, &verdict, NULL);
    if (!job->exists || ended(job)) {
        assert_int_equal(verdict, LATHE_GONE);
    } else if (job->planned) {
        assert_int_equal(verdict, LATHE_DONE);
    } else if (!owns(job, &job->split, fence)) {
        assert_int_equal(r, -ESTALE);
    } else {
        assert_int_equal(verdict, LATHE_GRANTED);
        job->planned = true;
        job->status = LATHE_JOB_TRANSCODING;
        if (!objects)
            job->split.state = DONE;
        for (int i = 0; i < UNITS; i++) {
            model_reset_unit(&job->units[i]);
            job->units[i].unstored = units[i].needs_object;
        }
    }
}

static void do_stored(struct lathe_state *st, struct model_job *job)
{
    uint32_t first = contract_random(UNITS);
    uint32_t count = 1 + contract_random(UNITS - first), units[UNITS], left = 0;
    uint64_t fence = choose_fence(job, &job->split);
    enum lathe_verdict verdict = LATHE_WAIT;
    for (uint32_t i = 0; i < count; i++)
        units[i] = first + i;
    int r = lathe_state_stored(st, job->id, fence, units, count, &verdict, NULL);
    if (!job->exists || ended(job)) {
        assert_int_equal(verdict, LATHE_GONE);
    } else if (job->planned && job->split.state == DONE) {
        assert_int_equal(verdict, LATHE_DONE);
    } else if (!owns(job, &job->split, fence)) {
        assert_int_equal(r, -ESTALE);
    } else if (!job->planned) {
        assert_int_equal(r, -ENOENT);
    } else {
        for (uint32_t i = 0; i < UNITS; i++) {
            if (i >= first && i < first + count)
                job->units[i].unstored = false;
            left += job->units[i].unstored;
        }
        assert_int_equal(verdict, left ? LATHE_GRANTED : LATHE_DONE);
        if (!left)
            job->split.state = DONE;
    }
}

static void do_claim(struct lathe_state *st, struct model_job *job)
{
    bool live;
    int ttl_ms = choose_ttl(&live);
    uint32_t number = contract_random(UNITS);
    struct model_unit *unit = &job->units[number];
    enum lathe_verdict expected;
    if (!job->exists || ended(job))
        expected = LATHE_GONE;
    else if (!job->planned || (unit->state == OPEN && !needs_met(job, (int)number)))
        expected = LATHE_WAIT;
    else
        expected = model_lease(job, unit, live);
    struct lathe_claim c = {0};
    assert_int_equal(claim(st, job->id, number, ttl_ms, &c), expected);
    if (expected == LATHE_GRANTED) {
        assert_true(c.fence == unit->fence);
        assert_int_equal(c.attempt, 1 + unit->failures + unit->deaths);
    }
    let_run_out(expected, live);
}

static void do_claim_next(struct lathe_state *st)
{
    bool live;
    int ttl_ms = choose_ttl(&live);
    struct lathe_claim c = {0};
    const bool youngest = contract_random(2);
    enum lathe_verdict verdict =
        youngest ? claim_youngest(st, ttl_ms, &c) : claim_next(st, NULL, ttl_ms, &c);
    enum lathe_verdict expected = LATHE_WAIT;
    /* Jobs of equal priority by age. */
    for (int i = 0; i < JOBS && expected != LATHE_GRANTED; i++) {
        struct model_job *job = &jobs[youngest ? JOBS - 1 - i : i];
        for (int u = 0; u < UNITS && expected != LATHE_GRANTED; u++) {
            struct model_unit *unit = &job->units[u];
            if (!job->exists || ended(job) || !job->planned || unit->state == DONE ||
                (unit->state == OPEN && !needs_met(job, u)) ||
                (unit->state == LEASED && unit->is_live))
                continue;
            expected = model_lease(job, unit, live);
            if (expected == LATHE_GRANTED) {
                assert_string_equal(c.job_id, job->id);
                assert_int_equal(c.unit, u);
                assert_true(c.fence == unit->fence);
            }
        }
    }
    assert_int_equal(verdict, expected == LATHE_GRANTED ? LATHE_GRANTED : LATHE_WAIT);
    let_run_out(verdict, live);
}

static void do_renew_or_release(struct lathe_state *st, struct model_job *job)
{
    uint32_t number;
    struct model_unit *unit = choose_leasable(job, &number);
    uint64_t fence = choose_fence(job, unit);
    bool is_owner = owns(job, unit, fence);
    if (contract_random(2)) {
        bool live;
        int ttl_ms = choose_ttl(&live);
        enum lathe_verdict verdict = renew(st, job->id, number, fence, ttl_ms);
        assert_int_equal(verdict, is_owner ? LATHE_GRANTED : LATHE_GONE);
        if (is_owner)
            unit->is_live = live;
        let_run_out(verdict, live);
        return;
    }
    release(st, job->id, number, fence);
    if (is_owner)
        unit->state = OPEN;
}

static void do_complete(struct lathe_state *st, struct model_job *job)
{
    uint32_t number = contract_random(UNITS);
    struct model_unit *unit = &job->units[number];
    uint64_t fence = choose_fence(job, unit);
    char result[32];
    snprintf(result, sizeof(result), "{\"n\":%d}", next_result++);
    enum lathe_verdict verdict = LATHE_WAIT;
    int r = lathe_state_complete(st, job->id, number, fence, result, &verdict, NULL);
    uint32_t counter = (uint32_t)fence;
    bool granted = fence >> 32 == job->epoch && counter > 0 && counter <= job->counter;
    if (job->exists && job->planned && unit->state == DONE && unit->fence == fence) {
        assert_int_equal(verdict, LATHE_DONE);
    } else if (!job->exists || ended(job)) {
        assert_int_equal(verdict, LATHE_GONE);
    } else if (!granted) {
        assert_int_equal(r, -ESTALE);
    } else if (!job->planned) {
        assert_int_equal(r, -ENOENT);
    } else if (unit->state == DONE) {
        assert_int_equal(verdict, LATHE_DUPLICATE);
    } else if (fence <= unit->floor || unit->unstored) {
        assert_int_equal(r, -ESTALE);
    } else {
        assert_int_equal(verdict, LATHE_DONE);
        unit->state = DONE;
        unit->fence = fence;
        snprintf(unit->result, sizeof(unit->result), "%s", result);
    }
}

static void do_attempt_failed(struct lathe_state *st, struct model_job *job)
{
    uint32_t number;
    struct model_unit *unit = choose_leasable(job, &number);
    uint64_t fence = choose_fence(job, unit);
    bool permanent = contract_random(20) == 0;
    enum lathe_verdict expected = LATHE_RETRY;
    if (!job->exists || ended(job))
        expected = LATHE_GONE;
    else if (!owns(job, unit, fence))
        expected = LATHE_DUPLICATE;
    else if (permanent || ++unit->failures >= LATHE_LIMIT_SLOT_FAILURES)
        expected = LATHE_EXHAUSTED;
    if (expected == LATHE_RETRY)
        unit->state = OPEN;
    if (expected == LATHE_EXHAUSTED)
        model_end(job, LATHE_JOB_FAILED);
    assert_int_equal(attempt_failed(st, job->id, number, fence, permanent), expected);
}

static bool all_done(const struct model_job *job)
{
    for (int i = 0; i < UNITS; i++)
        if (job->units[i].state != DONE)
            return false;
    return job->planned;
}

static void do_merge(struct lathe_state *st, struct model_job *job)
{
    bool live;
    int ttl_ms = choose_ttl(&live);
    enum lathe_verdict expected = LATHE_GONE;
    if (job->exists && ended(job))
        expected = job->status == LATHE_JOB_COMPLETED ? LATHE_DONE : LATHE_GONE;
    else if (job->exists)
        expected = all_done(job) ? model_lease(job, &job->merge, live) : LATHE_WAIT;
    uint64_t fence = 0;
    struct lathe_done *done;
    size_t count;
    assert_int_equal(merge_claim(st, job->id, ttl_ms, &fence, &done, &count), expected);
    if (expected == LATHE_GRANTED) {
        assert_true(fence == job->merge.fence);
        assert_int_equal(count, UNITS);
        for (size_t i = 0; i < count; i++) {
            assert_true(done[i].fence == job->units[i].fence);
            assert_string_equal(done[i].result, job->units[i].result);
        }
    }
    lathe_done_free(done, count);
    let_run_out(expected, live);
}

static void do_commit(struct lathe_state *st, struct model_job *job)
{
    uint64_t fence = choose_fence(job, &job->merge);
    char result[32];
    snprintf(result, sizeof(result), "{\"c\":%d}", next_result++);
    enum lathe_verdict verdict = LATHE_WAIT;
    int r = lathe_state_merge_commit(st, job->id, fence, result, &verdict, NULL);
    if (!job->exists || (ended(job) && job->status != LATHE_JOB_COMPLETED)) {
        assert_int_equal(verdict, LATHE_GONE);
    } else if (job->status == LATHE_JOB_COMPLETED) {
        assert_int_equal(verdict, fence == job->merge.fence ? LATHE_DONE : LATHE_DUPLICATE);
    } else if (!owns(job, &job->merge, fence)) {
        assert_int_equal(r, -ESTALE);
    } else {
        assert_int_equal(verdict, LATHE_DONE);
        model_end(job, LATHE_JOB_COMPLETED);
        job->merge.state = DONE;
        job->commits++;
        snprintf(job->result, sizeof(job->result), "%s", result);
    }
}

/* One or two units, the merge's fence or another. */
static void do_reopen(struct lathe_state *st, struct model_job *job)
{
    uint32_t first = contract_random(UNITS), units[2] = {first, first + 1};
    uint32_t count = first + 1 < UNITS ? 1 + contract_random(2) : 1;
    uint64_t fence = choose_fence(job, &job->merge);
    bool is_owner = owns(job, &job->merge, fence), exhausted = false;
    enum lathe_verdict expected = !job->exists || ended(job) ? LATHE_GONE
                                  : is_owner                 ? LATHE_RETRY
                                                             : LATHE_DUPLICATE;
    for (uint32_t i = 0; is_owner && i < count && !exhausted; i++) {
        struct model_unit *unit = &job->units[units[i]];
        exhausted = unit->failures + 1 >= LATHE_LIMIT_SLOT_FAILURES;
        if (exhausted)
            break;
        unit->failures++;
        unit->state = OPEN;
        unit->fence = 0;
        unit->floor = (uint64_t)job->epoch << 32 | job->counter;
    }
    assert_int_equal(reopen(st, job->id, fence, units, count),
                     exhausted ? LATHE_EXHAUSTED : expected);
    if (exhausted)
        model_end(job, LATHE_JOB_FAILED);
    else if (is_owner)
        job->merge.state = OPEN;
}

static void model_restart(struct model_job *job, bool keep)
{
    job->epoch++;
    job->counter = 0;
    job->planned = job->planned && keep;
    job->status = job->planned ? LATHE_JOB_TRANSCODING : LATHE_JOB_QUEUED;
    model_reset_unit(&job->merge);
    if (!job->planned || job->split.state != DONE)
        model_reset_unit(&job->split);
    for (int i = 0; i < UNITS; i++) {
        bool unstored = job->planned && job->units[i].unstored;
        if (!job->planned || job->units[i].state != DONE)
            model_reset_unit(&job->units[i]);
        job->units[i].unstored = unstored;
    }
}

static void do_replan(struct lathe_state *st, struct model_job *job)
{
    uint64_t fence = choose_fence(job, contract_random(3) ? &job->merge : &job->split);
    enum lathe_verdict expected = LATHE_RETRY;
    if (!job->exists || ended(job))
        expected = LATHE_GONE;
    else if (!owns(job, &job->merge, fence) && !owns(job, &job->split, fence))
        expected = LATHE_DUPLICATE;
    else if (job->replanned)
        expected = LATHE_EXHAUSTED;
    assert_int_equal(replan(st, job->id, fence), expected);
    if (expected == LATHE_EXHAUSTED)
        model_end(job, LATHE_JOB_FAILED);
    if (expected != LATHE_RETRY)
        return;
    job->replanned = true;
    model_restart(job, false);
}

static void do_finish(struct lathe_state *st, struct model_job *job)
{
    bool is_open = job->exists && !ended(job);
    assert_int_equal(finish(st, job->id, LATHE_JOB_CANCELLED), is_open ? LATHE_DONE : LATHE_GONE);
    if (is_open)
        model_end(job, LATHE_JOB_CANCELLED);
}

static void do_retry(struct lathe_state *st, struct model_job *job)
{
    uint32_t seen = job->epoch ? job->epoch - (contract_random(4) == 0) : 1;
    bool keep = contract_random(4) != 0;
    enum lathe_verdict expected = LATHE_GONE;
    if (job->exists)
        expected =
            job->status == LATHE_JOB_COMPLETED || job->epoch > seen ? LATHE_DONE : LATHE_GRANTED;
    assert_int_equal(retry(st, job->id, seen, keep), expected);
    if (expected == LATHE_GRANTED)
        model_restart(job, keep);
}

static void do_remove_completed(struct lathe_state *st, struct model_job *job)
{
    if (job->status != LATHE_JOB_COMPLETED)
        return;
    assert_int_equal(lathe_state_remove(st, job->id, NULL), 0);
    /* An id is not used again: the next job has another one, and is the youngest. */
    static int number;
    struct model_job fresh = {0};
    snprintf(fresh.id, sizeof(fresh.id), "job-%d", ++number);
    *job = fresh;
    if (job == &jobs[0]) {
        struct model_job other = jobs[1];
        jobs[1] = jobs[0];
        jobs[0] = other;
    }
}

static void check_invariants(struct lathe_state *st, const struct model_job *job)
{
    if (!job->exists)
        return;
    assert_in_range(job->commits, 0, 1);
    struct lathe_job_view view;
    assert_int_equal(lathe_state_get(st, job->id, &view, NULL), 0);
    assert_int_equal(view.epoch, job->epoch);
    assert_int_equal(view.replan != NULL, job->replanned);
    assert_int_equal(view.status == LATHE_JOB_COMPLETED, job->status == LATHE_JOB_COMPLETED);
    assert_int_equal(view.status == LATHE_JOB_FAILED, job->status == LATHE_JOB_FAILED);
    assert_int_equal(view.status == LATHE_JOB_CANCELLED, job->status == LATHE_JOB_CANCELLED);
    if (job->commits)
        assert_string_equal(view.result, job->result);
    struct lathe_done *done;
    size_t count, n = 0;
    assert_int_equal(lathe_state_results(st, job->id, 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    for (uint32_t i = 0; job->planned && i < UNITS; i++) {
        if (job->units[i].state != DONE)
            continue;
        assert_true(n < count);
        assert_int_equal(done[n].unit, i);
        assert_true(done[n].fence == job->units[i].fence);
        assert_string_equal(done[n].result, job->units[i].result);
        n++;
    }
    assert_int_equal(n, count);
    assert_int_equal(view.completed_units, n);
    uint32_t unstored = 0;
    for (uint32_t i = 0; i < UNITS; i++)
        unstored += job->planned && job->units[i].unstored;
    assert_int_equal(view.unstored_units, unstored);
    lathe_done_free(done, count);
    lathe_job_view_clear(&view);
}

void test_random_calls_match_the_table(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    memset(jobs, 0, sizeof(jobs));
    next_result = 0;
    for (int i = 0; i < JOBS; i++) {
        snprintf(jobs[i].id, sizeof(jobs[i].id), "first-%d", i);
        do_create(st, &jobs[i]);
    }
    int commits = 0;
    for (int call = 0; call < CALLS; call++) {
        struct model_job *job = &jobs[contract_random(JOBS)];
        int before = job->commits;
        uint32_t choice = contract_random(100);
        if (choice < 4)
            do_create(st, jobs[0].exists ? job : &jobs[0]); /* so jobs[0] is the older */
        else if (choice < 10)
            do_split(st, job);
        else if (choice < 13)
            do_set_units(st, job);
        else if (choice < 16)
            do_stored(st, job);
        else if (choice < 26)
            do_claim(st, job);
        else if (choice < 42)
            do_claim_next(st);
        else if (choice < 50)
            do_renew_or_release(st, job);
        else if (choice < 74)
            do_complete(st, job);
        else if (choice < 79)
            do_attempt_failed(st, job);
        else if (choice < 86)
            do_merge(st, job);
        else if (choice < 90)
            do_commit(st, job);
        else if (choice < 92)
            do_reopen(st, job);
        else if (choice < 93)
            do_replan(st, job);
        else if (choice == 93)
            do_finish(st, job);
        else if (choice < 98 && (ended(job) || contract_random(8) == 0))
            do_retry(st, job);
        else if (choice >= 98)
            do_remove_completed(st, job);
        commits += job->commits - before > 0;
        for (int i = 0; i < JOBS; i++)
            check_invariants(st, &jobs[i]);
    }
    /* A run that never gets to the end of a job would prove little. */
    assert_true(commits > 0);
    print_message("%d calls, %d jobs committed\n", CALLS, commits);
    lathe_state_close(st);
}
