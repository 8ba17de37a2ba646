/* SPDX-License-Identifier: MIT */
/* HEVC for the emulated VA driver: x265 on one thread without lookahead, 8 and 10 bit. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <x265.h>

#include "decode_bits.h"
#include "va_encoder.h"

struct hevc_encoder {
    struct emu_encoder base;
    const x265_api *api;
    x265_encoder *x265;
    x265_param *param;
    x265_picture *picture;
    uint8_t *planar; /* x265 takes three planes */
    int width, height, bytes_per_sample;
    bool cqp;
    int64_t pts;
    struct emu_bytes packet;
};

static void set_rate_control(x265_param *p, const struct emu_encode_settings *s)
{
    switch (s->rc) {
    case EMU_RC_CQP:
        p->rc.rateControlMode = X265_RC_CQP;
        p->rc.qp = s->qp;
        break;
    case EMU_RC_ICQ:
    case EMU_RC_QVBR:
        p->rc.rateControlMode = X265_RC_CRF;
        p->rc.rfConstant = s->quality;
        break;
    default:
        p->rc.rateControlMode = X265_RC_ABR;
        p->rc.bitrate = (int)(s->bitrate / 1000);
        break;
    }
    if (s->rc == EMU_RC_CBR || s->rc == EMU_RC_VBR || s->rc == EMU_RC_QVBR) {
        p->rc.vbvMaxBitrate = (int)(s->maxrate / 1000);
        p->rc.vbvBufferSize = (int)((s->buffer_bits ? s->buffer_bits : s->maxrate) / 1000);
        if (s->buffer_bits && s->initial_bits)
            p->rc.vbvBufferInit = (double)s->initial_bits / (double)s->buffer_bits;
    }
}

static void set_parameters(const struct emu_encode_settings *s, x265_param *p)
{
    p->logLevel = X265_LOG_NONE;
    p->frameNumThreads = 1;
    p->bEnableWavefront = 0;
    p->bDistributeModeAnalysis = 0;
    p->bDistributeMotionEstimation = 0;
    p->lookaheadThreads = 0;
    p->sourceWidth = s->width;
    p->sourceHeight = s->height;
    p->internalCsp = X265_CSP_I420;
    p->fpsNum = (uint32_t)s->fps_num;
    p->fpsDenom = (uint32_t)s->fps_den;
    p->bframes = 0;
    p->lookaheadDepth = 0;
    p->keyframeMax = -1;
    p->keyframeMin = 1;
    p->bOpenGOP = 0;
    p->scenecutThreshold = 0;
    p->bRepeatHeaders = 1;
    p->bAnnexB = 1;
    p->bEnableAccessUnitDelimiters = 0;
    p->bEmitInfoSEI = 0;
    p->maxNumReferences = 1;
    if (s->sar_width > 0 && s->sar_height > 0) {
        p->vui.aspectRatioIdc = 255;
        p->vui.sarWidth = s->sar_width;
        p->vui.sarHeight = s->sar_height;
    }
    set_rate_control(p, s);
}

static void close_encoder(struct emu_encoder *base)
{
    struct hevc_encoder *encoder = (struct hevc_encoder *)base;

    if (encoder->x265)
        encoder->api->encoder_close(encoder->x265);
    if (encoder->picture)
        encoder->api->picture_free(encoder->picture);
    if (encoder->param)
        encoder->api->param_free(encoder->param);
    emu_bytes_free(&encoder->packet);
    free(encoder->planar);
    free(encoder);
}

static int open_encoder(const struct emu_encode_settings *s, struct emu_encoder **ret)
{
    struct hevc_encoder *encoder = calloc(1, sizeof(*encoder));
    int rc = -ENOMEM;

    if (!encoder)
        return -ENOMEM;
    encoder->base.type = &emu_encoder_x265;
    encoder->width = s->width;
    encoder->height = s->height;
    encoder->bytes_per_sample = s->bit_depth > 8 ? 2 : 1;
    encoder->cqp = s->rc == EMU_RC_CQP;
    encoder->api = x265_api_get(s->bit_depth);
    encoder->planar = malloc((size_t)(s->width + 1) * (size_t)(s->height + 1) * 3 / 2 *
                             (size_t)encoder->bytes_per_sample);
    if (!encoder->api)
        rc = -ENOTSUP;
    if (!encoder->api || !encoder->planar)
        goto fail;
    encoder->param = encoder->api->param_alloc();
    encoder->picture = encoder->api->picture_alloc();
    if (!encoder->param || !encoder->picture)
        goto fail;
    rc = -EINVAL;
    if (encoder->api->param_default_preset(encoder->param, "ultrafast", "zerolatency") < 0 ||
        encoder->api->param_parse(encoder->param, "pools", "none") < 0)
        goto fail;
    set_parameters(s, encoder->param);
    if (encoder->api->param_apply_profile(encoder->param, s->profile) < 0)
        goto fail;
    encoder->x265 = encoder->api->encoder_open(encoder->param);
    if (!encoder->x265)
        goto fail;
    encoder->api->picture_init(encoder->param, encoder->picture);
    *ret = &encoder->base;
    return 0;
fail:
    close_encoder(&encoder->base);
    return rc;
}

