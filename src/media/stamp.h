/* SPDX-License-Identifier: MIT */
/*
 * The times of the joined stream: presentation times as the chunks reported them, decoding times
 * made from one reorder depth for the whole job. Containers only carried the order.
 */
#ifndef LATHE_MEDIA_STAMP_H
#define LATHE_MEDIA_STAMP_H

#include <stdint.h>

#include "lathe/error.h"
#include "lathe/slot.h"
#include "sets.h"

struct media_stamp_chunk {
    uint32_t frames;
    int64_t first_time; /* plan time base */
    int64_t min_pts;    /* of the chunk file's packets */
};

struct media_stamps {
    int64_t *times; /* every frame's, ascending, plan time base */
    uint64_t count;
    int reorder_depth;
    int64_t lead; /* DTS distance of the frames before the first: a frame's duration */
    struct media_stamp_chunk *chunks;
    uint32_t n_chunks;
    struct media_sets sets; /* their parameter sets */
    int timescale; /* of the output: the plan's, times `factor` so that players are at ease */
    int factor;
};

/* Reads the packet headers of every input, checks hash, count, key frame and parameter sets against
 * the order, and fixes all times. */
int media_stamps_collect(struct media_stamps *ret, const struct lathe_order *order,
                         const struct lathe_plan *plan, struct lathe_error *err);
void media_stamps_finish(struct media_stamps *stamps);

/* Decoding time of the `n`th packet in decoding order. */
int64_t media_stamps_dts(const struct media_stamps *stamps, uint64_t n);

#endif
