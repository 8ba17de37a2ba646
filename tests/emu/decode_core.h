/* SPDX-License-Identifier: MIT */
/* What the files of the decoding core share: how a codec turns parameters into a stream. */
#ifndef LATHE_EMU_DECODE_CORE_H
#define LATHE_EMU_DECODE_CORE_H

#include "decode.h"
#include "decode_bits.h"

#define EMU_H264_PPS_MAX 256
#define EMU_HEVC_PPS_MAX 64

/* Parameter sets as they were last sent, so that only changes are sent again. */
struct emu_h264_state {
    struct emu_bytes sps, pps[EMU_H264_PPS_MAX];
    /* Default reference counts as learned from slices, by PPS; VAAPI does not say them. */
    int l0_default[EMU_H264_PPS_MAX], l1_default[EMU_H264_PPS_MAX];
    bool mbaff; /* of the last frame picture */
};

struct emu_hevc_state {
    struct emu_bytes sps, pps[EMU_HEVC_PPS_MAX];
};

/* Appends what the private decoder must be fed with for a picture: changed parameter sets, then the
 * slices. Returns 0, -ENOTSUP, -EIO for slices that cannot be read, or -ENOMEM. */
int emu_h264_stream(struct emu_h264_state *state, const struct emu_decode_picture *picture,
                    struct emu_bytes *out);
int emu_hevc_stream(struct emu_hevc_state *state, const struct emu_decode_picture *picture,
                    struct emu_bytes *out);
void emu_h264_state_free(struct emu_h264_state *state);
void emu_hevc_state_free(struct emu_hevc_state *state);

/* Replaces *last by the NAL unit made of `header` and `payload` and appends it to `out` if it
 * differs. Returns whether it did. */
bool emu_send_if_changed(struct emu_bytes *last, struct emu_bytes *out, const uint8_t *header,
                         size_t header_size, const struct emu_bytes *payload);

#endif
