/* SPDX-License-Identifier: MIT */
/*
 * C11 threads by way of POSIX, linked into tests that run under the thread sanitizer: it knows
 * pthread_create and pthread_mutex_lock, and crashes in a thread that it did not see begin.
 * librdkafka uses thrd_create and mtx_lock; with these it finds the ones here, and the sanitizer
 * sees them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

/* glibc gives both kinds one layout. */
_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a mutex is a mutex");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a condition is a condition");

struct beginning {
    thrd_start_t function;
    void *argument;
};

static void *begin(void *opaque)
{
    struct beginning beginning = *(struct beginning *)opaque;
    free(opaque);
    return (void *)(intptr_t)beginning.function(beginning.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument)
{
    struct beginning *beginning = malloc(sizeof(*beginning));
    if (!beginning)
        return thrd_nomem;
    *beginning = (struct beginning){function, argument};
    if (pthread_create(thread, NULL, begin, beginning) == 0)
        return thrd_success;
    free(beginning);
    return thrd_error;
}

int thrd_join(thrd_t thread, int *ret)
{
    void *result = NULL;
    int r = pthread_join(thread, &result);
    if (ret)
        *ret = (int)(intptr_t)result;
    return r ? thrd_error : thrd_success;
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    int r = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return r ? thrd_error : thrd_success;
}

int mtx_lock(mtx_t *mutex)
{
    return pthread_mutex_lock((pthread_mutex_t *)mutex) ? thrd_error : thrd_success;
}

int mtx_unlock(mtx_t *mutex)
{
    return pthread_mutex_unlock((pthread_mutex_t *)mutex) ? thrd_error : thrd_success;
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *condition)
{
    return pthread_cond_init((pthread_cond_t *)condition, NULL) ? thrd_error : thrd_success;
}

int cnd_signal(cnd_t *condition)
{
    return pthread_cond_signal((pthread_cond_t *)condition) ? thrd_error : thrd_success;
}

int cnd_broadcast(cnd_t *condition)
{
    return pthread_cond_broadcast((pthread_cond_t *)condition) ? thrd_error : thrd_success;
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    int r = pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex);
    return r ? thrd_error : thrd_success;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    int r = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return r == ETIMEDOUT ? thrd_timedout : r ? thrd_error : thrd_success;
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

/* librdkafka's counters are atomic, which the sanitizer cannot see in a library that was built
 * without it. libs3 calls gmtime(), see src/store/libs3.c. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:librdkafka.so\nrace:libs3.so\n";
}
