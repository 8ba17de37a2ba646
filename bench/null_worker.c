/* SPDX-License-Identifier: MIT */
/*
 * A worker without media for bench/control-plane: it takes doorbells and units from the queue and
 * the state in the order that a worker's agent does, encodes nothing, and completes them. What it
 * measures is what Lathe's control costs.
 *
 * usage: null-worker submit FIRST JOBS CHUNKS    jobs number FIRST and following, of so many chunks
 *        null-worker work FILE                   until no job is open; FILE gets when each unit
 * ended
 *
 * Servers: LATHE_QUEUE_DRIVER, LATHE_QUEUE_LOCATION, LATHE_STATE_DRIVER, LATHE_STATE_LOCATION.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lathe/base.h"
#include "lathe/queue.h"
#include "lathe/state.h"

#define PUBLISHERS 8
#define IDLE_MS 50

static struct lathe_queue *queue;
static struct lathe_state *state;
static FILE *times;

static _Noreturn void give_up(const struct lathe_error *err)
{
    fprintf(stderr, "null-worker: %s\n", err->what);
    exit(1);
}

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "null-worker: %s is not set\n", name);
        exit(78);
    }
    return value;
}

static void open_ports(void)
{
    struct lathe_error err = {0};
    if (lathe_queue_open(setting("LATHE_QUEUE_DRIVER"), setting("LATHE_QUEUE_LOCATION"), &queue,
                         &err) < 0 ||
        lathe_state_open(setting("LATHE_STATE_DRIVER"), setting("LATHE_STATE_LOCATION"), &state,
                         &err) < 0)
        give_up(&err);
}

/* --- submit --- */

struct publisher {
    int number, first, jobs, chunks;
};

static void *publish_bells(void *arg)
{
    const struct publisher *p = arg;
    struct lathe_error err = {0};
    for (int64_t i = p->number; i < (int64_t)p->jobs * p->chunks; i += PUBLISHERS) {
        char key[64], body[128];
        int job = p->first + (int)(i / p->chunks), unit = (int)(i % p->chunks);
        snprintf(key, sizeof(key), "null-%d/%d", job, unit);
        snprintf(body, sizeof(body), "{\"v\":1,\"job_id\":\"null-%d\",\"unit\":%d}", job, unit);
        if (lathe_queue_publish(queue, LATHE_TOPIC_CHUNKS, key, body, &err) < 0)
            give_up(&err);
    }
    return NULL;
}

static void submit(int first, int jobs, int chunks)
{
    struct lathe_error err = {0};
    struct lathe_unit *units = calloc((size_t)chunks, sizeof(*units));
    if (!units)
        exit(1);
    for (int i = 0; i < chunks; i++)
        units[i] = (struct lathe_unit){.kind = LATHE_UNIT_CHUNK, .index = (uint32_t)i};
    for (int job = first; job < first + jobs; job++) {
        char id[32];
        enum lathe_verdict verdict;
        uint64_t fence;
        int wait_ms;
        snprintf(id, sizeof(id), "null-%d", job);
        if (lathe_state_create(state, id, 0, "{}", &err) < 0 ||
            lathe_state_claim_split(state, id, "submit", LATHE_LEASE_TTL_MS, &verdict, &fence,
                                    &wait_ms, &err) < 0 ||
            lathe_state_set_units(state, id, fence, units, (uint32_t)chunks, &verdict, &err) < 0)
            give_up(&err);
    }
    free(units);
    struct publisher publishers[PUBLISHERS];
    pthread_t threads[PUBLISHERS];
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publisher){i, first, jobs, chunks};
        if (pthread_create(&threads[i], NULL, publish_bells, &publishers[i]))
            exit(1);
    }
    for (int i = 0; i < PUBLISHERS; i++)
        pthread_join(threads[i], NULL);
}

/* --- work --- */

