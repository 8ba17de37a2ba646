/* SPDX-License-Identifier: MIT */
/* Decoding: VA's picture parameters and slices become those of the shared decoding core. */
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <va/va_dec_hevc.h>
#include <va/va_dec_vp9.h>

#include "va_driver.h"

/* Slice parameters and slice data come in pairs of buffers; a parameter buffer may describe several
 * slices of its data. */
static int collect_slices(const struct emu_va_job *job, bool h264, struct emu_slice *slices,
                          int max)
{
    const struct emu_va_buffer *parameters = NULL;
    int count = 0;

    for (int i = 0; i < job->num_buffers; i++) {
        const struct emu_va_buffer *buffer = job->buffers[i];

        if (buffer->type == VASliceParameterBufferType) {
            parameters = buffer;
            continue;
        }
        if (buffer->type != VASliceDataBufferType || !parameters)
            continue;
        for (unsigned j = 0; j < parameters->num_elements && count < max; j++) {
            const uint8_t *raw = parameters->data + (size_t)j * parameters->element_bytes;
            const VASliceParameterBufferBase *base = (const void *)raw;
            const VASliceParameterBufferH264 *slice = (const void *)raw;

            if ((uint64_t)base->slice_data_offset + base->slice_data_size >
                (uint64_t)buffer->element_bytes * buffer->num_elements)
                return -1;
            slices[count] = (struct emu_slice){.data = buffer->data + base->slice_data_offset,
                                               .size = base->slice_data_size};
            if (h264) {
                slices[count].num_ref_idx_l0_minus1 = slice->num_ref_idx_l0_active_minus1;
                slices[count].num_ref_idx_l1_minus1 = slice->num_ref_idx_l1_active_minus1;
            }
            count++;
        }
        parameters = NULL;
    }
    return count;
}

static bool fill_h264(const struct emu_va_job *job, struct emu_h264_picture *ret)
{
    const VAPictureParameterBufferH264 *p =
        emu_va_parameter(job, VAPictureParameterBufferType, sizeof(*p));
    const VAIQMatrixBufferH264 *iq = emu_va_parameter(job, VAIQMatrixBufferType, sizeof(*iq));
    const VASliceParameterBufferH264 *slice =
        emu_va_parameter(job, VASliceParameterBufferType, sizeof(*slice));

    if (!p || !iq || !slice)
        return false;
    *ret = (struct emu_h264_picture){
        .width_mbs = p->picture_width_in_mbs_minus1 + 1,
        .height_mbs = p->picture_height_in_mbs_minus1 + 1,
        .bit_depth_luma = p->bit_depth_luma_minus8 + 8,
        .bit_depth_chroma = p->bit_depth_chroma_minus8 + 8,
        .chroma_format_idc = p->seq_fields.bits.chroma_format_idc,
        .num_ref_frames = p->num_ref_frames,
        .frame_mbs_only = p->seq_fields.bits.frame_mbs_only_flag,
        .mbaff = p->seq_fields.bits.mb_adaptive_frame_field_flag,
        .field_picture = p->pic_fields.bits.field_pic_flag,
        .direct_8x8_inference = p->seq_fields.bits.direct_8x8_inference_flag,
        .gaps_in_frame_num = p->seq_fields.bits.gaps_in_frame_num_value_allowed_flag,
        .log2_max_frame_num = p->seq_fields.bits.log2_max_frame_num_minus4 + 4,
        .poc_type = p->seq_fields.bits.pic_order_cnt_type,
        .log2_max_poc_lsb = p->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 + 4,
        .delta_pic_order_always_zero = p->seq_fields.bits.delta_pic_order_always_zero_flag,
        .cabac = p->pic_fields.bits.entropy_coding_mode_flag,
        .pic_order_present = p->pic_fields.bits.pic_order_present_flag,
        .weighted_pred = p->pic_fields.bits.weighted_pred_flag,
        .weighted_bipred_idc = p->pic_fields.bits.weighted_bipred_idc,
        .init_qp_minus26 = p->pic_init_qp_minus26,
        .init_qs_minus26 = p->pic_init_qs_minus26,
        .chroma_qp_offset = p->chroma_qp_index_offset,
        .second_chroma_qp_offset = p->second_chroma_qp_index_offset,
        .deblocking_control = p->pic_fields.bits.deblocking_filter_control_present_flag,
        .constrained_intra_pred = p->pic_fields.bits.constrained_intra_pred_flag,
        .redundant_pic_cnt = p->pic_fields.bits.redundant_pic_cnt_present_flag,
        .transform_8x8 = p->pic_fields.bits.transform_8x8_mode_flag,
        .intra = slice->slice_type % 5 == 2 || slice->slice_type % 5 == 4,
        .references = !(p->ReferenceFrames[0].flags & VA_PICTURE_H264_INVALID),
    };
    memcpy(ret->scaling_4x4, iq->ScalingList4x4, sizeof(ret->scaling_4x4));
    memcpy(ret->scaling_8x8, iq->ScalingList8x8, sizeof(ret->scaling_8x8));
    return true;
}

