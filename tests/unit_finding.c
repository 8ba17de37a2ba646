/* SPDX-License-Identifier: MIT */
/*
 * Findings: their order of severity, clocks that are off, disks, and what embedded drivers find.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/finding.h"
#include "lathe/queue.h"
#include "lathe/state.h"
#include "lathe/store.h"

static void lists_grow_and_know_their_worst(void **state)
{
    (void)state;
    struct lathe_findings f = {0};
    assert_int_equal(lathe_findings_worst(&f), LATHE_FINDING_GOOD);
    for (int i = 0; i < 40; i++)
        lathe_findings_add(&f, "a.b", LATHE_FINDING_GOOD, NULL, "number %d", i);
    lathe_findings_add(&f, "a.c", LATHE_FINDING_WARNING, "do it", "odd");
    lathe_findings_add(&f, "a.d", LATHE_FINDING_NOTE, NULL, "by the way");
    assert_int_equal(f.count, 42);
    assert_string_equal(f.list[39].what, "number 39");
    assert_string_equal(f.list[40].cure, "do it");
    assert_string_equal(lathe_severity_name(lathe_findings_worst(&f)), "warning");
    struct lathe_error err = {0};
    lathe_error_set(&err, -EIO, LATHE_FAULT_SERVER, "it is away");
    lathe_error_hint(&err, "start it");
    lathe_findings_add_error(&f, "a.e", &err);
    assert_int_equal(lathe_findings_worst(&f), LATHE_FINDING_FAULT);
    assert_string_equal(f.list[42].what, "it is away");
    assert_string_equal(f.list[42].cure, "start it");
    lathe_findings_clear(&f);
    assert_int_equal(f.count, 0);
}

static void clocks_are_judged_in_both_directions(void **state)
{
    (void)state;
    static const struct {
        double ahead_s;
        enum lathe_severity severity;
        const char *word;
    } cases[] = {
        {0.5, LATHE_FINDING_GOOD, "agrees"},     {-4, LATHE_FINDING_GOOD, "agrees"},
        {30, LATHE_FINDING_WARNING, "ahead of"}, {-30, LATHE_FINDING_WARNING, "behind"},
        {900, LATHE_FINDING_FAULT, "ahead of"},  {-900, LATHE_FINDING_FAULT, "behind"},
    };
    struct lathe_findings f = {0};
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        lathe_findings_add_skew(&f, "x.clock", "server:1", cases[i].ahead_s);
        assert_int_equal(f.list[i].severity, cases[i].severity);
        assert_non_null(strstr(f.list[i].what, cases[i].word));
        assert_int_equal(f.list[i].cure[0] != '\0', cases[i].severity != LATHE_FINDING_GOOD);
    }
    lathe_findings_clear(&f);
}

static const struct lathe_finding *find(const struct lathe_findings *f, const char *id)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->list[i].id, id) == 0)
            return &f->list[i];
    return NULL;
}

static void embedded_drivers_are_looked_over(void **state)
{
    (void)state;
    char folder[] = "/tmp/lathe-finding-XXXXXX";
    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *queue = lathe_format("%s/queue.db", folder);
    _cleanup_free_ char *db = lathe_format("%s/state.db", folder);
    _cleanup_free_ char *store = lathe_format("%s/store", folder);
    struct lathe_findings f = {0};
    struct lathe_check check = {0};
    lathe_queue_check("sqlite", queue, &check, &f);
    lathe_state_check("sqlite", db, &check, &f);
    lathe_store_check("dir", store, &check, &f);
    static const char *const ids[] = {"queue.reachable", "queue.dead-letters", "state.reachable",
                                      "state.leases",    "state.space",        "store.reachable",
                                      "store.space",     "store.trial"};
    for (size_t i = 0; i < LATHE_COUNT(ids); i++)
        assert_non_null(find(&f, ids[i]));
    assert_int_equal(find(&f, "store.trial")->severity, LATHE_FINDING_GOOD);
    assert_int_equal(find(&f, "queue.dead-letters")->severity, LATHE_FINDING_GOOD);
    assert_null(find(&f, "state.one-host"));
    lathe_findings_clear(&f);

    struct lathe_queue *q = NULL;
    assert_int_equal(lathe_queue_open("sqlite", queue, &q, NULL), 0);
    assert_int_equal(lathe_queue_publish(q, LATHE_TOPIC_DEAD, "job", "{}", NULL), 0);
    lathe_queue_close(q);
    check.is_production = true;
    lathe_queue_check("sqlite", queue, &check, &f);
    lathe_state_check("sqlite", db, &check, &f);
    lathe_store_check("no-such", store, &check, &f);
    assert_int_equal(find(&f, "queue.dead-letters")->severity, LATHE_FINDING_NOTE);
    assert_int_equal(find(&f, "queue.one-host")->severity, LATHE_FINDING_WARNING);
    assert_int_equal(find(&f, "state.one-host")->severity, LATHE_FINDING_WARNING);
    assert_int_equal(find(&f, "store.reachable")->severity, LATHE_FINDING_FAULT);
    assert_non_null(strstr(find(&f, "store.reachable")->what, "no-such"));
    lathe_findings_clear(&f);
    assert_int_equal(lathe_remove_tree(folder, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_grow_and_know_their_worst),
        cmocka_unit_test(clocks_are_judged_in_both_directions),
        cmocka_unit_test(embedded_drivers_are_looked_over),
    };
    return cmocka_run_group_tests_name("finding", tests, NULL, NULL);
}
