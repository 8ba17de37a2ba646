/* SPDX-License-Identifier: MIT */
/*
 * The connection of the Redis state: finds the server again when it was lost, and tells what a
 * server refuses in words that say what to do. Knows nothing of jobs.
 *
 * Every call may be sent twice (a lost reply looks like a lost request), so only calls that are
 * safe to repeat go through here. Threads: one link may be shared; each call in flight has a
 * connection of its own, so that a long one does not hold up the renewal of a lease.
 */
#ifndef LATHE_REDIS_LINK_H
#define LATHE_REDIS_LINK_H

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"
#include "redis_scripts.h"

#define REDIS_ARGS_MAX 24
#define REDIS_IDLE_MAX 8
#define REDIS_SERVER_TEXT_MAX 300

/* Where and how; see redis_address_parse(). */
struct redis_address {
    char host[256]; /* or the path of a socket, when port is 0 */
    int port;
    int database;
    char user[64];
    char *password; /* NULL: none */
    int64_t retain_ms;
    int patience_ms; /* how long a call goes on trying, and blocks at most */
    bool is_tls;
    char *ca_path; /* NULL: the system's authorities */
};

/* [redis[s]://][user@]HOST[:PORT][/DATABASE][?OPTION=VALUE[&…]] or /PATH/OF/SOCKET[?…]. Options:
 * password_file, retain_seconds (of ended jobs; 0 for ever), patience_ms, ca. To be cleared also
 * after a failure. */
int redis_address_parse(const char *location, struct redis_address *ret, struct lathe_error *err);
void redis_address_clear(struct redis_address *address);
/* "127.0.0.1:6379", never a secret. */
void redis_address_describe(const struct redis_address *address, char *ret, size_t size);

/* --- redis_connect.c, redis_tls.c: one connection --- */
/* `timeout_ms` is for each of its answers, and stays set. -EAGAIN: it cannot be reached. */
int redis_connect(const struct redis_address *address, int timeout_ms, redisContext **ret,
                  struct lathe_error *err);
int redis_set_timeout(redisContext *context, int ms);
/* 0 for a good reply. -EAGAIN: worth another try; NULL is a lost connection. */
int redis_check_reply(const struct redis_address *address, redisContext *context, redisReply *reply,
                      struct lathe_error *err);
int redis_unreachable(const struct redis_address *address, const char *why,
                      struct lathe_error *err); /* -EAGAIN */
bool redis_tls_is_built_in(void);
int redis_tls_begin(const struct redis_address *address, redisContext *context,
                    struct lathe_error *err);

/* --- redis_link.c: connections that are found again --- */
struct redis_link {
    struct redis_address address;
    pthread_mutex_t mutex;
    bool has_mutex;
    redisContext *idle[REDIS_IDLE_MAX];
    int n_idle;
    char sha[SCRIPT_COUNT][41];
};

/* `link` is zeroed; it can be closed after a failure too. Does not wait for a server. */
int redis_link_open(struct redis_link *link, const char *location, struct lathe_error *err);
void redis_link_close(struct redis_link *link);

/* Runs a script with the arguments, or with SCRIPT_NONE the command that they are. Returns 0 and a
 * reply that the caller frees; error replies become errors. */
int redis_link_call(struct redis_link *link, enum redis_script script, int argc, const char **argv,
                    const size_t *lengths, redisReply **ret, struct lathe_error *err);

/* The value of "name:value", a line of the answer to INFO. */
bool redis_info_value(const char *info, const char *name, char *ret, size_t size);

/* What an error reply means; true when the same call may go through a little later. */
bool redis_error_explain(const char *server, const char *text, struct lathe_error *err);

#endif