static void fill_hevc_lists(const VAIQMatrixBufferHEVC *iq, struct emu_hevc_picture *ret)
{
    for (int i = 0; i < 6; i++) {
        emu_hevc_raster_to_diagonal(iq->ScalingList4x4[i], ret->list_4x4[i], 16);
        emu_hevc_raster_to_diagonal(iq->ScalingList8x8[i], ret->list_8x8[i], 64);
        emu_hevc_raster_to_diagonal(iq->ScalingList16x16[i], ret->list_16x16[i], 64);
        ret->dc_16x16[i] = iq->ScalingListDC16x16[i];
    }
    for (int i = 0; i < 2; i++) {
        emu_hevc_raster_to_diagonal(iq->ScalingList32x32[i], ret->list_32x32[i], 64);
        ret->dc_32x32[i] = iq->ScalingListDC32x32[i];
    }
}

static void fill_hevc_references(const VAPictureParameterBufferHEVC *p,
                                 struct emu_hevc_picture *ret)
{
    ret->num_refs = 0;
    for (int i = 0; i < 15; i++) {
        const VAPictureHEVC *from = &p->ReferenceFrames[i];
        struct emu_hevc_reference *to = &ret->refs[ret->num_refs];

        if (from->picture_id == VA_INVALID_ID || (from->flags & VA_PICTURE_HEVC_INVALID))
            continue;
        to->poc = from->pic_order_cnt;
        to->long_term = from->flags & VA_PICTURE_HEVC_LONG_TERM_REFERENCE;
        to->use = from->flags & VA_PICTURE_HEVC_RPS_ST_CURR_BEFORE  ? EMU_HEVC_BEFORE
                  : from->flags & VA_PICTURE_HEVC_RPS_ST_CURR_AFTER ? EMU_HEVC_AFTER
                  : from->flags & VA_PICTURE_HEVC_RPS_LT_CURR       ? EMU_HEVC_LONG_TERM
                                                                    : EMU_HEVC_FOLLOW;
        ret->num_refs++;
    }
}

static void fill_hevc_sequence(const VAPictureParameterBufferHEVC *p, struct emu_hevc_picture *ret)
{
    ret->width = p->pic_width_in_luma_samples;
    ret->height = p->pic_height_in_luma_samples;
    ret->bit_depth_luma = p->bit_depth_luma_minus8 + 8;
    ret->bit_depth_chroma = p->bit_depth_chroma_minus8 + 8;
    ret->chroma_format_idc = p->pic_fields.bits.chroma_format_idc;
    ret->separate_colour_plane = p->pic_fields.bits.separate_colour_plane_flag;
    ret->log2_min_cb_minus3 = p->log2_min_luma_coding_block_size_minus3;
    ret->log2_diff_max_min_cb = p->log2_diff_max_min_luma_coding_block_size;
    ret->log2_min_tb_minus2 = p->log2_min_transform_block_size_minus2;
    ret->log2_diff_max_min_tb = p->log2_diff_max_min_transform_block_size;
    ret->max_transform_depth_inter = p->max_transform_hierarchy_depth_inter;
    ret->max_transform_depth_intra = p->max_transform_hierarchy_depth_intra;
    ret->scaling_list = p->pic_fields.bits.scaling_list_enabled_flag;
    ret->amp = p->pic_fields.bits.amp_enabled_flag;
    ret->sao = p->slice_parsing_fields.bits.sample_adaptive_offset_enabled_flag;
    ret->pcm = p->pic_fields.bits.pcm_enabled_flag;
    ret->pcm_depth_luma_minus1 = p->pcm_sample_bit_depth_luma_minus1;
    ret->pcm_depth_chroma_minus1 = p->pcm_sample_bit_depth_chroma_minus1;
    ret->log2_min_pcm_cb_minus3 = p->log2_min_pcm_luma_coding_block_size_minus3;
    ret->log2_diff_max_min_pcm_cb = p->log2_diff_max_min_pcm_luma_coding_block_size;
    ret->pcm_loop_filter_disabled = p->pic_fields.bits.pcm_loop_filter_disabled_flag;
    ret->log2_max_poc_lsb_minus4 = p->log2_max_pic_order_cnt_lsb_minus4;
    ret->num_short_term_ref_pic_sets = p->num_short_term_ref_pic_sets;
    ret->long_term_ref_pics = p->slice_parsing_fields.bits.long_term_ref_pics_present_flag;
    ret->num_long_term_ref_pics_sps = p->num_long_term_ref_pic_sps;
    ret->temporal_mvp = p->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag;
    ret->strong_intra_smoothing = p->pic_fields.bits.strong_intra_smoothing_enabled_flag;
}

