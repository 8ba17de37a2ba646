/* SPDX-License-Identifier: MIT */
/*
 * HEVC: writes VPS, SPS and PPS from the picture parameters.
 *
 * The contents of the SPS's list of reference picture sets are in no interface, and slices refer to
 * them by number. A new SPS for each picture is no way out, because the decoder forgets its
 * pictures when the SPS changes. So the SPS gets an empty list and every slice header its set
 * spelled out (decode_hevc_slice.c).
 */
#include <errno.h>
#include <string.h>

#include "decode_hevc.h"

#define NAL_VPS 32
#define NAL_SPS 33
#define NAL_PPS 34

void emu_hevc_raster_to_diagonal(const uint8_t *raster, uint8_t *diagonal, int size)
{
    int side = size == 16 ? 4 : 8, i = 0;

    for (int sum = 0; sum < 2 * side - 1; sum++)
        for (int x = 0; x <= sum; x++)
            if (x < side && sum - x < side)
                diagonal[i++] = raster[(sum - x) * side + x];
}

static void write_profile(struct emu_writer *w, const struct emu_hevc_picture *p)
{
    int profile = p->bit_depth_luma > 8 ? 2 : 1; /* Main 10, Main */

    emu_put(w, 3, 0);
    emu_put(w, 5, (uint32_t)profile);
    for (int i = 0; i < 32; i++)
        emu_put(w, 1, i == profile);
    emu_put(w, 4, 9); /* progressive, frames only */
    emu_put(w, 32, 0);
    emu_put(w, 12, 0);
    emu_put(w, 8, 186); /* level 6.2 */
}

/* No reordering: every picture leaves the decoder at once. */
static void write_buffering(struct emu_writer *w)
{
    emu_put(w, 1, 1);
    emu_put_ue(w, 15);
    emu_put_ue(w, 0);
    emu_put_ue(w, 0);
}

static void write_vps(struct emu_writer *w, const struct emu_hevc_picture *p)
{
    emu_put(w, 4, 0);
    emu_put(w, 2, 3);
    emu_put(w, 6, 0);
    emu_put(w, 3, 0);
    emu_put(w, 1, 1);
    emu_put(w, 16, 0xffff);
    write_profile(w, p);
    write_buffering(w);
    emu_put(w, 6, 0);
    emu_put_ue(w, 0);
    emu_put(w, 2, 0);
    emu_put_trailing(w);
}

static void write_sps(struct emu_writer *w, const struct emu_hevc_picture *p)
{
    emu_put(w, 4, 0);
    emu_put(w, 3, 0);
    emu_put(w, 1, 1);
    write_profile(w, p);
    emu_put_ue(w, 0);
    emu_put_ue(w, (uint32_t)p->chroma_format_idc);
    emu_put_ue(w, (uint32_t)p->width);
    emu_put_ue(w, (uint32_t)p->height);
    emu_put(w, 1, 0);
    emu_put_ue(w, (uint32_t)p->bit_depth_luma - 8);
    emu_put_ue(w, (uint32_t)p->bit_depth_chroma - 8);
    emu_put_ue(w, (uint32_t)p->log2_max_poc_lsb_minus4);
    write_buffering(w);
    emu_put_ue(w, (uint32_t)p->log2_min_cb_minus3);
    emu_put_ue(w, (uint32_t)p->log2_diff_max_min_cb);
    emu_put_ue(w, (uint32_t)p->log2_min_tb_minus2);
    emu_put_ue(w, (uint32_t)p->log2_diff_max_min_tb);
    emu_put_ue(w, (uint32_t)p->max_transform_depth_inter);
    emu_put_ue(w, (uint32_t)p->max_transform_depth_intra);
    emu_put(w, 1, p->scaling_list);
    if (p->scaling_list)
        emu_put(w, 1, 0); /* the lists stand in the PPS */
    emu_put(w, 1, p->amp);
    emu_put(w, 1, p->sao);
    emu_put(w, 1, p->pcm);
    if (p->pcm) {
        emu_put(w, 4, (uint32_t)p->pcm_depth_luma_minus1);
        emu_put(w, 4, (uint32_t)p->pcm_depth_chroma_minus1);
        emu_put_ue(w, (uint32_t)p->log2_min_pcm_cb_minus3);
        emu_put_ue(w, (uint32_t)p->log2_diff_max_min_pcm_cb);
        emu_put(w, 1, p->pcm_loop_filter_disabled);
    }
    emu_put_ue(w, 0);
    emu_put(w, 1, p->long_term_ref_pics);
    if (p->long_term_ref_pics)
        emu_put_ue(w, 0);
    emu_put(w, 1, p->temporal_mvp);
    emu_put(w, 1, p->strong_intra_smoothing);
    emu_put(w, 2, 0);
    emu_put_trailing(w);
}

static void write_list(struct emu_writer *w, const uint8_t *list, int size, int dc)
{
    int last = 8;

    emu_put(w, 1, 1);
    if (dc >= 0) {
        emu_put_se(w, dc - 8);
        last = dc;
    }
    for (int i = 0; i < size; i++) {
        emu_put_se(w, (int8_t)(list[i] - last));
        last = list[i];
    }
}

