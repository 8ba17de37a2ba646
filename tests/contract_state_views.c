/* SPDX-License-Identifier: MIT */
/*
 * Contract of the state port where people look at jobs and units, and of the registry of workers.
 */
#include "contract_state.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"

/* The ids of a page, each followed by a blank. */
static uint64_t page(struct lathe_state *st, enum lathe_job_filter filter, uint64_t cursor,
                     uint32_t limit, const char *expected)
{
    struct lathe_job_view *list;
    size_t count;
    uint64_t next;
    struct lathe_error err = {0};
    if (lathe_state_list(st, filter, cursor, limit, &list, &count, &next, &err) < 0)
        fail_msg("%s", err.what);
    char ids[1024] = "";
    for (size_t i = 0; i < count; i++) {
        strcat(strcat(ids, list[i].id), " ");
        assert_string_equal(list[i].record, "{\"record\":1}");
        assert_null(list[i].result);
    }
    assert_string_equal(ids, expected);
    lathe_job_views_free(list, count);
    return next;
}

static void complete_job(struct lathe_state *st, const char *job_id)
{
    uint64_t fence;
    plan_job(st, job_id, 0, 0, 1, 0);
    complete_all(st, job_id);
    assert_int_equal(merge_claim(st, job_id, LIVE_MS, &fence, NULL, NULL), LATHE_GRANTED);
    assert_int_equal(merge_commit(st, job_id, fence, "{\"big\":1}"), LATHE_DONE);
}

void test_lists_of_jobs(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    struct lathe_job_view *list;
    size_t count;
    uint64_t cursor;
    assert_int_equal(page(st, LATHE_JOBS_ALL, 0, 10, ""), 0);
    create_job(st, "a", 0);
    create_job(st, "b", 9); /* priority does not matter for a list */
    create_job(st, "c", 0);
    create_job(st, "d", 0);
    create_job(st, "b", 9);
    complete_job(st, "a");
    assert_int_equal(finish(st, "c", LATHE_JOB_CANCELLED), LATHE_DONE);
    assert_int_equal(page(st, LATHE_JOBS_ALL, 0, 10, "d c b a "), 0);
    assert_int_equal(page(st, LATHE_JOBS_OPEN, 0, 10, "d b "), 0);
    assert_int_equal(page(st, LATHE_JOBS_ENDED, 0, 10, "c a "), 0);

    /* In pages, whatever happens to jobs in between. */
    cursor = page(st, LATHE_JOBS_ALL, 0, 1, "d ");
    assert_true(cursor > 0);
    create_job(st, "e", 0);
    assert_int_equal(finish(st, "b", LATHE_JOB_FAILED), LATHE_DONE);
    cursor = page(st, LATHE_JOBS_ALL, cursor, 2, "c b ");
    assert_true(cursor > 0);
    assert_int_equal(page(st, LATHE_JOBS_ALL, cursor, 2, "a "), 0);

    assert_int_equal(retry(st, "b", 1, true), LATHE_GRANTED);
    assert_int_equal(lathe_state_remove(st, "c", NULL), 0);
    assert_int_equal(page(st, LATHE_JOBS_OPEN, 0, 10, "e d b "), 0);
    assert_int_equal(page(st, LATHE_JOBS_ENDED, 0, 10, "a "), 0);

    assert_int_equal(lathe_state_list(st, LATHE_JOBS_ALL, 0, 0, &list, &count, &cursor, NULL),
                     -EINVAL);
    assert_int_equal(
        lathe_state_list(st, LATHE_JOBS_ALL, 0, LATHE_LIST_MAX + 1, &list, &count, &cursor, NULL),
        -EINVAL);
    lathe_state_close(st);
}

