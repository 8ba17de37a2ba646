/* SPDX-License-Identifier: MIT */
/*
 * Encoding: turns VA's sequence, picture and rate-control parameters into the settings of a
 * software encoder, records them, and writes its packets into coded buffers.
 *
 * There are no packed headers and no B-frames: the encoder behind decides its own headers, and
 * programs reorder pictures themselves when a driver has B-frames.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <va/va_enc_h264.h>
#include <va/va_enc_hevc.h>

#include "va_driver.h"

struct emu_va_encode {
    struct emu_encode_settings settings;
    bool known; /* a sequence has come */
    struct emu_encoder *encoder;
    uint8_t *last_input; /* for stale pictures */
    size_t last_input_bytes;
};

void emu_va_encode_destroy(struct emu_va_encode *encode)
{
    if (!encode)
        return;
    if (encode->encoder)
        encode->encoder->type->close(encode->encoder);
    free(encode->last_input);
    free(encode);
}

static bool is_hevc(const struct emu_va_context *context)
{
    return context->config.profile == VAProfileHEVCMain ||
           context->config.profile == VAProfileHEVCMain10;
}

static enum emu_rc rate_control(uint32_t rc)
{
    switch (rc) {
    case VA_RC_CBR:
        return EMU_RC_CBR;
    case VA_RC_VBR:
        return EMU_RC_VBR;
    case VA_RC_ICQ:
        return EMU_RC_ICQ;
    case VA_RC_QVBR:
        return EMU_RC_QVBR;
    case VA_RC_AVBR:
        return EMU_RC_AVBR;
    default:
        return EMU_RC_CQP;
    }
}

static const char *profile_name(VAProfile profile)
{
    switch (profile) {
    case VAProfileH264ConstrainedBaseline:
        return "baseline";
    case VAProfileH264High:
        return "high";
    case VAProfileHEVCMain10:
        return "main10";
    default:
        return "main";
    }
}

static bool read_h264_sequence(const struct emu_va_job *job, struct emu_encode_settings *s)
{
    const VAEncSequenceParameterBufferH264 *q =
        emu_va_parameter(job, VAEncSequenceParameterBufferType, sizeof(*q));
    const VAEncPictureParameterBufferH264 *p =
        emu_va_parameter(job, VAEncPictureParameterBufferType, sizeof(*p));

    if (!q || !p)
        return false;
    s->width = q->picture_width_in_mbs * 16;
    s->height = q->picture_height_in_mbs * 16;
    if (q->frame_cropping_flag) {
        s->width -= (int)(q->frame_crop_left_offset + q->frame_crop_right_offset) * 2;
        s->height -= (int)(q->frame_crop_top_offset + q->frame_crop_bottom_offset) * 2;
    }
    s->bit_depth = 8;
    s->level = q->level_idc;
    s->refs = (int)q->max_num_ref_frames;
    s->cabac = p->pic_fields.bits.entropy_coding_mode_flag;
    s->transform_8x8 = p->pic_fields.bits.transform_8x8_mode_flag;
    if (q->vui_parameters_present_flag && q->vui_fields.bits.aspect_ratio_info_present_flag) {
        s->sar_width = (int)q->sar_width;
        s->sar_height = (int)q->sar_height;
    }
    s->intra_period = (int)q->intra_period;
    s->ip_period = (int)q->ip_period;
    if (!s->bitrate)
        s->bitrate = s->maxrate = q->bits_per_second;
    return true;
}

static bool read_hevc_sequence(const struct emu_va_job *job, struct emu_encode_settings *s)
{
    const VAEncSequenceParameterBufferHEVC *q =
        emu_va_parameter(job, VAEncSequenceParameterBufferType, sizeof(*q));

    if (!q)
        return false;
    s->hevc = true;
    /* The parameters know the coded size only; the surface may be smaller, which is cropping. */
    s->width = q->pic_width_in_luma_samples;
    s->height = q->pic_height_in_luma_samples;
    if (job->target->width < s->width)
        s->width = job->target->width;
    if (job->target->height < s->height)
        s->height = job->target->height;
    s->bit_depth = (int)q->seq_fields.bits.bit_depth_luma_minus8 + 8;
    s->level = q->general_level_idc;
    s->refs = 1;
    if (q->vui_parameters_present_flag && q->vui_fields.bits.aspect_ratio_info_present_flag) {
        s->sar_width = (int)q->sar_width;
        s->sar_height = (int)q->sar_height;
    }
    s->intra_period = (int)q->intra_period;
    s->ip_period = (int)q->ip_period;
    if (!s->bitrate)
        s->bitrate = s->maxrate = q->bits_per_second;
    return true;
}

