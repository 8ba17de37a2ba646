/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVENC: the presets p1 to p7 and the names of GUIDs. A preset's configuration differs
 * from the next one in several fields, so that a caller that relies on a preset's defaults, or
 * forgets to override one, shows in the record.
 */
#include <string.h>

#include "nvenc_emu.h"

static const struct {
    int p_interval, lookahead, multipass;
    bool spatial_aq, temporal_aq, b_ref;
    int refs;
} presets[] = {
    {1, 0, 0, false, false, false, 1}, {1, 0, 0, true, false, false, 1},
    {2, 0, 0, true, false, false, 2},  {3, 0, 0, true, false, false, 2},
    {3, 4, 1, true, false, true, 3},   {4, 8, 1, true, true, true, 4},
    {4, 16, 2, true, true, true, 5},
};

const GUID *const emu_nvenc_presets[7] = {
    &NV_ENC_PRESET_P1_GUID, &NV_ENC_PRESET_P2_GUID, &NV_ENC_PRESET_P3_GUID, &NV_ENC_PRESET_P4_GUID,
    &NV_ENC_PRESET_P5_GUID, &NV_ENC_PRESET_P6_GUID, &NV_ENC_PRESET_P7_GUID,
};

static const struct {
    const GUID *guid;
    const char *name;
} profiles[] = {
    {&NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID, "auto"},
    {&NV_ENC_H264_PROFILE_BASELINE_GUID, "baseline"},
    {&NV_ENC_H264_PROFILE_MAIN_GUID, "main"},
    {&NV_ENC_H264_PROFILE_HIGH_GUID, "high"},
    {&NV_ENC_HEVC_PROFILE_MAIN_GUID, "main"},
    {&NV_ENC_HEVC_PROFILE_MAIN10_GUID, "main10"},
};

static bool same(const GUID *a, const GUID *b)
{
    return !memcmp(a, b, sizeof(*a));
}

const char *emu_nvenc_codec_name(const GUID *codec)
{
    return same(codec, &NV_ENC_CODEC_H264_GUID)   ? "h264"
           : same(codec, &NV_ENC_CODEC_HEVC_GUID) ? "hevc"
                                                  : "unknown";
}

int emu_nvenc_preset_number(const GUID *preset)
{
    for (int i = 0; i < 7; i++)
        if (same(preset, emu_nvenc_presets[i]))
            return i + 1;
    return 0;
}

const char *emu_nvenc_tune_name(int tune)
{
    static const char *const names[] = {"none", "hq", "ll", "ull", "lossless", "uhq"};

    return tune >= 0 && tune < (int)(sizeof(names) / sizeof(names[0])) ? names[tune] : "unknown";
}

const char *emu_nvenc_profile_name(const GUID *profile)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
        if (same(profile, profiles[i].guid))
            return profiles[i].name;
    return "unknown";
}

static void fill_h264(NV_ENC_CONFIG_H264 *h264, int number, uint32_t gop)
{
    h264->idrPeriod = gop;
    h264->chromaFormatIDC = 1;
    h264->repeatSPSPPS = 0;
    h264->maxNumRefFrames = (uint32_t)presets[number - 1].refs;
    h264->entropyCodingMode = NV_ENC_H264_ENTROPY_CODING_MODE_CABAC;
    h264->useBFramesAsRef =
        presets[number - 1].b_ref ? NV_ENC_BFRAME_REF_MODE_MIDDLE : NV_ENC_BFRAME_REF_MODE_DISABLED;
    h264->h264VUIParameters.videoFormat = 5;
}

static void fill_hevc(NV_ENC_CONFIG_HEVC *hevc, int number, uint32_t gop)
{
    hevc->idrPeriod = gop;
    hevc->chromaFormatIDC = 1;
    hevc->maxNumRefFramesInDPB = (uint32_t)presets[number - 1].refs;
    hevc->useBFramesAsRef =
        presets[number - 1].b_ref ? NV_ENC_BFRAME_REF_MODE_MIDDLE : NV_ENC_BFRAME_REF_MODE_DISABLED;
    hevc->hevcVUIParameters.videoFormat = 5;
}

NVENCSTATUS emu_nvenc_preset_config(const GUID *codec, const GUID *preset, int tune,
                                    NV_ENC_PRESET_CONFIG *ret)
{
    int number = emu_nvenc_preset_number(preset);
    bool quality = tune == NV_ENC_TUNING_INFO_HIGH_QUALITY || tune > NV_ENC_TUNING_INFO_LOSSLESS;
    NV_ENC_CONFIG *c = &ret->presetCfg;
    uint32_t version = c->version;

    if (!number || !emu_nvenc_has_codec(codec) || tune <= NV_ENC_TUNING_INFO_UNDEFINED)
        return NV_ENC_ERR_UNSUPPORTED_PARAM;
    memset(c, 0, sizeof(*c));
    c->version = version;
    c->profileGUID = NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID;
    c->gopLength = quality ? 250 : NVENC_INFINITE_GOPLENGTH;
    c->frameIntervalP = quality ? presets[number - 1].p_interval : 1;
    if (emu_nvenc_caps(codec, NV_ENC_CAPS_NUM_MAX_BFRAMES) < c->frameIntervalP - 1)
        c->frameIntervalP = 1;
    c->frameFieldMode = NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME;
    c->mvPrecision = NV_ENC_MV_PRECISION_QUARTER_PEL;
    c->rcParams.rateControlMode = NV_ENC_PARAMS_RC_CONSTQP;
    c->rcParams.constQP = (NV_ENC_QP){.qpInterP = 28, .qpInterB = 31, .qpIntra = 25};
    if (quality) {
        c->rcParams.multiPass = (NV_ENC_MULTI_PASS)presets[number - 1].multipass;
        c->rcParams.enableAQ = presets[number - 1].spatial_aq;
        c->rcParams.enableTemporalAQ = presets[number - 1].temporal_aq &&
                                       emu_nvenc_caps(codec, NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ);
        c->rcParams.enableLookahead = presets[number - 1].lookahead > 0;
        c->rcParams.lookaheadDepth = (uint16_t)presets[number - 1].lookahead;
    }
    if (same(codec, &NV_ENC_CODEC_H264_GUID))
        fill_h264(&c->encodeCodecConfig.h264Config, number, c->gopLength);
    else
        fill_hevc(&c->encodeCodecConfig.hevcConfig, number, c->gopLength);
    return NV_ENC_SUCCESS;
}
