/* SPDX-License-Identifier: MIT */
/* Contract of the state port: which job gets the next slot. */
#include <errno.h>
#include <stdlib.h>

#include "contract_state.h"
#include "lathe/base.h"

void test_order_of_claims(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const struct {
        const char *id;
        int priority;
    } jobs[] = {{"zz-old", 0}, {"low", -5}, {"aa-young", 0}, {"high", 7}};
    for (size_t i = 0; i < LATHE_COUNT(jobs); i++) {
        create_job(st, jobs[i].id, jobs[i].priority);
        plan_job(st, jobs[i].id, 0, 0, 2, 0);
    }
    const char *const order[] = {"high", "zz-old", "aa-young", "low"};
    char **ids;
    size_t count;
    assert_int_equal(lathe_state_list_open(st, &ids, &count, NULL), 0);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(ids[i], order[i]);
        free(ids[i]);
    }
    free(ids);

    struct lathe_claim c;
    assert_int_equal(claim_next(st, "low", 1, &c), LATHE_GRANTED); /* one job only */
    assert_string_equal(c.job_id, "low");
    assert_int_equal(claim_next(st, "unknown", 1, &c), LATHE_WAIT);
    expire();
    for (size_t i = 0; i < 2 * LATHE_COUNT(order); i++) {
        assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
        assert_string_equal(c.job_id, order[i / 2]);
        assert_int_equal(c.unit, i % 2); /* the expired unit 0 of "low" comes before its unit 1 */
    }
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(finish(st, "high", LATHE_JOB_CANCELLED), LATHE_DONE);
    assert_int_equal(lathe_state_list_open(st, &ids, &count, NULL), 0);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        free(ids[i]);
    free(ids);
    lathe_state_close(st);
}

void test_youngest_job_first(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const char *const ids[] = {"c-old", "a-middle", "b-young"};
    create_job(st, "urgent", 1);
    plan_job(st, "urgent", 0, 0, 1, 0);
    for (size_t i = 0; i < LATHE_COUNT(ids); i++) {
        create_job(st, ids[i], 0);
        plan_job(st, ids[i], 0, 0, 2, 0);
    }
    create_job(st, "whenever", -1); /* the youngest of all */
    plan_job(st, "whenever", 0, 0, 1, 0);

    struct lathe_claim c;
    assert_int_equal(claim_youngest(st, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "urgent"); /* priority is above age */
    assert_int_equal(claim_youngest(st, 1, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "b-young");
    assert_int_equal(c.unit, 0);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "c-old");
    expire(); /* what the young one has lost counts as its own */
    for (uint32_t unit = 0; unit < 2; unit++) {
        assert_int_equal(claim_youngest(st, LIVE_MS, &c), LATHE_GRANTED);
        assert_string_equal(c.job_id, "b-young");
        assert_int_equal(c.unit, unit);
    }
    assert_int_equal(claim_youngest(st, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "a-middle");
    assert_int_equal(finish(st, "a-middle", LATHE_JOB_CANCELLED), LATHE_DONE);
    assert_int_equal(claim_youngest(st, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "c-old");
    assert_int_equal(c.unit, 1);
    assert_int_equal(claim_youngest(st, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "whenever");
    assert_int_equal(claim_youngest(st, LIVE_MS, &c), LATHE_WAIT);
    lathe_state_close(st);
}

/* What a worker cannot serve it passes over, in either order, and others still get it. */
void test_excepted_jobs(void **state)
{
    (void)state;
    struct lathe_state *st = open_state();
    const char *const ids[] = {"a", "b", "c", "d"};
    create_job(st, "urgent", 1);
    plan_job(st, "urgent", 0, 0, 1, 0);
    for (size_t i = 0; i < LATHE_COUNT(ids); i++) {
        create_job(st, ids[i], 0);
        plan_job(st, ids[i], 0, 0, 1, 0);
    }
    const char *const except[] = {"urgent", "d", "a", "no-such-job"};
    struct lathe_claim_wish wish = {.except = except, .n_except = LATHE_COUNT(except)};
    enum lathe_verdict verdict;
    struct lathe_claim c;
    wish.order = LATHE_YOUNGEST_FIRST;
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", 1, &verdict, &c, NULL), 0);
    assert_int_equal(verdict, LATHE_GRANTED);
    assert_string_equal(c.job_id, "c");
    wish.order = LATHE_OLDEST_FIRST;
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", LIVE_MS, &verdict, &c, NULL), 0);
    assert_string_equal(c.job_id, "b");
    expire(); /* of c, which is found again */
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", LIVE_MS, &verdict, &c, NULL), 0);
    assert_string_equal(c.job_id, "c");
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", LIVE_MS, &verdict, &c, NULL), 0);
    assert_int_equal(verdict, LATHE_WAIT);

    wish.job_id = "a"; /* named: it is meant */
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", LIVE_MS, &verdict, &c, NULL), 0);
    assert_string_equal(c.job_id, "a");
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "urgent");
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_GRANTED);
    assert_string_equal(c.job_id, "d");

    wish = (struct lathe_claim_wish){.except = except, .n_except = LATHE_CLAIM_EXCEPT_MAX + 1};
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", 1, &verdict, &c, NULL), -EINVAL);
    const char *const evil[] = {"../evil"};
    wish = (struct lathe_claim_wish){.except = evil, .n_except = 1};
    assert_int_equal(lathe_state_claim_next(st, &wish, "o", 1, &verdict, &c, NULL), -EINVAL);
    lathe_state_close(st);
}
