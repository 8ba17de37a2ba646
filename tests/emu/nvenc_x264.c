/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVENC: the H.264 encoder, x264 in a shape that answers like NVENC: fixed B-frame
 * pattern, no lookahead, no scene cuts, one thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <stdint.h>
#include <x264.h>

#include "nvenc_emu.h"

/* NVENC's CQ gives about the quality of a CRF that is lower by this. */
#define CQ_TO_CRF 5.0

static const char *const speeds[] = {"ultrafast", "superfast", "superfast", "veryfast",
                                     "veryfast",  "faster",    "faster"};

static void set_rates(x264_param_t *p, const struct emu_nvenc_settings *s)
{
    int average_kbps = (int)(s->average_bps / 1000), max_kbps = (int)(s->max_bps / 1000);

    p->rc.f_rate_tolerance = 0.1f;
    p->rc.i_vbv_max_bitrate = p->rc.i_vbv_buffer_size = 0;
    switch (s->rc) {
    case EMU_RC_CONSTQP:
        p->rc.i_rc_method = X264_RC_CQP;
        p->rc.i_qp_constant = s->qp_p;
        p->rc.f_ip_factor = 1.0f;
        p->rc.f_pb_factor = 1.0f;
        return;
    case EMU_RC_CQ:
        p->rc.i_rc_method = X264_RC_CRF;
        p->rc.f_rf_constant = (float)(s->cq - CQ_TO_CRF < 1.0 ? 1.0 : s->cq - CQ_TO_CRF);
        break;
    case EMU_RC_VBR:
    case EMU_RC_CBR:
        p->rc.i_rc_method = X264_RC_ABR;
        p->rc.i_bitrate = average_kbps > 0 ? average_kbps : 2000;
        if (s->rc == EMU_RC_CBR)
            max_kbps = p->rc.i_bitrate;
        break;
    }
    if (max_kbps > 0) {
        p->rc.i_vbv_max_bitrate = max_kbps;
        p->rc.i_vbv_buffer_size = s->vbv_bits ? (int)(s->vbv_bits / 1000) : max_kbps;
    }
}

static void set_parameters(x264_param_t *p, const struct emu_nvenc_settings *s)
{
    p->i_log_level = X264_LOG_NONE;
    p->i_threads = 1;
    p->i_lookahead_threads = 1;
    p->i_sync_lookahead = 0;
    p->rc.i_lookahead = 0;
    p->rc.b_mb_tree = 0;
    p->i_width = s->width;
    p->i_height = s->height;
    p->i_csp = X264_CSP_I420;
    p->i_fps_num = (uint32_t)s->fps_num;
    p->i_fps_den = (uint32_t)s->fps_den;
    p->b_vfr_input = 0;
    p->vui.i_sar_width = s->sar_num;
    p->vui.i_sar_height = s->sar_den;
    p->vui.b_fullrange = s->full_range;
    if (s->describes_colour) {
        p->vui.i_colorprim = s->primaries;
        p->vui.i_transfer = s->transfer;
        p->vui.i_colmatrix = s->matrix;
    }
    p->i_keyint_max = s->gop == NVENC_INFINITE_GOPLENGTH ? X264_KEYINT_MAX_INFINITE : (int)s->gop;
    p->i_keyint_min = p->i_keyint_max;
    p->i_scenecut_threshold = 0;
    p->b_open_gop = 0;
    p->i_bframe = s->b_frames;
    p->i_bframe_adaptive = X264_B_ADAPT_NONE;
    p->i_bframe_pyramid = s->b_ref && s->b_frames > 1 ? X264_B_PYRAMID_NORMAL : X264_B_PYRAMID_NONE;
    p->analyse.i_weighted_pred = X264_WEIGHTP_NONE;
    p->analyse.b_weighted_bipred = 0;
    p->b_cabac = s->cabac;
    if (s->refs > 0)
        p->i_frame_reference = s->refs;
    p->i_slice_count = s->slices > 1 ? s->slices : 0;
    p->b_repeat_headers = s->repeat_headers;
    p->b_annexb = 1;
    p->b_aud = s->aud;
    p->i_sps_id = s->sps_id;
    p->i_level_idc = s->level > 0 ? s->level : -1;
    p->rc.i_aq_mode = s->spatial_aq ? X264_AQ_VARIANCE : X264_AQ_NONE;
    if (s->spatial_aq && s->aq_strength)
        p->rc.f_aq_strength = (float)s->aq_strength / 8.0f;
    set_rates(p, s);
}

