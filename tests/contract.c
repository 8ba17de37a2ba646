/* SPDX-License-Identifier: MIT */
/*
 * Scratch folders, processes and repeatable chance for the contract suites.
 */
#include "contract.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "lathe/base.h"

struct contract contract;
static const char *location_given, *location_file;

void contract_init(int argc, char **argv, const char *embedded, const char *file)
{
    contract.driver = argc > 1 ? argv[1] : embedded;
    location_given = argc > 2 ? argv[2] : NULL;
    location_file = file;
    const char *seed = getenv("LATHE_SEED");
    contract.seed = seed ? strtoll(seed, NULL, 10) : lathe_clock_wall_us() % 1000000007;
    /* Not the generator's own step, or neighbouring seeds would give one shifted sequence. */
    contract.random_state = (uint64_t)contract.seed * 0xd1342543de82ef95u + 1;
    const char *only = getenv("CMOCKA_TEST_FILTER");
    if (only)
        cmocka_set_test_filter(only);
    const char *without = getenv("CMOCKA_SKIP_FILTER");
    if (without)
        cmocka_set_skip_filter(without);
    printf("driver %s, LATHE_SEED=%lld\n", contract.driver, (long long)contract.seed);
    fflush(stdout);
}

/* A name of its own for each test, where the server cannot be emptied. */
static char *location_of_test(void)
{
    static const char mark[] = "@UNIQUE@";
    static int number;
    const char *at = strstr(location_given, mark);
    if (!at)
        return lathe_format("%s", location_given);
    return lathe_format("%.*st%d-%d%s", (int)(at - location_given), location_given, (int)getpid(),
                        ++number, at + sizeof(mark) - 1);
}

int contract_setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    contract.folder = lathe_format("%s/lathe-contract-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!contract.folder || !mkdtemp(contract.folder))
        return -1;
    /* A server outlives the test, so it is emptied instead. */
    const char *reset = getenv("LATHE_CONTRACT_RESET");
    if (reset && system(reset) != 0)
        return -1;
    contract.location =
        location_given ? location_of_test() : lathe_format("%s/%s", contract.folder, location_file);
    return contract.location ? 0 : -1;
}

int contract_teardown(void **state)
{
    (void)state;
    int r = contract.folder ? lathe_remove_tree(contract.folder, NULL) : 0;
    free(contract.folder);
    free(contract.location);
    contract.folder = contract.location = NULL;
    return r;
}

char *contract_path(const char *name)
{
    char *path = lathe_format("%s/%s", contract.folder, name);
    assert_non_null(path);
    return path;
}

uint32_t contract_random(uint32_t below)
{
    /* splitmix64 */
    uint64_t z = contract.random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) % below);
}

void contract_sleep_ms(int ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

pid_t contract_fork(int (*body)(void *opaque), void *opaque)
{
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body(opaque));
    return pid;
}

int contract_wait(pid_t pid)
{
    int status;
    pid_t r;
    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    assert_int_equal(r, pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void contract_kill(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
}

void contract_threads(int n, void *(*body)(void *arg), void *args, size_t arg_size)
{
    pthread_t threads[64];
    assert_in_range(n, 1, 64);
    for (int i = 0; i < n; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, body, (char *)args + (size_t)i * arg_size), 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

void contract_server(const char *verb, const char *server)
{
    char *command = lathe_format("\"$LATHE_SERVER\" %s %s", verb, server);
    assert_non_null(command);
    assert_int_equal(system(command), 0);
    free(command);
}
