/* SPDX-License-Identifier: MIT */
/*
 * What the presets of x264 become on GPUs, and where their scale of quality lies: one table, used
 * to open encoders and printed by `lathe probe --presets`. Pure: no libav, no device.
 */
#ifndef LATHE_HWACCEL_PRESETS_H
#define LATHE_HWACCEL_PRESETS_H

#include <stdbool.h>
#include <stddef.h>

#include "lathe/hw.h"

struct lathe_preset_nvenc {
    const char *preset;    /* p1 … p7, always with tune=hq */
    const char *multipass; /* disabled, qres, fullres */
    int lookahead;         /* frames */
    int b_frames;
    bool b_ref; /* b_ref_mode=middle */
    bool spatial_aq, temporal_aq;
};
const struct lathe_preset_nvenc *lathe_preset_nvenc(enum lathe_preset preset);
/* The same without what `features` does not hold. */
struct lathe_preset_nvenc lathe_preset_nvenc_within(enum lathe_preset preset, unsigned features);

/* VA-API: the level of quality means something else to each driver. */
enum lathe_va_driver { LATHE_VA_OTHER = 0, LATHE_VA_IHD, LATHE_VA_I965, LATHE_VA_MESA };
enum lathe_va_driver lathe_va_driver(const char *vendor); /* from the driver's own name */
struct lathe_preset_vaapi {
    int level; /* compression_level; 0 = left alone */
    int b_frames;
    int b_depth; /* of references among B-frames */
};
struct lathe_preset_vaapi lathe_preset_vaapi(enum lathe_va_driver driver, enum lathe_preset preset,
                                             unsigned features);

/* Which of `features` holds a quality, under a cap or not; 0 = none, then LATHE_HW_RC_VBR at the
 * cap is what remains. */
unsigned lathe_preset_vaapi_quality_mode(unsigned features, bool capped);

/* A rate factor of x264 or x265 on the scale of the family's quality. */
double lathe_preset_quality(enum lathe_encoder family, enum lathe_codec codec, double factor);

/* As text, for people: "preset=p4 tune=hq …". */
void lathe_preset_nvenc_text(const struct lathe_preset_nvenc *preset, char *ret, size_t size);

#endif