static int x264_open_encoder(const struct emu_nvenc_settings *s, void **ret)
{
    bool named = strcmp(s->profile, "auto") != 0 && strcmp(s->profile, "unknown") != 0;
    x264_param_t p;

    if (x264_param_default_preset(&p, speeds[s->preset - 1], NULL) < 0)
        return -EINVAL;
    set_parameters(&p, s);
    if (named && x264_param_apply_profile(&p, s->profile) < 0)
        return -EINVAL;
    *ret = x264_encoder_open(&p);
    return *ret ? 0 : -EINVAL;
}

/* x264 signs its first picture; NVENC does not. */
static bool is_signature(const x264_nal_t *nal)
{
    int start = nal->b_long_startcode ? 4 : 3;

    return nal->i_type == NAL_SEI && nal->i_payload > start + 1 && nal->p_payload[start + 1] == 5;
}

static int copy_nals(const x264_nal_t *nals, int count, uint8_t **ret_data, size_t *ret_size)
{
    size_t size = 0;
    uint8_t *data;

    for (int i = 0; i < count; i++)
        size += is_signature(&nals[i]) ? 0 : (size_t)nals[i].i_payload;
    if (!(data = malloc(size ? size : 1)))
        return -ENOMEM;
    *ret_data = data;
    *ret_size = size;
    for (int i = 0; i < count; i++) {
        if (is_signature(&nals[i]))
            continue;
        memcpy(data, nals[i].p_payload, (size_t)nals[i].i_payload);
        data += nals[i].i_payload;
    }
    return 0;
}

static NV_ENC_PIC_TYPE picture_type(int type)
{
    switch (type) {
    case X264_TYPE_IDR:
        return NV_ENC_PIC_TYPE_IDR;
    case X264_TYPE_I:
    case X264_TYPE_KEYFRAME:
        return NV_ENC_PIC_TYPE_I;
    case X264_TYPE_P:
        return NV_ENC_PIC_TYPE_P;
    default:
        return NV_ENC_PIC_TYPE_B;
    }
}

static int x264_encode_picture(void *encoder, const struct emu_nvenc_picture *picture,
                               struct emu_nvenc_packet *ret)
{
    x264_picture_t in, out;
    x264_nal_t *nals;
    int count = 0, size;

    x264_picture_init(&in);
    if (picture) {
        in.i_type = picture->force_idr     ? X264_TYPE_IDR
                    : picture->force_intra ? X264_TYPE_I
                                           : X264_TYPE_AUTO;
        in.i_pts = picture->number;
        in.img.i_csp = X264_CSP_I420;
        in.img.i_plane = 3;
        for (int i = 0; i < 3; i++) {
            in.img.plane[i] = picture->planes[i];
            in.img.i_stride[i] = picture->pitch_bytes[i];
        }
    } else if (!x264_encoder_delayed_frames(encoder)) {
        return 0;
    }
    size = x264_encoder_encode(encoder, &nals, &count, picture ? &in : NULL, &out);
    if (size < 0)
        return -EIO;
    if (!size)
        return 0;
    ret->number = out.i_pts;
    ret->type = picture_type(out.i_type);
    ret->qp = out.i_qpplus1 - 1;
    size = copy_nals(nals, count, &ret->data, &ret->size_bytes);
    return size < 0 ? size : 1;
}

static int x264_get_headers(void *encoder, uint8_t **ret_data, size_t *ret_size)
{
    x264_nal_t *nals;
    int count = 0;

    if (x264_encoder_headers(encoder, &nals, &count) < 0)
        return -EIO;
    return copy_nals(nals, count, ret_data, ret_size);
}

static void x264_close_encoder(void *encoder)
{
    x264_encoder_close(encoder);
}

const struct emu_nvenc_backend emu_nvenc_x264 = {
    .open = x264_open_encoder,
    .encode = x264_encode_picture,
    .headers = x264_get_headers,
    .close = x264_close_encoder,
};
