/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVENC: from NVENC's structures to neutral settings, with the refusals of a real driver,
 * and the record of what was asked for: the place where tests see what Lathe really set.
 */
#include <stdio.h>
#include <string.h>

#include "nvenc_emu.h"

static const char *rc_name(int mode)
{
    switch (mode) {
    case NV_ENC_PARAMS_RC_CONSTQP:
        return "constqp";
    case NV_ENC_PARAMS_RC_VBR:
        return "vbr";
    case NV_ENC_PARAMS_RC_CBR:
        return "cbr";
    default:
        return "deprecated";
    }
}

static const char *b_ref_name(int mode)
{
    static const char *const names[] = {"disabled", "each", "middle"};

    return mode >= 0 && mode <= 2 ? names[mode] : "unknown";
}

static const char *multipass_name(int mode)
{
    static const char *const names[] = {"disabled", "qres", "fullres"};

    return mode >= 0 && mode <= 2 ? names[mode] : "unknown";
}

static void read_rate_control(const NV_ENC_RC_PARAMS *rc, struct emu_nvenc_settings *s)
{
    int mode = (int)rc->rateControlMode;

    s->average_bps = rc->averageBitRate;
    s->max_bps = rc->maxBitRate;
    s->vbv_bits = rc->vbvBufferSize;
    s->qp_i = (int)rc->constQP.qpIntra;
    s->qp_p = (int)rc->constQP.qpInterP;
    s->qp_b = (int)rc->constQP.qpInterB;
    s->cq = rc->targetQuality + rc->targetQualityLSB / 256.0;
    s->spatial_aq = rc->enableAQ;
    s->aq_strength = rc->enableAQ ? (int)rc->aqStrength : 0;
    s->temporal_aq = rc->enableTemporalAQ;
    s->lookahead = rc->enableLookahead ? rc->lookaheadDepth : 0;
    s->multipass = (int)rc->multiPass;
    if (mode == NV_ENC_PARAMS_RC_CONSTQP)
        s->rc = EMU_RC_CONSTQP;
    else if (mode == NV_ENC_PARAMS_RC_VBR && s->cq > 0)
        s->rc = EMU_RC_CQ;
    else
        s->rc = mode == NV_ENC_PARAMS_RC_VBR || mode == 0x20 ? EMU_RC_VBR : EMU_RC_CBR;
}

static void read_vui(const NV_ENC_CONFIG_H264_VUI_PARAMETERS *vui, struct emu_nvenc_settings *s)
{
    s->full_range = vui->videoSignalTypePresentFlag && vui->videoFullRangeFlag;
    s->describes_colour = vui->videoSignalTypePresentFlag && vui->colourDescriptionPresentFlag;
    s->primaries = (int)vui->colourPrimaries;
    s->transfer = (int)vui->transferCharacteristics;
    s->matrix = (int)vui->colourMatrix;
}

static void read_h264(const NV_ENC_CONFIG_H264 *h264, struct emu_nvenc_settings *s)
{
    s->b_ref = (int)h264->useBFramesAsRef;
    s->level = (int)h264->level;
    s->slices = h264->sliceMode == 3 ? (int)h264->sliceModeData : 1;
    s->cabac = h264->entropyCodingMode != NV_ENC_H264_ENTROPY_CODING_MODE_CAVLC &&
               strcmp(s->profile, "baseline") != 0;
    s->repeat_headers = h264->repeatSPSPPS || !h264->disableSPSPPS;
    s->aud = h264->outputAUD;
    s->sps_id = (int)h264->spsId;
    s->refs = (int)h264->maxNumRefFrames;
    read_vui(&h264->h264VUIParameters, s);
}

static void read_hevc(const NV_ENC_CONFIG_HEVC *hevc, struct emu_nvenc_settings *s)
{
    s->b_ref = (int)hevc->useBFramesAsRef;
    s->level = (int)hevc->level;
    s->slices = hevc->sliceMode == 3 ? (int)hevc->sliceModeData : 1;
    s->ten_bit = hevc->pixelBitDepthMinus8 == 2;
    s->repeat_headers = hevc->repeatSPSPPS || !hevc->disableSPSPPS;
    s->aud = hevc->outputAUD;
    s->sps_id = (int)hevc->spsId;
    s->refs = (int)hevc->maxNumRefFramesInDPB;
    read_vui(&hevc->hevcVUIParameters, s);
}

