/* SPDX-License-Identifier: MIT */
/*
 * The GPUs of this host as the parent knows them: found and tried in slots, one process a device,
 * so that a driver that hangs or crashes is a result and not an accident. Results are kept in a
 * file, because trying takes seconds.
 *
 * What is kept of a device is believed while it is there with the same driver, FFmpeg and boot, it
 * is younger than a day, and no trial ended in a way that may pass (busy, lost, hung, …): those
 * are tried again after a minute, each time twice as late, at most an hour. So whoever loads now
 * and then learns of devices that came, went or recovered, and tries no others.
 * Threads: each call is independent; the file is replaced atomically.
 */
#ifndef LATHE_HARDWARE_H
#define LATHE_HARDWARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/hw.h"

struct lathe_hardware {
    struct lathe_hw_device *devices; /* owned */
    unsigned n_devices;
    char notes[2][224];     /* [family - NVENC]: why none of it was found, or "" */
    char ffmpeg[64];        /* version of libav in the slot */
    int64_t probed_wall_us; /* when it was tried; for people */
    double age_seconds;     /* of the oldest result; 0 = just now */
    bool from_cache;        /* none was tried now */
    bool refreshed;         /* all were tried, whatever was known */
    unsigned failures;      /* most times in a row that something passing was found on a device */
};

struct lathe_hardware_options {
    const char *slot_path; /* NULL: lathe_pool_find_slot() */
    const char
        *cache_path; /* NULL: $LATHE_HARDWARE_CACHE, or in the user's cache folder; "" = none */
    double stall_seconds; /* silence of a slot that counts as a hang; 0 = 30, or
                             $LATHE_STALL_SECONDS where that is less */
    bool refresh;         /* try everything, whatever is known */
    bool sessions;        /* learn how many sessions an encoder allows */
};

/* Finds the devices and tries them, or takes what is known. No device at all is success, with the
 * reasons in `notes`. `options` and `cancel` may be NULL. */
int lathe_hardware_load(const struct lathe_hardware_options *options, struct lathe_cancel *cancel,
                        struct lathe_hardware *ret, struct lathe_error *err);
void lathe_hardware_finish(struct lathe_hardware *hardware);

/* Forgets what is known, for instance after SIGHUP or when work on a device failed. */
int lathe_hardware_invalidate(const struct lathe_hardware_options *options,
                              struct lathe_error *err);

/* {"summary", "devices": [{…, "summary", "trials": […]}], "notes": {…}, "ffmpeg",
 * "age_seconds", "cached"} */
int lathe_hardware_to_json(const struct lathe_hardware *hardware, json_t **ret);
/* One line: "no GPU: …", or what there is. */
void lathe_hardware_summary(const struct lathe_hardware *hardware, char *ret, size_t size);

#endif
