/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVDEC: from CUVIDPICPARAMS to the neutral picture of the decoding core.
 */
#include <errno.h>
#include <string.h>

#include "cuvid_emu.h"

static void translate_h264(const CUVIDPICPARAMS *p, struct emu_h264_picture *out)
{
    const CUVIDH264PICPARAMS *in = &p->CodecSpecific.h264;

    *out = (struct emu_h264_picture){
        .width_mbs = p->PicWidthInMbs,
        .height_mbs = p->FrameHeightInMbs,
        .bit_depth_luma = in->bit_depth_luma_minus8 + 8,
        .bit_depth_chroma = in->bit_depth_chroma_minus8 + 8,
        .chroma_format_idc = 1,
        .num_ref_frames = in->num_ref_frames,
        .frame_mbs_only = in->frame_mbs_only_flag,
        .mbaff = in->MbaffFrameFlag,
        .field_picture = p->field_pic_flag,
        .direct_8x8_inference = in->direct_8x8_inference_flag,
        .log2_max_frame_num = in->log2_max_frame_num_minus4 + 4,
        .poc_type = in->pic_order_cnt_type,
        .log2_max_poc_lsb = in->log2_max_pic_order_cnt_lsb_minus4 + 4,
        .delta_pic_order_always_zero = in->delta_pic_order_always_zero_flag,
        .transform_bypass = in->qpprime_y_zero_transform_bypass_flag,
        .cabac = in->entropy_coding_mode_flag,
        .pic_order_present = in->pic_order_present_flag,
        .defaults_known = true,
        .num_ref_idx_l0_default_minus1 = in->num_ref_idx_l0_active_minus1,
        .num_ref_idx_l1_default_minus1 = in->num_ref_idx_l1_active_minus1,
        .weighted_pred = in->weighted_pred_flag,
        .weighted_bipred_idc = in->weighted_bipred_idc,
        .init_qp_minus26 = in->pic_init_qp_minus26,
        .init_qs_minus26 = in->pic_init_qs_minus26,
        .chroma_qp_offset = in->chroma_qp_index_offset,
        .second_chroma_qp_offset = in->second_chroma_qp_index_offset,
        .deblocking_control = in->deblocking_filter_control_present_flag,
        .constrained_intra_pred = in->constrained_intra_pred_flag,
        .redundant_pic_cnt = in->redundant_pic_cnt_present_flag,
        .transform_8x8 = in->transform_8x8_mode_flag,
        .intra = p->intra_pic_flag,
    };
    memcpy(out->scaling_4x4, in->WeightScale4x4, sizeof(out->scaling_4x4));
    memcpy(out->scaling_8x8, in->WeightScale8x8, sizeof(out->scaling_8x8));
    for (int i = 0; i < 16; i++)
        out->references |= in->dpb[i].PicIdx >= 0;
}

static bool listed(const unsigned char *list, int count, int index)
{
    for (int i = 0; i < count && i < 8; i++)
        if (list[i] == index)
            return true;
    return false;
}

static enum emu_hevc_use reference_use(const CUVIDHEVCPICPARAMS *in, int i)
{
    if (listed(in->RefPicSetStCurrBefore, in->NumPocStCurrBefore, i))
        return EMU_HEVC_BEFORE;
    if (listed(in->RefPicSetStCurrAfter, in->NumPocStCurrAfter, i))
        return EMU_HEVC_AFTER;
    if (listed(in->RefPicSetLtCurr, in->NumPocLtCurr, i))
        return EMU_HEVC_LONG_TERM;
    return EMU_HEVC_FOLLOW;
}

static void translate_references(const CUVIDHEVCPICPARAMS *in, struct emu_hevc_picture *out)
{
    for (int i = 0; i < 16; i++) {
        enum emu_hevc_use use = reference_use(in, i);

        /* A missing reference has no surface and is used all the same. */
        if (in->RefPicIdx[i] < 0 && use == EMU_HEVC_FOLLOW)
            continue;
        if (in->PicOrderCntVal[i] == in->CurrPicOrderCntVal)
            continue; /* the list holds the current picture too */
        out->refs[out->num_refs++] = (struct emu_hevc_reference){
            .poc = in->PicOrderCntVal[i], .use = use, .long_term = in->IsLongTerm[i]};
    }
}

