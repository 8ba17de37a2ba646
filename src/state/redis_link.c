/* SPDX-License-Identifier: MIT */
/*
 * Connections that are thrown away at the first error. hiredis forgets time-outs, password and
 * database when it reconnects, and a connection whose reply did not come in time would hand it to
 * the next call; so a lost connection is replaced by a fresh one, never mended.
 */
#include "redis_link.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lathe/base.h"
#include "lathe/state.h"

#define CONNECT_TIMEOUT_MS 2000
#define REPLY_TIMEOUT_MS 10000             /* a job of a million units takes seconds to publish */
#define CALL_ARGS_MAX (REDIS_ARGS_MAX + 3) /* EVALSHA, which, no keys */
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 2000

static const char *const texts[SCRIPT_COUNT] = {
#define TEXT_OF(name) [SCRIPT_##name] = lathe_redis_lua_##name,
    REDIS_SCRIPTS(TEXT_OF)};

static char *script_text(const struct redis_link *link, enum redis_script script)
{
    return lathe_format("local FAILURES_MAX, DEATHS_MAX, RETAIN_MS = %d, %d, %lld\n%s%s",
                        LATHE_LIMIT_SLOT_FAILURES, LATHE_LIMIT_WORKER_DEATHS,
                        (long long)link->address.retain_ms, lathe_redis_lua_common, texts[script]);
}

/* From here until `give_up_us` the next answer may take. */
static int left_ms(int64_t give_up_us, int max_ms)
{
    int64_t left = (give_up_us - lathe_clock_monotonic_us()) / 1000;
    return left < 1 ? 1 : left > max_ms ? max_ms : (int)left;
}

/* A failure to set it shows as a failure of what follows. */
static void bound(redisContext *context, int64_t give_up_us)
{
    redis_set_timeout(context, left_ms(give_up_us, REPLY_TIMEOUT_MS));
}

static int connect_to(struct redis_link *link, int64_t give_up_us, redisContext **ret,
                      struct lathe_error *err)
{
    return redis_connect(&link->address, left_ms(give_up_us, CONNECT_TIMEOUT_MS), ret, err);
}

static redisContext *take_idle(struct redis_link *link)
{
    pthread_mutex_lock(&link->mutex);
    redisContext *context = link->n_idle ? link->idle[--link->n_idle] : NULL;
    pthread_mutex_unlock(&link->mutex);
    return context;
}

static void give_back(struct redis_link *link, redisContext *context)
{
    pthread_mutex_lock(&link->mutex);
    if (link->n_idle < REDIS_IDLE_MAX) {
        link->idle[link->n_idle++] = context;
        context = NULL;
    }
    pthread_mutex_unlock(&link->mutex);
    if (context)
        redisFree(context);
}

/* Those that waited beside a broken connection are most likely broken too. */
static void drop_idle(struct redis_link *link)
{
    redisContext *context;
    while ((context = take_idle(link)))
        redisFree(context);
}

static int load_script(struct redis_link *link, redisContext *context, enum redis_script script,
                       int64_t give_up_us, struct lathe_error *err)
{
    _cleanup_free_ char *text = script_text(link, script);
    if (!text)
        return lathe_error_nomem(err);
    bound(context, give_up_us);
    redisReply *reply = redisCommand(context, "SCRIPT LOAD %s", text);
    int r = redis_check_reply(&link->address, context, reply, err);
    /* Its name is the hash of its text, so it never changes while the link is in use. */
    if (r == 0 && !link->sha[script][0] && reply->type == REDIS_REPLY_STRING && reply->len == 40)
        memcpy(link->sha[script], reply->str, 41);
    freeReplyObject(reply);
    return r;
}

