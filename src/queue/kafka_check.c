/* SPDX-License-Identifier: MIT */
/*
 * What of a Kafka cluster's topics costs speed (too few partitions) or work (one copy only).
 */
#include "kafka_check.h"

#include <stdio.h>
#include <string.h>

#include "drivers.h"
#include "lathe/base.h"

#define METADATA_TIMEOUT_MS 5000

struct topic {
    const char *name;
    int partitions, copies, copies_in_sync; /* copies: of the partition that has the fewest */
};

static struct topic look_at(const rd_kafka_metadata_topic_t *meta)
{
    struct topic topic = {meta->topic, meta->partition_cnt, 0, 0};
    for (int i = 0; i < meta->partition_cnt; i++) {
        const rd_kafka_metadata_partition_t *p = &meta->partitions[i];
        if (i == 0 || p->replica_cnt < topic.copies)
            topic.copies = p->replica_cnt;
        if (i == 0 || p->isr_cnt < topic.copies_in_sync)
            topic.copies_in_sync = p->isr_cnt;
    }
    return topic;
}

static void check_partitions(const struct topic *topic, const char *brokers, unsigned workers,
                             struct lathe_findings *ret)
{
    char cure[320];
    snprintf(cure, sizeof cure,
             "kafka-topics.sh --bootstrap-server %.120s --alter --topic %.100s --partitions %u",
             brokers, topic->name, workers);
    if (workers > 0 && (unsigned)topic->partitions < workers)
        lathe_findings_add(ret, "queue.partitions", LATHE_FINDING_WARNING, cure,
                           "topic %s has %d partitions for %u workers: some never hear of new work "
                           "at once",
                           topic->name, topic->partitions, workers);
    else
        lathe_findings_add(ret, "queue.partitions", LATHE_FINDING_GOOD, NULL,
                           "topic %s has %d partitions", topic->name, topic->partitions);
}

static void check_copies(const struct topic *topic, const char *brokers, int n_brokers,
                         struct lathe_findings *ret)
{
    char cure[320];
    if (topic->copies > 1 && topic->copies_in_sync < topic->copies) {
        snprintf(
            cure, sizeof cure,
            "kafka-topics.sh --bootstrap-server %.120s --describe --under-replicated-partitions",
            brokers);
        lathe_findings_add(ret, "queue.replication", LATHE_FINDING_WARNING, cure,
                           "topic %s: a broker lags or is down, %d of %d copies are in step",
                           topic->name, topic->copies_in_sync, topic->copies);
        return;
    }
    if (topic->copies > 1) {
        lathe_findings_add(ret, "queue.replication", LATHE_FINDING_GOOD, NULL,
                           "topic %s is kept in %d copies", topic->name, topic->copies);
        return;
    }
    if (n_brokers > 1)
        snprintf(cure, sizeof cure,
                 "kafka-reassign-partitions.sh --bootstrap-server %.120s --execute "
                 "--reassignment-json-file …    (two or three replicas for each partition)",
                 brokers);
    else
        snprintf(cure, sizeof cure,
                 "add two brokers, then give each partition three replicas with "
                 "kafka-reassign-partitions.sh");
    lathe_findings_add(ret, "queue.replication", LATHE_FINDING_WARNING, cure,
                       "topic %s has replication factor 1: when its broker is lost, so are the "
                       "messages",
                       topic->name);
}

/* How many records a topic holds; negative when that cannot be seen. */
static int64_t count_records(rd_kafka_t *rk, const struct topic *topic)
{
    int64_t count = 0;
    for (int i = 0; i < topic->partitions; i++) {
        int64_t low = 0, high = 0;
        if (rd_kafka_query_watermark_offsets(rk, topic->name, i, &low, &high,
                                             METADATA_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return -1;
        count += high - low;
    }
    return count;
}

static void check_topic(rd_kafka_t *rk, const struct kafka_address *address, enum lathe_topic which,
                        const struct rd_kafka_metadata *metadata, const struct lathe_check *check,
                        struct lathe_findings *ret)
{
    char name[128];
    kafka_address_topic(address, which, name, sizeof name);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, name) != 0)
            continue;
        struct topic topic = look_at(&metadata->topics[i]);
        check_copies(&topic, address->brokers, metadata->broker_cnt, ret);
        if (which == LATHE_TOPIC_CHUNKS)
            check_partitions(&topic, address->brokers, check->workers, ret);
        int64_t dead = which == LATHE_TOPIC_DEAD ? count_records(rk, &topic) : -1;
        if (dead >= 0)
            lathe_queue_add_dead_letters(ret, dead);
    }
}

void kafka_check(rd_kafka_t *rk, const struct kafka_address *address,
                 const struct lathe_check *check, struct lathe_findings *ret)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &metadata, METADATA_TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        struct lathe_error err = {0};
        kafka_error(&err, code, address->brokers);
        lathe_findings_add_error(ret, "queue.reachable", &err);
        return;
    }
    for (int i = 0; i < LATHE_TOPIC_COUNT; i++)
        check_topic(rk, address, (enum lathe_topic)i, metadata, check, ret);
    rd_kafka_metadata_destroy(metadata);
}
