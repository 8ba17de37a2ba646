/* SPDX-License-Identifier: MIT */
/* Chunks of the plan: frames as the index has them, cuts, and where decoding must start. */
#include <errno.h>
#include <stdlib.h>

#include "split.h"

static int compare_frames(const void *a, const void *b)
{
    int64_t x = ((const struct lathe_cut_frame *)a)->time;
    int64_t y = ((const struct lathe_cut_frame *)b)->time;
    return x < y ? -1 : x > y;
}

/* Shown frames in presentation order, times from the origin. A key frame counts as one only where
 * decoding can start without looking back. */
int split_list_frames(const struct media_scan *scan, const struct lathe_plan *plan,
                      struct lathe_cut_frame **ret, uint32_t *ret_count)
{
    struct lathe_cut_frame *frames = malloc((scan->index.count + 1) * sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    uint32_t n = 0;
    int64_t latest = INT64_MIN;
    for (uint32_t i = scan->first_key; i < scan->index.count; i++) {
        const struct media_index_entry *e = &scan->index.entries[i];
        int64_t time = plan->times_from_dts ? e->dts_time : e->time;
        if (time == MEDIA_NO_TIME)
            continue;
        time -= plan->origin;
        bool in_order = time > latest;
        latest = in_order ? time : latest;
        if (time < 0)
            continue; /* leading pictures of the first key frame that no decoder delivers */
        frames[n++] = (struct lathe_cut_frame){
            .time = time,
            .packet = i,
            .bytes = e->size,
            .key = e->flags & MEDIA_INDEX_KEY && in_order && e->recovery == 0 &&
                   !plan->lead_in_frames && !plan->times_from_dts,
        };
    }
    qsort(frames, n, sizeof(*frames), compare_frames);
    *ret = frames;
    *ret_count = n;
    return 0;
}

/* Where decoding must start so that frame `first` comes out right: a key frame, far enough back for
 * recovery points, filters with memory, and B-frames of containers without PTS. */
uint32_t split_decode_start(const struct media_scan *scan, const struct lathe_plan *plan,
                            const struct lathe_cut_frame *frames, uint32_t first)
{
    if (frames[first].key || first == 0)
        return first == 0 ? scan->first_key : frames[first].packet;
    const struct media_index_entry *entries = scan->index.entries;
    const int64_t start = frames[first].time;
    uint32_t keys_to_pass = plan->times_from_dts ? 1 : 0;
    for (uint32_t i = frames[first].packet + 1; i-- > scan->first_key;) {
        const struct media_index_entry *e = &entries[i];
        int64_t time = plan->times_from_dts ? e->dts_time : e->time;
        if (!(e->flags & MEDIA_INDEX_KEY) || time == MEDIA_NO_TIME || e->recovery == UINT32_MAX)
            continue;
        time -= plan->origin;
        if (time > start)
            continue;
        if (keys_to_pass) {
            keys_to_pass--;
            continue;
        }
        uint32_t between = 0; /* frames shown from this key up to the cut */
        for (uint32_t k = first; k > 0 && frames[k].time > time; k--)
            between++;
        if (between >= e->recovery && between >= (uint32_t)plan->lead_in_frames)
            return i;
    }
    return scan->first_key;
}

/* Where the parts of a joined source begin: at the first key frame in each. A part without one goes
 * with the part before. malloc'd. */
static int cuts_of_parts(const struct lathe_order *order, const struct media_scan *scan,
                         const struct lathe_cut_frame *frames, uint32_t n_frames,
                         uint32_t **ret_first, uint32_t *ret_count)
{
    uint32_t *first = calloc((size_t)order->n_parts + 1, sizeof(*first));
    if (!first)
        return -ENOMEM;
    const struct media_index *index = &scan->index;
    uint32_t count = 1, packet = 0;
    uint64_t begin = 0;
    for (uint32_t part = 1; part < order->n_parts; part++) {
        begin += order->part_bytes[part - 1];
        while (packet < index->count && !(index->entries[packet].flags & MEDIA_INDEX_KEY &&
                                          (uint64_t)index->entries[packet].position >= begin))
            packet++;
        uint32_t frame = first[count - 1] + 1;
        while (frame < n_frames && frames[frame].packet != packet)
            frame++;
        if (frame < n_frames)
            first[count++] = frame;
    }
    *ret_first = first;
    *ret_count = count;
    return 0;
}

int split_plan_chunks(struct lathe_plan *plan, const struct lathe_order *order,
                      const struct media_scan *scan, const struct lathe_cut_frame *frames,
                      uint32_t n_frames)
{
    double total = (double)plan->duration * plan->time_base.num / plan->time_base.den;
    uint32_t wish = lathe_cuts_count(n_frames, total, order->job->chunk_seconds);
    /* Without any clock, frames are counted from the start: there is nothing to cut by. */
    if (!scan->has_pts && !scan->has_dts)
        wish = 1;
    uint32_t *first = NULL, count = 0;
    int r = order->n_parts > 1 && scan->has_pts
                ? cuts_of_parts(order, scan, frames, n_frames, &first, &count)
                : lathe_cuts_choose(frames, n_frames, wish, true, &first, &count);
    if (r < 0)
        return r;
    plan->chunks = calloc(count, sizeof(*plan->chunks));
    if (!plan->chunks) {
        free(first);
        return -ENOMEM;
    }
    plan->n_chunks = count;
    for (uint32_t c = 0; c < count; c++) {
        uint32_t end = c + 1 < count ? first[c + 1] : n_frames;
        struct lathe_plan_chunk *chunk = &plan->chunks[c];
        chunk->start = c ? frames[first[c]].time : 0;
        chunk->end = c + 1 < count ? frames[end].time : INT64_MAX;
        chunk->first_packet = split_decode_start(scan, plan, frames, first[c]);
        chunk->frames = end - first[c];
        for (uint32_t i = first[c]; i < end; i++)
            chunk->source_bytes += frames[i].bytes;
    }
    free(first);
    plan->rate_lag = lathe_rate_lag(count);
    return 0;
}
