/* SPDX-License-Identifier: MIT */
/*
 * A new connection, ready for calls: over TLS where that is asked for, with the password given and
 * the database chosen.
 */
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "redis_link.h"

static struct timeval timeval_of(int ms)
{
    return (struct timeval){ms / 1000, ms % 1000 * 1000};
}

int redis_set_timeout(redisContext *context, int ms)
{
    return redisSetTimeout(context, timeval_of(ms)) == REDIS_OK ? 0 : -EIO;
}

int redis_unreachable(const struct redis_address *address, const char *why, struct lathe_error *err)
{
    char server[REDIS_SERVER_TEXT_MAX];
    redis_address_describe(address, server, sizeof(server));
    lathe_error_set(err, -EAGAIN, LATHE_FAULT_SERVER, "Redis at %s cannot be reached: %s", server,
                    why);
    lathe_error_hint(err, "is it running, and does it listen on that address?");
    return -EAGAIN;
}

int redis_check_reply(const struct redis_address *address, redisContext *context, redisReply *reply,
                      struct lathe_error *err)
{
    if (!reply)
        return redis_unreachable(address, context->errstr, err);
    if (reply->type != REDIS_REPLY_ERROR)
        return 0;
    char server[REDIS_SERVER_TEXT_MAX];
    struct lathe_error own = {0};
    redis_address_describe(address, server, sizeof(server));
    bool passes = redis_error_explain(server, reply->str, &own);
    if (err)
        *err = own;
    return passes ? -EAGAIN : own.code == -EAGAIN ? -EPROTO : own.code;
}

static int greet(const struct redis_address *a, redisContext *context, struct lathe_error *err)
{
    redisReply *reply = NULL;
    int r = 0;
    if (a->password) {
        reply = *a->user ? redisCommand(context, "AUTH %s %s", a->user, a->password)
                         : redisCommand(context, "AUTH %s", a->password);
        r = redis_check_reply(a, context, reply, err);
        freeReplyObject(reply);
    }
    if (r == 0 && a->database) {
        reply = redisCommand(context, "SELECT %d", a->database);
        r = redis_check_reply(a, context, reply, err);
        freeReplyObject(reply);
    }
    return r;
}

int redis_connect(const struct redis_address *a, int timeout_ms, redisContext **ret,
                  struct lathe_error *err)
{
    redisContext *context = a->port
                                ? redisConnectWithTimeout(a->host, a->port, timeval_of(timeout_ms))
                                : redisConnectUnixWithTimeout(a->host, timeval_of(timeout_ms));
    if (!context)
        return lathe_error_nomem(err);
    int r = 0;
    if (context->err)
        r = redis_unreachable(a, context->errstr, err);
    else if (redis_set_timeout(context, timeout_ms) < 0)
        r = redis_unreachable(a, "its time-out cannot be set", err);
    if (r == 0 && a->port)
        redisEnableKeepAlive(context);
    if (r == 0 && a->is_tls)
        r = redis_tls_begin(a, context, err);
    if (r == 0)
        r = greet(a, context, err);
    if (r < 0) {
        redisFree(context);
        return r;
    }
    *ret = context;
    return 0;
}
