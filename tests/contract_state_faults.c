/* SPDX-License-Identifier: MIT */
/*
 * The state while workers are killed and race: real processes, SIGKILL, one barrier.
 */
#include "contract_state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "lathe/base.h"

#define SHORT_MS 200 /* lease of a worker that will be killed */

/* A worker that stops for ever after `steps` calls; it tells through the pipe that it got there. */
struct victim {
    int steps;
    int pipe_fd;
};

static void step_done(struct victim *victim)
{
    if (--victim->steps > 0)
        return;
    if (write(victim->pipe_fd, "x", 1) != 1)
        _exit(9);
    for (;;)
        pause();
}

/* The whole life of a job of one pilot and two chunks, without assertions: it runs in a child. */
static int live(void *opaque)
{
    struct victim *victim = opaque;
    static const struct lathe_unit units[] = {
        {.kind = LATHE_UNIT_PILOT},
        {.kind = LATHE_UNIT_CHUNK, .index = 0, .needs_pilots = true},
        {.kind = LATHE_UNIT_CHUNK, .index = 1, .needs_pilots = true, .needs_chunks = 1},
    };
    struct lathe_state *st;
    enum lathe_verdict verdict;
    uint64_t fence;
    int wait_ms;
    if (lathe_state_open(contract.driver, contract.location, &st, NULL) < 0 ||
        lathe_state_create(st, "a", 0, "{}", NULL) < 0)
        return 1;
    step_done(victim);
    if (lathe_state_claim_split(st, "a", "v", SHORT_MS, &verdict, &fence, &wait_ms, NULL) < 0)
        return 1;
    step_done(victim);
    if (lathe_state_set_units(st, "a", fence, units, 3, &verdict, NULL) < 0)
        return 1;
    step_done(victim);
    struct lathe_claim c;
    for (int i = 0; i < 3; i++) {
        if (lathe_state_claim_next(st, &(struct lathe_claim_wish){.job_id = "a"}, "v", SHORT_MS,
                                   &verdict, &c, NULL) < 0)
            return 1;
        step_done(victim);
        if (lathe_state_complete(st, "a", c.unit, c.fence, "{\"by\":\"victim\"}", &verdict, NULL) <
            0)
            return 1;
        step_done(victim);
    }
    struct lathe_done *done;
    size_t count;
    if (lathe_state_merge_claim(st, "a", "v", SHORT_MS, &verdict, &fence, &done, &count, &wait_ms,
                                NULL) < 0)
        return 1;
    step_done(victim);
    if (lathe_state_merge_commit(st, "a", fence, "{\"by\":\"victim\"}", &verdict, NULL) < 0)
        return 1;
    step_done(victim);
    return 1; /* not reached: the last step is 11 */
}
#define LIVE_STEPS 11

/* Whoever comes next: does what is left, waiting for leases that must run out. */
static void rescue(struct lathe_state *st)
{
    uint64_t fence;
    enum lathe_verdict verdict;
    while ((verdict = claim_split(st, "a", LIVE_MS, &fence)) == LATHE_BUSY)
        contract_sleep_ms(5);
    if (verdict == LATHE_GRANTED) {
        release(st, "a", LATHE_UNIT_SPLIT, fence);
        plan_job(st, "a", 1, 0, 2, 1);
    }
    for (;;) {
        struct lathe_claim c;
        while (claim_next(st, "a", LIVE_MS, &c) == LATHE_GRANTED)
            assert_int_equal(complete(st, "a", c.unit, c.fence, "{\"by\":\"rescuer\"}"),
                             LATHE_DONE);
        struct lathe_done *done;
        size_t count;
        verdict = merge_claim(st, "a", LIVE_MS, &fence, &done, &count);
        if (verdict == LATHE_GRANTED) {
            assert_int_equal(count, 3);
            for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(done[i].unit, i);
            lathe_done_free(done, count);
            assert_int_equal(merge_commit(st, "a", fence, "{\"by\":\"rescuer\"}"), LATHE_DONE);
            return;
        }
        if (verdict == LATHE_DONE)
            return;
        contract_sleep_ms(5);
    }
}

