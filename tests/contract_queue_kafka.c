/* SPDX-License-Identifier: MIT */
/*
 * The queue in Kafka: settings from a file, records of others, and what rebalances and a broker's
 * death do. Other drivers skip these tests.
 */
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "contract_queue.h"
#include "lathe/base.h"
#include "lathe/metrics.h"

static void check_refused(const char *location, int code, const char *what)
{
    struct lathe_queue *queue = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_queue_open("kafka", location, &queue, &err), code);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);
    if (!strstr(err.what, what))
        fail_msg("\"%s\" does not say \"%s\"", err.what, what);
    assert_null(strstr(err.what, "hunter2"));
    assert_null(queue);
}

void test_kafka_settings(void **state)
{
    (void)state;
    if (!is_kafka())
        skip();
    static const struct {
        const char *text, *what;
    } bad[] = {
        {"enable.idempotence=false\n", "line 1: enable.idempotence is Lathe's"},
        {"# a comment\n\n group.id = other", "line 3: group.id is Lathe's"},
        {"sasl.password=hunter2\nhunter2\n", "line 2 is not"},
        {"=hunter2\n", "line 1 is not"},
        {"session.timeout=hunter2\n", "session.timeout"},
        {"security.protocol=carrier-pigeon\n", "security.protocol"},
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        assert_int_equal(use_config(bad[i].text), 0);
        check_refused(contract.location, -EINVAL, bad[i].what);
    }
    assert_int_equal(use_config("client.id=me # and you\r\n"), 0);
    lathe_queue_close(open_queue());
    char *path = contract_path("kafka.properties");
    assert_int_equal(chmod(path, 0644), 0);
    check_refused(contract.location, -EACCES, "read by everybody");
    assert_int_equal(unlink(path), 0);
    check_refused(contract.location, -ENOENT, "kafka.properties");
    free(path);
    check_refused("127.0.0.1:1?create=0", -EINVAL, "create");
    check_refused("127.0.0.1:1?create=4x", -EINVAL, "create");
    check_refused("127.0.0.1:1?config", -EINVAL, "config");
    check_refused("127.0.0.1:1?what=1", -EINVAL, "what");
    struct lathe_queue *queue = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_queue_open("kafka", "127.0.0.1:1", &queue, &err), -EAGAIN);
    assert_int_equal(err.fault, LATHE_FAULT_SERVER);
}

/* What other programs may write: the driver is passed by. */
static void produce_foreign(void)
{
    static const struct {
        const char *key, *body;
        size_t key_bytes, body_bytes;
    } records[] = {
        {"none", NULL, 4, 0},     {"empty", "", 5, 0},   {"binary", "a\0b\xff", 6, 4},
        {NULL, "without", 0, 7},  {"k\0x", "key", 3, 3}, {"twice", "twice", 5, 5},
        {"twice", "twice", 5, 5},
    };
    char servers[256], topic[256], long_key[1000], why[256];
    const char *prefix = strstr(contract.location, "prefix=") + 7;
    snprintf(servers, sizeof(servers), "%.*s", (int)strcspn(contract.location, "?"),
             contract.location);
    snprintf(topic, sizeof(topic), "%.*s%s", (int)strcspn(prefix, "&"), prefix,
             lathe_topic_name(LATHE_TOPIC_CHUNKS));
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", servers, NULL, 0);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    assert_non_null(producer);
    for (size_t i = 0; i < LATHE_COUNT(records); i++)
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
                                           RD_KAFKA_V_KEY(records[i].key, records[i].key_bytes),
                                           RD_KAFKA_V_VALUE((void *)(uintptr_t)records[i].body,
                                                            records[i].body_bytes),
                                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                           RD_KAFKA_V_END),
                         0);
    memset(long_key, 'k', sizeof(long_key));
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
                                       RD_KAFKA_V_KEY(long_key, sizeof(long_key)),
                                       RD_KAFKA_V_VALUE("long", 4),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(producer, 30000), 0);
    rd_kafka_destroy(producer);
}

