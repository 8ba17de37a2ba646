/* SPDX-License-Identifier: MIT */
/*
 * How far a stretch has to be decoded. A decoder holds pictures back until it has seen as many more
 * as the source reorders; where the index says that no later packet is shown earlier, it is drained
 * instead, which saves two or three pictures a stretch.
 */
#ifndef LATHE_MEDIA_EXTENT_H
#define LATHE_MEDIA_EXTENT_H

#include "index.h"
#include "lathe/plan.h"

#define MEDIA_EXTENT_ALL UINT32_MAX

/* The last packet that is needed for all pictures before `end` (in the plan's time) and the one
 * after them; MEDIA_EXTENT_ALL when the index cannot tell. */
uint32_t media_extent_of_chunk(const struct lathe_plan *plan, const struct media_index *index,
                               uint32_t first_packet, int64_t end);
/* The same for the first `frames` pictures from `start` on. */
uint32_t media_extent_of_pilot(const struct lathe_plan *plan, const struct media_index *index,
                               uint32_t first_packet, int64_t start, uint32_t frames);

#endif