static void read_misc(const struct emu_va_buffer *buffer, struct emu_encode_settings *s)
{
    const VAEncMiscParameterBuffer *misc = (const void *)buffer->data;
    const VAEncMiscParameterRateControl *rc = (const void *)misc->data;
    const VAEncMiscParameterHRD *hrd = (const void *)misc->data;
    const VAEncMiscParameterFrameRate *rate = (const void *)misc->data;
    const VAEncMiscParameterBufferQualityLevel *level = (const void *)misc->data;
    size_t size = buffer->element_bytes - sizeof(*misc);

    if (misc->type == VAEncMiscParameterTypeRateControl && size >= sizeof(*rc)) {
        s->maxrate = rc->bits_per_second;
        s->bitrate = (int64_t)rc->bits_per_second * rc->target_percentage / 100;
        s->quality = (int)(rc->ICQ_quality_factor ? rc->ICQ_quality_factor : rc->quality_factor);
    } else if (misc->type == VAEncMiscParameterTypeHRD && size >= sizeof(*hrd)) {
        s->buffer_bits = hrd->buffer_size;
        s->initial_bits = hrd->initial_buffer_fullness;
    } else if (misc->type == VAEncMiscParameterTypeFrameRate && size >= sizeof(*rate)) {
        s->fps_num = (int)(rate->framerate & 0xffff);
        s->fps_den = (int)(rate->framerate >> 16 ? rate->framerate >> 16 : 1);
    } else if (misc->type == VAEncMiscParameterTypeQualityLevel && size >= sizeof(*level)) {
        s->quality_level = (int)level->quality_level;
    }
}

static void record(const struct emu_va_context *context, const struct emu_encode_settings *s)
{
    emu_record(
        "va.encode.open",
        "codec=%s profile=%s entry=%s rc=%s bitrate=%lld maxrate=%lld percent=%d "
        "hrd_bits=%lld hrd_initial=%lld qp=%d quality=%d quality_level=%d gop=%d ip_period=%d "
        "refs=%d level=%d width=%d height=%d bits=%d cabac=%d fps=%d/%d sar=%d:%d",
        s->hevc ? "hevc" : "h264", emu_va_profile_name(context->config.profile),
        context->config.entrypoint == VAEntrypointEncSliceLP ? "lp" : "slice",
        emu_va_rc_name(context->config.rc), (long long)s->bitrate, (long long)s->maxrate,
        s->maxrate ? (int)((s->bitrate * 100 + s->maxrate / 2) / s->maxrate) : 0,
        (long long)s->buffer_bits, (long long)s->initial_bits, s->qp, s->quality, s->quality_level,
        s->intra_period, s->ip_period, s->refs, s->level, s->width, s->height, s->bit_depth,
        s->cabac, s->fps_num, s->fps_den, s->sar_width, s->sar_height);
}

/* Sequence and rate control come with IDR pictures; the encoder is opened again when they change.
 */
static VAStatus configure(const struct emu_va_job *job, struct emu_va_encode *encode, int qp)
{
    const struct emu_va_context *context = job->context;
    const struct emu_encoder_type *type = is_hevc(context) ? &emu_encoder_x265 : &emu_encoder_x264;
    struct emu_encode_settings s;

    memset(&s, 0, sizeof(s)); /* compared as bytes below */
    s.profile = profile_name(context->config.profile);
    s.rc = rate_control(context->config.rc);
    s.qp = s.rc == EMU_RC_CQP ? qp : 0;
    s.fps_num = 25;
    s.fps_den = 1;
    for (int i = 0; i < job->num_buffers; i++)
        if (job->buffers[i]->type == VAEncMiscParameterBufferType &&
            job->buffers[i]->element_bytes > sizeof(VAEncMiscParameterBuffer))
            read_misc(job->buffers[i], &s);
    if (!(is_hevc(context) ? read_hevc_sequence(job, &s) : read_h264_sequence(job, &s)))
        return encode->known ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_PARAMETER;
    if (encode->known && memcmp(&s, &encode->settings, sizeof(s)) == 0)
        return VA_STATUS_SUCCESS;
    if (s.width < 16 || s.height < 16 || s.width > job->target->width ||
        s.height > job->target->height)
        return VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
    if (encode->encoder)
        encode->encoder->type->close(encode->encoder);
    encode->encoder = NULL;
    record(context, &s);
    if (type->open(&s, &encode->encoder) < 0)
        return VA_STATUS_ERROR_ENCODING_ERROR;
    memcpy(&encode->settings, &s, sizeof(s));
    encode->known = true;
    return VA_STATUS_SUCCESS;
}

