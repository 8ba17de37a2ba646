/* SPDX-License-Identifier: MIT */
/*
 * The queue of a fleet in Kafka. A record is a doorbell that rings until its work is done; who
 * works is decided by the state. One thread per topic does nothing but poll, so that no chunk,
 * however long, makes Kafka believe that this worker is dead.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drivers.h"
#include "kafka_check.h"
#include "kafka_client.h"
#include "kafka_lag.h"
#include "kafka_window.h"
#include "lathe/base.h"
#include "lathe/metrics.h"

#define POLL_MS 100
#define LOOK_MS 20      /* how soon a waiting take() sees that it was cancelled */
#define OPEN_MAX 1024   /* records of one topic that are not done: reading pauses */
#define OPEN_RESUME 512 /* … and goes on */
#define KEPT_MAX 16384  /* the same with those that are done behind one that is not */
#define SETTLE_MS 3000
#define LAG_US 5000000LL /* how often the lag is measured */

/* What a consumer of one topic is made of; the mutex guards window, fault and is_closing. */
struct reader {
    char topic[128];
    rd_kafka_t *rk;
    pthread_t thread;
    bool has_thread, is_closing;
    pthread_mutex_t mutex;
    struct kafka_window window;
    rd_kafka_resp_err_t fault; /* from which there is no way back */
};

struct kafka {
    struct kafka_address address;
    struct kafka_refusal refusal;
    rd_kafka_t *producer;
    rd_kafka_topic_t *topics[LATHE_TOPIC_COUNT]; /* the producer's */
    pthread_mutex_t mutex;                       /* guards the making of readers */
    bool is_open;
    struct reader readers[LATHE_TOPIC_COUNT];
};

static void store_progress(struct reader *reader, struct kafka_partition *p)
{
    int64_t next;
    if (!kafka_partition_advance(p, &next))
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, reader->topic, p->number)->offset = next;
    /* Refused when the partition was just lost: then its next owner finds the work done. */
    rd_kafka_offsets_store(reader->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* --- the polling thread --- */

static void pause_or_resume(struct reader *reader, struct kafka_partition *p, bool pause)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, reader->topic, p->number);
    if (pause)
        rd_kafka_pause_partitions(reader->rk, list);
    else
        rd_kafka_resume_partitions(reader->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    p->is_paused = pause;
}

/* Only what is paused is resumed: resuming a running partition delivers its records again. And only
 * what has begun is paused: until its first record comes nothing of a partition can be forgotten.
 */
static void bound_reading(struct reader *reader)
{
    const struct kafka_window *w = &reader->window;
    const struct kafka_load load = kafka_window_load(w);
    bool is_full = load.open >= OPEN_MAX || load.kept >= KEPT_MAX;
    bool has_room = load.open < OPEN_RESUME && load.kept < KEPT_MAX - OPEN_RESUME;
    for (size_t i = 0; i < w->n_partitions; i++) {
        struct kafka_partition *p = &w->partitions[i];
        if (p->is_owned && !p->is_paused && !p->is_fresh && is_full)
            pause_or_resume(reader, p, true);
        else if (p->is_owned && p->is_paused && has_room)
            pause_or_resume(reader, p, false);
    }
}

static void assigned(struct reader *reader, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_partition *p =
            kafka_window_partition(&reader->window, list->elems[i].partition);
        if (!p) {
            reader->fault = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
            continue;
        }
        p->is_owned = p->is_fresh = true;
        /* A partition that was paused, lost and regained is still paused, for ever. */
        if (p->is_paused)
            pause_or_resume(reader, p, false);
    }
}

/* Called from consumer_poll and consumer_close, without the mutex. */
static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                       rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct reader *reader = opaque;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        lathe_metrics_add(LATHE_METRIC_KAFKA_REBALANCES, LATHE_LABELS(reader->topic), 1);
        rd_kafka_assign(rk, list);
        pthread_mutex_lock(&reader->mutex);
        assigned(reader, list);
        pthread_mutex_unlock(&reader->mutex);
        return;
    }
    /* Work that is under way goes on: its next owner finds it leased, then done. */
    pthread_mutex_lock(&reader->mutex);
    for (size_t i = 0; i < reader->window.n_partitions; i++)
        reader->window.partitions[i].is_owned = false;
    pthread_mutex_unlock(&reader->mutex);
    rd_kafka_assign(rk, NULL);
}