static void translate_hevc_lists(const CUVIDHEVCPICPARAMS *in, struct emu_hevc_picture *out)
{
    memcpy(out->list_4x4, in->ScalingList4x4, sizeof(out->list_4x4));
    memcpy(out->list_8x8, in->ScalingList8x8, sizeof(out->list_8x8));
    memcpy(out->list_16x16, in->ScalingList16x16, sizeof(out->list_16x16));
    memcpy(out->list_32x32, in->ScalingList32x32, sizeof(out->list_32x32));
    memcpy(out->dc_16x16, in->ScalingListDCCoeff16x16, sizeof(out->dc_16x16));
    memcpy(out->dc_32x32, in->ScalingListDCCoeff32x32, sizeof(out->dc_32x32));
    for (int i = 0; i < 21; i++) {
        out->column_width_minus1[i] = in->column_width_minus1[i];
        out->row_height_minus1[i] = in->row_height_minus1[i];
    }
}

static void translate_hevc(const CUVIDPICPARAMS *p, struct emu_hevc_picture *out)
{
    const CUVIDHEVCPICPARAMS *in = &p->CodecSpecific.hevc;

    *out = (struct emu_hevc_picture){
        .width = in->pic_width_in_luma_samples,
        .height = in->pic_height_in_luma_samples,
        .bit_depth_luma = in->bit_depth_luma_minus8 + 8,
        .bit_depth_chroma = in->bit_depth_chroma_minus8 + 8,
        .chroma_format_idc = 1,
        .separate_colour_plane = in->separate_colour_plane_flag,
        .log2_min_cb_minus3 = in->log2_min_luma_coding_block_size_minus3,
        .log2_diff_max_min_cb = in->log2_diff_max_min_luma_coding_block_size,
        .log2_min_tb_minus2 = in->log2_min_transform_block_size_minus2,
        .log2_diff_max_min_tb = in->log2_diff_max_min_transform_block_size,
        .max_transform_depth_inter = in->max_transform_hierarchy_depth_inter,
        .max_transform_depth_intra = in->max_transform_hierarchy_depth_intra,
        .scaling_list = in->scaling_list_enable_flag,
        .amp = in->amp_enabled_flag,
        .sao = in->sample_adaptive_offset_enabled_flag,
        .pcm = in->pcm_enabled_flag,
        .pcm_depth_luma_minus1 = in->pcm_sample_bit_depth_luma_minus1,
        .pcm_depth_chroma_minus1 = in->pcm_sample_bit_depth_chroma_minus1,
        .log2_min_pcm_cb_minus3 = in->log2_min_pcm_luma_coding_block_size_minus3,
        .log2_diff_max_min_pcm_cb = in->log2_diff_max_min_pcm_luma_coding_block_size,
        .pcm_loop_filter_disabled = in->pcm_loop_filter_disabled_flag,
        .log2_max_poc_lsb_minus4 = in->log2_max_pic_order_cnt_lsb_minus4,
        .num_short_term_ref_pic_sets = in->num_short_term_ref_pic_sets,
        .long_term_ref_pics = in->long_term_ref_pics_present_flag,
        .num_long_term_ref_pics_sps = in->num_long_term_ref_pics_sps,
        .temporal_mvp = in->sps_temporal_mvp_enabled_flag,
        .strong_intra_smoothing = in->strong_intra_smoothing_enabled_flag,
        .dependent_slices = in->dependent_slice_segments_enabled_flag,
        .output_flag_present = in->output_flag_present_flag,
        .sign_data_hiding = in->sign_data_hiding_enabled_flag,
        .cabac_init_present = in->cabac_init_present_flag,
        .num_ref_idx_l0_default_minus1 = in->num_ref_idx_l0_default_active_minus1,
        .num_ref_idx_l1_default_minus1 = in->num_ref_idx_l1_default_active_minus1,
        .init_qp_minus26 = in->init_qp_minus26,
        .constrained_intra_pred = in->constrained_intra_pred_flag,
        .transform_skip = in->transform_skip_enabled_flag,
        .cu_qp_delta = in->cu_qp_delta_enabled_flag,
        .diff_cu_qp_delta_depth = in->diff_cu_qp_delta_depth,
        .cb_qp_offset = in->pps_cb_qp_offset,
        .cr_qp_offset = in->pps_cr_qp_offset,
        .slice_chroma_qp_offsets_present = in->pps_slice_chroma_qp_offsets_present_flag,
        .weighted_pred = in->weighted_pred_flag,
        .weighted_bipred = in->weighted_bipred_flag,
        .transquant_bypass = in->transquant_bypass_enabled_flag,
        .tiles = in->tiles_enabled_flag,
        .entropy_sync = in->entropy_coding_sync_enabled_flag,
        .num_tile_columns_minus1 = in->num_tile_columns_minus1,
        .num_tile_rows_minus1 = in->num_tile_rows_minus1,
        .loop_filter_across_tiles = in->loop_filter_across_tiles_enabled_flag,
        .loop_filter_across_slices = in->loop_filter_across_slices_enabled_flag,
        .deblocking_override = in->deblocking_filter_override_enabled_flag,
        .pps_deblocking_disabled = in->pps_deblocking_filter_disabled_flag,
        .beta_offset_div2 = in->pps_beta_offset_div2,
        .tc_offset_div2 = in->pps_tc_offset_div2,
        .lists_modification_present = in->lists_modification_present_flag,
        .log2_parallel_merge_level_minus2 = in->log2_parallel_merge_level_minus2,
        .num_extra_slice_header_bits = in->num_extra_slice_header_bits,
        .slice_header_extension = in->slice_segment_header_extension_present_flag,
        .poc = in->CurrPicOrderCntVal,
        .st_rps_bits = in->NumBitsForShortTermRPSInSlice,
        .intra = in->IrapPicFlag,
    };
    translate_references(in, out);
    translate_hevc_lists(in, out);
}

