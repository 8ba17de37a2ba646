/* SPDX-License-Identifier: MIT */
/*
 * How much work of a topic lies before this consumer, for the metrics.
 */
#ifndef LATHE_KAFKA_LAG_H
#define LATHE_KAFKA_LAG_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "kafka_window.h"

/* Sets lathe_kafka_consumer_lag of the topic: the records of its own partitions that are not done.
 * To be called by the polling thread, without the mutex, which guards the window. Partitions that
 * are read cost nothing; of those that pause the broker is asked, and when it does not answer, the
 * old figure stays. */
void kafka_lag_measure(rd_kafka_t *rk, const char *topic, const struct kafka_window *w,
                       pthread_mutex_t *mutex);

#endif