static void split_chroma(const struct hevc_encoder *encoder, const struct emu_semiplanar *from,
                         uint8_t *u, uint8_t *v)
{
    int width = (encoder->width + 1) / 2, height = (encoder->height + 1) / 2;

    for (int y = 0; y < height; y++) {
        const uint8_t *row = from->chroma + (size_t)y * from->chroma_pitch;
        const uint16_t *wide = (const uint16_t *)(const void *)row;

        for (int x = 0; x < width; x++) {
            if (encoder->bytes_per_sample == 2) {
                ((uint16_t *)(void *)u)[y * width + x] = wide[2 * x] >> 6;
                ((uint16_t *)(void *)v)[y * width + x] = wide[2 * x + 1] >> 6;
            } else {
                u[y * width + x] = row[2 * x];
                v[y * width + x] = row[2 * x + 1];
            }
        }
    }
}

static void fill_picture(struct hevc_encoder *encoder, const struct emu_semiplanar *from)
{
    x265_picture *picture = encoder->picture;
    int bytes = encoder->bytes_per_sample, width = encoder->width, height = encoder->height;
    uint8_t *u = encoder->planar + (size_t)width * (size_t)height * (size_t)bytes;
    uint8_t *v = u + (size_t)((width + 1) / 2) * (size_t)((height + 1) / 2) * (size_t)bytes;

    for (int y = 0; y < height; y++) {
        const uint8_t *row = from->luma + (size_t)y * from->luma_pitch;
        uint8_t *to = encoder->planar + (size_t)y * (size_t)width * (size_t)bytes;

        if (bytes == 1)
            memcpy(to, row, (size_t)width);
        else
            for (int x = 0; x < width; x++)
                ((uint16_t *)(void *)to)[x] = ((const uint16_t *)(const void *)row)[x] >> 6;
    }
    split_chroma(encoder, from, u, v);
    picture->planes[0] = encoder->planar;
    picture->planes[1] = u;
    picture->planes[2] = v;
    picture->stride[0] = width * bytes;
    picture->stride[1] = picture->stride[2] = (width + 1) / 2 * bytes;
    picture->bitDepth = bytes == 2 ? 10 : 8;
    picture->colorSpace = X265_CSP_I420;
    picture->pts = encoder->pts++;
}

static int encode(struct emu_encoder *base, const struct emu_semiplanar *picture,
                  enum emu_picture_type type, int qp, const uint8_t **ret_data, size_t *ret_size)
{
    static const int types[] = {[EMU_PICTURE_IDR] = X265_TYPE_IDR,
                                [EMU_PICTURE_I] = X265_TYPE_I,
                                [EMU_PICTURE_P] = X265_TYPE_P};
    struct hevc_encoder *encoder = (struct hevc_encoder *)base;
    x265_nal *nals;
    uint32_t num_nals;

    fill_picture(encoder, picture);
    encoder->picture->sliceType = types[type];
    encoder->picture->forceqp = encoder->cqp ? qp + 1 : 0;
    if (encoder->api->encoder_encode(encoder->x265, &nals, &num_nals, encoder->picture, NULL) < 0)
        return -EIO;
    encoder->packet.size = 0;
    for (uint32_t i = 0; i < num_nals; i++)
        emu_bytes_append(&encoder->packet, nals[i].payload, nals[i].sizeBytes);
    if (encoder->packet.failed || encoder->packet.size == 0)
        return -EIO;
    *ret_data = encoder->packet.data;
    *ret_size = encoder->packet.size;
    return 0;
}

const struct emu_encoder_type emu_encoder_x265 = {open_encoder, encode, close_encoder};
