/* SPDX-License-Identifier: MIT */
/*
 * The parent's end of a slot's socket: the framing of slot.h without ever blocking, since a slot
 * may stop in the middle of a message or never read its order.
 */
#ifndef LATHE_POOL_CHANNEL_H
#define LATHE_POOL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "lathe/slot.h"

struct lathe_channel {
    int fd;
    bool ended; /* the slot closed its end, or died */
    char *out;
    size_t out_size, out_sent;
    char *in;
    size_t in_size, in_capacity;
};

void lathe_channel_finish(struct lathe_channel *channel); /* closes the descriptor */
/* Frames one message for sending; only when none is pending. -ENOMEM, -EMSGSIZE. */
int lathe_channel_queue(struct lathe_channel *channel, const json_t *message);
bool lathe_channel_pending(const struct lathe_channel *channel);
/* Sends what the socket takes now. A closed peer is noticed by reading, so EPIPE is success. */
int lathe_channel_flush(struct lathe_channel *channel);
/* Reads a bounded part of what is there now; sets `ended` at end of file. */
int lathe_channel_fill(struct lathe_channel *channel);
/* 1 with the next whole message, 0 when there is none yet, -EPROTO (with the reason in `err`). */
int lathe_channel_next(struct lathe_channel *channel, struct lathe_slot_message *ret,
                       struct lathe_error *err);

#endif
