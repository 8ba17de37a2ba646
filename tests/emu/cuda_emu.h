/* SPDX-License-Identifier: MIT */
/*
 * What the files of the emulated libcuda.so.1 share, and what the emulated libnvcuvid and
 * libnvidia-encode take from it: the device behind a context, and the end of pending work.
 *
 * A device pointer is a host pointer; a context is known only by its device.
 */
#ifndef EMU_CUDA_EMU_H
#define EMU_CUDA_EMU_H

#include <ffnvcodec/dynlink_cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

#define EMU_CUDA_MAX_DEVICES 16

/* The CUresult values that the header of nv-codec-headers leaves out. */
enum {
    EMU_CUDA_INVALID_VALUE = 1,
    EMU_CUDA_OUT_OF_MEMORY = 2,
    EMU_CUDA_NOT_INITIALIZED = 3,
    EMU_CUDA_NO_DEVICE = 100,
    EMU_CUDA_INVALID_DEVICE = 101,
    EMU_CUDA_INVALID_CONTEXT = 201,
    EMU_CUDA_INVALID_HANDLE = 400,
    EMU_CUDA_NOT_FOUND = 500,
    EMU_CUDA_NOT_READY = 600,
    EMU_CUDA_ILLEGAL_ADDRESS = 700,
    EMU_CUDA_LAUNCH_FAILED = 719,
    EMU_CUDA_NOT_SUPPORTED = 801,
    EMU_CUDA_UNKNOWN = 999,
};

struct CUctx_st {
    int device;
    bool primary;
    int references; /* of a primary context */
    bool alive;     /* a destroyed context stays in memory, so that its use is an error */
    struct CUctx_st *next;
};

/* --- device --- */
bool emu_cuda_initialized(void);
int emu_cuda_device_count(void);
bool emu_cuda_device_valid(CUdevice device);
int64_t emu_cuda_memory_limit_bytes(void); /* of each device */

/* --- context --- */
/* The device of the calling thread's current context, or -1. */
int emu_cuda_current_device(void);
/* The device of a context handle, or -1 when it is none. */
int emu_cuda_context_device(CUcontext context);

/* --- faults --- */
/* Passes `point` on `device`; what the call has to return, CUDA_SUCCESS for pictures and silence.
 */
CUresult emu_cuda_result(struct emu_fault fault);
CUresult emu_cuda_point(const char *point, int device);

/* --- work that completes later (set async_ms) --- */
/* Runs `run(arguments)` now, or after the delay, in order. `arguments` is copied. */
CUresult emu_cuda_submit(void (*run)(void *arguments), const void *arguments, size_t size);
void emu_cuda_drain(void); /* returns when nothing is pending */
bool emu_cuda_idle(void);

/* Declared by newer headers only. */
CUresult cuDriverGetVersion(int *version);
CUresult cuCtxGetCurrent(CUcontext *context);
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags);
CUresult cuArrayCreate_v2(CUarray *array, const void *descriptor);
/* Declared by no header of nv-codec-headers. */
CUresult cuDeviceGetPCIBusId(char *id, int length, CUdevice device);
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device);
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes);

#endif