static void fill_hevc_picture(const VAPictureParameterBufferHEVC *p, struct emu_hevc_picture *ret)
{
    ret->dependent_slices = p->slice_parsing_fields.bits.dependent_slice_segments_enabled_flag;
    ret->output_flag_present = p->slice_parsing_fields.bits.output_flag_present_flag;
    ret->sign_data_hiding = p->pic_fields.bits.sign_data_hiding_enabled_flag;
    ret->cabac_init_present = p->slice_parsing_fields.bits.cabac_init_present_flag;
    ret->num_ref_idx_l0_default_minus1 = p->num_ref_idx_l0_default_active_minus1;
    ret->num_ref_idx_l1_default_minus1 = p->num_ref_idx_l1_default_active_minus1;
    ret->init_qp_minus26 = p->init_qp_minus26;
    ret->constrained_intra_pred = p->pic_fields.bits.constrained_intra_pred_flag;
    ret->transform_skip = p->pic_fields.bits.transform_skip_enabled_flag;
    ret->cu_qp_delta = p->pic_fields.bits.cu_qp_delta_enabled_flag;
    ret->diff_cu_qp_delta_depth = p->diff_cu_qp_delta_depth;
    ret->cb_qp_offset = p->pps_cb_qp_offset;
    ret->cr_qp_offset = p->pps_cr_qp_offset;
    ret->slice_chroma_qp_offsets_present =
        p->slice_parsing_fields.bits.pps_slice_chroma_qp_offsets_present_flag;
    ret->weighted_pred = p->pic_fields.bits.weighted_pred_flag;
    ret->weighted_bipred = p->pic_fields.bits.weighted_bipred_flag;
    ret->transquant_bypass = p->pic_fields.bits.transquant_bypass_enabled_flag;
    ret->tiles = p->pic_fields.bits.tiles_enabled_flag;
    ret->entropy_sync = p->pic_fields.bits.entropy_coding_sync_enabled_flag;
    ret->num_tile_columns_minus1 = p->num_tile_columns_minus1;
    ret->num_tile_rows_minus1 = p->num_tile_rows_minus1;
    memcpy(ret->column_width_minus1, p->column_width_minus1, sizeof(p->column_width_minus1));
    memcpy(ret->row_height_minus1, p->row_height_minus1, sizeof(p->row_height_minus1));
    ret->loop_filter_across_tiles = p->pic_fields.bits.loop_filter_across_tiles_enabled_flag;
    ret->loop_filter_across_slices = p->pic_fields.bits.pps_loop_filter_across_slices_enabled_flag;
    ret->deblocking_override = p->slice_parsing_fields.bits.deblocking_filter_override_enabled_flag;
    ret->pps_deblocking_disabled = p->slice_parsing_fields.bits.pps_disable_deblocking_filter_flag;
    ret->beta_offset_div2 = p->pps_beta_offset_div2;
    ret->tc_offset_div2 = p->pps_tc_offset_div2;
    ret->lists_modification_present = p->slice_parsing_fields.bits.lists_modification_present_flag;
    ret->log2_parallel_merge_level_minus2 = p->log2_parallel_merge_level_minus2;
    ret->num_extra_slice_header_bits = p->num_extra_slice_header_bits;
    ret->slice_header_extension =
        p->slice_parsing_fields.bits.slice_segment_header_extension_present_flag;
    ret->poc = p->CurrPic.pic_order_cnt;
    ret->st_rps_bits = (int)p->st_rps_bits;
    ret->intra = p->slice_parsing_fields.bits.RapPicFlag;
}

