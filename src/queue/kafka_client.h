/* SPDX-License-Identifier: MIT */
/*
 * Handles of librdkafka with the settings that Lathe's promises rest on, and its errors in words.
 */
#ifndef LATHE_KAFKA_CLIENT_H
#define LATHE_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "lathe/queue.h"

#define KAFKA_GROUP "transcoding-workers"

struct kafka_address {
    char *brokers;
    char prefix[64]; /* of topics and group: several fleets on one cluster */
    int create;      /* partitions of topics that are missing; 0: they are not made */
};

/* BROKER[:PORT][,…][?OPTION=VALUE[&…]]; options: prefix, create. */
int kafka_address_parse(const char *location, struct kafka_address *ret, struct lathe_error *err);
void kafka_address_topic(const struct kafka_address *a, enum lathe_topic topic, char *ret,
                         size_t size);

/* `delivered` is called from rd_kafka_poll. */
int kafka_producer_new(const struct kafka_address *a,
                       void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                       rd_kafka_t **ret, struct lathe_error *err);
int kafka_consumer_new(const struct kafka_address *a,
                       void (*rebalanced)(rd_kafka_t *, rd_kafka_resp_err_t,
                                          rd_kafka_topic_partition_list_t *, void *),
                       void *opaque, rd_kafka_t **ret, struct lathe_error *err);
/* The brokers answer and the topics are there. */
int kafka_check_topics(rd_kafka_t *rk, const struct kafka_address *a, struct lathe_error *err);
int kafka_error(struct lathe_error *err, rd_kafka_resp_err_t code, const char *what);

#endif
