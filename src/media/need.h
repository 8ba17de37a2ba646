/* SPDX-License-Identifier: MIT */
/*
 * Which packets of the source a chunk or a pilot is decoded from: its lead-in, its own, and so many
 * after them that the decoder has delivered the picture behind its last one. Follows from plan and
 * index alone, so whoever cuts and whoever reads come to the same.
 */
#ifndef LATHE_MEDIA_NEED_H
#define LATHE_MEDIA_NEED_H

#include "index.h"
#include "lathe/plan.h"

struct media_need {
    uint32_t first, last; /* numbers in the index, both included */
    uint64_t bytes;
};

/* One for each chunk of the plan, or for each pilot; `last` does not decrease. malloc'd. 0 or
 * -ENOMEM. */
int media_need_chunks(const struct lathe_plan *plan, const struct media_index *index,
                      struct media_need **ret);
int media_need_pilots(const struct lathe_plan *plan, const struct media_index *index,
                      struct media_need **ret);

/* What lies before a stretch may be very much more than itself where key frames are rare. Then it
 * is cheaper to read the source, and no packets are cut for it. */
bool media_need_is_too_large(const struct media_need *need, uint64_t own_bytes);

#endif
