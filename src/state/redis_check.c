/* SPDX-License-Identifier: MIT */
/*
 * A Redis server looked over: whether it keeps what it is told, and whether somebody still takes
 * the work that its leases hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "redis_call.h"

struct server {
    struct redis_link *link;
    const char *info; /* the answer to INFO */
    char name[300];   /* host and port */
    char cli[340];    /* how redis-cli is called for it */
    int64_t now_us;   /* its clock, which leases are counted with */
    const struct lathe_check *check;
    struct lathe_findings *findings;
};

static void describe(struct server *s)
{
    const struct redis_address *a = &s->link->address;
    redis_address_describe(a, s->name, sizeof s->name);
    if (a->port)
        snprintf(s->cli, sizeof s->cli, "redis-cli -h %s -p %d", a->host, a->port);
    else
        snprintf(s->cli, sizeof s->cli, "redis-cli -s %s", a->host);
}

/* The value of a line of INFO, "" where there is none. */
static const char *info(const struct server *s, const char *name, char ret[64])
{
    if (!redis_info_value(s->info, name, ret, 64))
        ret[0] = '\0';
    return ret;
}

static void add(struct server *s, const char *id, enum lathe_severity severity, const char *what,
                const char *command)
{
    char cure[320] = "";
    if (command)
        snprintf(cure, sizeof cure, "%.200s %s", s->cli, command);
    lathe_findings_add(s->findings, id, severity, cure, "Redis at %s %s", s->name, what);
}

static void check_persistence(struct server *s)
{
    char value[64];
    if (strcmp(info(s, "aof_enabled", value), "1") != 0)
        add(s, "state.persistence", LATHE_FINDING_FAULT,
            "keeps no append-only file: when it restarts, jobs are lost",
            "config set appendonly yes    (and appendonly yes in redis.conf)");
    else if (strcmp(info(s, "aof_last_write_status", value), "ok") != 0)
        add(s, "state.persistence", LATHE_FINDING_FAULT, "cannot write its append-only file",
            "info persistence    (then look at its disk)");
    else
        add(s, "state.persistence", LATHE_FINDING_GOOD, "keeps an append-only file", NULL);
}

static void check_eviction(struct server *s)
{
    char policy[64], what[200];
    if (strcmp(info(s, "maxmemory_policy", policy), "noeviction") == 0) {
        add(s, "state.eviction", LATHE_FINDING_GOOD, "evicts nothing", NULL);
        return;
    }
    snprintf(what, sizeof what, "may throw away jobs when its memory is full (maxmemory-policy %s)",
             policy);
    add(s, "state.eviction", LATHE_FINDING_WARNING, what,
        "config set maxmemory-policy noeviction    (and in redis.conf)");
}

static void check_memory(struct server *s)
{
    char value[64];
    double used = atof(info(s, "used_memory", value)), max = atof(info(s, "maxmemory", value));
    if (max > 0 && used > 0.8 * max)
        add(s, "state.memory", LATHE_FINDING_WARNING,
            "has used more than 80 % of its maxmemory; when it is full, no job is accepted",
            "config set maxmemory …    (or lathe rm what has ended)");
}

static void check_role(struct server *s)
{
    char value[64];
    if (strcmp(info(s, "role", value), "master") != 0)
        add(s, "state.role", LATHE_FINDING_FAULT, "is a replica: give the address of its primary",
            "info replication    (says where that is)");
    else if (s->check->is_production && atoi(info(s, "connected_slaves", value)) == 0)
        add(s, "state.replicas", LATHE_FINDING_WARNING,
            "has no replica: when its host is lost, open jobs must be rebuilt from the store",
            "replicaof PRIMARY PORT    (on a second Redis)");
}

static int check_clock(struct server *s, struct lathe_error *err)
{
    _cleanup_reply_ redisReply *reply = NULL;
    int64_t before_us = lathe_clock_wall_us();
    int r = redis_run(s->link, SCRIPT_NONE, &reply, err, "s", "TIME");
    if (r < 0)
        return r;
    int64_t here_us = before_us + (lathe_clock_wall_us() - before_us) / 2;
    s->now_us = redis_number_at(reply, 0) * 1000000 + redis_number_at(reply, 1);
    lathe_findings_add_skew(s->findings, "state.clock", s->name,
                            (double)(here_us - s->now_us) / 1e6);
    return 0;
}

/* Workers that look for work move a lease that ran out to the open units within seconds. */
static int check_leases(struct server *s, struct lathe_error *err)
{
    char until[32];
    snprintf(until, sizeof until, "%lld", (long long)(s->now_us - LATHE_STALE_LEASE_S * 1000000LL));
    _cleanup_reply_ redisReply *reply = NULL;
    int r = redis_run(s->link, SCRIPT_NONE, &reply, err, "ssss", "ZCOUNT", "lathe:leases", "-inf",
                      until);
    if (r < 0)
        return r;
    lathe_state_add_stale_leases(s->findings,
                                 reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0);
    return 0;
}

void redis_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret)
{
    struct lathe_error err = {0};
    _cleanup_reply_ redisReply *reply = NULL;
    struct server s = {.link = priv, .check = check, .findings = ret};
    describe(&s);
    int r = redis_run(s.link, SCRIPT_NONE, &reply, &err, "s", "INFO");
    if (r == 0 && reply->type == REDIS_REPLY_STRING) {
        s.info = reply->str;
        check_role(&s);
        check_persistence(&s);
        check_eviction(&s);
        check_memory(&s);
    }
    if (r == 0)
        r = check_clock(&s, &err);
    if (r == 0)
        r = check_leases(&s, &err);
    if (r < 0)
        lathe_findings_add_error(ret, "state.reachable", &err);
}
