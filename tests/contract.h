/* SPDX-License-Identifier: MIT */
/*
 * What the contract suites share: the driver under test comes from the command line, so that the
 * same suite judges every driver, and processes are really killed.
 *
 *   contract_state [DRIVER [LOCATION]]     default: the embedded driver on a temporary folder
 *
 * Where LATHE_CONTRACT_RESET is set, that shell command empties the server before each test;
 * @UNIQUE@ in LOCATION becomes another name for each test. CMOCKA_TEST_FILTER and
 * CMOCKA_SKIP_FILTER choose tests.
 */
#ifndef LATHE_TESTS_CONTRACT_H
#define LATHE_TESTS_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/types.h>

struct contract {
    const char *driver;
    char *location; /* what the driver is opened with; new for each test of an embedded driver */
    char *folder;   /* scratch, removed at the end of the test */
    int64_t seed;   /* LATHE_SEED, or chosen and printed */
    uint64_t random_state;
};
extern struct contract contract;

/* Reads the command line; `embedded` is the default driver, `file` the name of its location in the
 * scratch folder. */
void contract_init(int argc, char **argv, const char *embedded, const char *file);
int contract_setup(void **state); /* for each test: a new scratch folder and location */
int contract_teardown(void **state);

char *contract_path(const char *name);    /* in the scratch folder; the caller frees */
uint32_t contract_random(uint32_t below); /* repeatable from the seed */
void contract_sleep_ms(int ms);

/* Runs `body` in a new process, which ends with its return value. */
pid_t contract_fork(int (*body)(void *opaque), void *opaque);
int contract_wait(pid_t pid);  /* the exit status; fails the test when a signal ended it */
void contract_kill(pid_t pid); /* SIGKILL, and waits for the end */

/* Runs `body(arg)` in n threads at once and joins them. */
void contract_threads(int n, void *(*body)(void *arg), void *args, size_t arg_size);

/* Does something to a server of tests/servers/with.sh: kill, stop, cont, start (see server.sh).
 * LATHE_SERVER is set where there is one. */
void contract_server(const char *verb, const char *server);

#endif
