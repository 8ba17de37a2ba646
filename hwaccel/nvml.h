/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA's management library, where it is: nothing links it. It is loaded once a process and
 * stays. Every figure may be missing: devices without an encoder, and MIG, do not tell all.
 */
#ifndef LATHE_HWACCEL_NVML_H
#define LATHE_HWACCEL_NVML_H

#include <stdbool.h>
#include <stddef.h>

#include "lathe/hw_load.h"

/* The version of the driver package, "550.54.14". False: NVML does not say. */
bool lathe_nvml_driver_version(char *ret, size_t size);
/* `pci_id` as CUDA writes it, "0000:01:00.0". -ENODEV: NVML is not there, or does not know it. */
int lathe_nvml_read_load(const char *pci_id, struct lathe_hw_load *ret);

#endif
