/* SPDX-License-Identifier: MIT */
/*
 * A place for one job on the embedded drivers with a fake slot. Each of these functions fails the
 * test when something does not work.
 */
#ifndef LATHE_TESTS_FLOW_BENCH_H
#define LATHE_TESTS_FLOW_BENCH_H

#include <jansson.h>
#include <stdbool.h>

#include "lathe/agent.h"

struct bench {
    char *folder;
    struct lathe_agent *agent;
    struct lathe_job job;
    struct lathe_cancel *cancel;
};

extern const char *fake_slot; /* the program; main() sets it */

int bench_setup(void **state);
int bench_teardown(void **state);

/* The path of `name` in the folder of the bench; the caller frees. */
char *bench_path(const struct bench *b, const char *name);
/* Closes an agent that is open, and opens one on the same folder; `wishes`: what it does not decide
 * itself. */
void bench_open_agent(struct bench *b, const char *faults,
                      const struct lathe_agent_options *wishes);
/* "job-1" in one size, 240p; not validated. */
void bench_make_job(struct bench *b);
/* Both, with a second size; not submitted. */
struct bench *bench_open(void **state, const char *faults, bool gpus);
int bench_run(struct bench *b, struct lathe_error *err);
/* How often the fake slot was given the order `line`. */
int bench_orders(struct bench *b, const char *line);
/* `ret_result` may be NULL. */
void bench_expect_status(struct bench *b, enum lathe_job_status status, json_t **ret_result);
int bench_objects(struct bench *b, const char *prefix);
/* That the object is a made-up result of all four chunks and the sound. */
void bench_expect_output(struct bench *b, const char *key, const char *begin);

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

#endif
