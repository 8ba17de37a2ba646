/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the parent's view of GPUs share: trying one device, and the file of what is
 * known.
 */
#ifndef LATHE_POOL_HARDWARE_H
#define LATHE_POOL_HARDWARE_H

#include "lathe/hardware.h"
#include "lathe/pool.h"

/* Tries a device through as many slots as it takes; always gives every trial a verdict. Fails only
 * without memory, without a slot to start, or when cancelled. */
int lathe_hardware_try(struct lathe_pool *pool, bool sessions, struct lathe_cancel *cancel,
                       struct lathe_hw_device *device, struct lathe_error *err);

/* What is known of one device. */
struct lathe_hardware_known {
    struct lathe_hw_device device;
    double age_seconds; /* since it was tried */
    unsigned failures;  /* times in a row that something passing was found */
};

/* The file of known results. `key` says for which machine they hold. */
char *lathe_hardware_cache_path(const struct lathe_hardware_options *options); /* NULL: none */
/* How many there are, at most LATHE_HW_DEVICES_MAX, which `ret` has room for. */
int lathe_hardware_cache_read(const char *path, const char *key, struct lathe_hardware_known *ret);
int lathe_hardware_cache_write(const char *path, const char *key,
                               const struct lathe_hardware_known *known, unsigned count,
                               struct lathe_error *err);

#endif