static void write_lists(struct emu_writer *w, const struct emu_hevc_picture *p)
{
    for (int i = 0; i < 6; i++)
        write_list(w, p->list_4x4[i], 16, -1);
    for (int i = 0; i < 6; i++)
        write_list(w, p->list_8x8[i], 64, -1);
    for (int i = 0; i < 6; i++)
        write_list(w, p->list_16x16[i], 64, p->dc_16x16[i]);
    for (int i = 0; i < 2; i++)
        write_list(w, p->list_32x32[i], 64, p->dc_32x32[i]);
}

static void write_tiles(struct emu_writer *w, const struct emu_hevc_picture *p)
{
    emu_put_ue(w, (uint32_t)p->num_tile_columns_minus1);
    emu_put_ue(w, (uint32_t)p->num_tile_rows_minus1);
    emu_put(w, 1, 0);
    for (int i = 0; i < p->num_tile_columns_minus1; i++)
        emu_put_ue(w, p->column_width_minus1[i]);
    for (int i = 0; i < p->num_tile_rows_minus1; i++)
        emu_put_ue(w, p->row_height_minus1[i]);
    emu_put(w, 1, p->loop_filter_across_tiles);
}

static void write_pps(struct emu_writer *w, const struct emu_hevc_picture *p, uint32_t id,
                      int extra_bits)
{
    emu_put_ue(w, id);
    emu_put_ue(w, 0);
    emu_put(w, 1, p->dependent_slices);
    emu_put(w, 1, p->output_flag_present);
    emu_put(w, 3, (uint32_t)extra_bits);
    emu_put(w, 1, p->sign_data_hiding);
    emu_put(w, 1, p->cabac_init_present);
    emu_put_ue(w, (uint32_t)p->num_ref_idx_l0_default_minus1);
    emu_put_ue(w, (uint32_t)p->num_ref_idx_l1_default_minus1);
    emu_put_se(w, p->init_qp_minus26);
    emu_put(w, 1, p->constrained_intra_pred);
    emu_put(w, 1, p->transform_skip);
    emu_put(w, 1, p->cu_qp_delta);
    if (p->cu_qp_delta)
        emu_put_ue(w, (uint32_t)p->diff_cu_qp_delta_depth);
    emu_put_se(w, p->cb_qp_offset);
    emu_put_se(w, p->cr_qp_offset);
    emu_put(w, 1, p->slice_chroma_qp_offsets_present);
    emu_put(w, 1, p->weighted_pred);
    emu_put(w, 1, p->weighted_bipred);
    emu_put(w, 1, p->transquant_bypass);
    emu_put(w, 1, p->tiles);
    emu_put(w, 1, p->entropy_sync);
    if (p->tiles)
        write_tiles(w, p);
    emu_put(w, 1, p->loop_filter_across_slices);
    emu_put(w, 1, 1);
    emu_put(w, 1, p->deblocking_override);
    emu_put(w, 1, p->pps_deblocking_disabled);
    if (!p->pps_deblocking_disabled) {
        emu_put_se(w, p->beta_offset_div2);
        emu_put_se(w, p->tc_offset_div2);
    }
    emu_put(w, 1, p->scaling_list);
    if (p->scaling_list)
        write_lists(w, p);
    emu_put(w, 1, p->lists_modification_present);
    emu_put_ue(w, (uint32_t)p->log2_parallel_merge_level_minus2);
    emu_put(w, 1, p->slice_header_extension);
    emu_put(w, 1, 0);
    emu_put_trailing(w);
}

int emu_hevc_stream(struct emu_hevc_state *state, const struct emu_decode_picture *picture,
                    struct emu_bytes *out)
{
    static const uint8_t vps_header[2] = {NAL_VPS << 1, 1}, sps_header[2] = {NAL_SPS << 1, 1};
    static const uint8_t pps_header[2] = {NAL_PPS << 1, 1};
    const struct emu_hevc_picture *p = &picture->hevc;
    struct emu_bytes payload = {0}, vps = {0};
    struct emu_writer w = {.bytes = &payload}, v = {.bytes = &vps};
    struct emu_hevc_rps rps;
    uint32_t pps;
    int rc = 0;

    if (p->chroma_format_idc != 1 || p->separate_colour_plane ||
        (p->long_term_ref_pics && p->num_long_term_ref_pics_sps))
        return -ENOTSUP;
    write_sps(&w, p);
    if (state->sps.size == 0) {
        write_vps(&v, p);
        emu_append_nal(out, vps_header, 2, vps.data, vps.size);
    }
    if (emu_send_if_changed(&state->sps, out, sps_header, 2, &payload))
        for (int i = 0; i < EMU_HEVC_PPS_MAX; i++)
            emu_bytes_free(&state->pps[i]);
    emu_hevc_rps_build(p, &picture->slices[0], &rps);
    for (int i = 0; i < picture->num_slices && rc == 0; i++) {
        rc = emu_hevc_slice_pps(&picture->slices[i], &pps);
        if (rc < 0)
            break;
        payload.size = 0;
        write_pps(&w, p, pps, rps.extra_bits);
        emu_send_if_changed(&state->pps[pps], out, pps_header, 2, &payload);
        rc = emu_hevc_slice_rewrite(p, &rps, &picture->slices[i], out);
    }
    if (rc == 0 && (payload.failed || vps.failed || out->failed))
        rc = -ENOMEM;
    emu_bytes_free(&payload);
    emu_bytes_free(&vps);
    return rc;
}

void emu_hevc_state_free(struct emu_hevc_state *state)
{
    emu_bytes_free(&state->sps);
    for (int i = 0; i < EMU_HEVC_PPS_MAX; i++)
        emu_bytes_free(&state->pps[i]);
}
