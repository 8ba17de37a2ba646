/* SPDX-License-Identifier: MIT */
/*
 * How busy a GPU is, as its driver says it: read by the slot that works on it, at the end of a
 * chunk, and shown by the parent as metrics. Plain data, JSON both ways; no libav, no driver.
 *
 * Two kinds of figures, by what there is: NVML tells how busy each engine of the whole device was
 * over its last sampling period (a sixth of a second to one); the kernel's DRM drivers tell how
 * long each engine has worked for this process (drm-usage-stats.rst, "drm-engine-<name>").
 */
#ifndef LATHE_HW_LOAD_H
#define LATHE_HW_LOAD_H

#include <jansson.h>
#include <stdint.h>

#include "lathe/error.h"

#define LATHE_HW_ENGINES_MAX 12

struct lathe_hw_engine {
    char name[24];   /* NVML: "encoder", "decoder", "gpu"; DRM: the kernel's: "video", "enc", … */
    double ratio;    /* of the device, 0 to 1; below 0: not told */
    int64_t busy_us; /* for this process, since the reading before; below 0: not told */
};

struct lathe_hw_load {
    struct lathe_hw_engine engines[LATHE_HW_ENGINES_MAX];
    unsigned n_engines;
    int64_t memory_used_bytes; /* of the device, by whomever; below 0: not told */
    int sessions;              /* of its encoder, by whomever; below 0: not told */
};

/* Nothing is told. */
void lathe_hw_load_init(struct lathe_hw_load *load);
/* The engine of that name, which is added if it is not there; NULL when there are too many, or the
 * name is longer than what a driver would use. */
struct lathe_hw_engine *lathe_hw_load_engine(struct lathe_hw_load *load, const char *name);

int lathe_hw_load_to_json(const struct lathe_hw_load *load, json_t **ret);
/* Checks everything: the child that said it has run drivers. */
int lathe_hw_load_from_json(const json_t *json, struct lathe_hw_load *ret, struct lathe_error *err);

#endif
