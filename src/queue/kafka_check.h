/* SPDX-License-Identifier: MIT */
/*
 * A Kafka cluster looked over: whether its topics suit the fleet, and what lies among the dead
 * letters.
 */
#ifndef LATHE_KAFKA_CHECK_H
#define LATHE_KAFKA_CHECK_H

#include "kafka_client.h"
#include "lathe/finding.h"

void kafka_check(rd_kafka_t *rk, const struct kafka_address *address,
                 const struct lathe_check *check, struct lathe_findings *ret);

#endif
