/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVENC: the HEVC encoder, x265 in a shape that answers like NVENC: fixed B-frame pattern,
 * the least lookahead that x265 accepts, no scene cuts, no threads.
 *
 * Bitrates are held here and not by x265, which without lookahead misses them by a fifth and more
 * in a chunk of a few seconds: each picture's QP follows from what the ones before it cost.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <x265.h>

#include "nvenc_emu.h"

#define CQ_TO_CRF 5.0
#define WINDOW_SECONDS 0.5 /* in which a surplus or a debt is to be gone */
#define FORGET 0.97

static const char *const speeds[] = {"ultrafast", "ultrafast", "ultrafast", "ultrafast",
                                     "superfast", "superfast", "superfast"};

struct encoder {
    const x265_api *api;
    x265_param *parameters;
    x265_encoder *x265;
    bool ten_bit;
    struct {
        double target_bits; /* a picture; 0 = x265 controls the rate */
        double window;      /* pictures */
        double complexity;  /* bits at QP 0 in the mean, as far as seen */
        double debt_bits;   /* spent too much; negative: too little */
        double qp[64];      /* of pictures inside the encoder */
    } rate;
};

static void set_rates(x265_param *p, const struct emu_nvenc_settings *s)
{
    int max_kbps = (int)(s->max_bps / 1000);

    p->rc.vbvMaxBitrate = p->rc.vbvBufferSize = 0;
    switch (s->rc) {
    case EMU_RC_CONSTQP:
        p->rc.rateControlMode = X265_RC_CQP;
        p->rc.qp = s->qp_p;
        p->rc.ipFactor = 1.0;
        p->rc.pbFactor = 1.0;
        return;
    case EMU_RC_CQ:
        p->rc.rateControlMode = X265_RC_CRF;
        p->rc.rfConstant = s->cq - CQ_TO_CRF < 1.0 ? 1.0 : s->cq - CQ_TO_CRF;
        break;
    case EMU_RC_VBR:
    case EMU_RC_CBR:
        p->rc.rateControlMode = X265_RC_CQP;
        return;
    }
    if (max_kbps > 0) {
        p->rc.vbvMaxBitrate = max_kbps;
        p->rc.vbvBufferSize = s->vbv_bits ? (int)(s->vbv_bits / 1000) : max_kbps;
    }
}

static void start_rate(struct encoder *e, const struct emu_nvenc_settings *s)
{
    double fps = (double)s->fps_num / s->fps_den;

    e->rate.target_bits = 0;
    if (s->rc != EMU_RC_VBR && s->rc != EMU_RC_CBR)
        return;
    e->rate.target_bits = (s->average_bps ? s->average_bps : 2000000) / fps;
    e->rate.window = WINDOW_SECONDS * fps;
    /* A first guess; the first pictures put it right. */
    if (e->rate.complexity <= 0)
        e->rate.complexity = 2.5 * s->width * s->height;
}

static double choose_qp(const struct encoder *e)
{
    double wanted = e->rate.target_bits - e->rate.debt_bits / e->rate.window;
    double least = e->rate.target_bits / 8;
    double qp = 6.0 * log2(e->rate.complexity / (wanted > least ? wanted : least));

    return qp < 1.0 ? 1.0 : qp > 51.0 ? 51.0 : floor(qp + 0.5);
}

static void learn(struct encoder *e, const struct emu_nvenc_packet *packet)
{
    double bits = 8.0 * (double)packet->size_bytes;
    double cost = bits * exp2(e->rate.qp[packet->number % 64] / 6.0);

    e->rate.debt_bits += bits - e->rate.target_bits;
    e->rate.complexity =
        packet->number ? FORGET * e->rate.complexity + (1 - FORGET) * cost : e->rate.complexity;
}

static void set_vui(x265_param *p, const struct emu_nvenc_settings *s)
{
    p->vui.aspectRatioIdc = s->sar_num == s->sar_den ? 1 : 255;
    p->vui.sarWidth = s->sar_num;
    p->vui.sarHeight = s->sar_den;
    p->vui.bEnableVideoSignalTypePresentFlag = s->full_range || s->describes_colour;
    p->vui.bEnableVideoFullRangeFlag = s->full_range;
    p->vui.bEnableColorDescriptionPresentFlag = s->describes_colour;
    if (s->describes_colour) {
        p->vui.colorPrimaries = s->primaries;
        p->vui.transferCharacteristics = s->transfer;
        p->vui.matrixCoeffs = s->matrix;
    }
}

