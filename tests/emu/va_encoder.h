/* SPDX-License-Identifier: MIT */
/*
 * What the emulated VA driver encodes with: x264 and x265 behind one shape, one picture in and one
 * packet out. Rate control is what the VA parameters asked for.
 */
#ifndef LATHE_EMU_VA_ENCODER_H
#define LATHE_EMU_VA_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"

enum emu_rc { EMU_RC_CQP, EMU_RC_CBR, EMU_RC_VBR, EMU_RC_ICQ, EMU_RC_QVBR, EMU_RC_AVBR };

struct emu_encode_settings {
    bool hevc;
    int width, height; /* as displayed: after cropping */
    int bit_depth;
    const char *profile; /* "baseline", "main", "high", "main10" */
    int level;           /* level_idc; 0 = free */
    int refs;
    bool cabac, transform_8x8;
    int sar_width, sar_height; /* 0 = unknown */
    int fps_num, fps_den;
    enum emu_rc rc;
    int qp;               /* CQP: of the first picture; each names its own */
    int quality;          /* ICQ and QVBR; CRF scale */
    int64_t bitrate;      /* bits per second, target */
    int64_t maxrate;      /* bits per second */
    int64_t buffer_bits;  /* HRD */
    int64_t initial_bits; /* HRD fullness at the start */
    int quality_level;    /* 0 = default, 1 best … */
    int intra_period, ip_period;
};

enum emu_picture_type { EMU_PICTURE_IDR, EMU_PICTURE_I, EMU_PICTURE_P };

struct emu_encoder {
    const struct emu_encoder_type *type;
};

struct emu_encoder_type {
    int (*open)(const struct emu_encode_settings *settings, struct emu_encoder **ret);
    /* Encodes one picture; qp is for CQP only. The packet stays valid until the next call. */
    int (*encode)(struct emu_encoder *encoder, const struct emu_semiplanar *picture,
                  enum emu_picture_type type, int qp, const uint8_t **ret_data, size_t *ret_size);
    void (*close)(struct emu_encoder *encoder);
};

extern const struct emu_encoder_type emu_encoder_x264, emu_encoder_x265;

#endif