/* The caller clears the copy's texts with free_view(). */
static struct lathe_unit_view view_of(struct lathe_state *st, const char *job_id, uint32_t unit)
{
    struct lathe_unit_view *list, found = {0};
    size_t count;
    struct lathe_error err = {0};
    if (lathe_state_units(st, job_id, 0, LATHE_UNITS_MAX, &list, &count, &err) < 0)
        fail_msg("%s", err.what);
    bool is_there = false;
    for (size_t i = 0; i < count; i++) {
        if (list[i].unit != unit)
            continue;
        is_there = true;
        found = list[i];
        list[i] = (struct lathe_unit_view){0};
    }
    assert_true(is_there);
    lathe_unit_views_free(list, count);
    return found;
}

static void free_view(struct lathe_unit_view *view)
{
    free(view->owner);
    free(view->error);
    free(view->result);
}

static void expect_state(struct lathe_state *st, const char *job_id, uint32_t unit,
                         enum lathe_unit_state state)
{
    struct lathe_unit_view view = view_of(st, job_id, unit);
    assert_string_equal(lathe_unit_state_name(view.state), lathe_unit_state_name(state));
    free_view(&view);
}

static void test_leases_and_failures_in_views(struct lathe_state *st)
{
    struct lathe_claim c;
    assert_int_equal(claim(st, "a", 2, LIVE_MS, &c), LATHE_GRANTED);
    struct lathe_unit_view view = view_of(st, "a", 2);
    assert_int_equal(view.state, LATHE_UNIT_IS_LEASED);
    assert_string_equal(view.owner, "tester");
    assert_true(view.leased_us > 1000000000000000); /* a wall clock: after 2001 */
    assert_in_range(view.lease_left_ms, 1, LIVE_MS + 1);
    assert_null(view.error);
    int64_t since_us = view.leased_us;
    free_view(&view);
    assert_int_equal(renew(st, "a", 2, c.fence, LIVE_MS), LATHE_GRANTED);
    view = view_of(st, "a", 2);
    assert_int_equal(view.leased_us, since_us);
    free_view(&view);

    assert_int_equal(attempt_failed(st, "a", 2, c.fence, false), LATHE_RETRY);
    view = view_of(st, "a", 2);
    assert_int_equal(view.state, LATHE_UNIT_IS_OPEN);
    assert_int_equal(view.failures, 1);
    assert_int_equal(view.deaths, 0);
    assert_null(view.owner);
    assert_string_equal(view.error, "the encoder crashed");
    free_view(&view);

    assert_int_equal(claim(st, "a", 2, 1, &c), LATHE_GRANTED);
    contract_sleep_ms(4);
    view = view_of(st, "a", 2); /* stale, and still somebody's */
    assert_int_equal(view.state, LATHE_UNIT_IS_LEASED);
    assert_string_equal(view.owner, "tester");
    assert_true(view.lease_left_ms <= 1);
    free_view(&view);
    assert_int_equal(claim(st, "a", 2, LIVE_MS, &c), LATHE_GRANTED);
    view = view_of(st, "a", 2);
    assert_int_equal(view.failures, 1);
    assert_int_equal(view.deaths, 1);
    assert_string_equal(view.error, "its worker died or hung: tester");
    free_view(&view);
    assert_int_equal(complete(st, "a", 2, c.fence, "{\"n\":\n2}"), LATHE_DONE);
    view = view_of(st, "a", 2);
    assert_int_equal(view.state, LATHE_UNIT_IS_DONE);
    assert_string_equal(view.result, "{\"n\":\n2}");
    assert_int_equal(view.failures, 1);
    free_view(&view);
}

