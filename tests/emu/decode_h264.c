/* SPDX-License-Identifier: MIT */
/*
 * H.264: writes SPS and PPS that say what the picture parameters say. Slices pass unchanged, hence
 * the PPS gets the id that they name; the SPS is always number 0.
 */
#include <errno.h>
#include <string.h>

#include "decode_core.h"

static const uint8_t zigzag_4x4[16] = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};

static const uint8_t zigzag_8x8[64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

void emu_h264_zigzag_to_raster(const uint8_t *zigzag, uint8_t *raster, int size)
{
    const uint8_t *order = size == 16 ? zigzag_4x4 : zigzag_8x8;

    for (int i = 0; i < size; i++)
        raster[order[i]] = zigzag[i];
}

static void write_sps(struct emu_writer *w, const struct emu_h264_picture *p, bool mbaff)
{
    /* High, High 10, or High 4:4:4 Predictive, without which lossless decodes differently. */
    int profile = p->transform_bypass ? 244 : p->bit_depth_luma > 8 ? 110 : 100;

    emu_put(w, 8, (uint32_t)profile);
    emu_put(w, 8, 0);
    emu_put(w, 8, 62); /* the highest level: the largest buffer */
    emu_put_ue(w, 0);
    emu_put_ue(w, (uint32_t)p->chroma_format_idc);
    emu_put_ue(w, (uint32_t)p->bit_depth_luma - 8);
    emu_put_ue(w, (uint32_t)p->bit_depth_chroma - 8);
    emu_put(w, 1, p->transform_bypass);
    emu_put(w, 1, 0); /* scaling lists stand in the PPS */
    emu_put_ue(w, (uint32_t)p->log2_max_frame_num - 4);
    emu_put_ue(w, (uint32_t)p->poc_type);
    if (p->poc_type == 0)
        emu_put_ue(w, (uint32_t)p->log2_max_poc_lsb - 4);
    emu_put_ue(w, (uint32_t)p->num_ref_frames);
    emu_put(w, 1, p->gaps_in_frame_num);
    emu_put_ue(w, (uint32_t)p->width_mbs - 1);
    emu_put_ue(w, (uint32_t)(p->frame_mbs_only ? p->height_mbs : p->height_mbs / 2) - 1);
    emu_put(w, 1, p->frame_mbs_only);
    if (!p->frame_mbs_only)
        emu_put(w, 1, mbaff);
    emu_put(w, 1, p->direct_8x8_inference);
    emu_put(w, 1, 0); /* cropping is the caller's business */
    emu_put(w, 1, 0); /* no VUI: the order of output does not matter here */
    emu_put_trailing(w);
}

static void write_list(struct emu_writer *w, const uint8_t *raster, int size)
{
    const uint8_t *order = size == 16 ? zigzag_4x4 : zigzag_8x8;
    int last = 8;

    emu_put(w, 1, 1);
    for (int i = 0; i < size; i++) {
        emu_put_se(w, (int8_t)(raster[order[i]] - last));
        last = raster[order[i]];
    }
}

static void write_pps(struct emu_writer *w, const struct emu_h264_picture *p, uint32_t id, int l0,
                      int l1)
{
    emu_put_ue(w, id);
    emu_put_ue(w, 0);
    emu_put(w, 1, p->cabac);
    emu_put(w, 1, p->pic_order_present);
    emu_put_ue(w, 0); /* one slice group */
    emu_put_ue(w, (uint32_t)l0);
    emu_put_ue(w, (uint32_t)l1);
    emu_put(w, 1, p->weighted_pred);
    emu_put(w, 2, (uint32_t)p->weighted_bipred_idc);
    emu_put_se(w, p->init_qp_minus26);
    emu_put_se(w, p->init_qs_minus26);
    emu_put_se(w, p->chroma_qp_offset);
    emu_put(w, 1, p->deblocking_control);
    emu_put(w, 1, p->constrained_intra_pred);
    emu_put(w, 1, p->redundant_pic_cnt);
    emu_put(w, 1, p->transform_8x8);
    emu_put(w, 1, 1);
    for (int i = 0; i < 6; i++)
        write_list(w, p->scaling_4x4[i], 16);
    for (int i = 0; i < 2 && p->transform_8x8; i++)
        write_list(w, p->scaling_8x8[i], 64);
    emu_put_se(w, p->second_chroma_qp_offset);
    emu_put_trailing(w);
}

/* Reads a slice header as far as needed. *ret_override: the slice says its own counts. */
static int read_slice(const struct emu_h264_picture *p, const struct emu_slice *slice,
                      uint32_t *ret_pps, uint32_t *ret_type, bool *ret_override)
{
    struct emu_bytes plain = {0};
    struct emu_reader r = {0};
    bool field = false;

    /* A header this far is shorter than 64 bytes even with the longest codes. */
    emu_append_unescaped(&plain, slice->data, slice->size < 64 ? slice->size : 64);
    if (plain.failed)
        return -ENOMEM;
    r.data = plain.data;
    r.bits = plain.size * 8;
    emu_skip(&r, 8);
    emu_get_ue(&r); /* first_mb_in_slice */
    *ret_type = emu_get_ue(&r) % 5;
    *ret_pps = emu_get_ue(&r);
    emu_skip(&r, (size_t)p->log2_max_frame_num);
    if (!p->frame_mbs_only) {
        field = emu_get(&r, 1);
        if (field)
            emu_skip(&r, 1);
    }
    if (slice->size && (slice->data[0] & 31) == 5)
        emu_get_ue(&r); /* idr_pic_id */
    if (p->poc_type == 0) {
        emu_skip(&r, (size_t)p->log2_max_poc_lsb);
        if (p->pic_order_present && !field)
            emu_get_ue(&r);
    }
    if (p->redundant_pic_cnt)
        emu_get_ue(&r);
    if (*ret_type == 1)
        emu_skip(&r, 1); /* direct_spatial_mv_pred */
    *ret_override = *ret_type == 2 || *ret_type == 4 || emu_get(&r, 1);
    emu_bytes_free(&plain);
    return r.overrun || *ret_pps >= EMU_H264_PPS_MAX ? -EIO : 0;
}

/* Without an override a slice's own counts are the defaults of its PPS. */
static int learn_defaults(struct emu_h264_state *state, const struct emu_h264_picture *p,
                          const struct emu_slice *slice, uint32_t *ret_pps)
{
    uint32_t type;
    bool override;
    int rc = read_slice(p, slice, ret_pps, &type, &override);

    if (rc < 0)
        return rc;
    if (p->defaults_known) {
        state->l0_default[*ret_pps] = p->num_ref_idx_l0_default_minus1;
        state->l1_default[*ret_pps] = p->num_ref_idx_l1_default_minus1;
    } else if (!override) {
        state->l0_default[*ret_pps] = slice->num_ref_idx_l0_minus1;
        if (type == 1)
            state->l1_default[*ret_pps] = slice->num_ref_idx_l1_minus1;
    }
    return 0;
}

int emu_h264_stream(struct emu_h264_state *state, const struct emu_decode_picture *picture,
                    struct emu_bytes *out)
{
    static const uint8_t sps_header = 0x67, pps_header = 0x68;
    const struct emu_h264_picture *p = &picture->h264;
    struct emu_bytes payload = {0};
    struct emu_writer w = {.bytes = &payload};
    bool used[EMU_H264_PPS_MAX] = {0};
    uint32_t pps;
    int rc;

    if (p->chroma_format_idc != 1 || p->poc_type == 1)
        return -ENOTSUP;
    if (!p->field_picture)
        state->mbaff = p->mbaff;
    write_sps(&w, p, state->mbaff);
    /* A new SPS takes the PPSs with it. */
    if (emu_send_if_changed(&state->sps, out, &sps_header, 1, &payload))
        for (int i = 0; i < EMU_H264_PPS_MAX; i++)
            emu_bytes_free(&state->pps[i]);
    for (int i = 0; i < picture->num_slices; i++) {
        rc = learn_defaults(state, p, &picture->slices[i], &pps);
        if (rc < 0)
            goto out;
        used[pps] = true;
    }
    for (uint32_t id = 0; id < EMU_H264_PPS_MAX; id++) {
        if (!used[id])
            continue;
        payload.size = 0;
        write_pps(&w, p, id, state->l0_default[id], state->l1_default[id]);
        emu_send_if_changed(&state->pps[id], out, &pps_header, 1, &payload);
    }
    for (int i = 0; i < picture->num_slices; i++) {
        emu_bytes_append(out, "\0\0\0\1", 4);
        emu_bytes_append(out, picture->slices[i].data, picture->slices[i].size);
    }
    rc = payload.failed || out->failed ? -ENOMEM : 0;
out:
    emu_bytes_free(&payload);
    return rc;
}

void emu_h264_state_free(struct emu_h264_state *state)
{
    emu_bytes_free(&state->sps);
    for (int i = 0; i < EMU_H264_PPS_MAX; i++)
        emu_bytes_free(&state->pps[i]);
}
