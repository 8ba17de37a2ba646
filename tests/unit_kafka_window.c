/* SPDX-License-Identifier: MIT */
/*
 * What of a partition may be remembered as done, when records are finished in any order and the
 * partition comes and goes. No broker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka_window.h"

static struct kafka_partition *own(struct kafka_window *w, int32_t number)
{
    struct kafka_partition *p = kafka_window_partition(w, number);
    assert_non_null(p);
    p->is_owned = p->is_fresh = true;
    return p;
}

static void read_record(struct kafka_window *w, int64_t offset)
{
    assert_int_equal(kafka_window_add(w, 0, offset, "a/0", 3, "{}", 2), 0);
}

static int64_t take(struct kafka_window *w)
{
    struct lathe_message message = {0};
    int r = kafka_window_take(w, 1000, &message);
    int64_t receipt = message.receipt;
    lathe_message_clear(&message);
    return r == 1 ? receipt : 0;
}

static void test_the_lowest_unfinished_counts(void **state)
{
    (void)state;
    struct kafka_window w = {0};
    int64_t next = -1, receipts[3];
    own(&w, 0);
    assert_int_equal(kafka_partition_next(kafka_window_partition(&w, 0)), -1);
    for (int i = 0; i < 3; i++) {
        read_record(&w, 10 + i);
        receipts[i] = take(&w);
        assert_true(receipts[i] > 0);
    }
    assert_non_null(kafka_window_done(&w, receipts[2]));
    assert_non_null(kafka_window_done(&w, receipts[1]));
    assert_false(kafka_partition_advance(kafka_window_partition(&w, 0), &next));
    assert_int_equal(kafka_partition_next(kafka_window_partition(&w, 0)), 10);
    assert_non_null(kafka_window_done(&w, receipts[0]));
    assert_true(kafka_partition_advance(kafka_window_partition(&w, 0), &next));
    assert_int_equal(next, 13);
    assert_int_equal(kafka_partition_next(kafka_window_partition(&w, 0)), 13);
    assert_int_equal(kafka_window_load(&w).kept, 0);
    assert_null(kafka_window_done(&w, receipts[0])); /* a repeat */
    kafka_window_clear(&w);
}

static void test_lost_and_regained(void **state)
{
    (void)state;
    struct kafka_window w = {0};
    int64_t next = -1;
    struct kafka_partition *p = own(&w, 0);
    for (int i = 0; i < 4; i++)
        read_record(&w, i);
    int64_t first = take(&w), second = take(&w);
    p->is_owned = false;
    assert_int_equal(take(&w), 0); /* somebody else's now */
    assert_non_null(kafka_window_done(&w, second));
    assert_false(kafka_partition_advance(p, &next));
    own(&w, 0);
    /* The other owner finished record 0; ours, done meanwhile, is not done again. */
    read_record(&w, 1);
    assert_null(kafka_window_done(&w, first));
    assert_true(kafka_partition_advance(p, &next));
    assert_int_equal(next, 2);
    read_record(&w, 2); /* known already */
    assert_int_equal(kafka_window_load(&w).kept, 2);
    kafka_window_clear(&w);
}

/* What holds reading back must become less by work alone, or reading never goes on. */
static void test_load(void **state)
{
    (void)state;
    struct kafka_window w = {0};
    int64_t next, receipts[4];
    struct kafka_partition *p = own(&w, 0);
    for (int i = 0; i < 4; i++) {
        read_record(&w, i);
        receipts[i] = take(&w);
    }
    assert_non_null(kafka_window_done(&w, receipts[1]));
    assert_int_equal(kafka_window_load(&w).open, 3);
    assert_int_equal(kafka_window_load(&w).kept, 4);
    p->is_owned = false; /* what others have now does not hold ours back */
    assert_int_equal(kafka_window_load(&w).open, 0);
    assert_int_equal(kafka_window_load(&w).kept, 0);
    /* All is done before the first record after the assignment came, and perhaps none comes. */
    own(&w, 0);
    assert_int_equal(kafka_window_load(&w).open, 3);
    for (int i = 0; i < 4; i++)
        kafka_window_done(&w, receipts[i]);
    assert_false(kafka_partition_advance(p, &next));
    assert_int_equal(kafka_window_load(&w).open, 0);
    assert_int_equal(kafka_window_load(&w).kept, 0);
    read_record(&w, 0); /* it comes after all, and is known */
    assert_true(kafka_partition_advance(p, &next));
    assert_int_equal(next, 4);
    assert_int_equal(kafka_window_load(&w).open, 0);
    kafka_window_clear(&w);
}

/* After a rebalance Kafka reads from where it was told last, and all of that may be done here. */
static void test_read_again(void **state)
{
    (void)state;
    struct kafka_window w = {0};
    int64_t next, receipts[3];
    struct kafka_partition *p = own(&w, 0);
    for (int i = 0; i < 3; i++) {
        read_record(&w, i);
        receipts[i] = take(&w);
    }
    own(&w, 0); /* again, and nothing was stored yet */
    for (int i = 0; i < 3; i++)
        assert_non_null(kafka_window_done(&w, receipts[i]));
    for (int i = 0; i < 3; i++) {
        read_record(&w, i);
        assert_int_equal(kafka_partition_advance(p, &next), i == 0);
        assert_int_equal(take(&w), 0);
    }
    read_record(&w, 3);
    assert_true(take(&w) > 0);
    read_record(&w, 0); /* the topic was deleted and made again */
    assert_true(take(&w) > 0);
    kafka_window_clear(&w);
}

static void test_parked(void **state)
{
    (void)state;
    struct kafka_window w = {0};
    own(&w, 0);
    read_record(&w, 0);
    read_record(&w, 1);
    int64_t first = take(&w);
    kafka_window_release(&w, first, 2000); /* later than the 1000 of take() */
    assert_null(kafka_window_done(&w, first));
    assert_true(take(&w) > first);
    assert_int_equal(take(&w), 0);
    kafka_window_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lowest_unfinished_counts),
        cmocka_unit_test(test_lost_and_regained),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_read_again),
        cmocka_unit_test(test_parked),
    };
    return cmocka_run_group_tests_name("kafka window", tests, NULL, NULL);
}