static bool fill_hevc(const struct emu_va_job *job, struct emu_hevc_picture *ret)
{
    const VAPictureParameterBufferHEVC *p =
        emu_va_parameter(job, VAPictureParameterBufferType, sizeof(*p));
    const VAIQMatrixBufferHEVC *iq = emu_va_parameter(job, VAIQMatrixBufferType, sizeof(*iq));

    if (!p || (p->pic_fields.bits.scaling_list_enabled_flag && !iq))
        return false;
    memset(ret, 0, sizeof(*ret));
    fill_hevc_sequence(p, ret);
    fill_hevc_picture(p, ret);
    fill_hevc_references(p, ret);
    if (iq)
        fill_hevc_lists(iq, ret);
    return true;
}

static bool fill(const struct emu_va_job *job, struct emu_decode_picture *ret)
{
    const VADecPictureParameterBufferVP9 *vp9;

    switch (job->context->config.profile) {
    case VAProfileHEVCMain:
    case VAProfileHEVCMain10:
        return fill_hevc(job, &ret->hevc);
    case VAProfileVP9Profile0:
        vp9 = emu_va_parameter(job, VAPictureParameterBufferType, sizeof(*vp9));
        if (vp9)
            ret->vp9 = (struct emu_vp9_picture){vp9->frame_width, vp9->frame_height};
        return vp9;
    default:
        return fill_h264(job, &ret->h264);
    }
}

/* Writes the picture, or what the plan wants in its place. */
static VAStatus deliver(struct emu_va_job *job, const AVFrame *frame, struct emu_fault fault)
{
    struct emu_va_context *context = job->context;
    struct emu_va_surface *surface = job->target;
    struct emu_semiplanar to = {
        .luma = surface->data,
        .chroma = surface->data + surface->luma_bytes,
        .luma_pitch = surface->pitch,
        .chroma_pitch = surface->pitch,
        .width = surface->width,
        .height = surface->height,
        .ten_bit = surface->fourcc == VA_FOURCC_P010,
    };

    if (fault.action == EMU_GREEN) {
        memset(surface->data, 0, surface->total_bytes);
        return VA_STATUS_SUCCESS;
    }
    if (fault.action == EMU_STALE && context->last_decoded)
        frame = context->last_decoded;
    if (emu_frame_to_semiplanar(frame, &to) < 0)
        return VA_STATUS_ERROR_DECODING_ERROR;
    if (fault.action != EMU_STALE) {
        av_frame_free(&context->last_decoded);
        context->last_decoded = av_frame_clone(frame);
        if (!context->last_decoded)
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    return VA_STATUS_SUCCESS;
}

VAStatus emu_va_decode(struct emu_va_job *job)
{
    struct emu_va_context *context = job->context;
    struct emu_decode_picture picture = {0};
    struct emu_slice slices[EMU_VA_PICTURE_BUFFERS];
    struct emu_fault fault;
    VAStatus status = emu_va_point(context->va, "va.decode", &fault);
    const AVFrame *frame;
    int count, rc;

    if (status != VA_STATUS_SUCCESS)
        return status;
    count = collect_slices(job,
                           context->config.profile == VAProfileH264ConstrainedBaseline ||
                               context->config.profile == VAProfileH264Main ||
                               context->config.profile == VAProfileH264High,
                           slices, EMU_VA_PICTURE_BUFFERS);
    if (count < 1 || !fill(job, &picture))
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    picture.slices = slices;
    picture.num_slices = count;
    rc = emu_decoder_decode(context->decoder, &picture, &frame);
    if (rc < 0) {
        emu_record("va.decode.error", "picture=%ld errno=%d", context->pictures, -rc);
        return VA_STATUS_ERROR_DECODING_ERROR;
    }
    return deliver(job, frame, fault);
}
