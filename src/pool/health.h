/* SPDX-License-Identifier: MIT */
/*
 * How one GPU behaves: a pure account of failures, from which follow quarantine, steps that are
 * left out, and how many lanes it has. Times are given by the caller.
 */
#ifndef LATHE_POOL_HEALTH_H
#define LATHE_POOL_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "lathe/ladder.h"

/* Quarantine follows failures since the last success: on so many steps, or so many hangs, crashes
 * and spoilt contexts, or so many of any kind. The last leaves each step of the ladder its
 * LATHE_HEALTH_STEP_FAILURES, so that a device with one bad engine comes to the step that does
 * without it, also when several chunks fail on one step at once. */
#define LATHE_HEALTH_STEPS 3
#define LATHE_HEALTH_FATAL 2
#define LATHE_HEALTH_FAILURES 5
#define LATHE_HEALTH_STEP_FAILURES 2       /* of one step in a row: the step is left out */
#define LATHE_HEALTH_BACKOFF_US 30000000LL /* first quarantine; each further one twice as long */
#define LATHE_HEALTH_BACKOFF_MAX_US 3600000000LL
#define LATHE_HEALTH_LANE_US 10000000LL /* after busy: until one lane more is tried */

struct lathe_health {
    uint64_t chunks, failures; /* in all, for people */
    unsigned in_row, fatal_in_row;
    unsigned steps_in_row; /* bit 1 << step */
    unsigned step_in_row[LATHE_STEP_COUNT];
    int64_t step_until_us[LATHE_STEP_COUNT]; /* left out until then; 0 = not */
    unsigned quarantines;                    /* since the last success */
    int64_t until_us;              /* in quarantine, to be tried anew then; 0 = in service */
    enum lathe_hw_verdict verdict; /* of the last failure */
    char reason[224];
    bool is_limited;
    unsigned limit; /* lanes while limited */
    int64_t limit_until_us;
};

void lathe_health_succeeded(struct lathe_health *health, enum lathe_ladder_step step);
/* True when this failure put the device into quarantine. */
bool lathe_health_failed(struct lathe_health *health, enum lathe_ladder_step step,
                         enum lathe_hw_verdict verdict, const char *reason, int64_t now_us);
/* Sessions or memory were used up with `others` other lanes in use. */
void lathe_health_busy(struct lathe_health *health, unsigned others, const char *reason,
                       int64_t now_us);
/* It was tried anew. */
void lathe_health_tried(struct lathe_health *health, bool works, const char *reason,
                        int64_t now_us);
bool lathe_health_is_due(const struct lathe_health *health, int64_t now_us);
/* Steps to leave out, bit 1 << step. */
unsigned lathe_health_bad_steps(const struct lathe_health *health, int64_t now_us);
unsigned lathe_health_lanes(struct lathe_health *health, unsigned lanes, int64_t now_us);

#endif
