/* SPDX-License-Identifier: MIT */
/*
 * Emulated libcuda: device memory and copies. Every copy is recorded with its direction and size,
 * since "no picture came down to system memory" can only be seen from here.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"

#define PITCH_ALIGNMENT 512

tcuMemAlloc_v2 cuMemAlloc_v2;
tcuMemAllocPitch_v2 cuMemAllocPitch_v2;
tcuMemAllocManaged cuMemAllocManaged;
tcuMemFree_v2 cuMemFree_v2;
tcuMemsetD8Async cuMemsetD8Async;
tcuMemcpy cuMemcpy;
tcuMemcpyAsync cuMemcpyAsync;
tcuMemcpy2D_v2 cuMemcpy2D_v2;
tcuMemcpy2DAsync_v2 cuMemcpy2DAsync_v2;
tcuMemcpyHtoD_v2 cuMemcpyHtoD_v2;
tcuMemcpyHtoDAsync_v2 cuMemcpyHtoDAsync_v2;
tcuMemcpyDtoH_v2 cuMemcpyDtoH_v2;
tcuMemcpyDtoHAsync_v2 cuMemcpyDtoHAsync_v2;
tcuMemcpyDtoD_v2 cuMemcpyDtoD_v2;
tcuMemcpyDtoDAsync_v2 cuMemcpyDtoDAsync_v2;

struct block {
    struct block *next;
    uint8_t *data;
    size_t size_bytes;
    int device;
};

/* A copy of lines; a plain copy is one line. */
struct copy {
    uint8_t *dst;
    const uint8_t *src;
    size_t dst_pitch, src_pitch, width_bytes, lines;
};

struct fill {
    uint8_t *dst;
    unsigned char value;
    size_t size_bytes;
};

enum direction { HTOD, DTOH, DTOD, HTOH };

