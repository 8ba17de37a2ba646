/* SPDX-License-Identifier: MIT */
/*
 * The few bits of H.264 and HEVC that decide where a stream may be cut: IDR, recovery points and
 * their frame count (ITU-T H.264 D.1.8, HEVC D.2.8), RASL/RADL. libavformat's key flag alone does
 * not tell an IDR from an intra-refresh recovery point, from which the first frames decode wrongly.
 */
#ifndef LATHE_MEDIA_H26X_H
#define LATHE_MEDIA_H26X_H

#include <libavcodec/codec_par.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct h26x_access {
    bool idr;          /* nothing that follows refers to what is before */
    bool intra_slices; /* every slice seen is I (H.264) or the picture is IRAP (HEVC) */
    bool has_recovery; /* a recovery point SEI is present */
    uint32_t recovery; /* its frame count */
};

/* `nal_length_bytes`: 1…4 for length-prefixed NAL units (avcC, hvcC), 0 for Annex B. */
int h26x_nal_length_bytes(const AVCodecParameters *par);
struct h26x_access h26x_inspect(enum AVCodecID codec, int nal_length_bytes, const uint8_t *data,
                                size_t size);

#endif
