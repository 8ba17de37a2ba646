/* SPDX-License-Identifier: MIT */
/*
 * Contract of the queue port: what was published is delivered until somebody says done, whatever
 * dies meanwhile. Duplicates are allowed, losses are not.
 */
#include "contract_queue.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "lathe/base.h"

static void test_names_and_arguments(void **state)
{
    (void)state;
    assert_string_equal(lathe_topic_name(LATHE_TOPIC_JOBS), "video-jobs");
    assert_string_equal(lathe_topic_name(LATHE_TOPIC_CHUNKS), "video-chunks");
    assert_string_equal(lathe_topic_name(LATHE_TOPIC_DEAD), "video-chunks.dlq");

    struct lathe_queue *queue = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_queue_open("no-such", "x", &queue, &err), -ENOENT);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);
    assert_null(queue);

    queue = open_queue();
    assert_int_equal(lathe_queue_publish(queue, LATHE_TOPIC_COUNT, "k", "{}", NULL), -EINVAL);
    assert_int_equal(lathe_queue_publish(queue, LATHE_TOPIC_JOBS, "", "{}", NULL), -EINVAL);
    assert_int_equal(lathe_queue_publish(queue, LATHE_TOPIC_JOBS, "k", NULL, NULL), -EINVAL);
    assert_int_equal(lathe_queue_waits(queue, LATHE_TOPIC_COUNT, NULL), -EINVAL);
    size_t size = (1u << 20) + 1;
    char *large = malloc(size + 1);
    assert_non_null(large);
    memset(large, 'x', size);
    large[size] = '\0';
    assert_int_equal(lathe_queue_publish(queue, LATHE_TOPIC_JOBS, "k", large, NULL), -EINVAL);
    large[size - 1] = '\0'; /* 1 MiB exactly is allowed and arrives */
    publish(queue, LATHE_TOPIC_JOBS, "k", large);
    struct lathe_message message;
    assert_int_equal(take_one(queue, LATHE_TOPIC_JOBS, &message), 1);
    assert_string_equal(message.body, large);
    done(queue, &message);
    lathe_message_clear(&message);
    free(large);
    lathe_queue_close(queue);
}

static void test_delivered_until_done(void **state)
{
    (void)state;
    struct lathe_queue *queue = open_queue();
    struct lathe_message message = {0};
    assert_int_equal(take_none(queue, LATHE_TOPIC_JOBS, &message), 0);
    publish(queue, LATHE_TOPIC_JOBS, "job-1", "{\"v\":1}");
    assert_int_equal(take_none(queue, LATHE_TOPIC_CHUNKS, &message), 0); /* topics are apart */
    assert_int_equal(take_one(queue, LATHE_TOPIC_JOBS, &message), 1);
    assert_int_equal(message.topic, LATHE_TOPIC_JOBS);
    assert_string_equal(message.key, "job-1");
    assert_string_equal(message.body, "{\"v\":1}");

    struct lathe_message other = {0};
    assert_int_equal(take_none(queue, LATHE_TOPIC_JOBS, &other),
                     0); /* invisible while it is held */
    done(queue, &message);
    done(queue, &message); /* a repeat is success */
    lathe_queue_close(queue);

    queue = open_queue();
    assert_int_equal(take_none(queue, LATHE_TOPIC_JOBS, &other), 0);
    lathe_message_clear(&message);
    lathe_queue_close(queue);
}

/* What is asked before a slot is woken: it must never miss what take() would find. */
static void test_waits(void **state)
{
    (void)state;
    struct lathe_queue *queue = open_queue();
    struct lathe_message message = {0};
    assert_int_equal(take_none(queue, LATHE_TOPIC_JOBS, &message), 0);
    assert_int_equal(lathe_queue_waits(queue, LATHE_TOPIC_JOBS, NULL), 0);
    publish(queue, LATHE_TOPIC_JOBS, "job-1", "{}");
    int waits = 0;
    for (int i = 0; i < 600 && waits == 0; i++) {
        waits = lathe_queue_waits(queue, LATHE_TOPIC_JOBS, NULL);
        usleep(50000);
    }
    assert_int_equal(waits, 1);
    assert_int_equal(lathe_queue_waits(queue, LATHE_TOPIC_CHUNKS, NULL), 0);

    assert_int_equal(take(queue, LATHE_TOPIC_JOBS, 0, &message), 1);
    assert_int_equal(lathe_queue_waits(queue, LATHE_TOPIC_JOBS, NULL), 0); /* somebody has it */
    assert_int_equal(lathe_queue_release(queue, &message, 0, NULL), 0);
    assert_int_equal(lathe_queue_waits(queue, LATHE_TOPIC_JOBS, NULL), 1);
    lathe_message_clear(&message);
    assert_int_equal(take(queue, LATHE_TOPIC_JOBS, 0, &message), 1);
    assert_int_equal(lathe_queue_release(queue, &message, 600000, NULL), 0);
    assert_int_equal(lathe_queue_waits(queue, LATHE_TOPIC_JOBS, NULL), 0); /* not due */
    lathe_message_clear(&message);
    lathe_queue_close(queue);
}

