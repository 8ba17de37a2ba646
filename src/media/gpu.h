/* SPDX-License-Identifier: MIT */
/*
 * The GPU of an order, as the verb chunk uses it: which stages run on it, and what a failure there
 * means. The context stays warm for the next order of this process, until an attempt fails.
 */
#ifndef LATHE_MEDIA_GPU_H
#define LATHE_MEDIA_GPU_H

#include "lathe/hwaccel.h"
#include "lathe/slot.h"

struct media_gpu {
    struct lathe_hwaccel_device device;
    char path[128];
    enum lathe_ladder_step step;
    unsigned features;
    bool working; /* all stages are open: what fails now fails in mid-stream */
};

/* Surfaces that filters and encoder may hold at once, beyond what a decoder needs. */
#define MEDIA_GPU_EXTRA_SURFACES 20

/* NULL is software, whatever is asked. */
bool media_gpu_decodes(const struct media_gpu *gpu);
bool media_gpu_scales(const struct media_gpu *gpu);
bool media_gpu_encodes(const struct media_gpu *gpu);

/* The device of an order that names one and a step for it; *ret is NULL for software, else valid
 * until the next call. A failure carries its verdict. */
int media_gpu_open(const struct lathe_order *order, struct media_gpu **ret,
                   struct lathe_error *err);

/* An error of a stage on the device that says success, but is wrong, or cannot do it. */
int media_gpu_refuse(struct lathe_error *err, enum lathe_hw_verdict verdict, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* How busy the device is, as JSON (lathe/hw_load.h), null where nothing is told; NULL: memory. */
json_t *media_gpu_load(const struct media_gpu *gpu);

/* The end of an attempt: `result` and `err` of its work. Adds the verdict where the device, and not
 * the source or the disk, is to blame; calls that failed with success fail the attempt. */
int media_gpu_judge(struct media_gpu *gpu, int result, struct lathe_error *err);

#endif
