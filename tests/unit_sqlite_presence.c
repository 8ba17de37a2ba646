/* SPDX-License-Identifier: MIT */
/*
 * Presence of the holders of leases: a killed process is seen as dead at once, a stopped one and
 * one of unknown fate are not. And all who are present agree on the boot.
 */
#include "contract.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lathe/base.h"
#include "presence.h"

struct child {
    const char *path;
    int pipe_fd;
};

static int be_present(void *opaque)
{
    struct child *child = opaque;
    struct lathe_presence presence;
    if (lathe_presence_open(&presence, child->path, NULL) < 0)
        return 1;
    if (write(child->pipe_fd, &presence.token, sizeof(presence.token)) != sizeof(presence.token))
        return 2;
    for (;;)
        pause();
}

static void test_presence(void **state)
{
    (void)state;
    char *path = contract_path("holders");
    struct lathe_presence a, b;
    assert_int_equal(lathe_presence_open(&a, path, NULL), 0);
    assert_int_equal(lathe_presence_open(&b, path, NULL), 0);
    assert_true(a.token > 0 && b.token > 0 && a.token != b.token);
    assert_true(lathe_presence_is_alive(&a, a.token));
    assert_true(lathe_presence_is_alive(&a, b.token)); /* two handles of one process */
    assert_true(lathe_presence_is_alive(&a, -1));      /* unknown: time decides */
    assert_false(lathe_presence_is_alive(&a, b.token ^ 1));
    int64_t token = b.token;
    lathe_presence_close(&b);
    assert_false(lathe_presence_is_alive(&a, token));

    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    struct child child = {path, fds[1]};
    pid_t pid = contract_fork(be_present, &child);
    assert_int_equal(read(fds[0], &token, sizeof(token)), sizeof(token));
    assert_true(lathe_presence_is_alive(&a, token));
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(lathe_presence_is_alive(&a, token));
    contract_kill(pid);
    assert_false(lathe_presence_is_alive(&a, token));
    close(fds[0]);
    close(fds[1]);
    lathe_presence_close(&a);
    free(path);
}

/* Of two views of the boot id, as a service and its users have them in a container, the first one's
 * is used by all, until nobody is left who used it. */
static void test_boot(void **state)
{
    (void)state;
    static const char other[] = "00000000-0000-4000-8000-000000000000";
    char *path = contract_path("holders"), mine[37];
    struct lathe_presence a, b;
    assert_int_equal(lathe_clock_boot_id(mine), 0);
    assert_int_equal(lathe_presence_open(&a, path, NULL), 0);
    assert_string_equal(a.boot_id, mine);
    assert_int_equal(pwrite(a.fd, other, 36, 0), 36);
    assert_int_equal(lathe_presence_open(&b, path, NULL), 0);
    assert_string_equal(b.boot_id, other);
    lathe_presence_close(&a);
    assert_int_equal(lathe_presence_open(&a, path, NULL), 0);
    assert_string_equal(a.boot_id, other);
    lathe_presence_close(&a);
    lathe_presence_close(&b);
    assert_int_equal(lathe_presence_open(&a, path, NULL), 0);
    assert_string_equal(a.boot_id, mine);
    lathe_presence_close(&a);
    free(path);
}

int main(int argc, char **argv)
{
    contract_init(argc, argv, "none", "none");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_presence, contract_setup, contract_teardown),
        cmocka_unit_test_setup_teardown(test_boot, contract_setup, contract_teardown),
    };
    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