void test_kafka_foreign_records(void **state)
{
    (void)state;
    if (!is_kafka())
        skip();
    static const char *const bodies[] = {"", "a", "without", "key", "twice", "long"};
    int seen[LATHE_COUNT(bodies)] = {0};
    struct lathe_queue *queue = open_queue();
    produce_foreign();
    for (int i = 0; i < 7; i++) {
        struct lathe_message message = {0};
        assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &message), 1);
        assert_true(strlen(message.key) < sizeof(message.key));
        for (size_t j = 0; j < LATHE_COUNT(bodies); j++)
            seen[j] += !strcmp(message.body, bodies[j]);
        done(queue, &message);
        lathe_message_clear(&message);
    }
    for (size_t j = 0; j < LATHE_COUNT(bodies); j++)
        assert_int_equal(seen[j], strcmp(bodies[j], "twice") ? 1 : 2);
    lathe_queue_close(queue);
    /* None of them holds the place in its partition. */
    struct lathe_message message;
    queue = open_queue();
    assert_int_equal(take_none(queue, LATHE_TOPIC_CHUNKS, &message), 0);
    lathe_queue_close(queue);
}

/* Work that takes longer than Kafka lets a consumer be silent is delivered once. */
void test_kafka_long_work(void **state)
{
    (void)state;
    if (!is_kafka())
        skip();
    assert_int_equal(use_config("session.timeout.ms=3000\nheartbeat.interval.ms=500\n"
                                "max.poll.interval.ms=3000\n"),
                     0);
    struct lathe_queue *worker = open_queue(), *other = open_queue();
    struct lathe_message held = {0}, message = {0};
    publish(worker, LATHE_TOPIC_CHUNKS, "a/0", "{}");
    assert_int_equal(take_one(worker, LATHE_TOPIC_CHUNKS, &held), 1);
    contract_sleep_ms(7000);
    assert_int_equal(take(worker, LATHE_TOPIC_CHUNKS, 0, &message), 0);
    done(worker, &held);
    lathe_message_clear(&held);
    lathe_queue_close(worker);
    assert_int_equal(take_none(other, LATHE_TOPIC_CHUNKS, &message), 0);
    lathe_queue_close(other);
}

#define MANY 1300 /* more than a consumer holds: it pauses its partitions */

/* Takes what comes within `timeout_ms` and remembers it. */
static int take_many(struct lathe_queue *queue, struct lathe_message *held, int *seen,
                     int timeout_ms)
{
    int n = 0;
    while (n < MANY && take(queue, LATHE_TOPIC_CHUNKS, timeout_ms, &held[n]) == 1)
        seen[atoi(held[n++].key)]++;
    return n;
}

static void finish_many(struct lathe_queue *queue, struct lathe_message *held, int n)
{
    for (int i = 0; i < n; i++) {
        done(queue, &held[i]);
        lathe_message_clear(&held[i]);
    }
}

static int unseen(const int *seen)
{
    int n = 0;
    for (int i = 0; i < MANY; i++)
        n += !seen[i];
    return n;
}

void test_kafka_regained_partitions_flow(void **state)
{
    (void)state;
    if (!is_kafka())
        skip();
    static struct lathe_message held[MANY];
    static int seen[MANY];
    struct lathe_queue *one = open_queue(), *other = open_queue();
    for (int i = 0; i < MANY; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        publish(one, LATHE_TOPIC_CHUNKS, key, "{}");
    }
    /* It has as much as it may hold, so it paused all that it has. */
    int n = take_many(one, held, seen, lathe_queue_settle_ms(one));
    assert_in_range(n, 1000, MANY - 1);
    /* Another comes, gets some of the partitions from their beginning, and goes. */
    struct lathe_message message = {0};
    assert_int_equal(take_one(other, LATHE_TOPIC_CHUNKS, &message), 1);
    lathe_message_clear(&message);
    lathe_queue_close(other);
    /* Nothing was lost, and what was paused flows again. */
    int64_t give_up_us = lathe_clock_monotonic_us() + 60 * 1000000LL;
    finish_many(one, held, n);
    while (unseen(seen) && lathe_clock_monotonic_us() < give_up_us)
        finish_many(one, held, take_many(one, held, seen, 100));
    assert_int_equal(unseen(seen), 0);
    assert_int_equal(take_none(one, LATHE_TOPIC_CHUNKS, &message), 0);
    lathe_queue_close(one);
    one = open_queue();
    assert_int_equal(take_none(one, LATHE_TOPIC_CHUNKS, &message), 0);
    lathe_queue_close(one);
}

