/* SPDX-License-Identifier: MIT */
/*
 * The state in Redis while its server is killed, hangs, forgets and refuses. Other drivers skip
 * these tests.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "contract_state.h"
#include "lathe/base.h"

static bool is_redis(void)
{
    return !strcmp(contract.driver, "redis");
}

static redisContext *connect_directly(void)
{
    const char *port = strrchr(contract.location, ':');
    assert_non_null(port);
    redisContext *context = redisConnect("127.0.0.1", atoi(port + 1));
    assert_non_null(context);
    assert_int_equal(context->err, 0);
    return context;
}

static void tell(redisContext *context, const char *command)
{
    redisReply *reply = redisCommand(context, command);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", command, reply->str);
    freeReplyObject(reply);
}

static void tell_once(const char *command)
{
    redisContext *context = connect_directly();
    tell(context, command);
    redisFree(context);
}

/* contract.location with options. */
static struct lathe_state *open_with(const char *options)
{
    struct lathe_state *st = NULL;
    struct lathe_error err = {0};
    _cleanup_free_ char *location = lathe_format("%s?%s", contract.location, options);
    if (lathe_state_open("redis", location, &st, &err) < 0)
        fail_msg("%s", err.what);
    return st;
}

static void check_refused(const char *location, int code, enum lathe_fault fault, const char *what)
{
    struct lathe_state *st = NULL;
    struct lathe_error err = {0};
    int r = lathe_state_open("redis", location, &st, &err);
    if (r != code || err.fault != fault || !strstr(err.what, what))
        fail_msg("%s: %d, fault %d, \"%s\", not \"%s\"", location, r, err.fault, err.what, what);
    assert_null(strstr(err.what, "hunter2"));
    assert_null(st);
}

static void write_password(const char *text, mode_t mode)
{
    _cleanup_free_ char *path = contract_path("password");
    assert_int_equal(lathe_write_file_atomic(path, text, strlen(text), NULL), 0);
    assert_int_equal(chmod(path, mode), 0);
}

void test_redis_settings(void **state)
{
    (void)state;
    if (!is_redis())
        skip();
    static const char *const bad[] = {
        "redis://h:0",        "redis://h:x", "redis://h/x",     "redis://",       "h?patience_ms=0",
        "h?retain_seconds=x", "h?what=1",    "h?password_file", "user:hunter2@h", "user@h",
        "h?ca=/etc/ca.pem",
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++)
        check_refused(bad[i], -EINVAL, LATHE_FAULT_CONFIG, "location of Redis");
    check_refused("127.0.0.1:1", -EAGAIN, LATHE_FAULT_SERVER, "127.0.0.1:1 cannot be reached");

    /* Built with TLS it is only a server that cannot be reached. */
    struct lathe_error err = {0};
    struct lathe_state *st = NULL;
    assert_true(lathe_state_open("redis", "rediss://127.0.0.1:1", &st, &err) < 0);
    assert_true(strstr(err.what, "no TLS for Redis") || err.code == -EAGAIN);
    const char *server = strstr(contract.location, "127.");
    assert_non_null(server);
    _cleanup_free_ char *with_user =
        lathe_format("lathe@%s/3?password_file=%s/password", server, contract.folder);
    check_refused(with_user, -ENOENT, LATHE_FAULT_CONFIG, "password");
    write_password("hunter2\n", 0644);
    check_refused(with_user, -EACCES, LATHE_FAULT_CONFIG, "read by everybody");
    write_password("hunter2\n", 0640);
    check_refused(with_user, -EACCES, LATHE_FAULT_CONFIG, "user and password");
    tell_once("ACL SETUSER lathe on >hunter2 ~* +@all");
    assert_int_equal(lathe_state_open("redis", with_user, &st, NULL), 0);
    create_job(st, "a", 0);
    lathe_state_close(st);
    st = open_state(); /* the other database has no such job */
    assert_int_equal(lathe_state_get(st, "a", &(struct lathe_job_view){0}, NULL), -ENOENT);
    tell_once("ACL SETUSER lathe -evalsha -eval -script");
    check_refused(with_user, -EACCES, LATHE_FAULT_CONFIG, "does not allow this user");
    tell_once("ACL DELUSER lathe");

    /* What a server may not do, and what it cannot. */
    redisContext *admin = connect_directly();
    tell(admin, "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru");
    check_refused(contract.location, -EINVAL, LATHE_FAULT_CONFIG, "may throw away open jobs");
    tell(admin, "CONFIG SET maxmemory 1 maxmemory-policy noeviction");
    assert_int_equal(lathe_state_create(st, "b", 0, "{}", &err), -ENOSPC);
    assert_int_equal(err.fault, LATHE_FAULT_RESOURCE);
    tell(admin, "CONFIG SET maxmemory 0");
    create_job(st, "b", 0);
    redisFree(admin);
    lathe_state_close(st);
}

