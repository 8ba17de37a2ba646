/* SPDX-License-Identifier: MIT */
/*
 * The short forms of contract_queue.h.
 */
#include "contract_queue.h"

#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"

/* A dead consumer is noticed after 3 s instead of 10. */
static const char quick[] = "session.timeout.ms=3000\nheartbeat.interval.ms=500\n";

int contract_queue_setup(void **state)
{
    int r = contract_setup(state);
    bool has_own = contract.location && strstr(contract.location, "config=");
    return r == 0 && is_kafka() && !has_own ? use_config(quick) : r;
}

bool is_kafka(void)
{
    return !strcmp(contract.driver, "kafka");
}

int use_config(const char *text)
{
    size_t length = strcspn(contract.location, "?");
    const char *old = strstr(contract.location + length, "&config=");
    size_t kept = old ? (size_t)(old - contract.location) : strlen(contract.location);
    _cleanup_free_ char *path = contract_path("kafka.properties");
    int r = lathe_write_file_atomic(path, text, strlen(text), NULL);
    if (r < 0 || chmod(path, 0640) < 0)
        return -1;
    char *location = lathe_format("%.*s&config=%s", (int)kept, contract.location, path);
    free(contract.location);
    contract.location = location;
    return location ? 0 : -1;
}

struct lathe_queue *open_queue(void)
{
    struct lathe_queue *queue = NULL;
    struct lathe_error err = {0};
    if (lathe_queue_open(contract.driver, contract.location, &queue, &err) < 0)
        fail_msg("%s", err.what);
    return queue;
}

void publish(struct lathe_queue *queue, enum lathe_topic topic, const char *key, const char *body)
{
    struct lathe_error err = {0};
    if (lathe_queue_publish(queue, topic, key, body, &err) < 0)
        fail_msg("%s", err.what);
}

int take(struct lathe_queue *queue, enum lathe_topic topic, int timeout_ms,
         struct lathe_message *message)
{
    struct lathe_error err = {0};
    int r = lathe_queue_take(queue, topic, timeout_ms, message, NULL, &err);
    if (r < 0)
        fail_msg("%s", err.what);
    return r;
}

int take_one(struct lathe_queue *queue, enum lathe_topic topic, struct lathe_message *message)
{
    return take(queue, topic, lathe_queue_settle_ms(queue) ? 60000 : 1000, message);
}

int take_none(struct lathe_queue *queue, enum lathe_topic topic, struct lathe_message *message)
{
    return take(queue, topic, lathe_queue_settle_ms(queue), message);
}

void done(struct lathe_queue *queue, const struct lathe_message *message)
{
    assert_int_equal(lathe_queue_done(queue, message, NULL), 0);
}