void test_killed_between_steps(void **state)
{
    (void)state;
    for (int steps = 1; steps <= LIVE_STEPS; steps++) {
        int fds[2];
        char byte;
        assert_int_equal(pipe(fds), 0);
        struct victim victim = {steps, fds[1]};
        pid_t pid = contract_fork(live, &victim);
        close(fds[1]);
        assert_int_equal(read(fds[0], &byte, 1), 1);
        close(fds[0]);
        contract_kill(pid);

        struct lathe_state *st = open_state();
        rescue(st);
        struct lathe_job_view view;
        assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
        assert_int_equal(view.status, LATHE_JOB_COMPLETED);
        assert_int_equal(view.completed_units, 3);
        /* What was acknowledged to the victim before its death counts. */
        assert_non_null(strstr(view.result, steps == LIVE_STEPS ? "victim" : "rescuer"));
        lathe_job_view_clear(&view);
        struct lathe_done *done;
        size_t count;
        assert_int_equal(lathe_state_results(st, "a", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
        assert_int_equal(count, 3);
        for (int i = 0; i < 3; i++) /* unit i was completed in step 5 + 2i */
            assert_non_null(strstr(done[i].result, steps >= 5 + 2 * i ? "victim" : "rescuer"));
        lathe_done_free(done, count);
        assert_int_equal(lathe_state_remove(st, "a", NULL), 0);
        lathe_state_close(st);
    }
}

struct racer {
    uint32_t unit;
    int ready_fd; /* a byte: the unit is held */
    int start_fd; /* at its end: go */
    int held_fd;  /* the other side of start_fd, which the child must not hold open */
    const char *job_id;
};

/* Ends with 1 when this process committed the merge, 0 when not, more on an error. */
static int finish_a_unit(void *opaque)
{
    struct racer *racer = opaque;
    struct lathe_state *st;
    struct lathe_claim c;
    enum lathe_verdict verdict;
    char byte;
    int wait_ms;
    close(racer->held_fd);
    if (lathe_state_open(contract.driver, contract.location, &st, NULL) < 0 ||
        lathe_state_claim(st, racer->job_id, racer->unit, "racer", LIVE_MS, &verdict, &c, &wait_ms,
                          NULL) < 0 ||
        verdict != LATHE_GRANTED)
        return 2;
    if (write(racer->ready_fd, "x", 1) != 1 || read(racer->start_fd, &byte, 1) != 0)
        return 3;
    if (lathe_state_complete(st, racer->job_id, racer->unit, c.fence, "{}", &verdict, NULL) < 0 ||
        verdict != LATHE_DONE)
        return 4;
    uint64_t fence;
    struct lathe_done *done;
    size_t count;
    if (lathe_state_merge_claim(st, racer->job_id, "racer", LIVE_MS, &verdict, &fence, &done,
                                &count, &wait_ms, NULL) < 0)
        return 5;
    if (verdict != LATHE_GRANTED)
        return verdict == LATHE_WAIT || verdict == LATHE_BUSY || verdict == LATHE_DONE ? 0 : 6;
    lathe_done_free(done, count);
    if (count != 2 ||
        lathe_state_merge_commit(st, racer->job_id, fence, "{}", &verdict, NULL) < 0 ||
        verdict != LATHE_DONE)
        return 7;
    lathe_state_close(st);
    return 1;
}

void test_last_two_units_race(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    for (int round = 0; round < 40; round++) {
        char job_id[32];
        snprintf(job_id, sizeof(job_id), "race-%d", round);
        create_job(st, job_id, 0);
        plan_job(st, job_id, 0, 0, 2, 0);
        int ready[2], start[2];
        assert_int_equal(pipe(ready), 0);
        assert_int_equal(pipe2(start, O_CLOEXEC), 0);
        pid_t pids[2];
        for (uint32_t i = 0; i < 2; i++) {
            struct racer racer = {i, ready[1], start[0], start[1], job_id};
            pids[i] = contract_fork(finish_a_unit, &racer);
        }
        close(ready[1]);
        close(start[0]);
        char bytes[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(read(ready[0], &bytes[i], 1), 1);
        close(ready[0]);
        close(start[1]);
        int commits = contract_wait(pids[0]) + contract_wait(pids[1]);
        assert_int_equal(commits, 1);
        assert_int_equal(status_of(st, job_id), LATHE_JOB_COMPLETED);
    }
    lathe_state_close(st);
}

#define RACE_UNITS 300

static int drain(void *opaque)
{
    int pipe_fd = *(int *)opaque;
    struct lathe_state *st;
    if (lathe_state_open(contract.driver, contract.location, &st, NULL) < 0)
        return 1;
    for (;;) {
        struct lathe_claim c;
        enum lathe_verdict verdict;
        if (lathe_state_claim_next(st, &(struct lathe_claim_wish){0}, "w", LIVE_MS, &verdict, &c,
                                   NULL) < 0)
            return 2;
        if (verdict != LATHE_GRANTED)
            break;
        if (write(pipe_fd, &c.unit, sizeof(c.unit)) != sizeof(c.unit))
            return 3;
        if (lathe_state_complete(st, c.job_id, c.unit, c.fence, "{}", &verdict, NULL) < 0 ||
            verdict != LATHE_DONE)
            return 4;
    }
    lathe_state_close(st);
    return 0;
}

void test_claims_race(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, RACE_UNITS, 0);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pids[4];
    for (size_t i = 0; i < LATHE_COUNT(pids); i++)
        pids[i] = contract_fork(drain, &fds[1]);
    close(fds[1]);
    int granted[RACE_UNITS] = {0};
    uint32_t unit;
    while (read(fds[0], &unit, sizeof(unit)) == sizeof(unit)) {
        assert_in_range(unit, 0, RACE_UNITS - 1);
        granted[unit]++;
    }
    close(fds[0]);
    for (size_t i = 0; i < LATHE_COUNT(pids); i++)
        assert_int_equal(contract_wait(pids[i]), 0);
    for (int i = 0; i < RACE_UNITS; i++)
        assert_int_equal(granted[i], 1); /* no lease ran out, so nobody did another's work */
    uint64_t fence;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_GRANTED);
    lathe_state_close(st);
}

struct sharer {
    struct lathe_state *st;
    atomic_int *completed;
    int failed;
};

static void *work(void *arg)
{
    struct sharer *sharer = arg;
    struct lathe_claim c;
    enum lathe_verdict verdict = LATHE_GRANTED;
    for (;;) {
        int r = lathe_state_claim_next(sharer->st, &(struct lathe_claim_wish){.job_id = "a"}, "t",
                                       LIVE_MS, &verdict, &c, NULL);
        if (r < 0 || verdict != LATHE_GRANTED) {
            sharer->failed = r < 0;
            return NULL;
        }
        r = lathe_state_renew(sharer->st, "a", c.unit, c.fence, LIVE_MS, &verdict, NULL);
        if (r == 0 && verdict == LATHE_GRANTED)
            r = lathe_state_complete(sharer->st, "a", c.unit, c.fence, "{}", &verdict, NULL);
        if (r < 0 || verdict != LATHE_DONE) {
            sharer->failed = 1;
            return NULL;
        }
        atomic_fetch_add(sharer->completed, 1);
    }
}

void test_shared_handle(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 200, 0);
    atomic_int completed = 0;
    struct sharer sharers[6];
    for (size_t i = 0; i < LATHE_COUNT(sharers); i++)
        sharers[i] = (struct sharer){st, &completed, 0};
    contract_threads(LATHE_COUNT(sharers), work, sharers, sizeof(sharers[0]));
    for (size_t i = 0; i < LATHE_COUNT(sharers); i++)
        assert_int_equal(sharers[i].failed, 0);
    assert_int_equal(completed, 200);
    lathe_state_close(st);
}

void test_large_job(void **state)
{
    (void)state;
    const int units = 10000;
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, units, 64);
    int64_t started_us = lathe_clock_monotonic_us();
    for (int i = 0; i < units; i++) {
        struct lathe_claim c;
        uint64_t fence;
        assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
        assert_int_equal(c.unit, i);
        assert_int_equal(complete(st, "a", c.unit, c.fence, "{\"frames\":250}"), LATHE_DONE);
        if (i + 1 < units)
            assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, NULL, NULL), LATHE_WAIT);
        if ((i + 1) % 2500 == 0) {
            int64_t now_us = lathe_clock_monotonic_us();
            print_message("units %d…%d: %.0f a second (claim, complete, merge claim)\n", i - 2499,
                          i, 2500e6 / (double)(now_us - started_us));
            started_us = now_us;
        }
    }
    struct lathe_done *done;
    size_t count;
    uint64_t fence;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &fence, &done, &count), LATHE_GRANTED);
    assert_int_equal(count, units);
    for (int i = 0; i < units; i++)
        assert_int_equal(done[i].unit, i);
    lathe_done_free(done, count);
    assert_int_equal(merge_commit(st, "a", fence, "{}"), LATHE_DONE);
    lathe_state_close(st);
}
