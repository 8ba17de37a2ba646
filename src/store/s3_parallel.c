/* SPDX-License-Identifier: MIT */
/*
 * The parts of one transfer on several connections: threads that each take the next number.
 */
#include <errno.h>

#include "lathe/base.h"
#include "s3.h"

struct work {
    uint64_t count;
    atomic_uint_fast64_t next;
    atomic_bool *stop;
    int (*do_part)(void *opaque, uint64_t number, struct lathe_error *err);
    void *opaque;
    pthread_mutex_t mutex; /* of the result */
    int result;
    struct lathe_error error;
};

static void *run(void *arg)
{
    struct work *work = arg;
    while (!atomic_load(work->stop)) {
        uint64_t number = atomic_fetch_add(&work->next, 1);
        if (number >= work->count)
            break;
        struct lathe_error err = {0};
        int r = work->do_part(work->opaque, number, &err);
        if (r == 0)
            continue;
        pthread_mutex_lock(&work->mutex);
        if (work->result == 0) { /* later ones are of being stopped */
            work->result = r;
            work->error = err;
        }
        pthread_mutex_unlock(&work->mutex);
        atomic_store(work->stop, true);
    }
    return NULL;
}

int s3_parallel(struct s3 *s3, uint64_t count, atomic_bool *stop,
                int (*do_part)(void *opaque, uint64_t number, struct lathe_error *err),
                void *opaque, struct lathe_error *err)
{
    struct work work = {.count = count,
                        .stop = stop,
                        .do_part = do_part,
                        .opaque = opaque,
                        .mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[16];
    unsigned started = 0;
    while (started + 1 < s3->connections && started + 1 < count && started < 16 &&
           pthread_create(&threads[started], NULL, run, &work) == 0)
        started++;
    run(&work); /* this one works too, so that no thread at all is still progress */
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&work.mutex);
    if (work.result < 0 && err)
        *err = work.error;
    return work.result;
}
