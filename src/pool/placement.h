/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the placement share: its books, and the choice of a place from them.
 */
#ifndef LATHE_POOL_PLACEMENT_H
#define LATHE_POOL_PLACEMENT_H

#include <pthread.h>

#include "health.h"
#include "lathe/placement.h"

#define LATHE_LANES_PER_ENGINE 2
#define LATHE_DEVICE_NAME_MAX 144
#define LATHE_BESIDE_CHUNKS 4 /* left for each lane, before software takes one beside them */

struct lathe_placement_use {
    struct lathe_health health;
    unsigned lanes, active;
    bool is_tried; /* by a probe, right now */
    bool is_gone;  /* it was there before */
    struct lathe_hw_load load;
    int64_t load_us; /* when it was told; 0 = never */
};

enum lathe_device_state {
    LATHE_DEVICE_IN_SERVICE,
    LATHE_DEVICE_BUSY, /* sessions or memory were used up a moment ago */
    LATHE_DEVICE_QUARANTINED,
    LATHE_DEVICE_GONE,
    LATHE_DEVICE_STATE_COUNT
};

struct lathe_placement {
    struct lathe_placement_options options;
    struct lathe_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_known;
    char summary[1024];
    struct lathe_hw_device devices[LATHE_HW_DEVICES_MAX];
    struct lathe_placement_use use[LATHE_HW_DEVICES_MAX];
    unsigned n_devices;
    unsigned software_active;
    int64_t probed_wall_us; /* 0 = never */
    bool misbehaved;
    char settled_job[LATHE_ID_MAX + 1];
    enum lathe_encoder settled;
};

enum lathe_placement_answer { LATHE_PLACE_FOUND, LATHE_PLACE_WAIT, LATHE_PLACE_NONE };

/* --- placement_choose.c; called with the lock held --- */
enum lathe_placement_answer lathe_placement_choose(struct lathe_placement *p,
                                                   const struct lathe_attempts *attempts,
                                                   int64_t now_us, struct lathe_place *ret);

/* With the lock held. */
enum lathe_device_state lathe_placement_state(const struct lathe_placement_use *use);

/* --- placement.c --- */
int64_t lathe_placement_now_us(const struct lathe_placement *p);

/* --- placement_metrics.c --- */
/* As --json and metrics call it: "in service". */
const char *lathe_device_state_name(enum lathe_device_state state);

/* "nvenc:0", "vaapi:/dev/dri/renderD128": how metrics call a device. */
void lathe_placement_device_name(const struct lathe_hw_device *device, char *ret, size_t size);

#endif
