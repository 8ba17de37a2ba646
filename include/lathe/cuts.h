/* SPDX-License-Identifier: MIT */
/*
 * Where a source is cut into chunks, and where pilots are taken: pure decisions from the index.
 */
#ifndef LATHE_CUTS_H
#define LATHE_CUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lathe/plan.h"

/* One shown frame, in presentation order. */
struct lathe_cut_frame {
    int64_t time;    /* plan time base, strictly increasing */
    uint32_t packet; /* number in the index */
    uint32_t bytes;  /* of its packet */
    bool key;        /* decoding may start here without lead-in */
};

/* Lengths in frames for a wish in seconds (0 = default): about 8 s a chunk, an even number of
 * chunks, no chunk under 2 s unless asked for. */
uint32_t lathe_cuts_count(uint32_t n_frames, double seconds_total, double wish_seconds);

/*
 * Chooses `n_chunks` cuts (fewer, when there are not enough frames). ret_first[i] is the number of
 * the first frame of chunk i; [0] = 0. Prefers key frames near the ideal place (no lead-in to
 * decode, and often a change of scene, where a new GOP costs nothing); cuts inside a GOP where
 * that pays and `inside` allows it. malloc'd. 0 or -ENOMEM.
 */
int lathe_cuts_choose(const struct lathe_cut_frame *frames, uint32_t n_frames, uint32_t n_chunks,
                      bool inside, uint32_t **ret_first, uint32_t *ret_count);

/* First frames of pilots (at key frames, spread evenly) of `ret_length` frames each. malloc'd. */
int lathe_cuts_pilots(const struct lathe_cut_frame *frames, uint32_t n_frames, uint32_t **ret_first,
                      uint32_t *ret_count, uint32_t *ret_length);

#endif
