/* SPDX-License-Identifier: MIT */
/*
 * Which of a fleet's workers sweeps: exactly one, and while versions are mixed one of the newest,
 * since an older one cannot read what those have written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/parts.h"

#define OLD "{\"version\":\"0.9.2\"}"
#define NEW "{\"version\":\"0.10.0\"}"

static struct lathe_worker_view worker(const char *name, const char *record)
{
    return (struct lathe_worker_view){.name = (char *)(uintptr_t)name,
                                      .record = (char *)(uintptr_t)record};
}

static void one_version_first_name_sweeps(void **state)
{
    (void)state;
    const struct lathe_worker_view all[] = {worker("b", NEW), worker("a", NEW), worker("c", NEW)};
    assert_true(lathe_sweeper_is(all, 3, "a", "0.10.0"));
    assert_false(lathe_sweeper_is(all, 3, "b", "0.10.0"));
    assert_false(lathe_sweeper_is(all, 3, "c", "0.10.0"));
    assert_true(lathe_sweeper_is(NULL, 0, "a", "0.10.0")); /* before its first beat */
    assert_true(lathe_sweeper_is(all, 1, "a", "0.10.0"));  /* b does not know of it yet */
}

static void newest_version_sweeps(void **state)
{
    (void)state;
    const struct lathe_worker_view all[] = {worker("a", OLD), worker("b", OLD), worker("c", NEW),
                                            worker("d", NEW)};
    assert_false(lathe_sweeper_is(all, 4, "a", "0.9.2")); /* 0.10 is newer than 0.9 */
    assert_false(lathe_sweeper_is(all, 4, "b", "0.9.2"));
    assert_true(lathe_sweeper_is(all, 4, "c", "0.10.0"));
    assert_false(lathe_sweeper_is(all, 4, "d", "0.10.0"));
    assert_true(lathe_sweeper_is(all, 2, "a", "0.9.2")); /* the newer ones are gone */
}

static void silent_workers_count_as_old(void **state)
{
    (void)state;
    const struct lathe_worker_view all[] = {worker("a", NULL), worker("b", "no JSON"),
                                            worker("c", "{}"), worker("d", OLD)};
    assert_true(lathe_sweeper_is(all, 4, "d", "0.9.2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_version_first_name_sweeps),
        cmocka_unit_test(newest_version_sweeps),
        cmocka_unit_test(silent_workers_count_as_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
