/* SPDX-License-Identifier: MIT */
/*
 * Calls of ports while a server is away, with a fake driver that fails as it is told.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/port.h"

struct fake_driver {
    const char *name;
    int (*ask)(void *priv, int number, struct lathe_error *err);
};

struct fake {
    const struct fake_driver *driver;
    struct lathe_patience patience;
    struct fake_script *priv;
};

struct fake_script {
    int failures; /* before it succeeds */
    int code;
    enum lathe_fault fault;
    int asked;
};

static int ask_driver(void *priv, int number, struct lathe_error *err)
{
    struct fake_script *script = priv;
    if (script->asked++ >= script->failures)
        return number;
    return lathe_error_set(err, script->code, script->fault, "failure %d", script->asked);
}

static const struct fake_driver driver = {"fake", ask_driver};

/* As a front does it. */
static int ask(struct fake *fake, int number, struct lathe_error *err)
{
    return LATHE_PORT_CALL(fake, ask, number, err);
}

struct seen {
    int waits, ends;
    char last[512];
    struct lathe_cancel *cancel_at_third;
};

static void waiting(void *opaque, const struct lathe_error *why)
{
    struct seen *seen = opaque;
    if (why)
        snprintf(seen->last, sizeof seen->last, "%s", why->what);
    seen->waits += why != NULL;
    seen->ends += why == NULL;
    if (seen->waits == 3 && seen->cancel_at_third)
        lathe_cancel_trigger(seen->cancel_at_third);
}

static int set_up(void **state)
{
    return lathe_cancel_create((struct lathe_cancel **)state);
}

static int tear_down(void **state)
{
    lathe_cancel_destroy(*state);
    return 0;
}

static void test_without_patience_the_caller_is_told_at_once(void **state)
{
    (void)state;
    struct fake_script script = {1, -EAGAIN, LATHE_FAULT_SERVER, 0};
    struct fake fake = {&driver, {0}, &script};
    struct lathe_error err = {0};
    assert_int_equal(ask(&fake, 7, &err), -EAGAIN);
    assert_int_equal(script.asked, 1);
    assert_true(err.by_port);
    assert_string_equal(err.what, "failure 1");
}

static void test_with_patience_a_server_comes_back(void **state)
{
    struct seen seen = {0};
    struct fake_script script = {3, -EAGAIN, LATHE_FAULT_SERVER, 0};
    struct fake fake = {&driver, {*state, waiting, &seen}, &script};
    struct lathe_error err = {0};
    assert_int_equal(ask(&fake, 7, &err), 7);
    assert_int_equal(script.asked, 4);
    assert_int_equal(err.code, 0); /* success leaves it as it was */
    assert_int_equal(seen.waits, 3);
    assert_int_equal(seen.ends, 1);
    assert_string_equal(seen.last, "failure 3");
    script.asked = 0;
    assert_int_equal(ask(&fake, 8, NULL), 8); /* also when nobody wants to know why */
}

static void test_who_asks_for_work_does_not_wait(void **state)
{
    struct seen seen = {0};
    struct fake_script script = {2, -EAGAIN, LATHE_FAULT_SERVER, 0};
    struct fake fake = {&driver, {*state, waiting, &seen}, &script};
    lathe_patience_suspend(true);
    assert_int_equal(ask(&fake, 7, NULL), -EAGAIN);
    lathe_patience_suspend(false);
    assert_int_equal(script.asked, 1);
    assert_int_equal(seen.waits, 1); /* but it is known that the server is away */
    assert_int_equal(ask(&fake, 7, NULL), 7);
}

static void test_what_waiting_does_not_cure_is_told_at_once(void **state)
{
    static const struct {
        int code;
        enum lathe_fault fault;
    } cases[] = {{-ENOENT, LATHE_FAULT_INPUT},
                 {-EACCES, LATHE_FAULT_CONFIG},
                 {-ENOSPC, LATHE_FAULT_RESOURCE},
                 {-EBADMSG, LATHE_FAULT_SERVER}, /* damaged is not away */
                 {-ESTALE, LATHE_FAULT_INTERNAL}};
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        struct seen seen = {0};
        struct fake_script script = {9, cases[i].code, cases[i].fault, 0};
        struct fake fake = {&driver, {*state, waiting, &seen}, &script};
        assert_int_equal(ask(&fake, 7, NULL), cases[i].code);
        assert_int_equal(script.asked, 1);
        assert_int_equal(seen.waits + seen.ends, 0);
    }
}

static void test_cancelling_ends_the_wait(void **state)
{
    struct seen seen = {.cancel_at_third = *state};
    struct fake_script script = {1000000, -EAGAIN, LATHE_FAULT_SERVER, 0};
    struct fake fake = {&driver, {*state, waiting, &seen}, &script};
    struct lathe_error err = {0};
    assert_int_equal(ask(&fake, 7, &err), -EAGAIN);
    assert_int_equal(script.asked, 3);
    assert_string_equal(err.what, "failure 3");
    /* A cancelled caller gets one try for each call: leases are still given back. */
    assert_int_equal(ask(&fake, 7, &err), -EAGAIN);
    assert_int_equal(script.asked, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_patience_the_caller_is_told_at_once),
        cmocka_unit_test_setup_teardown(test_with_patience_a_server_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_asks_for_work_does_not_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_waiting_does_not_cure_is_told_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_cancelling_ends_the_wait, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
