/* SPDX-License-Identifier: MIT */
/*
 * Which records of a topic were read, which of them are in work, and how far each partition is done
 * without a gap. Kafka keeps one number a partition, while records are finished in any order: only
 * the lowest record that is not done may be remembered there, or a crash loses those before it.
 *
 * A partition's records are kept when it is revoked: it often comes straight back, and what was
 * finished meanwhile must not be done again. No Kafka here, no threads: the caller locks.
 */
#ifndef LATHE_KAFKA_WINDOW_H
#define LATHE_KAFKA_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/queue.h"

enum record_state { RECORD_READY, RECORD_TAKEN, RECORD_DONE };

struct kafka_record {
    int64_t offset;
    int64_t receipt; /* of the delivery that is under way */
    int64_t due_us;  /* not before this time */
    enum record_state state;
    uint32_t deliveries;
    char *key, *body;
};

struct kafka_partition {
    int32_t number;
    bool is_owned;
    bool is_fresh;  /* nothing was read since it was assigned */
    bool is_paused; /* as librdkafka sees it, also while it belongs to somebody else */
    struct kafka_record *records; /* by offset */
    size_t count, capacity;
    size_t n_open;      /* of them, not done */
    int64_t last_read;  /* since it was assigned */
    int64_t done_until; /* what is read below was done and forgotten since then */
};

struct kafka_window {
    struct kafka_partition *partitions;
    size_t n_partitions;
    int64_t last_receipt;
};

/* How much there is of the partitions that are owned now: only that can become less by work. */
struct kafka_load {
    size_t open; /* not done */
    size_t kept; /* also those that are done behind one that is not */
};

void kafka_window_clear(struct kafka_window *w);
struct kafka_load kafka_window_load(const struct kafka_window *w);
/* NULL: no memory. */
struct kafka_partition *kafka_window_partition(struct kafka_window *w, int32_t number);
/* A record was read; one that is known already is ignored. `body` NULL: nothing to do for it. */
int kafka_window_add(struct kafka_window *w, int32_t partition, int64_t offset, const char *key,
                     size_t key_length, const char *body, size_t body_length);
/* Whether a message is due. */
bool kafka_window_waits(const struct kafka_window *w, int64_t now_us);
/* 1 with a message, 0 when none is due, -ENOMEM. */
int kafka_window_take(struct kafka_window *w, int64_t now_us, struct lathe_message *ret);
/* NULL when the delivery is not the one under way. */
struct kafka_partition *kafka_window_done(struct kafka_window *w, int64_t receipt);
void kafka_window_release(struct kafka_window *w, int64_t receipt, int64_t due_us);
/* Forgets what is done without a gap; true with the offset to begin with after a crash. */
bool kafka_partition_advance(struct kafka_partition *p, int64_t *ret);
/* The first offset that is not done; -1 while nothing was read since the assignment. */
int64_t kafka_partition_next(const struct kafka_partition *p);

#endif