void test_views_of_units(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    struct lathe_unit_view *list;
    size_t count;
    struct lathe_claim c;
    assert_int_equal(lathe_state_units(st, "a", 0, 1, &list, &count, NULL), -ENOENT);
    create_job(st, "a", 0);
    expect_state(st, "a", LATHE_UNIT_SPLIT, LATHE_UNIT_IS_OPEN);
    plan_job(st, "a", 1, 1, 3, 2); /* units: pilot 0, sound 1, chunks 2 … 4 */
    expect_state(st, "a", LATHE_UNIT_SPLIT, LATHE_UNIT_IS_DONE);
    expect_state(st, "a", 0, LATHE_UNIT_IS_OPEN);
    expect_state(st, "a", 2, LATHE_UNIT_IS_BLOCKED);

    assert_int_equal(lathe_state_units(st, "a", 1, 3, &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    char name[64];
    lathe_unit_describe(list[0].unit, &list[0].what, name, sizeof(name));
    assert_string_equal(name, "audio 0");
    lathe_unit_describe(list[1].unit, &list[1].what, name, sizeof(name));
    assert_string_equal(name, "chunk 0");
    assert_true(list[1].what.needs_pilots);
    lathe_unit_views_free(list, count);
    lathe_unit_describe(LATHE_UNIT_MERGE, NULL, name, sizeof(name));
    assert_string_equal(name, "the merge");
    assert_int_equal(lathe_state_units(st, "a", 2, 1, &list, &count, NULL), -EINVAL);

    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(complete(st, "a", 0, c.fence, "{}"), LATHE_DONE);
    test_leases_and_failures_in_views(st);

    /* What was not done ends with the job; a retry forgets how it failed. */
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c), LATHE_GRANTED);
    assert_int_equal(attempt_failed(st, "a", 1, c.fence, true), LATHE_EXHAUSTED);
    struct lathe_unit_view view = view_of(st, "a", 1);
    assert_int_equal(view.state, LATHE_UNIT_IS_CLOSED);
    assert_string_equal(view.error, "the encoder crashed");
    free_view(&view);
    expect_state(st, "a", 2, LATHE_UNIT_IS_DONE);
    expect_state(st, "a", LATHE_UNIT_MERGE, LATHE_UNIT_IS_CLOSED);
    assert_int_equal(retry(st, "a", 1, true), LATHE_GRANTED);
    view = view_of(st, "a", 1);
    assert_int_equal(view.state, LATHE_UNIT_IS_OPEN);
    assert_int_equal(view.failures, 0);
    assert_null(view.error);
    free_view(&view);

    /* A refused result says why too; the merge is shown like a unit. */
    complete_all(st, "a");
    uint64_t merge;
    const uint32_t refused = 3;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &merge, NULL, NULL), LATHE_GRANTED);
    view = view_of(st, "a", LATHE_UNIT_MERGE);
    assert_int_equal(view.state, LATHE_UNIT_IS_LEASED);
    assert_string_equal(view.owner, "tester");
    free_view(&view);
    assert_int_equal(reopen(st, "a", merge, &refused, 1), LATHE_RETRY);
    view = view_of(st, "a", refused);
    assert_string_equal(view.error, "it is damaged");
    assert_null(view.result);
    free_view(&view);

    complete_all(st, "a");
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &merge, NULL, NULL), LATHE_GRANTED);
    assert_int_equal(merge_commit(st, "a", merge, "{}"), LATHE_DONE);
    expect_state(st, "a", LATHE_UNIT_MERGE, LATHE_UNIT_IS_DONE);
    lathe_state_close(st);
}

/* Whoever works on a job hears at the next renewal that it was cancelled. */
void test_cancel_ends_every_lease(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    struct lathe_claim c[2];
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 3, 0);
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c[0]), LATHE_GRANTED);
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c[1]), LATHE_GRANTED);
    assert_int_equal(finish(st, "a", LATHE_JOB_CANCELLED), LATHE_DONE);
    for (uint32_t unit = 0; unit < 2; unit++) {
        assert_int_equal(renew(st, "a", unit, c[unit].fence, LIVE_MS), LATHE_GONE);
        assert_int_equal(complete(st, "a", unit, c[unit].fence, "{}"), LATHE_GONE);
        struct lathe_unit_view view = view_of(st, "a", unit);
        assert_int_equal(view.state, LATHE_UNIT_IS_CLOSED);
        assert_null(view.owner);
        free_view(&view);
    }
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c[0]), LATHE_WAIT);
    lathe_state_close(st);
}

