/* SPDX-License-Identifier: MIT */
/*
 * Jobs that a worker leaves to others: passed over, told once, bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "agent/parts.h"

static char ids[LATHE_CLAIM_EXCEPT_MAX][LATHE_ID_MAX + 1];

static struct lathe_agent *make(void)
{
    struct lathe_agent *agent = calloc(1, sizeof *agent);
    assert_non_null(agent);
    pthread_mutex_init(&agent->lock, NULL);
    agent->options.is_daemon = true;
    return agent;
}

static void drop(struct lathe_agent *agent)
{
    pthread_mutex_destroy(&agent->lock);
    free(agent);
}

static void what_is_for_others(void **state)
{
    (void)state;
    struct lathe_agent *agent = make();
    assert_true(lathe_is_for_others(agent, -ENODEV));
    assert_true(lathe_is_for_others(agent, -EPROTONOSUPPORT));
    assert_false(lathe_is_for_others(agent, -EIO));
    assert_false(lathe_is_for_others(agent, 0));
    agent->options.is_daemon = false; /* `lathe run`: there are no others */
    assert_false(lathe_is_for_others(agent, -ENODEV));
    drop(agent);
}

static void passed_over_for_a_while(void **state)
{
    (void)state;
    struct lathe_agent *agent = make();
    struct lathe_error config = {.fault = LATHE_FAULT_CONFIG};
    struct lathe_error resource = {.fault = LATHE_FAULT_RESOURCE};
    assert_int_equal(lathe_left_jobs_list(agent, ids), 0);
    assert_true(lathe_left_jobs_add(agent, "a", &config));
    assert_true(lathe_left_jobs_add(agent, "b", &resource));
    assert_int_equal(lathe_left_jobs_list(agent, ids), 2);
    assert_string_equal(ids[0], "a");
    assert_string_equal(ids[1], "b");

    agent->left[0].until_us = 0; /* its time is over: it is claimed again, and found the same */
    assert_int_equal(lathe_left_jobs_list(agent, ids), 1);
    for (int i = 0; i < 20; i++) {
        assert_true(lathe_left_jobs_add(agent, "a", &config));
        assert_true(lathe_left_jobs_add(agent, "b", &resource));
    }
    assert_int_equal(agent->n_left, 2);
    int64_t now_us = lathe_clock_monotonic_us();
    assert_in_range(agent->left[0].until_us - now_us, 110 * 1000000, 120 * 1000000);
    assert_in_range(agent->left[1].until_us - now_us, 10 * 1000000, 15 * 1000000);
    drop(agent);
}

static void there_may_be_too_many(void **state)
{
    (void)state;
    struct lathe_agent *agent = make();
    struct lathe_error why = {.fault = LATHE_FAULT_CONFIG};
    char id[32];
    for (unsigned i = 0; i < LATHE_CLAIM_EXCEPT_MAX; i++) {
        snprintf(id, sizeof id, "job-%u", i);
        assert_true(lathe_left_jobs_add(agent, id, &why));
    }
    assert_false(lathe_left_jobs_add(agent, "one-more", &why));
    assert_int_equal(lathe_left_jobs_list(agent, ids), LATHE_CLAIM_EXCEPT_MAX);
    agent->left[7].until_us = 0;
    assert_true(lathe_left_jobs_add(agent, "one-more", &why));
    assert_string_equal(agent->left[7].job_id, "one-more");
    drop(agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_for_others),
        cmocka_unit_test(passed_over_for_a_while),
        cmocka_unit_test(there_may_be_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