/* Slices stand behind start codes of three bytes, except in VP9. */
static int take_slices(const CUVIDPICPARAMS *p, size_t start_code, struct emu_slice *slices)
{
    if (!p->nNumSlices || p->nNumSlices > EMU_CUVID_MAX_SLICES || !p->pBitstreamData)
        return -EINVAL;
    for (unsigned i = 0; i < p->nNumSlices; i++) {
        size_t begin = p->pSliceDataOffsets[i] + start_code;
        size_t end = i + 1 < p->nNumSlices ? p->pSliceDataOffsets[i + 1] : p->nBitstreamDataLen;

        if (end > p->nBitstreamDataLen || begin >= end)
            return -EINVAL;
        slices[i] = (struct emu_slice){.data = p->pBitstreamData + begin, .size = end - begin};
    }
    return 0;
}

int emu_cuvid_translate(cudaVideoCodec codec, const CUVIDPICPARAMS *p, struct emu_slice *slices,
                        struct emu_decode_picture *picture)
{
    picture->slices = slices;
    picture->num_slices = (int)p->nNumSlices;
    switch (codec) {
    case cudaVideoCodec_H264:
        translate_h264(p, &picture->h264);
        return take_slices(p, 3, slices);
    case cudaVideoCodec_HEVC:
        translate_hevc(p, &picture->hevc);
        return take_slices(p, 3, slices);
    case cudaVideoCodec_VP9:
        picture->vp9 = (struct emu_vp9_picture){(int)p->CodecSpecific.vp9.width,
                                                (int)p->CodecSpecific.vp9.height};
        return take_slices(p, 0, slices);
    default:
        return -ENOTSUP;
    }
}

void emu_cuvid_attach_frame(CUVIDPICPARAMS *parameters, const AVFrame *frame)
{
    memcpy(parameters->Reserved, &frame, sizeof(frame));
}

const AVFrame *emu_cuvid_attached_frame(const CUVIDPICPARAMS *parameters)
{
    const AVFrame *frame;

    memcpy(&frame, parameters->Reserved, sizeof(frame));
    return frame;
}
