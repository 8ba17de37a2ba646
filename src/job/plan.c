/* SPDX-License-Identifier: MIT */
/*
 * The plan as data in memory, and the units of work that follow from it.
 */
#include "lathe/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "plan_limits.h"

void lathe_plan_init(struct lathe_plan *plan)
{
    *plan = (struct lathe_plan){
        .time_base = {0, 1},
        .frame_rate = {0, 1},
        .codec = LATHE_CODEC_H264,
        .preset = LATHE_PRESET_FAST,
        .encoder_threads = 1,
        .passes = 1,
        .rate_lag = UINT32_MAX, /* no chunk waits for another */
    };
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++) {
        plan->renditions[i].sar = (struct lathe_rational){0, 1};
        plan->renditions[i].quality = -1;
    }
}

void lathe_plan_finish(struct lathe_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_warnings; i++)
        free(plan->warnings[i]);
    free(plan->warnings);
    free(plan->pilots);
    free(plan->chunks);
    *plan = (struct lathe_plan){0};
}

int lathe_plan_warn(struct lathe_plan *plan, const char *format, ...)
{
    /* Warnings are for people: nobody reads the hundredth and a hostile source may cause many. */
    if (plan->n_warnings >= LATHE_PLAN_WARNINGS_MAX)
        return 0;
    char text[LATHE_PLAN_WARNING_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    char **warnings = reallocarray(plan->warnings, plan->n_warnings + 1, sizeof(*warnings));
    if (!warnings)
        return -ENOMEM;
    plan->warnings = warnings;
    warnings[plan->n_warnings] = strdup(text);
    if (!warnings[plan->n_warnings])
        return -ENOMEM;
    plan->n_warnings++;
    return 0;
}

int lathe_plan_make_whole(struct lathe_plan *plan, const char *reason)
{
    struct lathe_plan_chunk *whole = &plan->chunks[0];
    for (uint32_t i = 1; i < plan->n_chunks; i++) {
        whole->frames += plan->chunks[i].frames;
        whole->source_bytes += plan->chunks[i].source_bytes;
    }
    whole->end = INT64_MAX;
    plan->n_chunks = 1;
    plan->rate_lag = lathe_rate_lag(1);
    if (plan->passes == 2 && plan->n_pilots > 0) { /* pilot i is chunk i */
        struct lathe_plan_pilot *pilot = &plan->pilots[0];
        for (uint32_t i = 1; i < plan->n_pilots; i++) {
            pilot->frames += plan->pilots[i].frames;
            pilot->source_bytes += plan->pilots[i].source_bytes;
        }
        plan->n_pilots = 1;
    }
    if (plan->n_warnings == LATHE_PLAN_WARNINGS_MAX) /* this one matters more */
        free(plan->warnings[--plan->n_warnings]);
    return lathe_plan_warn(plan, "this source cannot be cut; transcoded in one piece: %s", reason);
}

bool lathe_plan_shares_packets(const struct lathe_plan *plan)
{
    return plan->passes == 2 && plan->n_pilots == plan->n_chunks;
}

/* Chunk `index` uses the sizes of the chunks up to index - lag: they must be done before it. */
static uint32_t needed_chunks(uint32_t index, uint32_t lag)
{
    return index >= lag ? index - lag + 1 : 0;
}

int lathe_plan_units(const struct lathe_plan *plan, struct lathe_unit **ret, uint32_t *ret_count)
{
    if (plan->rate_lag == 0)
        return -EINVAL;
    size_t count = (size_t)plan->n_pilots + (plan->n_audio > 0) + plan->n_chunks;
    if (count == 0 || count >= LATHE_UNIT_MERGE)
        return -EINVAL;
    struct lathe_unit *units = calloc(count, sizeof(*units));
    if (!units)
        return -ENOMEM;
    struct lathe_unit *unit = units;
    for (uint32_t i = 0; i < plan->n_pilots; i++)
        *unit++ = (struct lathe_unit){.kind = LATHE_UNIT_PILOT, .index = i};
    if (plan->n_audio > 0)
        *unit++ = (struct lathe_unit){.kind = LATHE_UNIT_AUDIO};
    for (uint32_t i = 0; i < plan->n_chunks; i++) {
        *unit++ = (struct lathe_unit){.kind = LATHE_UNIT_CHUNK,
                                      .index = i,
                                      .needs_pilots = plan->n_pilots > 0,
                                      .needs_chunks = needed_chunks(i, plan->rate_lag)};
    }
    *ret = units;
    *ret_count = (uint32_t)count;
    return 0;
}
