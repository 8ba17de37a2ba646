/* SPDX-License-Identifier: MIT */
/*
 * The queue of one host: a table of messages, each visible from a point in time on.
 *
 * Taking a message moves that point into the future and notes the holder; done() deletes the row.
 * A message whose holder is dead, or that was taken before the machine restarted, is visible at
 * once. The receipt names message and delivery, so that a consumer that lost its message to a
 * time-out cannot delete or release the delivery of another.
 *
 * publish() and done() are synced to disk; a lost take() only costs a second delivery.
 */
#include <errno.h>
#include <poll.h>

#include "db.h"
#include "drivers.h"
#include "lathe/base.h"

/* Other processes cannot wake a waiting take(); this is how late it may notice their messages. */
#define POLL_INTERVAL_MS 50
#define RECEIPT_DELIVERY_BITS 20
#define RECEIPT_DELIVERY_MASK ((1 << RECEIPT_DELIVERY_BITS) - 1)

static const char create_schema[] =
    /* AUTOINCREMENT: the id of a deleted message must not come back under an old receipt. */
    "CREATE TABLE messages("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  topic INTEGER NOT NULL,"
    "  key TEXT NOT NULL,"
    "  body TEXT NOT NULL,"
    "  visible_us INTEGER NOT NULL DEFAULT 0," /* 0: at once, in every boot */
    "  holder INTEGER NOT NULL DEFAULT 0,"
    "  deliveries INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE INDEX messages_visible ON messages(topic, visible_us, id);"
    "CREATE INDEX messages_held ON messages(topic, holder) WHERE holder <> 0;"
    "CREATE TABLE boot(id TEXT NOT NULL) STRICT;"
    "INSERT INTO boot VALUES('');";

enum {
    Q_PUBLISH,
    Q_HAS_VISIBLE,
    Q_HAS_ORPHAN,
    Q_FREE_ORPHANS,
    Q_NEXT,
    Q_TAKE,
    Q_DONE,
    Q_RELEASE,
    Q_SET_BOOT,
    Q_FREE_ALL,
    Q_COUNT_DEAD,
    Q_COUNT,
};

#define IS_ORPHAN "topic=?1 AND holder<>0 AND NOT holder_is_alive(holder)"
#define IS_DELIVERY "id=?1 AND topic=?2 AND holder<>0 AND (deliveries & ?3)=?4"

static const char *const statements[Q_COUNT] = {
    [Q_PUBLISH] = "INSERT INTO messages(topic, key, body) VALUES(?1, ?2, ?3)",
    [Q_HAS_VISIBLE] = "SELECT 1 FROM messages INDEXED BY messages_visible"
                      " WHERE topic=?1 AND visible_us<=?2 LIMIT 1",
    [Q_HAS_ORPHAN] = "SELECT 1 FROM messages INDEXED BY messages_held WHERE " IS_ORPHAN " LIMIT 1",
    [Q_FREE_ORPHANS] = "UPDATE messages SET visible_us=0, holder=0 WHERE " IS_ORPHAN,
    [Q_NEXT] = "SELECT id, key, body, deliveries FROM messages INDEXED BY messages_visible"
               " WHERE topic=?1 AND visible_us<=?2 ORDER BY visible_us, id LIMIT 1",
    [Q_TAKE] = "UPDATE messages SET visible_us=?2, holder=?3, deliveries=?4 WHERE id=?1",
    [Q_DONE] = "DELETE FROM messages WHERE " IS_DELIVERY,
    [Q_RELEASE] = "UPDATE messages SET visible_us=?5, holder=0 WHERE " IS_DELIVERY,
    [Q_COUNT_DEAD] = "SELECT count(*) FROM messages WHERE topic=?1",
    [Q_SET_BOOT] = "UPDATE boot SET id=?1 WHERE id<>?1",
    [Q_FREE_ALL] = "UPDATE messages SET visible_us=0, holder=0 WHERE visible_us<>0",
};

static const struct lathe_db_schema schema = {
    .application_id = 0x4c517565, /* "LQue" */
    .version = 1,
    .create = create_schema,
    .statements = statements,
    .n_statements = Q_COUNT,
};

