/* SPDX-License-Identifier: MIT */
/*
 * The front of the queue port: chooses the driver and checks every argument once, so that drivers
 * hold nothing but their own business. Adding a driver: its file, and a line in `drivers`.
 */
#include "lathe/queue.h"

#include <errno.h>
#include <string.h>

#include "drivers.h"
#include "lathe/base.h"
#include "lathe/port.h"

#define BODY_MAX_BYTES (1u << 20)

static const struct lathe_queue_driver *const drivers[] = {
    &lathe_queue_sqlite,
    &lathe_queue_kafka,
};

struct lathe_queue {
    const struct lathe_queue_driver *driver;
    struct lathe_patience patience;
    max_align_t priv[];
};

static const char *const topic_names[LATHE_TOPIC_COUNT] = {
    [LATHE_TOPIC_JOBS] = "video-jobs",
    [LATHE_TOPIC_CHUNKS] = "video-chunks",
    [LATHE_TOPIC_DEAD] = "video-chunks.dlq",
};

static bool topic_is_known(enum lathe_topic topic)
{
    return (unsigned)topic < LATHE_TOPIC_COUNT;
}

const char *lathe_topic_name(enum lathe_topic topic)
{
    return topic_is_known(topic) ? topic_names[topic] : "unknown";
}

void lathe_message_clear(struct lathe_message *message)
{
    if (!message)
        return;
    free(message->body);
    *message = (struct lathe_message){0};
}

#define CALL(op, ...) LATHE_PORT_CALL(queue, op, __VA_ARGS__)

int lathe_queue_open(const char *driver, const char *location, struct lathe_queue **ret,
                     struct lathe_error *err)
{
    if (!driver || !location || !*location)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "the queue needs a driver and a location");
    for (size_t i = 0; i < LATHE_COUNT(drivers); i++) {
        if (strcmp(drivers[i]->name, driver))
            continue;
        struct lathe_queue *queue = calloc(1, sizeof(*queue) + drivers[i]->priv_size);
        if (!queue)
            return lathe_error_nomem(err);
        queue->driver = drivers[i];
        int r = queue->driver->open(queue->priv, location, err);
        if (r < 0) {
            lathe_queue_close(queue);
            lathe_error_prefix(err, "queue");
            return r;
        }
        *ret = queue;
        return 0;
    }
    return lathe_error_set(err, -ENOENT, LATHE_FAULT_CONFIG,
                           "this build has no queue driver named \"%s\"", driver);
}

void lathe_queue_close(struct lathe_queue *queue)
{
    if (!queue)
        return;
    queue->driver->close(queue->priv);
    free(queue);
}

void lathe_queue_set_patience(struct lathe_queue *queue, const struct lathe_patience *patience)
{
    queue->patience = *patience;
}

void lathe_queue_check(const char *driver, const char *location, const struct lathe_check *check,
                       struct lathe_findings *ret)
{
    struct lathe_queue *queue = NULL;
    struct lathe_error err = {0};
    if (lathe_queue_open(driver, location, &queue, &err) < 0) {
        lathe_findings_add_error(ret, "queue.reachable", &err);
        return;
    }
    lathe_findings_add(ret, "queue.reachable", LATHE_FINDING_GOOD, NULL, "the queue answers (%s)",
                       driver);
    queue->driver->check(queue->priv, check, ret);
    lathe_queue_close(queue);
}

int lathe_queue_settle_ms(const struct lathe_queue *queue)
{
    return queue->driver->settle_ms;
}

static int bad_argument(struct lathe_error *err, const char *what)
{
    return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "queue: %s", what);
}

int lathe_queue_publish(struct lathe_queue *queue, enum lathe_topic topic, const char *key,
                        const char *body, struct lathe_error *err)
{
    if (!topic_is_known(topic))
        return bad_argument(err, "unknown topic");
    if (!key || !*key || strlen(key) >= sizeof(((struct lathe_message *)0)->key))
        return bad_argument(err, "a message needs a key of its job");
    if (!body || strlen(body) > BODY_MAX_BYTES)
        return bad_argument(err, "a message needs a body of at most 1 MiB");
    return CALL(publish, topic, key, body, err);
}

int lathe_queue_take(struct lathe_queue *queue, enum lathe_topic topic, int timeout_ms,
                     struct lathe_message *ret, struct lathe_cancel *cancel,
                     struct lathe_error *err)
{
    if (!topic_is_known(topic))
        return bad_argument(err, "unknown topic");
    if (lathe_cancel_is_triggered(cancel))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "stopped on request");
    struct lathe_message message = {.topic = topic};
    int r = CALL(take, topic, timeout_ms > 0 ? timeout_ms : 0, &message, cancel, err);
    if (r == 1)
        *ret = message;
    else
        lathe_message_clear(&message);
    return r;
}

int lathe_queue_waits(struct lathe_queue *queue, enum lathe_topic topic, struct lathe_error *err)
{
    return topic_is_known(topic) ? CALL(waits, topic, err) : bad_argument(err, "unknown topic");
}

int lathe_queue_done(struct lathe_queue *queue, const struct lathe_message *message,
                     struct lathe_error *err)
{
    if (!message || !topic_is_known(message->topic))
        return bad_argument(err, "unknown topic");
    return CALL(done, message->topic, message->receipt, err);
}

int lathe_queue_release(struct lathe_queue *queue, const struct lathe_message *message,
                        int delay_ms, struct lathe_error *err)
{
    if (!message || !topic_is_known(message->topic))
        return bad_argument(err, "unknown topic");
    if (!queue->driver->release)
        return 0;
    return CALL(release, message->topic, message->receipt, delay_ms > 0 ? delay_ms : 0, err);
}

void lathe_queue_add_dead_letters(struct lathe_findings *findings, int64_t count)
{
    if (count == 0)
        lathe_findings_add(findings, "queue.dead-letters", LATHE_FINDING_GOOD, NULL,
                           "nothing was given up");
    else
        lathe_findings_add(findings, "queue.dead-letters", LATHE_FINDING_NOTE,
                           "lathe list --ended    (and lathe status JOB for the failed ones)",
                           "%lld units were given up some time (topic %s)", (long long)count,
                           lathe_topic_name(LATHE_TOPIC_DEAD));
}