static bool beat(struct lathe_state *st, const char *worker, const char *host, int ttl_ms)
{
    bool drain = true;
    struct lathe_error err = {0};
    if (lathe_state_beat(st, worker, host, "{\"slots\":2}", ttl_ms, &drain, &err) < 0)
        fail_msg("%s", err.what);
    return drain;
}

/* How many workers live; *ret is the one of that name, or has no name. */
static size_t look_for(struct lathe_state *st, const char *name, struct lathe_worker_view *ret)
{
    struct lathe_worker_view *list;
    size_t count;
    *ret = (struct lathe_worker_view){0};
    assert_int_equal(lathe_state_workers(st, &list, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list[i].record, "{\"slots\":2}");
        assert_in_range(list[i].ttl_left_ms, 1, LIVE_MS + 1);
        assert_true(list[i].seen_us > 1000000000000000);
        if (strcmp(list[i].name, name))
            continue;
        *ret = list[i];
        ret->name = strdup(name);
        ret->host = strdup(list[i].host);
        ret->record = NULL;
    }
    lathe_worker_views_free(list, count);
    return count;
}

static void expect_worker(struct lathe_state *st, const char *name, const char *host, bool drain,
                          size_t alive)
{
    struct lathe_worker_view found;
    assert_int_equal(look_for(st, name, &found), alive);
    assert_string_equal(found.host, host);
    assert_int_equal(found.drain, drain);
    free(found.name);
    free(found.host);
}

void test_registry_of_workers(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    struct lathe_worker_view found;
    uint32_t asked;
    bool drain;
    assert_int_equal(look_for(st, "w1", &found), 0);
    assert_false(beat(st, "w1", "hosta", LIVE_MS));
    assert_false(beat(st, "w2", "hosta", LIVE_MS));
    assert_false(beat(st, "w3", "hostb", LIVE_MS));
    assert_false(beat(st, "w3", "hostb", LIVE_MS));
    expect_worker(st, "w2", "hosta", false, 3);

    /* A host, or one worker; who starts there later is not meant. */
    assert_int_equal(lathe_state_drain(st, "hosta", &asked, NULL), 0);
    assert_int_equal(asked, 2);
    assert_int_equal(lathe_state_drain(st, "nobody", &asked, NULL), 0);
    assert_int_equal(asked, 0);
    assert_true(beat(st, "w1", "hosta", LIVE_MS));
    assert_true(beat(st, "w1", "hosta", LIVE_MS));
    expect_worker(st, "w2", "hosta", true, 3);
    expect_worker(st, "w3", "hostb", false, 3);
    assert_int_equal(lathe_state_drain(st, "w3", &asked, NULL), 0);
    assert_int_equal(asked, 1);
    assert_true(beat(st, "w3", "hostb", LIVE_MS));
    assert_int_equal(lathe_state_leave(st, "w1", NULL), 0);
    assert_int_equal(lathe_state_leave(st, "w1", NULL), 0);
    assert_false(beat(st, "w4", "hosta", LIVE_MS));
    assert_int_equal(look_for(st, "w1", &found), 3);
    assert_null(found.name);

    /* Who stays silent is gone, with what it was asked. */
    assert_false(beat(st, "w5", "hostc", 1));
    assert_int_equal(lathe_state_drain(st, "w5", &asked, NULL), 0);
    contract_sleep_ms(4);
    assert_int_equal(look_for(st, "w5", &found), 3);
    assert_null(found.name);
    assert_int_equal(lathe_state_drain(st, "hostc", &asked, NULL), 0);
    assert_int_equal(asked, 0);
    assert_false(beat(st, "w5", "hostc", LIVE_MS));

    assert_int_equal(lathe_state_beat(st, "", "h", "{}", 1, &drain, NULL), -EINVAL);
    assert_int_equal(lathe_state_beat(st, "w", "h", NULL, 1, &drain, NULL), -EINVAL);
    assert_int_equal(lathe_state_beat(st, "w", "h", "{}", 0, &drain, NULL), -EINVAL);
    lathe_state_close(st);
}
