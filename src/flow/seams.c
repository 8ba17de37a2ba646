/* SPDX-License-Identifier: MIT */
/*
 * The proof that chunks join: each chunk decodes one picture further than it owns, and that picture
 * must be the one its neighbour begins with. A source whose keyframes only promise to be clean
 * entry points is found out here, and nowhere else; it is transcoded in one piece then.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

int lathe_flow_check_seams(const struct lathe_plan *plan, const struct lathe_chunk_result *chunks,
                           struct lathe_error *err)
{
    for (uint32_t i = 0; i + 1 < plan->n_chunks; i++) {
        const char *tail = chunks[i].tail_hash, *head = chunks[i + 1].head_hash;
        if (tail && head && strcmp(tail, head) == 0)
            continue;
        double seconds =
            (double)plan->chunks[i + 1].start * plan->time_base.num / plan->time_base.den;
        return lathe_error_set(
            err, -EILSEQ, LATHE_FAULT_INTERNAL, "at %.3f s %s", seconds,
            tail && head ? "decoding from there gives other pictures than decoding up to there"
                         : "the picture was not seen from both sides");
    }
    return 0;
}