static int queue_open(void *priv, const char *location, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_open(db, location, &schema, err);
    if (r < 0)
        return r;
    /* Points in time of an earlier boot mean nothing. */
    r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = lathe_db_run(db, err, Q_SET_BOOT, "s", db->presence.boot_id);
    if (r > 0)
        r = lathe_db_run(db, err, Q_FREE_ALL, "");
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

static void queue_close(void *priv)
{
    lathe_db_close(priv);
}

static int queue_publish(void *priv, enum lathe_topic topic, const char *key, const char *body,
                         struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_run(db, err, Q_PUBLISH, "iss", (int64_t)topic, key, body);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

/* A look without the write lock, so that idle consumers do not hold up the busy ones. */
static int queue_waits(void *priv, enum lathe_topic topic, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    sqlite3_stmt *row;
    r = lathe_db_query(db, err, Q_HAS_VISIBLE, &row, "ii", (int64_t)topic,
                       lathe_clock_monotonic_us());
    if (r == 0)
        r = lathe_db_query(db, err, Q_HAS_ORPHAN, &row, "i", (int64_t)topic);
    return lathe_db_end(db, r, err);
}

static int take_now(struct lathe_db *db, enum lathe_topic topic, struct lathe_message *ret,
                    struct lathe_error *err)
{
    int64_t now_us = lathe_clock_monotonic_us();
    int r = lathe_db_run(db, err, Q_FREE_ORPHANS, "i", (int64_t)topic);
    if (r < 0)
        return r;
    sqlite3_stmt *row;
    r = lathe_db_query(db, err, Q_NEXT, &row, "ii", (int64_t)topic, now_us);
    if (r <= 0)
        return r;
    int64_t id = sqlite3_column_int64(row, 0);
    int64_t deliveries = sqlite3_column_int64(row, 3) + 1;
    const char *key = (const char *)sqlite3_column_text(row, 1);
    if (!key)
        return lathe_error_nomem(err);
    snprintf(ret->key, sizeof(ret->key), "%s", key);
    r = lathe_db_text(row, 2, &ret->body, err);
    if (r < 0)
        return r;
    r = lathe_db_run(db, err, Q_TAKE, "iiii", id, now_us + LATHE_QUEUE_VISIBILITY_US,
                     db->presence.token, deliveries);
    if (r < 0)
        return r;
    ret->deliveries = deliveries < UINT32_MAX ? (uint32_t)deliveries : UINT32_MAX;
    ret->receipt = id << RECEIPT_DELIVERY_BITS | (deliveries & RECEIPT_DELIVERY_MASK);
    return 1;
}

static int queue_take(void *priv, enum lathe_topic topic, int timeout_ms, struct lathe_message *ret,
                      struct lathe_cancel *cancel, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int64_t deadline_us = lathe_clock_monotonic_us() + timeout_ms * 1000LL;
    for (;;) {
        int r = queue_waits(db, topic, err);
        if (r > 0) {
            r = lathe_db_begin(db, LATHE_DB_FAST, err);
            if (r == 0)
                r = lathe_db_end(db, take_now(db, topic, ret, err), err);
        }
        if (r != 0)
            return r;
        int64_t left_ms = (deadline_us - lathe_clock_monotonic_us() + 999) / 1000;
        if (left_ms <= 0)
            return 0;
        struct pollfd fd = {.fd = lathe_cancel_fd(cancel), .events = POLLIN};
        if (poll(&fd, 1, left_ms < POLL_INTERVAL_MS ? (int)left_ms : POLL_INTERVAL_MS) < 0 &&
            errno != EINTR)
            return lathe_error_errno(err, -errno, "cannot wait for a message");
        if (lathe_cancel_is_triggered(cancel))
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "stopped on request");
    }
}

static int queue_done(void *priv, enum lathe_topic topic, int64_t receipt, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_run(db, err, Q_DONE, "iiii", receipt >> RECEIPT_DELIVERY_BITS, (int64_t)topic,
                     (int64_t)RECEIPT_DELIVERY_MASK, receipt & RECEIPT_DELIVERY_MASK);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

static int queue_release(void *priv, enum lathe_topic topic, int64_t receipt, int delay_ms,
                         struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    int64_t visible_us = delay_ms > 0 ? lathe_clock_monotonic_us() + delay_ms * 1000LL : 0;
    r = lathe_db_run(db, err, Q_RELEASE, "iiiii", receipt >> RECEIPT_DELIVERY_BITS, (int64_t)topic,
                     (int64_t)RECEIPT_DELIVERY_MASK, receipt & RECEIPT_DELIVERY_MASK, visible_us);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

static void queue_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret)
{
    struct lathe_db *db = priv;
    struct lathe_error err = {0};
    sqlite3_stmt *row;
    lathe_findings_add_one_host(ret, check, "queue",
                                "set queue.driver to kafka, and queue.location");
    int r = lathe_db_begin(db, LATHE_DB_READ, &err);
    if (r == 0) {
        r = lathe_db_query(db, &err, Q_COUNT_DEAD, &row, "i", (int64_t)LATHE_TOPIC_DEAD);
        int64_t count = r == 1 ? sqlite3_column_int64(row, 0) : 0;
        r = lathe_db_end(db, r, &err);
        if (r >= 0)
            lathe_queue_add_dead_letters(ret, count);
    }
    if (r < 0)
        lathe_findings_add_error(ret, "queue.reachable", &err);
}

const struct lathe_queue_driver lathe_queue_sqlite = {
    .name = "sqlite",
    .priv_size = sizeof(struct lathe_db),
    .open = queue_open,
    .close = queue_close,
    .publish = queue_publish,
    .take = queue_take,
    .waits = queue_waits,
    .done = queue_done,
    .release = queue_release,
    .check = queue_check,
};
