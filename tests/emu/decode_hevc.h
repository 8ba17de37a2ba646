/* SPDX-License-Identifier: MIT */
/* Slice headers of HEVC with their reference picture set spelled out. */
#ifndef LATHE_EMU_DECODE_HEVC_H
#define LATHE_EMU_DECODE_HEVC_H

#include "decode_core.h"

/* The reference picture set of a picture as it is written into its slices. */
struct emu_hevc_rps {
    bool present; /* IDR pictures have none */
    struct {
        int delta; /* to the picture before it in the list, minus 1 */
        bool used;
    } before[16], after[16];
    int num_before, num_after;
    int removed_bits; /* length of what stood there: index or explicit set */
    /* num_extra_slice_header_bits of the PPS. Chosen so that the header's length changes by whole
     * bytes, so that nothing after the set needs to be understood or shifted. */
    int extra_bits;
};

void emu_hevc_rps_build(const struct emu_hevc_picture *p, const struct emu_slice *slice,
                        struct emu_hevc_rps *ret);
int emu_hevc_slice_pps(const struct emu_slice *slice, uint32_t *ret_id);
int emu_hevc_slice_rewrite(const struct emu_hevc_picture *p, const struct emu_hevc_rps *rps,
                           const struct emu_slice *slice, struct emu_bytes *out);

#endif
