/* SPDX-License-Identifier: MIT */
#include "extent.h"

#include <stdlib.h>

/* What belongs to the same picture: a second field, half a frame later or without a time. */
static uint32_t whole_picture(const struct lathe_plan *plan, const struct media_index *index,
                              uint32_t last)
{
    const double ticks_per_frame = (double)plan->frame_rate.den / plan->frame_rate.num *
                                   plan->time_base.den /
                                   (plan->time_base.num > 0 ? plan->time_base.num : 1);
    const int64_t shown = index->entries[last].time;
    while (last + 1 < index->count) {
        const struct media_index_entry *e = &index->entries[last + 1];
        if (e->time != MEDIA_NO_TIME && llabs(e->time - shown) > 0.75 * ticks_per_frame)
            break;
        last++;
    }
    return last;
}

static bool has_times(const struct lathe_plan *plan, const struct media_index *index)
{
    return !plan->times_from_dts && plan->frame_rate.num > 0 && index->count > 0;
}

/* The last packet that is shown at or before `time` (of the index). */
static uint32_t last_until(const struct media_index *index, uint32_t first_packet, int64_t time)
{
    uint32_t last = MEDIA_EXTENT_ALL;
    for (uint32_t i = first_packet; i < index->count; i++)
        if (index->entries[i].time != MEDIA_NO_TIME && index->entries[i].time <= time)
            last = i;
    return last;
}

uint32_t media_extent_of_chunk(const struct lathe_plan *plan, const struct media_index *index,
                               uint32_t first_packet, int64_t end)
{
    if (end == INT64_MAX || !has_times(plan, index))
        return MEDIA_EXTENT_ALL;
    int64_t next = INT64_MAX;
    for (uint32_t i = first_packet; i < index->count; i++) {
        int64_t time = index->entries[i].time;
        if (time != MEDIA_NO_TIME && time - plan->origin >= end && time < next)
            next = time;
    }
    if (next == INT64_MAX)
        return MEDIA_EXTENT_ALL;
    uint32_t last = last_until(index, first_packet, next);
    return last == MEDIA_EXTENT_ALL ? last : whole_picture(plan, index, last);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

uint32_t media_extent_of_pilot(const struct lathe_plan *plan, const struct media_index *index,
                               uint32_t first_packet, int64_t start, uint32_t frames)
{
    if (!has_times(plan, index) || frames < 1)
        return MEDIA_EXTENT_ALL;
    /* Twice as many and some: reordering reaches over far fewer. */
    size_t n = 0, wanted = (size_t)frames * 2 + 64;
    int64_t *times = calloc(wanted, sizeof *times);
    if (!times) /* then more is decoded */
        return MEDIA_EXTENT_ALL;
    for (uint32_t i = first_packet; i < index->count && n < wanted; i++) {
        int64_t time = index->entries[i].time;
        if (time != MEDIA_NO_TIME && time - plan->origin >= start)
            times[n++] = time;
    }
    uint32_t last = MEDIA_EXTENT_ALL;
    if (n >= frames) {
        qsort(times, n, sizeof *times, compare_times);
        last = last_until(index, first_packet, times[frames - 1]);
    }
    free(times);
    return last == MEDIA_EXTENT_ALL ? last : whole_picture(plan, index, last);
}
