/* SPDX-License-Identifier: MIT */
/*
 * Emulated libcuda: contexts and each thread's stack of them. Most of what callers get wrong with
 * CUDA is the current context, so handles and depths are checked as the real driver does.
 */
#include <pthread.h>
#include <stdlib.h>

#include "cuda_emu.h"

#define STACK_DEPTH 64

tcuCtxCreate_v2 cuCtxCreate_v2;
tcuCtxSetLimit cuCtxSetLimit;
tcuCtxPushCurrent_v2 cuCtxPushCurrent_v2;
tcuCtxPopCurrent_v2 cuCtxPopCurrent_v2;
tcuCtxDestroy_v2 cuCtxDestroy_v2;
tcuCtxGetDevice cuCtxGetDevice;
tcuDevicePrimaryCtxRetain cuDevicePrimaryCtxRetain;
tcuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease;
tcuDevicePrimaryCtxSetFlags cuDevicePrimaryCtxSetFlags;
tcuDevicePrimaryCtxGetState cuDevicePrimaryCtxGetState;
tcuDevicePrimaryCtxReset cuDevicePrimaryCtxReset;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUctx_st *contexts;
static struct CUctx_st *primary[EMU_CUDA_MAX_DEVICES];
static unsigned int primary_flags[EMU_CUDA_MAX_DEVICES];

static _Thread_local struct {
    CUcontext at[STACK_DEPTH];
    int depth;
} stack;

static CUcontext current(void)
{
    return stack.depth ? stack.at[stack.depth - 1] : NULL;
}

int emu_cuda_context_device(CUcontext context)
{
    int device = -1;

    pthread_mutex_lock(&lock);
    for (struct CUctx_st *c = contexts; c; c = c->next)
        if (c == context && c->alive)
            device = c->device;
    pthread_mutex_unlock(&lock);
    return device;
}

int emu_cuda_current_device(void)
{
    return emu_cuda_context_device(current());
}

/* With the lock held. */
static struct CUctx_st *add_context(CUdevice device, bool is_primary)
{
    struct CUctx_st *context = calloc(1, sizeof(*context));

    if (!context)
        return NULL;
    *context =
        (struct CUctx_st){.device = device, .primary = is_primary, .alive = true, .next = contexts};
    contexts = context;
    return context;
}

/* What every way of getting a context passes. */
static CUresult open_device(CUdevice device)
{
    struct emu_fault fault;
    int code;

    if (!emu_cuda_initialized())
        return (CUresult)EMU_CUDA_NOT_INITIALIZED;
    if (!emu_cuda_device_valid(device))
        return (CUresult)EMU_CUDA_INVALID_DEVICE;
    fault = emu_point("device.open", device);
    code =
        emu_fault_code(fault, EMU_CUDA_OUT_OF_MEMORY, EMU_CUDA_NO_DEVICE, EMU_CUDA_ILLEGAL_ADDRESS);
    if (code)
        return (CUresult)code;
    return emu_cuda_point("cuda.context", device);
}

CUresult cuCtxCreate_v2(CUcontext *ret_context, unsigned int flags, CUdevice device)
{
    CUresult ret = open_device(device);
    struct CUctx_st *context;

    if (ret)
        return ret;
    if (stack.depth == STACK_DEPTH)
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    context = add_context(device, false);
    pthread_mutex_unlock(&lock);
    if (!context)
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    stack.at[stack.depth++] = context; /* creating makes current */
    emu_record("cuda.context", "device=%d primary=0 flags=%u", device, flags);
    *ret_context = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxDestroy_v2(CUcontext context)
{
    CUresult ret = (CUresult)EMU_CUDA_INVALID_CONTEXT;

    emu_cuda_drain();
    if (context && context == current())
        stack.depth--;
    pthread_mutex_lock(&lock);
    for (struct CUctx_st *c = contexts; c; c = c->next) {
        if (c == context && c->alive && !c->primary) {
            c->alive = false;
            ret = CUDA_SUCCESS;
        }
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
    (void)limit;
    (void)value;
    return current() ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_CONTEXT;
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    if (emu_cuda_context_device(context) < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (stack.depth == STACK_DEPTH)
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    stack.at[stack.depth++] = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    if (!stack.depth)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    stack.depth--;
    if (context)
        *context = stack.at[stack.depth];
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = current();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    int found = emu_cuda_current_device();

    if (found < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    *device = found;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *ret_context, CUdevice device)
{
    CUresult ret = open_device(device);

    if (ret)
        return ret;
    pthread_mutex_lock(&lock);
    if (!primary[device])
        primary[device] = add_context(device, true);
    if (primary[device]) {
        primary[device]->references++;
        primary[device]->alive = true;
    }
    *ret_context = primary[device];
    pthread_mutex_unlock(&lock);
    if (!*ret_context)
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    emu_record("cuda.context", "device=%d primary=1 flags=%u", device, primary_flags[device]);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    CUresult ret = (CUresult)EMU_CUDA_INVALID_CONTEXT;

    if (!emu_cuda_device_valid(device))
        return (CUresult)EMU_CUDA_INVALID_DEVICE;
    emu_cuda_drain();
    pthread_mutex_lock(&lock);
    if (primary[device] && primary[device]->references > 0) {
        primary[device]->alive = --primary[device]->references > 0;
        ret = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned int flags)
{
    if (!emu_cuda_device_valid(device))
        return (CUresult)EMU_CUDA_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    primary_flags[device] = flags;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active)
{
    if (!emu_cuda_device_valid(device))
        return (CUresult)EMU_CUDA_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    *flags = primary_flags[device];
    *active = primary[device] && primary[device]->alive;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxReset(CUdevice device)
{
    if (!emu_cuda_device_valid(device))
        return (CUresult)EMU_CUDA_INVALID_DEVICE;
    emu_cuda_drain();
    pthread_mutex_lock(&lock);
    if (primary[device])
        primary[device]->alive = false;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}