static bool is_missing_script(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

/* Runs and loads it in one, so that nobody can make the server forget it in between. */
static int call_with_text(struct redis_link *link, redisContext *context, enum redis_script script,
                          int argc, const char **argv, const size_t *lengths, redisReply **ret,
                          struct lathe_error *err)
{
    const char *all[CALL_ARGS_MAX];
    size_t all_lengths[CALL_ARGS_MAX];
    _cleanup_free_ char *text = script_text(link, script);
    if (!text)
        return lathe_error_nomem(err);
    memcpy(all, argv, (size_t)argc * sizeof(*argv));
    memcpy(all_lengths, lengths, (size_t)argc * sizeof(*lengths));
    all[0] = "EVAL";
    all_lengths[0] = 4;
    all[1] = text;
    all_lengths[1] = strlen(text);
    *ret = redisCommandArgv(context, argc, all, all_lengths);
    return 0;
}

/* One try on one connection, which is kept only when it is still in step. */
static int try_once(struct redis_link *link, enum redis_script script, int argc, const char **argv,
                    const size_t *lengths, int64_t give_up_us, redisReply **ret,
                    struct lathe_error *err)
{
    redisContext *context = take_idle(link);
    int r = context ? 0 : connect_to(link, give_up_us, &context, err);
    if (r < 0)
        return r;
    bound(context, give_up_us);
    redisReply *reply = redisCommandArgv(context, argc, argv, lengths);
    if (script != SCRIPT_NONE && is_missing_script(reply)) {
        freeReplyObject(reply);
        reply = NULL;
        bound(context, give_up_us); /* the server was restarted */
        r = call_with_text(link, context, script, argc, argv, lengths, &reply, err);
    }
    if (r == 0)
        r = redis_check_reply(&link->address, context, reply, err);
    if (r == 0)
        *ret = reply;
    else
        freeReplyObject(reply);
    /* An error reply that passes (READONLY, LOADING) may be another server's by the next try. */
    if (context->err || r == -EAGAIN) {
        redisFree(context);
        drop_idle(link);
    } else {
        give_back(link, context);
    }
    return r;
}

static void wait_jittered(int ms)
{
    uint32_t chance = 0;
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
        chance = (uint32_t)lathe_clock_monotonic_us();
    ms = ms / 2 + (int)(chance % (uint32_t)(ms / 2 + 1));
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

int redis_link_call(struct redis_link *link, enum redis_script script, int argc, const char **argv,
                    const size_t *lengths, redisReply **ret, struct lathe_error *err)
{
    const char *all[CALL_ARGS_MAX] = {"EVALSHA", NULL, "0"};
    size_t all_lengths[CALL_ARGS_MAX] = {7, 40, 1};
    int first = 0;
    if (script != SCRIPT_NONE) {
        all[1] = link->sha[script];
        first = 3;
    }
    memcpy(all + first, argv, (size_t)argc * sizeof(*argv));
    memcpy(all_lengths + first, lengths, (size_t)argc * sizeof(*lengths));

    int64_t give_up_us = lathe_clock_monotonic_us() + link->address.patience_ms * 1000LL;
    int delay_ms = 0;
    for (;;) {
        int r = try_once(link, script, first + argc, all, all_lengths, give_up_us, ret, err);
        if (r != -EAGAIN || lathe_clock_monotonic_us() + delay_ms * 1000LL >= give_up_us)
            return r;
        /* The first repeat is at once: usually the server has only closed an idle connection. */
        if (delay_ms)
            wait_jittered(delay_ms);
        delay_ms = delay_ms ? delay_ms * 2 : BACKOFF_FIRST_MS;
        if (delay_ms > BACKOFF_MAX_MS)
            delay_ms = BACKOFF_MAX_MS;
    }
}

bool redis_info_value(const char *info, const char *name, char *ret, size_t size)
{
    size_t length = strlen(name);
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            snprintf(ret, size, "%.*s", (int)strcspn(line, "\r\n"), line);
            return true;
        }
    }
    return false;
}

/* A server that throws open jobs away, or that cannot run the scripts, is refused at once. */
static int check_server(struct redis_link *link, const char *info, struct lathe_error *err)
{
    char value[64], policy[64], server[REDIS_SERVER_TEXT_MAX];
    redis_address_describe(&link->address, server, sizeof(server));
    if (redis_info_value(info, "redis_version", value, sizeof(value)) && atoi(value) < 5) {
        lathe_error_set(err, -ENOTSUP, LATHE_FAULT_CONFIG, "Redis at %s is version %s", server,
                        value);
        lathe_error_hint(err, "Lathe needs version 5 or later");
        return -ENOTSUP;
    }
    if (redis_info_value(info, "cluster_enabled", value, sizeof(value)) &&
        strcmp(value, "1") == 0) {
        redis_error_explain(server, "MOVED", err);
        return -ENOTSUP;
    }
    if (redis_info_value(info, "maxmemory", value, sizeof(value)) && strcmp(value, "0") != 0 &&
        redis_info_value(info, "maxmemory_policy", policy, sizeof(policy)) &&
        strncmp(policy, "allkeys", 7) == 0) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                        "Redis at %s may throw away open jobs (maxmemory-policy %s)", server,
                        policy);
        lathe_error_hint(err, "redis-cli config set maxmemory-policy noeviction");
        return -EINVAL;
    }
    return 0;
}

int redis_link_open(struct redis_link *link, const char *location, struct lathe_error *err)
{
    int r = -pthread_mutex_init(&link->mutex, NULL);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot make a mutex");
    link->has_mutex = true;
    r = redis_address_parse(location, &link->address, err);
    if (r < 0)
        return r;
    int64_t give_up_us = lathe_clock_monotonic_us() + link->address.patience_ms * 1000LL;
    redisContext *context = NULL;
    r = connect_to(link, give_up_us, &context, err);
    if (r < 0)
        return r;
    bound(context, give_up_us);
    redisReply *reply = redisCommand(context, "INFO");
    r = redis_check_reply(&link->address, context, reply, err);
    if (r == 0 && (reply->type == REDIS_REPLY_STRING))
        r = check_server(link, reply->str, err);
    freeReplyObject(reply);
    for (int i = 0; r == 0 && i < SCRIPT_COUNT; i++)
        r = load_script(link, context, (enum redis_script)i, give_up_us, err);
    if (r == 0)
        give_back(link, context);
    else
        redisFree(context);
    return r;
}

void redis_link_close(struct redis_link *link)
{
    if (!link->has_mutex)
        return;
    drop_idle(link);
    pthread_mutex_destroy(&link->mutex);
    redis_address_clear(&link->address);
    link->has_mutex = false;
}
