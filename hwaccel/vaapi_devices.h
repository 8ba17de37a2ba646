/* SPDX-License-Identifier: MIT */
/*
 * Render nodes and what the kernel says about them, without opening one.
 */
#ifndef LATHE_HWACCEL_VAAPI_DEVICES_H
#define LATHE_HWACCEL_VAAPI_DEVICES_H

#include "lathe/hw.h"

/* Another folder than /dev/dri to look for render nodes in. */
#define LATHE_HWACCEL_ENV_DRI "LATHE_SLOT_DRI_DIR"

int lathe_vaapi_list(struct lathe_hw_device *ret, int max, char *note, size_t note_size);
/* The kernel's driver of a render node ("i915"), or "". */
void lathe_vaapi_kernel_driver(const char *path, char *ret, size_t size);

#endif