static void record_settings(const char *event, int device, int session, int rc_mode,
                            const struct emu_nvenc_settings *s)
{
    emu_record(event,
               "device=%d session=%d codec=%s preset=p%d tune=%s rc=%s average_bps=%u max_bps=%u "
               "vbv_bits=%u cq=%.2f qp=%d/%d/%d gop=%d b_frames=%d b_ref=%s lookahead=%d "
               "spatial_aq=%d aq_strength=%d temporal_aq=%d multipass=%s profile=%s level=%d "
               "bits=%d size=%dx%d rate=%d/%d sar=%d/%d refs=%d slices=%d headers=%s",
               device, session, s->hevc ? "hevc" : "h264", s->preset, emu_nvenc_tune_name(s->tune),
               rc_name(rc_mode), s->average_bps, s->max_bps, s->vbv_bits, s->cq, s->qp_i, s->qp_p,
               s->qp_b, (int)s->gop, s->b_frames, b_ref_name(s->b_ref), s->lookahead, s->spatial_aq,
               s->aq_strength, s->temporal_aq, multipass_name(s->multipass), s->profile, s->level,
               s->ten_bit ? 10 : 8, s->width, s->height, s->fps_num, s->fps_den, s->sar_num,
               s->sar_den, s->refs, s->slices, s->repeat_headers ? "repeated" : "global");
}

static NVENCSTATUS check_settings(const GUID *codec, const NV_ENC_CONFIG *config,
                                  const struct emu_nvenc_settings *s)
{
    if (s->width < emu_nvenc_caps(codec, NV_ENC_CAPS_WIDTH_MIN) ||
        s->height < emu_nvenc_caps(codec, NV_ENC_CAPS_HEIGHT_MIN) ||
        s->width > emu_nvenc_caps(codec, NV_ENC_CAPS_WIDTH_MAX) ||
        s->height > emu_nvenc_caps(codec, NV_ENC_CAPS_HEIGHT_MAX) || s->fps_num <= 0 ||
        s->fps_den <= 0)
        return NV_ENC_ERR_INVALID_PARAM;
    if (s->b_frames > emu_nvenc_caps(codec, NV_ENC_CAPS_NUM_MAX_BFRAMES) ||
        (s->ten_bit && !emu_nvenc_caps(codec, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE)) ||
        (s->b_ref && s->b_frames && !emu_nvenc_caps(codec, NV_ENC_CAPS_SUPPORT_BFRAME_REF_MODE)) ||
        (s->temporal_aq && !emu_nvenc_caps(codec, NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ)) ||
        config->frameFieldMode > NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME ||
        s->tune == NV_ENC_TUNING_INFO_LOSSLESS)
        return NV_ENC_ERR_UNSUPPORTED_PARAM;
    return NV_ENC_SUCCESS;
}

static void reduce(int *a, int *b)
{
    int x = *a, y = *b;

    while (y) {
        int rest = x % y;

        x = y;
        y = rest;
    }
    if (x > 0) {
        *a /= x;
        *b /= x;
    }
}

/* NVENC is told the shape of the whole picture, encoders that of a sample. */
static void read_shape(const NV_ENC_INITIALIZE_PARAMS *p, struct emu_nvenc_settings *s)
{
    int dar_num = (int)p->darWidth, dar_den = (int)p->darHeight;

    s->sar_num = s->sar_den = 1;
    if (dar_num <= 0 || dar_den <= 0)
        return;
    reduce(&dar_num, &dar_den);
    s->sar_num = dar_num * s->height;
    s->sar_den = dar_den * s->width;
    reduce(&s->sar_num, &s->sar_den);
}

NVENCSTATUS emu_nvenc_read_settings(const NV_ENC_INITIALIZE_PARAMS *p, int device, int session,
                                    const char *event, struct emu_nvenc_settings *ret)
{
    const NV_ENC_CONFIG *config = p->encodeConfig;
    NV_ENC_PRESET_CONFIG preset = {0};
    struct emu_nvenc_settings s = {0};
    NVENCSTATUS status;

    if (!emu_nvenc_has_codec(&p->encodeGUID) ||
        !(s.preset = emu_nvenc_preset_number(&p->presetGUID)))
        return NV_ENC_ERR_UNSUPPORTED_PARAM;
    if (!config) {
        status =
            emu_nvenc_preset_config(&p->encodeGUID, &p->presetGUID, (int)p->tuningInfo, &preset);
        if (status)
            return status;
        config = &preset.presetCfg;
    }
    s.hevc = !strcmp(emu_nvenc_codec_name(&p->encodeGUID), "hevc");
    s.tune = (int)p->tuningInfo;
    s.width = (int)p->encodeWidth;
    s.height = (int)p->encodeHeight;
    s.fps_num = (int)p->frameRateNum;
    s.fps_den = (int)p->frameRateDen;
    s.gop = config->gopLength;
    s.b_frames = config->frameIntervalP > 1 ? config->frameIntervalP - 1 : 0;
    if (!config->frameIntervalP)
        s.gop = 1;
    s.profile = emu_nvenc_profile_name(&config->profileGUID);
    read_shape(p, &s);
    read_rate_control(&config->rcParams, &s);
    if (s.hevc)
        read_hevc(&config->encodeCodecConfig.hevcConfig, &s);
    else
        read_h264(&config->encodeCodecConfig.h264Config, &s);
    record_settings(event, device, session, (int)config->rcParams.rateControlMode, &s);
    if ((status = check_settings(&p->encodeGUID, config, &s)))
        return status;
    *ret = s;
    return NV_ENC_SUCCESS;
}