static atomic_bool is_over;

static void *forget_scripts(void *arg)
{
    redisContext *context = arg;
    while (!atomic_load(&is_over))
        freeReplyObject(redisCommand(context, "SCRIPT FLUSH"));
    return NULL;
}

/* At every moment, also right after it was loaded. */
void test_redis_forgets_scripts(void **state)
{
    (void)state;
    if (!is_redis())
        skip();
    struct lathe_state *st = open_state();
    redisContext *context = connect_directly();
    pthread_t thread;
    atomic_store(&is_over, false);
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 100, 0);
    assert_int_equal(pthread_create(&thread, NULL, forget_scripts, context), 0);
    complete_all(st, "a");
    uint64_t merge;
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &merge, NULL, NULL), LATHE_GRANTED);
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    redisFree(context);
    lathe_state_close(st);
}

#define UNITS 600

struct worker {
    struct lathe_state *st;
    atomic_int *acknowledged; /* by unit */
    char why[512];
};

/* Until the merge can be claimed. A claim whose reply was lost leaves a lease that runs out. */
static void *work_on(void *arg)
{
    struct worker *worker = arg;
    struct lathe_error err = {0};
    for (;;) {
        struct lathe_claim c;
        enum lathe_verdict verdict;
        int r = lathe_state_claim_next(worker->st, &(struct lathe_claim_wish){.job_id = "a"}, "w",
                                       300, &verdict, &c, &err);
        if (r == 0 && verdict == LATHE_GRANTED) {
            r = lathe_state_complete(worker->st, "a", c.unit, c.fence, "{}", &verdict, &err);
            if (r == 0 && verdict == LATHE_DONE)
                atomic_fetch_add(&worker->acknowledged[c.unit], 1);
            contract_sleep_ms(20);
        } else if (r == 0) {
            struct lathe_job_view view = {0};
            r = lathe_state_get(worker->st, "a", &view, &err);
            bool is_complete = r == 0 && view.completed_units == UNITS;
            lathe_job_view_clear(&view);
            if (is_complete)
                return NULL;
            contract_sleep_ms(10);
        }
        if (r < 0) {
            snprintf(worker->why, sizeof(worker->why), "%s", err.what);
            return NULL;
        }
    }
}

/* Killed three times while four threads work: no call fails, and no acknowledgement is forgotten.
 */
