/* SPDX-License-Identifier: MIT */
/*
 * Queue port: durable doorbells.
 *
 * A message guarantees that somebody will look at a job; it does not say who works on what (the
 * state decides, see state.h). Delivery is at least once and in no particular order; every
 * consumer must tolerate duplicates.
 *
 * Guarantee: after publish() returned 0 the message is delivered until some consumer calls
 * done() for it, also across crashes of consumers and of the queue's own process.
 * Deliberately lacks: order, priorities (the state's), exactly-once.
 * Threads: one lathe_queue may be shared by several threads.
 */
#ifndef LATHE_QUEUE_H
#define LATHE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/finding.h"
#include "lathe/job.h"

enum lathe_topic {
    LATHE_TOPIC_JOBS = 0, /* "video-jobs": a job was accepted, split it */
    LATHE_TOPIC_CHUNKS,   /* "video-chunks": a unit of a planned job waits */
    LATHE_TOPIC_DEAD,     /* "video-chunks.dlq": given up, with the reason */
    LATHE_TOPIC_COUNT
};
const char *lathe_topic_name(enum lathe_topic topic);

struct lathe_message {
    enum lathe_topic topic;
    char key[LATHE_ID_MAX + 32]; /* job id, or "job id/unit" */
    char *body;                  /* JSON, at most 1 MiB; owned by the message */
    int64_t receipt;             /* driver's handle of this delivery, for done() and release() */
    uint32_t deliveries;         /* this one included; 0 where the driver cannot know */
};
void lathe_message_clear(struct lathe_message *message); /* frees the body; NULL is allowed */

struct lathe_queue;
struct lathe_patience;

struct lathe_queue_driver {
    const char *name; /* as written in the configuration: "sqlite", "kafka" */
    size_t priv_size; /* bytes; the front allocates and zeroes them */
    /* How long nothing may come although something waits: a consumer of a group gets its share
     * only when the others know of it. 0: take() sees what waits at once. */
    int settle_ms;

    /* Must provide. `location` is the driver's own address (a file path, a broker list). */
    int (*open)(void *priv, const char *location, struct lathe_error *err);
    /* Must provide. NULL-safe against a half-open driver. */
    void (*close)(void *priv);
    /* Must provide. Durable when 0 is returned. -EAGAIN: a retry may help. */
    int (*publish)(void *priv, enum lathe_topic topic, const char *key, const char *body,
                   struct lathe_error *err);
    /* Must provide. Waits up to `timeout_ms` for a message of `topic`. Returns 1 with a message
     * that the caller clears, 0 when none came, -ECANCELED when `cancel` (may be NULL) fired. */
    int (*take)(void *priv, enum lathe_topic topic, int timeout_ms, struct lathe_message *ret,
                struct lathe_cancel *cancel, struct lathe_error *err);
    /* Must provide. Whether take() would find a message now: 1 or 0. Asked often, so cheap. */
    int (*waits)(void *priv, enum lathe_topic topic, struct lathe_error *err);
    /* Must provide. The message will not come back. A receipt that is no longer valid is success.
     */
    int (*done)(void *priv, enum lathe_topic topic, int64_t receipt, struct lathe_error *err);
    /* May provide. Gives the message back, visible again after `delay_ms`. Absent: it comes back
     * by itself after the driver's own time-out. */
    int (*release)(void *priv, enum lathe_topic topic, int64_t receipt, int delay_ms,
                   struct lathe_error *err);
    /* Must provide. Looks its server over. Whether it can be opened at all is the front's to say.
     */
    void (*check)(void *priv, const struct lathe_check *check, struct lathe_findings *ret);
};

/* A message taken and neither done nor released comes back after this long (embedded driver). */
#define LATHE_QUEUE_VISIBILITY_US (60 * 1000000LL)

/* The front. -ENOENT: no driver of that name in this build. */
int lathe_queue_open(const char *driver, const char *location, struct lathe_queue **ret,
                     struct lathe_error *err);
void lathe_queue_close(struct lathe_queue *queue); /* NULL is allowed */
/* For all calls from here on; before other threads use the handle. See port.h. */
void lathe_queue_set_patience(struct lathe_queue *queue, const struct lathe_patience *patience);
/* For people: what is wrong with it, and what cures that. Adds at least one finding,
 * "queue.reachable". */
void lathe_queue_check(const char *driver, const char *location, const struct lathe_check *check,
                       struct lathe_findings *ret);
int lathe_queue_settle_ms(const struct lathe_queue *queue); /* the driver's; see there */
int lathe_queue_publish(struct lathe_queue *queue, enum lathe_topic topic, const char *key,
                        const char *body, struct lathe_error *err);
int lathe_queue_take(struct lathe_queue *queue, enum lathe_topic topic, int timeout_ms,
                     struct lathe_message *ret, struct lathe_cancel *cancel,
                     struct lathe_error *err);
/* 1 when a message waits, 0 when none does. Another consumer may take it first. */
int lathe_queue_waits(struct lathe_queue *queue, enum lathe_topic topic, struct lathe_error *err);
int lathe_queue_done(struct lathe_queue *queue, const struct lathe_message *message,
                     struct lathe_error *err);
int lathe_queue_release(struct lathe_queue *queue, const struct lathe_message *message,
                        int delay_ms, struct lathe_error *err);

#endif
