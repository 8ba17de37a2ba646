/* SPDX-License-Identifier: MIT */
/*
 * Emulated libcuda: streams, events, and work that completes later.
 *
 * All streams of a process are one in-order queue, which is a legal schedule. With "set async_ms N"
 * kernels, device copies and fills run N ms after they were submitted, on a thread, so that code
 * that reads too early reads what was there before.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cuda_emu.h"

tcuStreamCreate cuStreamCreate;
tcuStreamQuery cuStreamQuery;
tcuStreamSynchronize cuStreamSynchronize;
tcuStreamDestroy_v2 cuStreamDestroy_v2;
tcuStreamAddCallback cuStreamAddCallback;
tcuEventCreate cuEventCreate;
tcuEventDestroy_v2 cuEventDestroy_v2;
tcuEventSynchronize cuEventSynchronize;
tcuEventQuery cuEventQuery;
tcuEventRecord cuEventRecord;

struct CUstream_st {
    unsigned int flags;
};

struct CUevent_st {
    unsigned int flags;
};

struct job {
    struct job *next;
    void (*run)(void *arguments);
    struct timespec due;
    max_align_t arguments[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *first, **last = &first;
static bool started;

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct job *job = first;

        if (!job) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        pthread_mutex_unlock(&lock);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &job->due, NULL))
            ;
        job->run(job->arguments);
        pthread_mutex_lock(&lock);
        first = job->next;
        if (!first)
            last = &first;
        free(job);
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

/* With the lock held. */
static bool start_worker(void)
{
    pthread_t thread;

    if (!started && !pthread_create(&thread, NULL, work, NULL)) {
        pthread_detach(thread);
        started = true;
    }
    return started;
}

CUresult emu_cuda_submit(void (*run)(void *arguments), const void *arguments, size_t size)
{
    long delay_ms = emu_setting("async_ms", 0);
    max_align_t now[64];
    struct job *job;

    if (delay_ms <= 0) {
        if (size > sizeof(now))
            return (CUresult)EMU_CUDA_INVALID_VALUE;
        memcpy(now, arguments, size);
        run(now);
        return CUDA_SUCCESS;
    }
    if (!(job = malloc(sizeof(*job) + size)))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    job->next = NULL;
    job->run = run;
    memcpy(job->arguments, arguments, size);
    clock_gettime(CLOCK_MONOTONIC, &job->due);
    job->due.tv_sec += delay_ms / 1000;
    job->due.tv_nsec += delay_ms % 1000 * 1000000;
    if (job->due.tv_nsec >= 1000000000) {
        job->due.tv_sec++;
        job->due.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&lock);
    if (!start_worker()) {
        pthread_mutex_unlock(&lock);
        free(job);
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    }
    *last = job;
    last = &job->next;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

void emu_cuda_drain(void)
{
    pthread_mutex_lock(&lock);
    while (first)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

bool emu_cuda_idle(void)
{
    bool idle;

    pthread_mutex_lock(&lock);
    idle = !first;
    pthread_mutex_unlock(&lock);
    return idle;
}

static CUresult check(const char *point)
{
    int device = emu_cuda_current_device();

    return device < 0 ? (CUresult)EMU_CUDA_INVALID_CONTEXT : emu_cuda_point(point, device);
}

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
    if (emu_cuda_current_device() < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (!(*stream = malloc(sizeof(**stream))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    (*stream)->flags = flags;
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
    emu_cuda_drain();
    free(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream)
{
    CUresult ret = check("cuda.sync");

    (void)stream;
    if (!ret)
        emu_cuda_drain();
    return ret;
}

CUresult cuStreamQuery(CUstream stream)
{
    CUresult ret = check("cuda.sync");

    (void)stream;
    return ret ? ret : emu_cuda_idle() ? CUDA_SUCCESS : (CUresult)EMU_CUDA_NOT_READY;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags)
{
    (void)stream;
    (void)flags;
    /* One queue in order: the event is already before what follows. */
    return event ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_HANDLE;
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback *callback, void *userdata,
                             unsigned int flags)
{
    (void)flags;
    emu_cuda_drain();
    callback(stream, CUDA_SUCCESS, userdata);
    return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned int flags)
{
    if (!(*event = malloc(sizeof(**event))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    (*event)->flags = flags;
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event)
{
    free(event);
    return event ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_HANDLE;
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
    (void)stream;
    return event ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_HANDLE;
}

CUresult cuEventSynchronize(CUevent event)
{
    return event ? cuStreamSynchronize(NULL) : (CUresult)EMU_CUDA_INVALID_HANDLE;
}

CUresult cuEventQuery(CUevent event)
{
    return event ? cuStreamQuery(NULL) : (CUresult)EMU_CUDA_INVALID_HANDLE;
}