static bool read_picture(const struct emu_va_job *job, enum emu_picture_type *ret_type, int *ret_qp)
{
    const VAEncPictureParameterBufferH264 *h;
    const VAEncPictureParameterBufferHEVC *p;
    const VAEncSliceParameterBufferH264 *slice;
    const VAEncSliceParameterBufferHEVC *segment;

    if (is_hevc(job->context)) {
        p = emu_va_parameter(job, VAEncPictureParameterBufferType, sizeof(*p));
        segment = emu_va_parameter(job, VAEncSliceParameterBufferType, sizeof(*segment));
        if (!p || !segment)
            return false;
        /* slice_type: B, P, I */
        *ret_type = p->pic_fields.bits.idr_pic_flag ? EMU_PICTURE_IDR
                    : segment->slice_type == 2      ? EMU_PICTURE_I
                                                    : EMU_PICTURE_P;
        *ret_qp = p->pic_init_qp + segment->slice_qp_delta;
        return true;
    }
    h = emu_va_parameter(job, VAEncPictureParameterBufferType, sizeof(*h));
    slice = emu_va_parameter(job, VAEncSliceParameterBufferType, sizeof(*slice));
    if (!h || !slice || slice->slice_type % 5 == 1)
        return false;
    *ret_type = h->pic_fields.bits.idr_pic_flag ? EMU_PICTURE_IDR
                : slice->slice_type % 5 == 2    ? EMU_PICTURE_I
                                                : EMU_PICTURE_P;
    *ret_qp = h->pic_init_qp + slice->slice_qp_delta;
    return true;
}

/* What is encoded: the surface, or what the plan wants in its place. */
static const uint8_t *choose_input(struct emu_va_encode *encode, const struct emu_va_surface *from,
                                   struct emu_fault fault)
{
    uint8_t *grown;

    if (fault.action == EMU_STALE && encode->last_input_bytes == from->total_bytes)
        return encode->last_input;
    if (fault.action != EMU_GREEN && !emu_planned("va.encode"))
        return from->data;
    grown = realloc(encode->last_input, from->total_bytes);
    if (!grown)
        return NULL;
    encode->last_input = grown;
    encode->last_input_bytes = from->total_bytes;
    if (fault.action == EMU_GREEN)
        memset(grown, 0, from->total_bytes);
    else
        memcpy(grown, from->data, from->total_bytes);
    return grown;
}

static VAStatus write_packet(struct emu_va_buffer *coded, const uint8_t *data, size_t size)
{
    size_t room = (size_t)coded->element_bytes * coded->num_elements;

    coded->segment = (VACodedBufferSegment){.size = (uint32_t)size, .buf = coded->data};
    if (size > room) {
        coded->segment.size = 0;
        coded->segment.status = VA_CODED_BUF_STATUS_SLICE_OVERFLOW_MASK;
        return VA_STATUS_ERROR_ENCODING_ERROR;
    }
    memcpy(coded->data, data, size);
    return VA_STATUS_SUCCESS;
}

VAStatus emu_va_encode_picture(struct emu_va_job *job)
{
    struct emu_va_context *context = job->context;
    struct emu_va_surface *from = job->target;
    struct emu_semiplanar input = {.luma_pitch = from->pitch, .chroma_pitch = from->pitch};
    struct emu_fault fault;
    VAStatus status = emu_va_point(context->va, "va.encode", &fault);
    enum emu_picture_type type;
    const uint8_t *pixels, *packet;
    size_t size;
    int qp;

    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!context->encode)
        context->encode = calloc(1, sizeof(*context->encode));
    if (!context->encode)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    if (!read_picture(job, &type, &qp))
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    status = configure(job, context->encode, qp);
    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!context->encode->encoder)
        return VA_STATUS_ERROR_ENCODING_ERROR;
    input.width = context->encode->settings.width;
    input.height = context->encode->settings.height;
    input.ten_bit = from->fourcc == VA_FOURCC_P010;
    if (input.ten_bit != (context->encode->settings.bit_depth > 8))
        return VA_STATUS_ERROR_INVALID_SURFACE;
    pixels = choose_input(context->encode, from, fault);
    if (!pixels)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    /* Only read; the structure serves both directions. */
    input.luma = (uint8_t *)(uintptr_t)pixels;
    input.chroma = input.luma + from->luma_bytes;
    if (context->encode->encoder->type->encode(context->encode->encoder, &input, type, qp, &packet,
                                               &size) < 0)
        return VA_STATUS_ERROR_ENCODING_ERROR;
    return write_packet(job->coded, packet, size);
}
