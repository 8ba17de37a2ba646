/* SPDX-License-Identifier: MIT */
/*
 * Short forms of the state's calls for the contract suite: a call that returns an error fails the
 * test with its text.
 */
#ifndef LATHE_TESTS_CONTRACT_STATE_H
#define LATHE_TESTS_CONTRACT_STATE_H

#include "contract.h"
#include "lathe/state.h"

#define LIVE_MS 3600000 /* a lease that does not run out while a test runs */

struct lathe_state *open_state(void);
void create_job(struct lathe_state *st, const char *job_id, int priority);
/* A job of `pilots` pilots, `audio` audio units and `chunks` chunks; chunks need the pilots and the
 * chunks up to `lag` before them (lag 0: none). */
void plan_job(struct lathe_state *st, const char *job_id, int pilots, int audio, int chunks,
              int lag);

/* Names the units first … last. */
enum lathe_verdict stored(struct lathe_state *st, const char *job_id, uint64_t fence,
                          uint32_t first, uint32_t last);
enum lathe_verdict claim_split(struct lathe_state *st, const char *job_id, int ttl_ms,
                               uint64_t *ret_fence);
enum lathe_verdict claim(struct lathe_state *st, const char *job_id, uint32_t unit, int ttl_ms,
                         struct lathe_claim *ret);
enum lathe_verdict claim_next(struct lathe_state *st, const char *job_id, int ttl_ms,
                              struct lathe_claim *ret);
enum lathe_verdict claim_youngest(struct lathe_state *st, int ttl_ms, struct lathe_claim *ret);
enum lathe_verdict renew(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                         int ttl_ms);
enum lathe_verdict complete(struct lathe_state *st, const char *job_id, uint32_t unit,
                            uint64_t fence, const char *result);
enum lathe_verdict attempt_failed(struct lathe_state *st, const char *job_id, uint32_t unit,
                                  uint64_t fence, bool permanent);
void release(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence);
enum lathe_verdict merge_claim(struct lathe_state *st, const char *job_id, int ttl_ms,
                               uint64_t *ret_fence, struct lathe_done **ret_done,
                               size_t *ret_count);
enum lathe_verdict merge_commit(struct lathe_state *st, const char *job_id, uint64_t fence,
                                const char *result);
enum lathe_verdict reopen(struct lathe_state *st, const char *job_id, uint64_t fence,
                          const uint32_t *units, uint32_t count);
enum lathe_verdict replan(struct lathe_state *st, const char *job_id, uint64_t fence);
enum lathe_verdict finish(struct lathe_state *st, const char *job_id, enum lathe_job_status status);
enum lathe_verdict retry(struct lathe_state *st, const char *job_id, uint32_t seen_epoch,
                         bool keep_results);
enum lathe_job_status status_of(struct lathe_state *st, const char *job_id);
/* Until leases of 1 ms have run out. */
void expire(void);
/* Claims and completes until nothing is claimable. */
void complete_all(struct lathe_state *st, const char *job_id);

/* contract_state_order.c */
void test_order_of_claims(void **state);
void test_youngest_job_first(void **state);
void test_excepted_jobs(void **state);
/* contract_state_cutting.c */
void test_units_wait_for_their_objects(void **state);
void test_cutting_changes_hands(void **state);
void test_cutting_job_is_retried(void **state);
/* contract_state_redo.c */
void test_unusable_results(void **state);
void test_unusable_results_are_bounded(void **state);
void test_kept_results_keep_their_failures(void **state);
void test_another_plan(void **state);
/* contract_state_views.c */
void test_lists_of_jobs(void **state);
void test_views_of_units(void **state);
void test_cancel_ends_every_lease(void **state);
void test_registry_of_workers(void **state);
/* contract_state_faults.c */
void test_killed_between_steps(void **state);
void test_last_two_units_race(void **state);
void test_claims_race(void **state);
void test_shared_handle(void **state);
void test_large_job(void **state);
/* contract_state_redis.c */
void test_redis_settings(void **state);
void test_redis_forgets_scripts(void **state);
void test_redis_killed(void **state);
void test_redis_hangs(void **state);
void test_redis_emptied(void **state);
/* contract_state_model.c */
void test_random_calls_match_the_table(void **state);

#endif
