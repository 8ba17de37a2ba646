/* SPDX-License-Identifier: MIT */
/*
 * Failures of a GPU and what follows. A device is worth an attempt as long as that costs less than
 * it brings: one that hangs costs a stall each time, so it gets fewer chances than one that says
 * no.
 */
#include "health.h"

#include <stdio.h>

static int64_t backoff_us(unsigned times)
{
    int64_t us = LATHE_HEALTH_BACKOFF_US;
    for (unsigned i = 0; i < times && us < LATHE_HEALTH_BACKOFF_MAX_US; i++)
        us *= 2;
    return us < LATHE_HEALTH_BACKOFF_MAX_US ? us : LATHE_HEALTH_BACKOFF_MAX_US;
}

static void quarantine(struct lathe_health *h, int64_t now_us)
{
    h->until_us = now_us + backoff_us(h->quarantines);
    h->quarantines++;
}

void lathe_health_succeeded(struct lathe_health *h, enum lathe_ladder_step step)
{
    h->chunks++;
    h->in_row = h->fatal_in_row = h->steps_in_row = h->quarantines = 0;
    h->step_in_row[step] = 0;
    h->step_until_us[step] = 0;
}

static bool is_fatal(enum lathe_hw_verdict verdict)
{
    return verdict == LATHE_HW_HANGS || verdict == LATHE_HW_CRASHES || verdict == LATHE_HW_STICKY;
}

bool lathe_health_failed(struct lathe_health *h, enum lathe_ladder_step step,
                         enum lathe_hw_verdict verdict, const char *reason, int64_t now_us)
{
    h->failures++;
    h->fatal_in_row += is_fatal(verdict);
    /* What other lanes still had under way on a step that is left out by now says nothing new. */
    h->in_row += h->step_until_us[step] <= now_us;
    h->steps_in_row |= 1u << step;
    h->verdict = verdict;
    snprintf(h->reason, sizeof h->reason, "%.220s", reason);
    if (++h->step_in_row[step] >= LATHE_HEALTH_STEP_FAILURES) {
        h->step_until_us[step] =
            now_us + backoff_us(h->step_in_row[step] - LATHE_HEALTH_STEP_FAILURES);
    }
    bool enough = verdict == LATHE_HW_LOST || h->in_row >= LATHE_HEALTH_FAILURES ||
                  h->fatal_in_row >= LATHE_HEALTH_FATAL ||
                  __builtin_popcount(h->steps_in_row) >= LATHE_HEALTH_STEPS;
    if (!enough || h->until_us) /* nor does this, during a quarantine */
        return false;
    quarantine(h, now_us);
    return true;
}

void lathe_health_busy(struct lathe_health *h, unsigned others, const char *reason, int64_t now_us)
{
    if (!h->is_limited || h->limit > others)
        h->limit = others;
    h->is_limited = true;
    h->limit_until_us = now_us + LATHE_HEALTH_LANE_US;
    snprintf(h->reason, sizeof h->reason, "%.220s", reason);
}

void lathe_health_tried(struct lathe_health *h, bool works, const char *reason, int64_t now_us)
{
    if (!works) {
        snprintf(h->reason, sizeof h->reason, "%.220s", reason);
        quarantine(h, now_us);
        return;
    }
    h->until_us = 0;
    h->in_row = h->fatal_in_row = h->steps_in_row = 0;
    for (int i = 0; i < LATHE_STEP_COUNT; i++) {
        h->step_in_row[i] = 0;
        h->step_until_us[i] = 0;
    }
}

bool lathe_health_is_due(const struct lathe_health *h, int64_t now_us)
{
    return h->until_us && now_us >= h->until_us;
}

unsigned lathe_health_bad_steps(const struct lathe_health *h, int64_t now_us)
{
    unsigned steps = 0;
    for (int i = 0; i < LATHE_STEP_COUNT; i++)
        if (h->step_until_us[i] > now_us)
            steps |= 1u << i;
    return steps;
}

unsigned lathe_health_lanes(struct lathe_health *h, unsigned lanes, int64_t now_us)
{
    while (h->is_limited && now_us >= h->limit_until_us) {
        h->limit++;
        h->limit_until_us += LATHE_HEALTH_LANE_US;
        h->is_limited = h->limit < lanes;
    }
    return h->is_limited && h->limit < lanes ? h->limit : lanes;
}