static void try_merge(const char *job_id)
{
    struct lathe_error err = {0};
    enum lathe_verdict verdict;
    uint64_t fence;
    struct lathe_done *done;
    size_t count;
    int wait_ms;
    if (lathe_state_merge_claim(state, job_id, "null", LATHE_LEASE_TTL_MS, &verdict, &fence, &done,
                                &count, &wait_ms, &err) < 0)
        give_up(&err);
    if (verdict != LATHE_GRANTED)
        return;
    lathe_done_free(done, count);
    if (lathe_state_merge_commit(state, job_id, fence, "{}", &verdict, &err) < 0)
        give_up(&err);
}

static void finish_unit(const struct lathe_claim *c)
{
    static const char result[] =
        "{\"frames\":250,\"objects\":[{\"key\":\"transcoded/j/720p/c.mp4\","
        "\"bytes\":2500000}]}";
    struct lathe_error err = {0};
    enum lathe_verdict verdict;
    if (lathe_state_complete(state, c->job_id, c->unit, c->fence, result, &verdict, &err) < 0)
        give_up(&err);
    int64_t now_us = lathe_clock_monotonic_us();
    if (verdict == LATHE_DONE && fwrite(&now_us, sizeof(now_us), 1, times) != 1)
        exit(1);
    try_merge(c->job_id);
}

static bool answer_bell(int timeout_ms)
{
    struct lathe_error err = {0};
    struct lathe_message message = {0};
    int r = lathe_queue_take(queue, LATHE_TOPIC_CHUNKS, timeout_ms, &message, NULL, &err);
    if (r < 0)
        give_up(&err);
    if (r == 0)
        return false;
    char *slash = strchr(message.key, '/');
    uint32_t unit = slash ? (uint32_t)strtoul(slash + 1, NULL, 10) : 0;
    if (slash)
        *slash = '\0';
    struct lathe_claim c;
    enum lathe_verdict verdict;
    int wait_ms = 0;
    if (lathe_state_claim(state, message.key, unit, "null", LATHE_LEASE_TTL_MS, &verdict, &c,
                          &wait_ms, &err) < 0)
        give_up(&err);
    if (verdict == LATHE_GRANTED)
        finish_unit(&c);
    if (verdict == LATHE_BUSY || verdict == LATHE_WAIT)
        r = lathe_queue_release(queue, &message, wait_ms, &err);
    else
        r = lathe_queue_done(queue, &message, &err);
    if (r < 0)
        give_up(&err);
    lathe_message_clear(&message);
    return true;
}

static bool claim_any(void)
{
    struct lathe_error err = {0};
    struct lathe_claim c;
    enum lathe_verdict verdict;
    if (lathe_state_claim_next(state, &(struct lathe_claim_wish){0}, "null", LATHE_LEASE_TTL_MS,
                               &verdict, &c, &err) < 0)
        give_up(&err);
    if (verdict == LATHE_GRANTED)
        finish_unit(&c);
    return verdict == LATHE_GRANTED;
}

static bool is_all_done(void)
{
    struct lathe_error err = {0};
    char **ids;
    size_t count;
    if (lathe_state_list_open(state, &ids, &count, &err) < 0)
        give_up(&err);
    for (size_t i = 0; i < count; i++)
        free(ids[i]);
    free(ids);
    return count == 0;
}

static void work(const char *path)
{
    times = fopen(path, "w");
    if (!times)
        exit(1);
    while (answer_bell(0) || claim_any() || answer_bell(IDLE_MS) || !is_all_done())
        ;
    if (fclose(times))
        exit(1);
}

/* The most memory that this process ever had. */
static void print_peak(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof(line), status))
        if (!strncmp(line, "VmHWM:", 6))
            printf("%ld\n", strtol(line + 6, NULL, 10));
    if (status)
        fclose(status);
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "submit")) {
        open_ports();
        submit(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    } else if (argc == 3 && !strcmp(argv[1], "work")) {
        open_ports();
        work(argv[2]);
        print_peak();
    } else {
        fprintf(stderr, "usage: null-worker submit FIRST JOBS CHUNKS | work FILE\n");
        return 2;
    }
    lathe_queue_close(queue);
    lathe_state_close(state);
    return 0;
}
