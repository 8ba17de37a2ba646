/* SPDX-License-Identifier: MIT */
#include "books.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lathe/base.h"

static uint64_t resident_bytes(pid_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    unsigned long long size, resident;
    if (!f || fscanf(f, "%llu %llu", &size, &resident) != 2)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void lathe_books_sample(struct lathe_pool *pool)
{
    int64_t now_us = lathe_clock_monotonic_us();
    if (now_us - pool->sampled_us < LATHE_TICK_MS * 1000)
        return;
    pool->sampled_us = now_us;
    uint64_t sum = resident_bytes(getpid());
    for (struct lathe_live *l = pool->live; l; l = l->next)
        sum += resident_bytes(l->pid);
    if (sum > pool->peak_bytes)
        pool->peak_bytes = sum;
}

/* Called with the lock held. */
static void add_usage(struct lathe_pool *pool, const struct rusage *usage,
                      struct lathe_usage *ret_usage)
{
    struct lathe_usage one = {.children = 1};
    lathe_process_add_usage(&one, usage);
    lathe_process_add_usage(&pool->usage, usage);
    pool->usage.children++;
    /* a child may have been too short-lived to be sampled */
    if (one.max_rss_bytes > pool->peak_bytes)
        pool->peak_bytes = one.max_rss_bytes;
    if (ret_usage)
        *ret_usage = one;
}

void lathe_books_collect(struct lathe_pool *pool)
{
    for (struct lathe_live **at = &pool->live; *at;) {
        struct lathe_live *l = *at;
        int status;
        struct rusage usage;
        pid_t r = l->stuck ? wait4(l->pid, &status, WNOHANG, &usage) : 0;
        if (r == 0) {
            at = &l->next;
            continue;
        }
        if (r > 0)
            add_usage(pool, &usage, NULL);
        *at = l->next;
        free(l);
    }
}

void lathe_pool_usage(struct lathe_pool *pool, struct lathe_usage *ret)
{
    pthread_mutex_lock(&pool->lock);
    *ret = pool->usage;
    pthread_mutex_unlock(&pool->lock);
}

uint64_t lathe_pool_peak_bytes(struct lathe_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    uint64_t ret = pool->peak_bytes;
    pthread_mutex_unlock(&pool->lock);
    return ret;
}

unsigned lathe_pool_stuck_on(struct lathe_pool *pool, enum lathe_encoder family, const char *path)
{
    unsigned count = 0;
    pthread_mutex_lock(&pool->lock);
    lathe_books_collect(pool);
    for (struct lathe_live *l = pool->live; l; l = l->next)
        count += l->stuck && l->gpu_family == family && (!path || strcmp(l->gpu_path, path) == 0);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

void lathe_books_settle(struct lathe_pool *pool, struct lathe_process *process,
                        struct lathe_live *live, struct lathe_usage *ret_usage)
{
    pthread_mutex_lock(&pool->lock);
    if (process->ended) {
        add_usage(pool, &process->usage, ret_usage);
        for (struct lathe_live **at = &pool->live; *at; at = &(*at)->next)
            if (*at == live) {
                *at = live->next;
                break;
            }
        free(live);
    } else {
        live->stuck = true;
    }
    pthread_mutex_unlock(&pool->lock);
}