static void set_parameters(const x265_api *api, x265_param *p, const struct emu_nvenc_settings *s)
{
    int gop = s->gop == NVENC_INFINITE_GOPLENGTH ? -1 : (int)s->gop;

    p->logLevel = X265_LOG_NONE;
    p->frameNumThreads = 1;
    api->param_parse(p, "pools", "none");
    p->bEnableWavefront = 0;
    p->sourceWidth = s->width;
    p->sourceHeight = s->height;
    p->fpsNum = (uint32_t)s->fps_num;
    p->fpsDenom = (uint32_t)s->fps_den;
    p->sourceBitDepth = s->ten_bit ? 10 : 8;
    p->internalCsp = X265_CSP_I420;
    p->keyframeMax = gop;
    p->keyframeMin = gop > 0 ? gop : 0;
    p->scenecutThreshold = 0;
    p->bOpenGOP = 0;
    p->bframes = s->b_frames;
    p->bFrameAdaptive = 0;
    p->bBPyramid = s->b_ref && s->b_frames > 1;
    p->lookaheadDepth = s->b_frames ? s->b_frames + 1 : 0;
    p->lookaheadSlices = 0;
    p->rc.cuTree = 0;
    p->bEnableWeightedPred = 0;
    p->bEnableWeightedBiPred = 0;
    p->rc.aqMode = s->spatial_aq ? X265_AQ_VARIANCE : X265_AQ_NONE;
    p->bRepeatHeaders = s->repeat_headers;
    p->bEnableAccessUnitDelimiters = s->aud;
    p->bEmitInfoSEI = 0;
    p->bAnnexB = 1;
    p->levelIdc = s->level > 0 ? s->level / 3 : 0;
    if (s->refs > 0)
        p->maxNumReferences = s->refs;
    if (s->slices > 1)
        p->maxSlices = s->slices;
    set_vui(p, s);
    set_rates(p, s);
}

static void x265_close_encoder(void *opaque)
{
    struct encoder *e = opaque;

    if (e->x265)
        e->api->encoder_close(e->x265);
    if (e->parameters)
        e->api->param_free(e->parameters);
    free(e);
}

static int x265_open_encoder(const struct emu_nvenc_settings *s, void **ret)
{
    struct encoder *e = calloc(1, sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->ten_bit = s->ten_bit;
    start_rate(e, s);
    e->api = x265_api_get(s->ten_bit ? 10 : 8);
    if (e->api)
        e->parameters = e->api->param_alloc();
    if (!e->parameters || e->api->param_default_preset(e->parameters, speeds[s->preset - 1],
                                                       s->b_frames ? NULL : "zerolatency") < 0) {
        x265_close_encoder(e);
        return -EINVAL;
    }
    set_parameters(e->api, e->parameters, s);
    if (e->api->param_apply_profile(e->parameters, s->ten_bit ? "main10" : "main") < 0 ||
        !(e->x265 = e->api->encoder_open(e->parameters))) {
        x265_close_encoder(e);
        return -EINVAL;
    }
    *ret = e;
    return 0;
}

static int copy_nals(const x265_nal *nals, uint32_t count, uint8_t **ret_data, size_t *ret_size)
{
    size_t size = 0;
    uint8_t *data;

    for (uint32_t i = 0; i < count; i++)
        size += nals[i].sizeBytes;
    if (!(data = malloc(size ? size : 1)))
        return -ENOMEM;
    *ret_data = data;
    *ret_size = size;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(data, nals[i].payload, nals[i].sizeBytes);
        data += nals[i].sizeBytes;
    }
    return 0;
}

static NV_ENC_PIC_TYPE picture_type(int type)
{
    switch (type) {
    case X265_TYPE_IDR:
        return NV_ENC_PIC_TYPE_IDR;
    case X265_TYPE_I:
        return NV_ENC_PIC_TYPE_I;
    case X265_TYPE_P:
        return NV_ENC_PIC_TYPE_P;
    default:
        return NV_ENC_PIC_TYPE_B;
    }
}

static int x265_encode_picture(void *opaque, const struct emu_nvenc_picture *picture,
                               struct emu_nvenc_packet *ret)
{
    struct encoder *e = opaque;
    x265_picture in, out;
    x265_nal *nals = NULL;
    uint32_t count = 0;
    int got;

    e->api->picture_init(e->parameters, &in);
    e->api->picture_init(e->parameters, &out);
    if (picture) {
        in.bitDepth = e->ten_bit ? 10 : 8;
        in.colorSpace = X265_CSP_I420;
        in.sliceType = picture->force_idr     ? X265_TYPE_IDR
                       : picture->force_intra ? X265_TYPE_I
                                              : X265_TYPE_AUTO;
        in.pts = picture->number;
        if (e->rate.target_bits > 0) {
            e->rate.qp[picture->number % 64] = choose_qp(e);
            in.forceqp = (int)e->rate.qp[picture->number % 64] + 1;
        }
        for (int i = 0; i < 3; i++) {
            in.planes[i] = picture->planes[i];
            in.stride[i] = picture->pitch_bytes[i];
        }
    }
    got = e->api->encoder_encode(e->x265, &nals, &count, picture ? &in : NULL, &out);
    if (got < 0)
        return -EIO;
    if (!got)
        return 0;
    ret->number = out.pts;
    ret->type = picture_type(out.sliceType);
    ret->qp = (int)out.frameData.qp;
    got = copy_nals(nals, count, &ret->data, &ret->size_bytes);
    if (got < 0)
        return got;
    learn(e, ret);
    return 1;
}

static int x265_get_headers(void *opaque, uint8_t **ret_data, size_t *ret_size)
{
    struct encoder *e = opaque;
    x265_nal *nals = NULL;
    uint32_t count = 0;

    if (e->api->encoder_headers(e->x265, &nals, &count) < 0)
        return -EIO;
    return copy_nals(nals, count, ret_data, ret_size);
}

const struct emu_nvenc_backend emu_nvenc_x265 = {
    .open = x265_open_encoder,
    .encode = x265_encode_picture,
    .headers = x265_get_headers,
    .close = x265_close_encoder,
};