static void test_release(void **state)
{
    (void)state;
    struct lathe_queue *queue = open_queue();
    publish(queue, LATHE_TOPIC_CHUNKS, "a/0", "{}");
    struct lathe_message first = {0}, second = {0}, third = {0};
    assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &first), 1);
    assert_int_equal(lathe_queue_release(queue, &first, 0, NULL), 0);
    assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &second), 1);
    if (second.deliveries)
        assert_int_equal(second.deliveries, first.deliveries + 1);

    /* The first delivery is over: its receipt must not touch the second. */
    done(queue, &first);
    assert_int_equal(lathe_queue_release(queue, &first, 0, NULL), 0);
    assert_int_equal(take_none(queue, LATHE_TOPIC_CHUNKS, &third), 0);
    assert_int_equal(lathe_queue_release(queue, &second, 0, NULL), 0);
    lathe_message_clear(&second);
    assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &second), 1);
    assert_int_equal(lathe_queue_release(queue, &second, 3600000, NULL), 0);
    assert_int_equal(take_none(queue, LATHE_TOPIC_CHUNKS, &third), 0); /* an hour is not over */
    lathe_message_clear(&first);
    lathe_message_clear(&second);

    publish(queue, LATHE_TOPIC_CHUNKS, "a/1", "{}");
    assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &first), 1);
    assert_string_equal(first.key, "a/1"); /* the parked one does not stand in the way */
    assert_int_equal(lathe_queue_release(queue, &first, 20, NULL), 0);
    assert_int_equal(take(queue, LATHE_TOPIC_CHUNKS, 60000, &second), 1);
    assert_string_equal(second.key, "a/1");
    lathe_message_clear(&first);
    lathe_message_clear(&second);
    lathe_queue_close(queue);
}

struct taker {
    struct lathe_queue *queue;
    struct lathe_cancel *cancel;
    int r;
};

static void *take_for_ever(void *arg)
{
    struct taker *taker = arg;
    struct lathe_message message = {0};
    if (!taker->queue) { /* the one that stops the others */
        contract_sleep_ms(20);
        lathe_cancel_trigger(taker->cancel);
        return NULL;
    }
    taker->r =
        lathe_queue_take(taker->queue, LATHE_TOPIC_JOBS, INT32_MAX, &message, taker->cancel, NULL);
    return NULL;
}

static void test_cancel_ends_a_wait(void **state)
{
    (void)state;
    struct lathe_queue *queue = open_queue();
    struct lathe_cancel *cancel = NULL;
    assert_int_equal(lathe_cancel_create(&cancel), 0);
    struct taker takers[3] = {{queue, cancel, 0}, {queue, cancel, 0}, {NULL, cancel, 0}};
    contract_threads(3, take_for_ever, takers, sizeof(takers[0]));
    assert_int_equal(takers[0].r, -ECANCELED);
    assert_int_equal(takers[1].r, -ECANCELED);
    struct lathe_message message;
    assert_int_equal(lathe_queue_take(queue, LATHE_TOPIC_JOBS, 0, &message, cancel, NULL),
                     -ECANCELED);
    lathe_cancel_destroy(cancel);
    lathe_queue_close(queue);
}

static int publish_forever(void *opaque)
{
    int pipe_fd = *(int *)opaque;
    struct lathe_queue *queue = open_queue();
    for (unsigned i = 0;; i++) {
        char key[32];
        snprintf(key, sizeof(key), "m/%u", i);
        if (lathe_queue_publish(queue, LATHE_TOPIC_JOBS, key, "{}", NULL) < 0)
            return 1;
        /* Acknowledged: from here on it must not be lost. */
        if (write(pipe_fd, &i, sizeof(i)) != sizeof(i))
            return 1;
    }
}