static void await_lag(double lag)
{
    int64_t give_up_us = lathe_clock_monotonic_us() + 60 * 1000000LL;
    while (lathe_metrics_sum(LATHE_METRIC_KAFKA_LAG) != lag &&
           lathe_clock_monotonic_us() < give_up_us)
        contract_sleep_ms(50);
    assert_true(lathe_metrics_sum(LATHE_METRIC_KAFKA_LAG) == lag);
}

/* The figure goes on while partitions pause, whose end no fetch says any more. */
void test_kafka_lag(void **state)
{
    (void)state;
    if (!is_kafka())
        skip();
    static struct lathe_message held[MANY];
    static int seen[MANY];
    lathe_metrics_reset();
    struct lathe_queue *queue = open_queue();
    for (int i = 0; i < MANY; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        publish(queue, LATHE_TOPIC_CHUNKS, key, "{}");
        if (i == MANY - 100) { /* full, and the rest comes while it pauses */
            assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &held[0]), 1);
            await_lag(i + 1);
        }
    }
    await_lag(MANY);
    assert_true(lathe_metrics_sum(LATHE_METRIC_KAFKA_REBALANCES) >= 1);
    finish_many(queue, held, 1);
    await_lag(MANY - 1);
    for (int left = MANY - 1; left > 0;) {
        int n = take_many(queue, held, seen, lathe_queue_settle_ms(queue));
        assert_true(n > 0);
        finish_many(queue, held, n);
        left -= n;
    }
    await_lag(0);
    lathe_queue_close(queue);
}

#define DURING_DEATH 400

static void *publish_until_stored(void *arg)
{
    struct lathe_queue *queue = arg;
    for (int i = 0; i < DURING_DEATH; i++) {
        char key[16];
        struct lathe_error err = {0};
        snprintf(key, sizeof(key), "%d", i);
        while (lathe_queue_publish(queue, LATHE_TOPIC_CHUNKS, key, "{}", &err) < 0)
            if (!err.retriable)
                return "it gave up";
    }
    return NULL;
}

void test_kafka_broker_killed(void **state)
{
    (void)state;
    if (!is_kafka() || !getenv("LATHE_SERVER"))
        skip();
    int seen[DURING_DEATH] = {0}, missing = DURING_DEATH;
    struct lathe_queue *queue = open_queue(), *second = NULL;
    pthread_t publisher;
    assert_int_equal(pthread_create(&publisher, NULL, publish_until_stored, queue), 0);
    bool was_killed = false;
    while (missing) {
        struct lathe_message message = {0};
        assert_int_equal(take_one(queue, LATHE_TOPIC_CHUNKS, &message), 1);
        missing -= !seen[atoi(message.key)]++;
        done(queue, &message);
        lathe_message_clear(&message);
        if (was_killed || missing > DURING_DEATH * 3 / 4)
            continue;
        was_killed = true;
        contract_server("kill", "kafka");
        struct lathe_error err = {0};
        assert_int_equal(lathe_queue_open("kafka", contract.location, &second, &err), -EAGAIN);
        assert_int_equal(err.fault, LATHE_FAULT_SERVER);
        contract_server("start", "kafka");
    }
    void *why;
    assert_int_equal(pthread_join(publisher, &why), 0);
    assert_null(why);
    lathe_queue_close(queue);
}
