/* SPDX-License-Identifier: MIT */
#include "presets.h"

#include <stdio.h>
#include <string.h>

/*
 * The table. Speeds fall and quality rises from row to row on each encoder; rows of one name are
 * not equally fast or good on different encoders.
 *
 * Lookahead and multipass begin at medium: below it they cost more time than the preset itself.
 * Temporal AQ needs motion that is known ahead, hence only with full lookahead.
 */
static const struct lathe_preset_nvenc nvenc[] = {
    [LATHE_PRESET_ULTRAFAST] = {"p1", "disabled", 0, 0, false, false, false},
    [LATHE_PRESET_SUPERFAST] = {"p1", "disabled", 0, 1, false, false, false},
    [LATHE_PRESET_VERYFAST] = {"p1", "disabled", 0, 2, false, false, false},
    [LATHE_PRESET_FASTER] = {"p2", "disabled", 0, 2, false, true, false},
    [LATHE_PRESET_FAST] = {"p3", "disabled", 0, 3, false, true, false},
    [LATHE_PRESET_MEDIUM] = {"p4", "qres", 12, 3, false, true, false},
    [LATHE_PRESET_SLOW] = {"p5", "qres", 20, 3, true, true, false},
    [LATHE_PRESET_SLOWER] = {"p6", "fullres", 32, 3, true, true, true},
    [LATHE_PRESET_VERYSLOW] = {"p7", "fullres", 32, 4, true, true, true},
};

/* iHD: 1 is best, 7 fastest. i965 knows 1 and 2. To Mesa it is a field of bits and not an order:
 * left alone. Drivers that nobody knows are asked for nothing either. */
static const struct {
    int ihd, i965, b_frames, b_depth;
} vaapi[] = {
    [LATHE_PRESET_ULTRAFAST] = {7, 2, 0, 1}, [LATHE_PRESET_SUPERFAST] = {7, 2, 1, 1},
    [LATHE_PRESET_VERYFAST] = {7, 2, 2, 1},  [LATHE_PRESET_FASTER] = {6, 2, 2, 1},
    [LATHE_PRESET_FAST] = {5, 2, 2, 1},      [LATHE_PRESET_MEDIUM] = {4, 1, 2, 1},
    [LATHE_PRESET_SLOW] = {3, 1, 3, 2},      [LATHE_PRESET_SLOWER] = {2, 1, 3, 2},
    [LATHE_PRESET_VERYSLOW] = {1, 1, 3, 2},
};

const struct lathe_preset_nvenc *lathe_preset_nvenc(enum lathe_preset preset)
{
    return &nvenc[preset];
}

struct lathe_preset_nvenc lathe_preset_nvenc_within(enum lathe_preset preset, unsigned features)
{
    struct lathe_preset_nvenc p = nvenc[preset];
    if (!(features & LATHE_HW_B_FRAMES))
        p.b_frames = 0;
    p.b_ref = p.b_ref && p.b_frames > 0 && features & LATHE_HW_B_REF;
    if (!(features & LATHE_HW_LOOKAHEAD))
        p.lookahead = 0;
    if (!(features & LATHE_HW_MULTIPASS))
        p.multipass = "disabled";
    p.spatial_aq = p.spatial_aq && features & LATHE_HW_SPATIAL_AQ;
    p.temporal_aq = p.temporal_aq && features & LATHE_HW_TEMPORAL_AQ;
    return p;
}

enum lathe_va_driver lathe_va_driver(const char *vendor)
{
    if (strstr(vendor, "iHD"))
        return LATHE_VA_IHD;
    if (strstr(vendor, "i965"))
        return LATHE_VA_I965;
    return strstr(vendor, "Mesa") ? LATHE_VA_MESA : LATHE_VA_OTHER;
}

struct lathe_preset_vaapi lathe_preset_vaapi(enum lathe_va_driver driver, enum lathe_preset preset,
                                             unsigned features)
{
    struct lathe_preset_vaapi p = {.b_frames = vaapi[preset].b_frames,
                                   .b_depth = vaapi[preset].b_depth};
    if (driver == LATHE_VA_IHD)
        p.level = vaapi[preset].ihd;
    else if (driver == LATHE_VA_I965)
        p.level = vaapi[preset].i965;
    if (!(features & LATHE_HW_B_FRAMES))
        p.b_frames = 0;
    if (p.b_frames < 2 || !(features & LATHE_HW_B_REF))
        p.b_depth = 1;
    return p;
}

unsigned lathe_preset_vaapi_quality_mode(unsigned features, bool capped)
{
    if (capped)
        return features & LATHE_HW_RC_QVBR;
    return features & LATHE_HW_RC_ICQ ? LATHE_HW_RC_ICQ : features & LATHE_HW_RC_CQP;
}

/* An encoder of a GPU reaches the same picture with a higher number than x264 and x265: offsets
 * from other transcoders' defaults and experiments. */
double lathe_preset_quality(enum lathe_encoder family, enum lathe_codec codec, double factor)
{
    double offset = family == LATHE_ENCODER_NVENC ? 5 : 3;
    double q = factor + offset;
    q = q < 1 ? 1 : q > 51 ? 51 : q;
    if (codec == LATHE_CODEC_AV1)
        return family == LATHE_ENCODER_NVENC ? q * 63 / 51 : q * 5;
    return q;
}

void lathe_preset_nvenc_text(const struct lathe_preset_nvenc *p, char *ret, size_t size)
{
    snprintf(ret, size,
             "preset=%s tune=hq multipass=%s rc-lookahead=%d spatial-aq=%d temporal-aq=%d bf=%d "
             "b_ref_mode=%s",
             p->preset, p->multipass, p->lookahead, p->spatial_aq, p->temporal_aq, p->b_frames,
             p->b_ref ? "middle" : "disabled");
}
