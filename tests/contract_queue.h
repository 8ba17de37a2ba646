/* SPDX-License-Identifier: MIT */
/*
 * What the files of the queue's contract suite share.
 */
#ifndef LATHE_TESTS_CONTRACT_QUEUE_H
#define LATHE_TESTS_CONTRACT_QUEUE_H

#include "contract.h"
#include "lathe/queue.h"

int contract_queue_setup(void **state);
bool is_kafka(void);
/* Opens of this test use these settings of librdkafka instead. */
int use_config(const char *text);

struct lathe_queue *open_queue(void);
void publish(struct lathe_queue *queue, enum lathe_topic topic, const char *key, const char *body);
int take(struct lathe_queue *queue, enum lathe_topic topic, int timeout_ms,
         struct lathe_message *message);
/* Something waits, and must come. A driver that settles may need a dead neighbour's time-out. */
int take_one(struct lathe_queue *queue, enum lathe_topic topic, struct lathe_message *message);
/* Nothing waits: as long as it could take to come, and no longer. */
int take_none(struct lathe_queue *queue, enum lathe_topic topic, struct lathe_message *message);
void done(struct lathe_queue *queue, const struct lathe_message *message);

/* contract_queue_kafka.c */
void test_kafka_settings(void **state);
void test_kafka_foreign_records(void **state);
void test_kafka_long_work(void **state);
void test_kafka_regained_partitions_flow(void **state);
void test_kafka_lag(void **state);
void test_kafka_broker_killed(void **state);

#endif
