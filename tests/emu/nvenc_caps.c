/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVENC: what the encoder of each GPU generation can do, and which version of the API each
 * driver speaks. Sources: NVIDIA's NVENC application note and the driver table of nv-codec-headers.
 */
#include <stdlib.h>
#include <string.h>

#include "nvenc_emu.h"

/* First driver of each API version. */
static const struct {
    double driver;
    uint32_t api;
} api_versions[] = {
    {390.25, 0x81}, {418.30, 0x90}, {435.21, 0x91}, {445.87, 0xA0}, {455.28, 0xB0}, {470.57, 0xB1},
    {520.56, 0xC0}, {530.41, 0xC1}, {550.54, 0xC2}, {570.00, 0xD0}, {590.00, 0xD1},
};

uint32_t emu_nvenc_api_version(void)
{
    double driver = strtod(emu_profile()->driver, NULL);
    uint32_t api = 0x80;

    for (size_t i = 0; i < sizeof(api_versions) / sizeof(api_versions[0]); i++)
        if (driver >= api_versions[i].driver)
            api = api_versions[i].api;
    return api;
}

bool emu_nvenc_has_codec(const GUID *codec)
{
    const struct emu_profile *profile = emu_profile();

    if (!profile->encoder)
        return false;
    return !memcmp(codec, &NV_ENC_CODEC_H264_GUID, sizeof(*codec)) ||
           (profile->hevc && !memcmp(codec, &NV_ENC_CODEC_HEVC_GUID, sizeof(*codec)));
}

int emu_nvenc_caps(const GUID *codec, NV_ENC_CAPS cap)
{
    const struct emu_profile *profile = emu_profile();
    bool hevc = !memcmp(codec, &NV_ENC_CODEC_HEVC_GUID, sizeof(*codec));
    bool turing =
        profile->compute_major > 7 || (profile->compute_major == 7 && profile->compute_minor >= 5);
    bool b_frames = hevc ? profile->hevc_b_frames : profile->h264_b_frames;

    switch (cap) {
    case NV_ENC_CAPS_NUM_MAX_BFRAMES:
        return b_frames ? 4 : 0;
    case NV_ENC_CAPS_SUPPORTED_RATECONTROL_MODES:
        return NV_ENC_PARAMS_RC_VBR | NV_ENC_PARAMS_RC_CBR;
    case NV_ENC_CAPS_SUPPORT_BFRAME_REF_MODE:
        return b_frames && turing ? (hevc ? 3 : 2) : 0;
    case NV_ENC_CAPS_SUPPORT_10BIT_ENCODE:
        return hevc && profile->ten_bit;
    case NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ:
        return !hevc || turing;
    case NV_ENC_CAPS_SUPPORT_MULTIPLE_REF_FRAMES:
        return turing;
    case NV_ENC_CAPS_WIDTH_MAX:
    case NV_ENC_CAPS_HEIGHT_MAX:
        return hevc ? 8192 : 4096;
    case NV_ENC_CAPS_WIDTH_MIN:
        return hevc ? 129 : 145;
    case NV_ENC_CAPS_HEIGHT_MIN:
        return hevc ? 33 : 49;
    case NV_ENC_CAPS_LEVEL_MAX:
        return hevc ? NV_ENC_LEVEL_HEVC_62 : NV_ENC_LEVEL_H264_51;
    case NV_ENC_CAPS_MB_NUM_MAX:
        return hevc ? 262144 : 65536;
    case NV_ENC_CAPS_NUM_ENCODER_ENGINES:
        return profile->encode_engines;
    case NV_ENC_CAPS_SUPPORT_CABAC:
        return !hevc;
    case NV_ENC_CAPS_SUPPORT_SAO:
        return hevc;
    case NV_ENC_CAPS_SUPPORT_LOOKAHEAD:
    case NV_ENC_CAPS_SUPPORT_WEIGHTED_PREDICTION:
    case NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE:
    case NV_ENC_CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE:
    case NV_ENC_CAPS_DYNAMIC_QUERY_ENCODER_CAPACITY:
        return 1;
    default:
        return 0; /* interlaced, 4:4:4, lossless, intra refresh: not emulated */
    }
}