static const char *const direction_names[] = {"htod", "dtoh", "dtod", "htoh"};
static const char *const direction_points[] = {"cuda.copy.htod", "cuda.copy.dtoh", "cuda.copy.dtod",
                                               "cuda.copy.htoh"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static int64_t used_bytes[EMU_CUDA_MAX_DEVICES];

CUresult cuMemAlloc_v2(CUdeviceptr *ret_pointer, size_t size_bytes)
{
    int device = emu_cuda_current_device();
    struct block *block;
    CUresult ret;

    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (!size_bytes)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    if ((ret = emu_cuda_point("cuda.alloc", device)))
        return ret;
    if (!(block = calloc(1, sizeof(*block))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    if (used_bytes[device] + (int64_t)size_bytes <= emu_cuda_memory_limit_bytes())
        block->data = aligned_alloc(PITCH_ALIGNMENT, (size_bytes + PITCH_ALIGNMENT - 1) /
                                                         PITCH_ALIGNMENT * PITCH_ALIGNMENT);
    if (!block->data) {
        pthread_mutex_unlock(&lock);
        free(block);
        emu_record("cuda.full", "device=%d wanted_bytes=%zu", device, size_bytes);
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    }
    block->size_bytes = size_bytes;
    block->device = device;
    block->next = blocks;
    blocks = block;
    used_bytes[device] += (int64_t)size_bytes;
    pthread_mutex_unlock(&lock);
    *ret_pointer = (CUdeviceptr)(uintptr_t)block->data;
    return CUDA_SUCCESS;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width_bytes, size_t height,
                            unsigned int element_bytes)
{
    (void)element_bytes;
    *pitch = (width_bytes + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT * PITCH_ALIGNMENT;
    return cuMemAlloc_v2(pointer, *pitch * height);
}

CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t size_bytes, unsigned int flags)
{
    (void)flags;
    return cuMemAlloc_v2(pointer, size_bytes);
}

CUresult cuMemFree_v2(CUdeviceptr pointer)
{
    CUresult ret = (CUresult)EMU_CUDA_INVALID_VALUE;

    emu_cuda_drain();
    pthread_mutex_lock(&lock);
    for (struct block **at = &blocks; *at; at = &(*at)->next) {
        struct block *block = *at;

        if ((CUdeviceptr)(uintptr_t)block->data != pointer)
            continue;
        *at = block->next;
        used_bytes[block->device] -= (int64_t)block->size_bytes;
        free(block->data);
        free(block);
        ret = CUDA_SUCCESS;
        break;
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    int device = emu_cuda_current_device();

    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    *total_bytes = (size_t)emu_cuda_memory_limit_bytes();
    pthread_mutex_lock(&lock);
    *free_bytes = *total_bytes - (size_t)used_bytes[device];
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

static void run_fill(void *arguments)
{
    const struct fill *fill = arguments;

    memset(fill->dst, fill->value, fill->size_bytes);
}

CUresult cuMemsetD8Async(CUdeviceptr dst, unsigned char value, size_t size_bytes, CUstream stream)
{
    struct fill fill = {(uint8_t *)(uintptr_t)dst, value, size_bytes};
    int device = emu_cuda_current_device();
    CUresult ret;

    (void)stream;
    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if ((ret = emu_cuda_point("cuda.fill", device)))
        return ret;
    return emu_cuda_submit(run_fill, &fill, sizeof(fill));
}

static void run_copy(void *arguments)
{
    const struct copy *copy = arguments;

    for (size_t y = 0; y < copy->lines; y++)
        memmove(copy->dst + y * copy->dst_pitch, copy->src + y * copy->src_pitch,
                copy->width_bytes);
}

static CUresult do_copy(const struct copy *copy, enum direction direction, bool synchronous)
{
    int device = emu_cuda_current_device();
    struct emu_fault fault;
    CUresult ret;

    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (!copy->dst || !copy->src)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    fault = emu_point(direction_points[direction], device);
    if ((ret = emu_cuda_result(fault)))
        return ret;
    emu_record("cuda.copy", "device=%d direction=%s bytes=%zu", device, direction_names[direction],
               copy->width_bytes * copy->lines);
    if (fault.action == EMU_SILENT)
        return CUDA_SUCCESS;
    if (direction == DTOD && !synchronous)
        return emu_cuda_submit(run_copy, copy, sizeof(*copy));
    /* Pageable host memory is staged: the call returns when it has been read or written. */
    emu_cuda_drain();
    run_copy(&(struct copy){copy->dst, copy->src, copy->dst_pitch, copy->src_pitch,
                            copy->width_bytes, copy->lines});
    return CUDA_SUCCESS;
}

static bool on_device(uintptr_t address)
{
    bool found = false;

    pthread_mutex_lock(&lock);
    for (struct block *block = blocks; block && !found; block = block->next)
        found = address - (uintptr_t)block->data < block->size_bytes;
    pthread_mutex_unlock(&lock);
    return found;
}

/* Unified addressing: the addresses say which way it goes. */
static CUresult copy_unified(CUdeviceptr dst, CUdeviceptr src, size_t size_bytes, bool synchronous)
{
    struct copy copy = {.dst = (uint8_t *)(uintptr_t)dst,
                        .src = (const uint8_t *)(uintptr_t)src,
                        .width_bytes = size_bytes,
                        .lines = 1};
    enum direction direction = on_device((uintptr_t)src)
                                   ? (on_device((uintptr_t)dst) ? DTOD : DTOH)
                                   : (on_device((uintptr_t)dst) ? HTOD : HTOH);

    return do_copy(&copy, direction, synchronous);
}

CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t size_bytes)
{
    return copy_unified(dst, src, size_bytes, true);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t size_bytes, CUstream stream)
{
    (void)stream;
    return copy_unified(dst, src, size_bytes, false);
}

static CUresult copy_2d(const CUDA_MEMCPY2D *c, bool synchronous)
{
    bool from_host = c->srcMemoryType == CU_MEMORYTYPE_HOST;
    bool to_host = c->dstMemoryType == CU_MEMORYTYPE_HOST;
    const uint8_t *src = from_host ? c->srcHost : (const uint8_t *)(uintptr_t)c->srcDevice;
    uint8_t *dst = to_host ? c->dstHost : (uint8_t *)(uintptr_t)c->dstDevice;
    struct copy copy = {.dst_pitch = c->dstPitch,
                        .src_pitch = c->srcPitch,
                        .width_bytes = c->WidthInBytes,
                        .lines = c->Height};

    if (!c->WidthInBytes || !c->Height)
        return CUDA_SUCCESS; /* FFmpeg copies a third plane of NV12, of no width */
    if (c->srcMemoryType == CU_MEMORYTYPE_ARRAY || c->dstMemoryType == CU_MEMORYTYPE_ARRAY)
        return (CUresult)EMU_CUDA_NOT_SUPPORTED;
    if ((c->Height > 1 && (c->srcPitch < c->WidthInBytes || c->dstPitch < c->WidthInBytes)) ||
        !src || !dst)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    copy.src = src + c->srcY * c->srcPitch + c->srcXInBytes;
    copy.dst = dst + c->dstY * c->dstPitch + c->dstXInBytes;
    return do_copy(&copy, from_host ? (to_host ? HTOH : HTOD) : (to_host ? DTOH : DTOD),
                   synchronous);
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy)
{
    return copy_2d(copy, true);
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    (void)stream;
    return copy_2d(copy, false);
}

static CUresult copy_line(void *dst, const void *src, size_t size_bytes, enum direction direction,
                          bool synchronous)
{
    struct copy copy = {.dst = dst, .src = src, .width_bytes = size_bytes, .lines = 1};

    return do_copy(&copy, direction, synchronous);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t size_bytes)
{
    return copy_line((void *)(uintptr_t)dst, src, size_bytes, HTOD, true);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t size_bytes, CUstream stream)
{
    (void)stream;
    return copy_line((void *)(uintptr_t)dst, src, size_bytes, HTOD, false);
}

CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t size_bytes)
{
    return copy_line(dst, (const void *)(uintptr_t)src, size_bytes, DTOH, true);
}

CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t size_bytes, CUstream stream)
{
    (void)stream;
    return copy_line(dst, (const void *)(uintptr_t)src, size_bytes, DTOH, false);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t size_bytes)
{
    return copy_line((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, size_bytes, DTOD, true);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t size_bytes, CUstream stream)
{
    (void)stream;
    return copy_line((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, size_bytes, DTOD, false);
}