void test_redis_killed(void **state)
{
    (void)state;
    if (!is_redis() || !getenv("LATHE_SERVER"))
        skip();
    static atomic_int acknowledged[UNITS];
    struct lathe_state *st = open_state();
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, UNITS, 0);
    struct worker workers[4];
    pthread_t threads[LATHE_COUNT(workers)];
    for (size_t i = 0; i < LATHE_COUNT(workers); i++) {
        workers[i] = (struct worker){.st = st, .acknowledged = acknowledged};
        assert_int_equal(pthread_create(&threads[i], NULL, work_on, &workers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        contract_server("kill", "redis");
        contract_server("start", "redis");
    }
    struct lathe_job_view view = {0};
    assert_int_equal(lathe_state_get(st, "a", &view, NULL), 0);
    assert_in_range(view.completed_units, 1, UNITS - 1); /* it was the middle */
    lathe_job_view_clear(&view);
    for (size_t i = 0; i < LATHE_COUNT(workers); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_string_equal(workers[i].why, "");
    }
    struct lathe_done *done;
    size_t count;
    assert_int_equal(lathe_state_results(st, "a", 0, LATHE_UNITS_MAX, &done, &count, NULL), 0);
    assert_int_equal(count, UNITS);
    lathe_done_free(done, count);
    for (int i = 0; i < UNITS; i++)
        assert_int_equal(acknowledged[i], 1);
    lathe_state_close(st);
}

static void *wake_up(void *arg)
{
    (void)arg;
    contract_sleep_ms(1500);
    contract_server("cont", "redis");
    return NULL;
}

void test_redis_hangs(void **state)
{
    (void)state;
    if (!is_redis() || !getenv("LATHE_SERVER"))
        skip();
    struct lathe_state *st = open_state(), *hasty = open_with("patience_ms=500");
    struct lathe_job_view view = {0};
    struct lathe_error err = {0};
    create_job(st, "a", 0);
    create_job(hasty, "b", 0); /* each has a connection now */
    contract_server("stop", "redis");
    /* Who has little patience is told soon; an answer's own time-out would be 10 s. */
    int64_t began_us = lathe_clock_monotonic_us();
    int r = lathe_state_get(hasty, "a", &view, &err);
    int64_t took_us = lathe_clock_monotonic_us() - began_us;
    struct lathe_state *nobody = NULL;
    _cleanup_free_ char *location = lathe_format("%s?patience_ms=500", contract.location);
    int opened = lathe_state_open("redis", location, &nobody, NULL);
    /* Who has more waits. */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_up, NULL), 0);
    enum lathe_job_status status = status_of(st, "a");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(err.fault, LATHE_FAULT_SERVER);
    assert_true(err.retriable);
    assert_true(took_us < 5 * 1000000LL);
    assert_int_equal(opened, -EAGAIN);
    assert_int_equal(status, LATHE_JOB_QUEUED);
    /* The answer that came too late is not taken for the next one. */
    assert_int_equal(lathe_state_get(hasty, "b", &view, NULL), 0);
    assert_string_equal(view.id, "b");
    lathe_job_view_clear(&view);
    /* The same while a command blocks the server. */
    redisContext *admin = connect_directly();
    assert_int_equal(redisAppendCommand(admin, "DEBUG SLEEP 2"), REDIS_OK);
    int written = 0;
    while (!written)
        assert_int_equal(redisBufferWrite(admin, &written), REDIS_OK);
    contract_sleep_ms(200);
    assert_int_equal(lathe_state_get(hasty, "b", &view, NULL), -EAGAIN);
    assert_int_equal(status_of(st, "b"), LATHE_JOB_QUEUED);
    redisFree(admin);
    lathe_state_close(hasty);
    lathe_state_close(st);
}

/* Emptied in the middle: whoever still works is told that the job is gone, and begins nothing. */
void test_redis_emptied(void **state)
{
    (void)state;
    if (!is_redis())
        skip();
    struct lathe_state *st = open_state();
    struct lathe_claim c;
    uint64_t merge;
    create_job(st, "a", 0);
    plan_job(st, "a", 0, 0, 3, 0);
    assert_int_equal(claim(st, "a", 0, LIVE_MS, &c), LATHE_GRANTED);
    tell_once("FLUSHALL");
    assert_int_equal(renew(st, "a", 0, c.fence, LIVE_MS), LATHE_GONE);
    assert_int_equal(complete(st, "a", 0, c.fence, "{}"), LATHE_GONE);
    assert_int_equal(attempt_failed(st, "a", 0, c.fence, false), LATHE_GONE);
    release(st, "a", 0, c.fence);
    assert_int_equal(claim(st, "a", 1, LIVE_MS, &c), LATHE_GONE);
    assert_int_equal(claim_next(st, NULL, LIVE_MS, &c), LATHE_WAIT);
    assert_int_equal(merge_claim(st, "a", LIVE_MS, &merge, NULL, NULL), LATHE_GONE);
    redisContext *admin = connect_directly();
    redisReply *reply = redisCommand(admin, "DBSIZE");
    assert_non_null(reply);
    assert_int_equal(reply->integer, 0);
    freeReplyObject(reply);
    redisFree(admin);
    /* It is built again, in an epoch of its own. */
    create_job(st, "a", 0);
    assert_int_equal(retry(st, "a", 1, false), LATHE_GRANTED);
    plan_job(st, "a", 0, 0, 3, 0);
    enum lathe_verdict verdict;
    assert_int_equal(lathe_state_complete(st, "a", 0, c.fence, "{}", &verdict, NULL), -ESTALE);
    complete_all(st, "a");
    lathe_state_close(st);
}
