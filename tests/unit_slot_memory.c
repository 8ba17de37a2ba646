/* SPDX-License-Identifier: MIT */
/*
 * The limit of memory that slots are started with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "lathe/agent.h"
#include "lathe/base.h"

static void slot_memory_is_limited(void **state)
{
    (void)state;
    const uint64_t gib = 1ull << 30;
    assert_true(lathe_slot_memory_share(24 * gib, 2) == 13 * gib);
    assert_true(lathe_slot_memory_share(24 * gib, 0) == 25 * gib);
    assert_true(lathe_slot_memory_share(gib, 64) == 3 * gib); /* enough for an honest slot */

    struct lathe_error err = {0};
    unsetenv("LATHE_SLOT_MEMORY_BYTES");
    assert_int_equal(lathe_slot_memory_set(2, &err), 0);
    uint64_t chosen = strtoull(getenv("LATHE_SLOT_MEMORY_BYTES"), NULL, 10);
    assert_in_range(chosen, 3 * gib, lathe_usable_memory_bytes() + 4 * gib);
    setenv("LATHE_SLOT_MEMORY_BYTES", "67108864", 1);
    assert_int_equal(lathe_slot_memory_set(2, &err), 0);
    assert_string_equal(getenv("LATHE_SLOT_MEMORY_BYTES"), "67108864");
    setenv("LATHE_SLOT_MEMORY_BYTES", "unlimited", 1);
    assert_int_equal(lathe_slot_memory_set(2, &err), 0);
    assert_null(getenv("LATHE_SLOT_MEMORY_BYTES"));
    const char *const wrong[] = {"1000", "-1", "4G", "0x8000000", " 67108864"};
    for (size_t i = 0; i < LATHE_COUNT(wrong); i++) {
        setenv("LATHE_SLOT_MEMORY_BYTES", wrong[i], 1);
        assert_int_equal(lathe_slot_memory_set(2, &err), -EINVAL);
        assert_int_equal(lathe_error_exit_code(&err), 78);
    }
    unsetenv("LATHE_SLOT_MEMORY_BYTES");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slot_memory_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
