/* SPDX-License-Identifier: MIT */
/*
 * Where the chunks of this host run: on which GPU, on which step of the ladder, or in software.
 * Counts what is taken (lanes of encoder engines, software slots) and remembers how devices behave:
 * one that fails too often is left alone for a while, tried anew in a slot, and taken back.
 *
 * The rules, in order:
 *  - A chunk goes where the ladder's best step is possible. As long as that family of encoders has
 * a device for it, the chunk waits for a free lane there; LATHE_MIX_ALLOW lets it go to another
 *    family instead, and to a free software slot while BESIDE_CHUNKS chunks a lane are left.
 *  - What failed is not tried again for that chunk: once more on the same device after a broken
 *    session, then another device of the family, then the next step, then software.
 *  - Busy is no failure: the device gets one lane less, and it back after a while.
 * Threads: all calls may be made from any thread.
 */
#ifndef LATHE_PLACEMENT_H
#define LATHE_PLACEMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/hardware.h"
#include "lathe/hw_load.h"
#include "lathe/ladder.h"
#include "lathe/pool.h"

struct lathe_placement;

struct lathe_placement_options {
    unsigned slots; /* software encodes at once, at least 1 */
    unsigned lanes; /* a device; 0 = two an encoder engine, or $LATHE_GPU_LANES */
    /* For tests; NULL: the real ones. */
    int64_t (*now_us)(void);
    int (*probe)(void *opaque, struct lathe_hw_device *device);
    void *opaque;
};

/* Where one attempt runs. */
struct lathe_place {
    int device; /* number, or -1: no GPU takes part */
    enum lathe_ladder_step step;
    enum lathe_encoder family;  /* the device's; software without one */
    enum lathe_encoder encoder; /* who encodes: `family`, or software */
    unsigned features;          /* of the encoder, see hw.h */
    char path[128];             /* of the device, or "" */
    /* A better place that was left out without a try, because its device misbehaved with other
     * chunks: its step (none = there is no such place), family, path, and why. */
    enum lathe_ladder_step over_step;
    enum lathe_encoder over_family;
    enum lathe_encoder over_encoder;
    char over_path[128];
    enum lathe_hw_verdict over_verdict;
    char over_reason[224];
};

/* One chunk's attempts; zero but for what the caller sets. */
struct lathe_attempts {
    const struct lathe_ladder_request *request; /* its failed_* are ignored */
    enum lathe_mix mix;
    uint32_t chunks_left; /* of the job, this one included */
    /* No other host could have the chunk: where a GPU is required, it waits for one that is left
     * alone until that was tried anew once. */
    bool waits;
    /* kept by the placement: */
    unsigned failed[LATHE_HW_DEVICES_MAX]; /* steps, bit 1 << step */
    enum lathe_encoder family;             /* of the first attempt on a GPU */
    unsigned sessions, busy;
    char reason[224]; /* of the last failure */
};

/* `pool` (may be NULL) knows which children are stuck, and runs probes. */
int lathe_placement_create(const struct lathe_placement_options *options, struct lathe_pool *pool,
                           struct lathe_placement **ret, struct lathe_error *err);
void lathe_placement_destroy(struct lathe_placement *placement); /* NULL is allowed */

/* What is known about GPUs; copied. NULL: none are used, `why` says so. Until this is called,
 * whoever might need a GPU waits. May be called again while chunks are at work: what is not there
 * any more gets no chunk; after a refresh what opens is out of quarantine. */
void lathe_placement_set_hardware(struct lathe_placement *placement,
                                  const struct lathe_hardware *hardware, const char *why);

/* Waits for a place. -ECANCELED; -ENODEV when a GPU is required, with fault CONFIG when none can do
 * it, with fault RESOURCE when none that could is in service; -EIO when all that could have failed
 * with this chunk. */
int lathe_placement_take(struct lathe_placement *placement, struct lathe_attempts *attempts,
                         struct lathe_cancel *cancel, struct lathe_place *ret,
                         struct lathe_error *err);
/* What a slot read of the device of a place that it has, for the metrics. */
void lathe_placement_note_load(struct lathe_placement *placement, const struct lathe_place *place,
                               const struct lathe_hw_load *load);
/* Gives it back. LATHE_HW_WORKS: it went well; LATHE_HW_UNTRIED: how it went says nothing about
 * the device; else a failure (with a reason) that is counted against the device. */
void lathe_placement_give(struct lathe_placement *placement, struct lathe_attempts *attempts,
                          const struct lathe_place *place, enum lathe_hw_verdict verdict,
                          const char *reason);

/* What a chunk of the job would get on an idle host: -ENODEV as above. Waits for the hardware.
 * `ret_choice` has the reasons of steps not taken; `ret_device` may be NULL. */
int lathe_placement_check(struct lathe_placement *placement,
                          const struct lathe_ladder_request *request, struct lathe_cancel *cancel,
                          struct lathe_ladder_choice *ret_choice,
                          struct lathe_hw_device *ret_device, struct lathe_error *err);

/* Tries devices anew whose time has come. Returns whether any had misbehaved since the last call,
 * so that what is kept about them should be forgotten. */
bool lathe_placement_tend(struct lathe_placement *placement, struct lathe_cancel *cancel);

/* With --mix never: the family that a job has settled on (auto: none yet). One job is remembered.
 */
void lathe_placement_settle(struct lathe_placement *placement, const char *job_id,
                            enum lathe_encoder family);
enum lathe_encoder lathe_placement_settled(struct lathe_placement *placement, const char *job_id);

unsigned lathe_placement_lanes(struct lathe_placement *placement); /* of all devices together */
/* Sets the gauges of devices, for a collector (lathe/metrics.h). Does not wait. */
void lathe_placement_collect(struct lathe_placement *placement);
/* {"summary", "devices": [{"family", "path", "name", "driver", "state": "in service" |
 * "busy" (sessions or memory were used up a moment ago) | "quarantined" | "gone", "reason",
 * "chunks", "failures"}]}; NULL: no memory. Does not wait. */
json_t *lathe_placement_to_json(struct lathe_placement *placement);

#endif