static void handle(struct reader *reader, const rd_kafka_message_t *message)
{
    if (message->err) {
        if (message->err == RD_KAFKA_RESP_ERR__FATAL)
            reader->fault = rd_kafka_fatal_error(reader->rk, NULL, 0);
        return; /* everything else passes, and librdkafka tries again by itself */
    }
    int r = kafka_window_add(&reader->window, message->partition, message->offset, message->key,
                             message->key_len, message->payload, message->len);
    if (r < 0) {
        reader->fault = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
        return;
    }
    struct kafka_partition *p = kafka_window_partition(&reader->window, message->partition);
    if (p)
        store_progress(reader, p);
}

static void *poll_records(void *opaque)
{
    struct reader *reader = opaque;
    int64_t measured_us = 0;
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader->rk, POLL_MS);
        pthread_mutex_lock(&reader->mutex);
        if (message)
            handle(reader, message);
        bound_reading(reader);
        bool is_closing = reader->is_closing;
        pthread_mutex_unlock(&reader->mutex);
        if (message)
            rd_kafka_message_destroy(message);
        if (is_closing)
            return NULL;
        if (lathe_clock_monotonic_us() - measured_us < LAG_US)
            continue;
        measured_us = lathe_clock_monotonic_us();
        kafka_lag_measure(reader->rk, reader->topic, &reader->window, &reader->mutex);
    }
}

static int start_reader(struct kafka *kafka, struct reader *reader, struct lathe_error *err)
{
    int r = kafka_consumer_new(&kafka->address, rebalanced, reader, &reader->rk, err);
    if (r < 0)
        return r;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, reader->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(reader->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        r = kafka_error(err, code, reader->topic);
    else if ((r = -pthread_create(&reader->thread, NULL, poll_records, reader)) < 0)
        lathe_error_errno(err, r, "cannot start a thread");
    if (r < 0) {
        rd_kafka_destroy(reader->rk);
        reader->rk = NULL;
        return r;
    }
    reader->has_thread = true;
    return 0;
}

/* A program that only publishes never joins the group. */
static int need_reader(struct kafka *kafka, enum lathe_topic topic, struct reader **ret,
                       struct lathe_error *err)
{
    *ret = &kafka->readers[topic];
    pthread_mutex_lock(&kafka->mutex);
    int r = (*ret)->has_thread ? 0 : start_reader(kafka, *ret, err);
    pthread_mutex_unlock(&kafka->mutex);
    return r;
}

/* --- the driver --- */

struct delivery {
    atomic_bool is_over;
    rd_kafka_resp_err_t code;
};

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk, (void)opaque;
    struct delivery *delivery = message->_private;
    delivery->code = message->err;
    atomic_store(&delivery->is_over, true);
}

static int open_kafka(void *priv, const char *location, struct lathe_error *err)
{
    struct kafka *kafka = priv;
    int r = kafka_address_parse(location, &kafka->address, err);
    if (r < 0)
        return r;
    pthread_mutex_init(&kafka->mutex, NULL);
    for (int i = 0; i < LATHE_TOPIC_COUNT; i++) {
        struct reader *reader = &kafka->readers[i];
        kafka_address_topic(&kafka->address, (enum lathe_topic)i, reader->topic,
                            sizeof(reader->topic));
        pthread_mutex_init(&reader->mutex, NULL);
    }
    kafka->is_open = true;
    r = kafka_producer_new(&kafka->address, delivered, &kafka->refusal, &kafka->producer, err);
    if (r == 0)
        r = kafka_check_topics(kafka->producer, &kafka->address, &kafka->refusal, err);
    /* A topic that the producer knows before its first record costs that record nothing; else it is
     * looked for then, which took half a second (librdkafka 2.0.2, 2026-11-29). */
    for (int i = 0; r == 0 && i < LATHE_TOPIC_COUNT; i++) {
        const char *name = kafka->readers[i].topic;
        kafka->topics[i] = rd_kafka_topic_new(kafka->producer, name, NULL);
        if (!kafka->topics[i])
            r = kafka_error(err, rd_kafka_last_error(), name);
    }
    return r;
}

static void close_kafka(void *priv)
{
    struct kafka *kafka = priv;
    for (int i = 0; kafka->is_open && i < LATHE_TOPIC_COUNT; i++) {
        struct reader *reader = &kafka->readers[i];
        if (reader->has_thread) {
            pthread_mutex_lock(&reader->mutex);
            reader->is_closing = true;
            pthread_mutex_unlock(&reader->mutex);
            pthread_join(reader->thread, NULL);
            rd_kafka_consumer_close(reader->rk); /* commits what was stored */
            rd_kafka_destroy(reader->rk);
        }
        if (kafka->topics[i])
            rd_kafka_topic_destroy(kafka->topics[i]);
        kafka_window_clear(&reader->window);
        pthread_mutex_destroy(&reader->mutex);
    }
    if (kafka->producer)
        rd_kafka_destroy(kafka->producer);
    if (kafka->is_open)
        pthread_mutex_destroy(&kafka->mutex);
    kafka_address_clear(&kafka->address);
}

