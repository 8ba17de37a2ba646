/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA's devices as the CUDA driver lists them, through libraries that are loaded when they are
 * there: nothing links them.
 */
#ifndef LATHE_HWACCEL_CUDA_DRIVER_H
#define LATHE_HWACCEL_CUDA_DRIVER_H

#include "lathe/hw.h"
#include "lathe/hw_load.h"

/* Fills up to `max` devices and returns the count; 0 with the reason in `note`. */
int lathe_cuda_driver_list(struct lathe_hw_device *ret, int max, char *note, size_t note_size);
/* What NVML says of the device with CUDA's number `path`; -ENODEV: nothing. */
int lathe_cuda_driver_load(const char *path, struct lathe_hw_load *ret);

#endif
