/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's DRM drivers (i915, amdgpu; not xe, whose figures are cycles) say about the work
 * of this process, in the fdinfo of its open render nodes (Documentation/gpu/drm-usage-stats.rst).
 * No privilege is needed for one's own.
 */
#ifndef LATHE_HWACCEL_DRM_USAGE_H
#define LATHE_HWACCEL_DRM_USAGE_H

#include "lathe/hw_load.h"

/* Adds up what the clients in the files of `folder` (/proc/self/fdinfo) have used, in `busy_us`
 * since they were opened. Two files of one client (a descriptor and its copy) count once. -ENODEV:
 * nothing is told. */
int lathe_drm_usage(const char *folder, struct lathe_hw_load *ret);

/* The same of this process since the reading before. Threads: one. */
int lathe_drm_read_load(struct lathe_hw_load *ret);

#endif
