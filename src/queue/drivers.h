/* SPDX-License-Identifier: MIT */
/*
 * The queue drivers of this build; each is defined at the end of its own file.
 */
#ifndef LATHE_QUEUE_DRIVERS_H
#define LATHE_QUEUE_DRIVERS_H

#include "lathe/queue.h"

extern const struct lathe_queue_driver lathe_queue_sqlite;
extern const struct lathe_queue_driver lathe_queue_kafka;

/* The finding about messages in the topic of those that were given up. */
void lathe_queue_add_dead_letters(struct lathe_findings *findings, int64_t count);

#endif