static int publish(void *priv, enum lathe_topic topic, const char *key, const char *body,
                   struct lathe_error *err)
{
    struct kafka *kafka = priv;
    struct delivery delivery = {.is_over = false};
    rd_kafka_resp_err_t code = rd_kafka_producev(
        kafka->producer, RD_KAFKA_V_RKT(kafka->topics[topic]), RD_KAFKA_V_KEY(key, strlen(key)),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)body, strlen(body)),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(&delivery), RD_KAFKA_V_END);
    if (code)
        return kafka_error(err, code, kafka->readers[topic].topic);
    /* The report comes at the latest after message.timeout.ms, so `delivery` outlives it. */
    while (!atomic_load(&delivery.is_over))
        rd_kafka_poll(kafka->producer, POLL_MS / 10);
    return delivery.code ? kafka_error(err, delivery.code, kafka->readers[topic].topic) : 0;
}

/* Only a new consumer, which is a new process, can go on. */
static int fail_for_ever(struct lathe_error *err, rd_kafka_resp_err_t fault)
{
    lathe_error_set(err, -EIO, LATHE_FAULT_SERVER, "Kafka: this consumer cannot go on: %s",
                    rd_kafka_err2str(fault));
    if (err)
        err->retriable = false;
    return -EIO;
}

static int take(void *priv, enum lathe_topic topic, int timeout_ms, struct lathe_message *ret,
                struct lathe_cancel *cancel, struct lathe_error *err)
{
    struct reader *reader;
    int r = need_reader(priv, topic, &reader, err);
    if (r < 0)
        return r;
    int64_t give_up_us = lathe_clock_monotonic_us() + timeout_ms * 1000LL;
    for (;;) {
        int64_t now_us = lathe_clock_monotonic_us();
        pthread_mutex_lock(&reader->mutex);
        rd_kafka_resp_err_t fault = reader->fault;
        r = fault ? 0 : kafka_window_take(&reader->window, now_us, ret);
        pthread_mutex_unlock(&reader->mutex);
        if (fault)
            return fail_for_ever(err, fault);
        if (r < 0)
            return lathe_error_nomem(err);
        if (r == 1 || now_us >= give_up_us)
            return r;
        if (lathe_cancel_is_triggered(cancel))
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "stopped on request");
        struct timespec ts = {0, LOOK_MS * 1000000L};
        nanosleep(&ts, NULL);
    }
}

static int waits(void *priv, enum lathe_topic topic, struct lathe_error *err)
{
    struct reader *reader;
    int r = need_reader(priv, topic, &reader, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&reader->mutex);
    r = kafka_window_waits(&reader->window, lathe_clock_monotonic_us());
    pthread_mutex_unlock(&reader->mutex);
    return r;
}

static int done(void *priv, enum lathe_topic topic, int64_t receipt, struct lathe_error *err)
{
    (void)err;
    struct reader *reader = &((struct kafka *)priv)->readers[topic];
    pthread_mutex_lock(&reader->mutex);
    struct kafka_partition *p = kafka_window_done(&reader->window, receipt);
    if (p)
        store_progress(reader, p);
    pthread_mutex_unlock(&reader->mutex);
    return 0;
}

static int give_back(void *priv, enum lathe_topic topic, int64_t receipt, int delay_ms,
                     struct lathe_error *err)
{
    (void)err;
    struct reader *reader = &((struct kafka *)priv)->readers[topic];
    pthread_mutex_lock(&reader->mutex);
    kafka_window_release(&reader->window, receipt, lathe_clock_monotonic_us() + delay_ms * 1000LL);
    pthread_mutex_unlock(&reader->mutex);
    return 0;
}

static void check(void *priv, const struct lathe_check *check, struct lathe_findings *ret)
{
    struct kafka *kafka = priv;
    kafka_check(kafka->producer, &kafka->address, check, ret);
}

const struct lathe_queue_driver lathe_queue_kafka = {
    .name = "kafka",
    .priv_size = sizeof(struct kafka),
    .settle_ms = SETTLE_MS,
    .open = open_kafka,
    .close = close_kafka,
    .publish = publish,
    .take = take,
    .waits = waits,
    .done = done,
    .release = give_back,
    .check = check,
};
