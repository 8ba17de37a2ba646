/* SPDX-License-Identifier: MIT */
/* H.264 for the emulated VA driver: x264 without lookahead, every picture type forced. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <x264.h>

#include "va_encoder.h"

struct h264_encoder {
    struct emu_encoder base;
    x264_t *x264;
    x264_picture_t picture, out;
    bool cqp;
};

static void set_rate_control(x264_param_t *p, const struct emu_encode_settings *s)
{
    switch (s->rc) {
    case EMU_RC_CQP:
        p->rc.i_rc_method = X264_RC_CQP;
        p->rc.i_qp_constant = s->qp > 0 ? s->qp : 1; /* 0 would be lossless */
        break;
    case EMU_RC_ICQ:
    case EMU_RC_QVBR:
        p->rc.i_rc_method = X264_RC_CRF;
        p->rc.f_rf_constant = (float)s->quality;
        break;
    default:
        p->rc.i_rc_method = X264_RC_ABR;
        p->rc.i_bitrate = (int)(s->bitrate / 1000);
        break;
    }
    if (s->rc == EMU_RC_CBR || s->rc == EMU_RC_VBR || s->rc == EMU_RC_QVBR) {
        p->rc.i_vbv_max_bitrate = (int)(s->maxrate / 1000);
        p->rc.i_vbv_buffer_size = (int)((s->buffer_bits ? s->buffer_bits : s->maxrate) / 1000);
        if (s->buffer_bits && s->initial_bits)
            p->rc.f_vbv_buffer_init = (float)s->initial_bits / (float)s->buffer_bits;
    }
}

static int open_encoder(const struct emu_encode_settings *s, struct emu_encoder **ret)
{
    struct h264_encoder *encoder;
    x264_param_t p;

    /* The quality levels: from "medium" downwards to what costs least. */
    if (x264_param_default_preset(&p, s->quality_level >= 5 ? "ultrafast" : "veryfast",
                                  "zerolatency") < 0)
        return -EINVAL;
    p.i_threads = 1;
    p.i_log_level = X264_LOG_NONE;
    p.i_width = s->width;
    p.i_height = s->height;
    p.i_csp = X264_CSP_NV12;
    p.i_fps_num = (uint32_t)s->fps_num;
    p.i_fps_den = (uint32_t)s->fps_den;
    p.b_vfr_input = 0;
    p.i_bframe = 0;
    p.i_keyint_max = X264_KEYINT_MAX_INFINITE;
    p.i_scenecut_threshold = 0;
    p.b_repeat_headers = 1;
    p.b_annexb = 1;
    p.b_aud = 0;
    p.b_cabac = s->cabac;
    p.analyse.b_transform_8x8 = s->transform_8x8;
    p.i_frame_reference = s->refs > 0 ? s->refs : 1;
    if (s->level)
        p.i_level_idc = s->level;
    p.vui.i_sar_width = s->sar_width;
    p.vui.i_sar_height = s->sar_height;
    set_rate_control(&p, s);
    if (x264_param_apply_profile(&p, s->profile) < 0)
        return -EINVAL;
    encoder = calloc(1, sizeof(*encoder));
    if (!encoder)
        return -ENOMEM;
    encoder->base.type = &emu_encoder_x264;
    encoder->cqp = s->rc == EMU_RC_CQP;
    encoder->x264 = x264_encoder_open(&p);
    if (!encoder->x264) {
        free(encoder);
        return -EINVAL;
    }
    x264_picture_init(&encoder->picture);
    *ret = &encoder->base;
    return 0;
}

static int encode(struct emu_encoder *base, const struct emu_semiplanar *picture,
                  enum emu_picture_type type, int qp, const uint8_t **ret_data, size_t *ret_size)
{
    static const int types[] = {[EMU_PICTURE_IDR] = X264_TYPE_IDR,
                                [EMU_PICTURE_I] = X264_TYPE_I,
                                [EMU_PICTURE_P] = X264_TYPE_P};
    struct h264_encoder *encoder = (struct h264_encoder *)base;
    x264_nal_t *nals;
    int num_nals, size;

    encoder->picture.i_type = types[type];
    encoder->picture.i_qpplus1 = encoder->cqp ? qp + 1 : X264_QP_AUTO;
    encoder->picture.i_pts++;
    encoder->picture.img.i_csp = X264_CSP_NV12;
    encoder->picture.img.i_plane = 2;
    encoder->picture.img.plane[0] = picture->luma;
    encoder->picture.img.plane[1] = picture->chroma;
    encoder->picture.img.i_stride[0] = (int)picture->luma_pitch;
    encoder->picture.img.i_stride[1] = (int)picture->chroma_pitch;
    size = x264_encoder_encode(encoder->x264, &nals, &num_nals, &encoder->picture, &encoder->out);
    if (size <= 0)
        return -EIO;
    *ret_data = nals[0].p_payload; /* the NAL units of a picture lie behind each other */
    *ret_size = (size_t)size;
    return 0;
}

static void close_encoder(struct emu_encoder *base)
{
    struct h264_encoder *encoder = (struct h264_encoder *)base;

    x264_encoder_close(encoder->x264);
    free(encoder);
}

const struct emu_encoder_type emu_encoder_x264 = {open_encoder, encode, close_encoder};
