/* SPDX-License-Identifier: MIT */
/*
 * Handles of librdkafka with the settings that Lathe's promises rest on, and its errors in words.
 */
#ifndef LATHE_KAFKA_CLIENT_H
#define LATHE_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "lathe/queue.h"

#define KAFKA_GROUP "transcoding-workers"

/* A setting of librdkafka from the user's file; its value may be a secret. */
struct kafka_property {
    char *name, *value;
};

struct kafka_address {
    char *brokers;
    char prefix[64]; /* of topics and group: several fleets on one cluster */
    int create;      /* partitions of topics that are missing; 0: they are not made */
    char *config_path;
    struct kafka_property *properties;
    size_t n_properties;
};

/* BROKER[:PORT][,…][?OPTION=VALUE[&…]]; options: prefix, create, config (a file of NAME=VALUE
 * lines,
 * "#" begins a comment; -EACCES when everybody can read it, -EINVAL for a setting that Lathe's
 * promises rest on). To be cleared also after a failure. */
int kafka_address_parse(const char *location, struct kafka_address *ret, struct lathe_error *err);
void kafka_address_clear(struct kafka_address *a);
void kafka_address_topic(const struct kafka_address *a, enum lathe_topic topic, char *ret,
                         size_t size);

/* Why a broker does not let us in, as soon as that is known. Written once, by any thread. */
struct kafka_refusal {
    atomic_bool is_taken, is_set;
    char why[256];
};

/* `delivered` is called from rd_kafka_poll. `refusal` outlives the producer. */
int kafka_producer_new(const struct kafka_address *a,
                       void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                       struct kafka_refusal *refusal, rd_kafka_t **ret, struct lathe_error *err);
int kafka_consumer_new(const struct kafka_address *a,
                       void (*rebalanced)(rd_kafka_t *, rd_kafka_resp_err_t,
                                          rd_kafka_topic_partition_list_t *, void *),
                       void *opaque, rd_kafka_t **ret, struct lathe_error *err);
/* The brokers answer and the topics are there. */
int kafka_check_topics(rd_kafka_t *rk, const struct kafka_address *a,
                       const struct kafka_refusal *refusal, struct lathe_error *err);
int kafka_error(struct lathe_error *err, rd_kafka_resp_err_t code, const char *what);

#endif