static void test_publisher_killed(void **state)
{
    (void)state;
    struct lathe_queue *queue = open_queue();
    for (int round = 0; round < 5; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = contract_fork(publish_forever, &fds[1]);
        close(fds[1]);
        unsigned acknowledged = 0, number;
        unsigned enough = 1 + contract_random(30);
        while (acknowledged < enough && read(fds[0], &number, sizeof(number)) == sizeof(number))
            acknowledged = number + 1;
        contract_kill(pid);
        while (read(fds[0], &number, sizeof(number)) == sizeof(number))
            acknowledged = number + 1;
        close(fds[0]);
        assert_true(acknowledged >= enough);

        unsigned delivered = 0;
        struct lathe_message message = {0};
        while (take_none(queue, LATHE_TOPIC_JOBS, &message) == 1) {
            done(queue, &message);
            lathe_message_clear(&message);
            delivered++;
        }
        /* One more may have been stored without the acknowledgement getting out. */
        assert_in_range(delivered, acknowledged, acknowledged + 1);
    }
    lathe_queue_close(queue);
}

static int take_and_hang(void *opaque)
{
    int pipe_fd = *(int *)opaque;
    struct lathe_queue *queue = open_queue();
    struct lathe_message message = {0};
    if (lathe_queue_take(queue, LATHE_TOPIC_CHUNKS, 60000, &message, NULL, NULL) != 1)
        return 1;
    if (write(pipe_fd, "x", 1) != 1)
        return 1;
    for (;;)
        pause();
}

static void test_consumer_killed(void **state)
{
    (void)state;
    struct lathe_queue *queue = open_queue();
    publish(queue, LATHE_TOPIC_CHUNKS, "a/0", "{\"n\":7}");
    for (int round = 0; round < 3; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = contract_fork(take_and_hang, &fds[1]);
        char byte;
        close(fds[1]);
        assert_int_equal(read(fds[0], &byte, 1), 1);
        close(fds[0]);
        contract_kill(pid);
    }
    /* At the latest after the driver's time-out it is there again. */
    struct lathe_message message = {0};
    assert_int_equal(
        take(queue, LATHE_TOPIC_CHUNKS, 2 * LATHE_QUEUE_VISIBILITY_US / 1000, &message), 1);
    assert_string_equal(message.body, "{\"n\":7}");
    done(queue, &message);
    lathe_message_clear(&message);
    lathe_queue_close(queue);
}

#define RACE_MESSAGES 200
static atomic_int seen[RACE_MESSAGES];

static void *consume(void *arg)
{
    struct lathe_queue *queue = *(struct lathe_queue **)arg;
    struct lathe_message message = {0};
    while (lathe_queue_take(queue, LATHE_TOPIC_CHUNKS, lathe_queue_settle_ms(queue), &message, NULL,
                            NULL) == 1) {
        int n = atoi(message.key);
        /* Every third is lost once by its consumer, so all of it is redelivered. */
        if (n % 3 == 0 && message.deliveries == 1)
            lathe_queue_release(queue, &message, 0, NULL);
        else if (lathe_queue_done(queue, &message, NULL) == 0)
            atomic_fetch_add(&seen[n], 1);
        lathe_message_clear(&message);
    }
    return NULL;
}

static void test_many_consumers(void **state)
{
    (void)state;
    struct lathe_queue *queues[4] = {open_queue(), NULL, open_queue(), NULL};
    queues[1] = queues[0]; /* a handle shared by threads, and two handles */
    queues[3] = queues[2];
    for (int i = 0; i < RACE_MESSAGES; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        publish(queues[0], LATHE_TOPIC_CHUNKS, key, "{}");
        atomic_store(&seen[i], 0);
    }
    contract_threads(4, consume, queues, sizeof(queues[0]));
    for (int i = 0; i < RACE_MESSAGES; i++)
        assert_true(atomic_load(&seen[i]) >= 1);
    struct lathe_message message;
    assert_int_equal(take_none(queues[0], LATHE_TOPIC_CHUNKS, &message), 0);
    lathe_queue_close(queues[0]);
    lathe_queue_close(queues[2]);
}

int main(int argc, char **argv)
{
    contract_init(argc, argv, "sqlite", "queue.db");
#define TEST(name) cmocka_unit_test_setup_teardown(name, contract_queue_setup, contract_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names_and_arguments),
        TEST(test_delivered_until_done),
        TEST(test_waits),
        TEST(test_release),
        TEST(test_cancel_ends_a_wait),
        TEST(test_publisher_killed),
        TEST(test_consumer_killed),
        TEST(test_many_consumers),
        TEST(test_kafka_settings),
        TEST(test_kafka_foreign_records),
        TEST(test_kafka_long_work),
        TEST(test_kafka_regained_partitions_flow),
        TEST(test_kafka_lag),
        TEST(test_kafka_broker_killed),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
