/* SPDX-License-Identifier: MIT */
/*
 * Decoding for emulated drivers: pictures from per-picture parameters, as hardware does it.
 *
 * VAAPI and NVDEC hand over one picture at a time, in decoding order, as parameters plus slices and
 * without the parameter sets of the stream. This core writes parameter sets that say the same,
 * feeds them with the slices to a private software decoder and returns that very picture at once,
 * before any reordering. The structures below are the common part of both interfaces: plain
 * syntax elements under the names of the standards.
 *
 * Not covered: 4:2:2 and 4:4:4, HEVC range extensions, long-term references listed in the HEVC
 * SPS, H.264 picture order count type 1, MPEG-2, AV1. emu_decoder_decode() says -ENOTSUP.
 *
 * Threads: a decoder belongs to one thread at a time; decoders are independent.
 */
#ifndef LATHE_EMU_DECODE_H
#define LATHE_EMU_DECODE_H

#include <libavutil/frame.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum emu_codec { EMU_H264, EMU_HEVC, EMU_VP9 };

struct emu_slice {
    const uint8_t *data; /* one NAL unit without start code; VP9: the whole frame */
    size_t size;         /* bytes */
    /* H.264 without defaults_known: the counts that the slice uses, as the interface says. */
    int num_ref_idx_l0_minus1, num_ref_idx_l1_minus1;
};

struct emu_h264_picture {
    int width_mbs, height_mbs; /* of the frame, also for a field */
    int bit_depth_luma, bit_depth_chroma;
    int chroma_format_idc;
    int num_ref_frames;
    bool frame_mbs_only;
    bool mbaff;         /* as the interface says it: ignored for field pictures */
    bool field_picture; /* this picture is a field */
    bool direct_8x8_inference;
    bool gaps_in_frame_num;
    int log2_max_frame_num;
    int poc_type;
    int log2_max_poc_lsb;
    bool delta_pic_order_always_zero;
    bool transform_bypass; /* qpprime_y_zero_transform_bypass */

    bool cabac;
    bool pic_order_present;
    /* Default reference counts (minus1). NVDEC passes the PPS's. VAAPI has none: set
     * defaults_known to false and the core reads them from the slices. */
    bool defaults_known;
    int num_ref_idx_l0_default_minus1, num_ref_idx_l1_default_minus1;
    bool weighted_pred;
    int weighted_bipred_idc;
    int init_qp_minus26, init_qs_minus26;
    int chroma_qp_offset, second_chroma_qp_offset;
    bool deblocking_control;
    bool constrained_intra_pred;
    bool redundant_pic_cnt;
    bool transform_8x8;
    uint8_t scaling_4x4[6][16]; /* raster order */
    uint8_t scaling_8x8[2][64]; /* raster order: intra Y, inter Y */

    bool intra;      /* every slice is intra, as far as the interface says */
    bool references; /* the picture came with at least one reference frame */
};

enum emu_hevc_use { EMU_HEVC_FOLLOW, EMU_HEVC_BEFORE, EMU_HEVC_AFTER, EMU_HEVC_LONG_TERM };

struct emu_hevc_reference {
    int poc;
    enum emu_hevc_use use; /* FOLLOW: kept for later pictures only */
    bool long_term;        /* left out of the rewritten reference picture set */
};

struct emu_hevc_picture {
    int width, height; /* coded luma samples */
    int bit_depth_luma, bit_depth_chroma;
    int chroma_format_idc;
    bool separate_colour_plane;
    int log2_min_cb_minus3, log2_diff_max_min_cb;
    int log2_min_tb_minus2, log2_diff_max_min_tb;
    int max_transform_depth_inter, max_transform_depth_intra;
    bool scaling_list, amp, sao, pcm;
    int pcm_depth_luma_minus1, pcm_depth_chroma_minus1;
    int log2_min_pcm_cb_minus3, log2_diff_max_min_pcm_cb;
    bool pcm_loop_filter_disabled;
    int log2_max_poc_lsb_minus4;
    int num_short_term_ref_pic_sets; /* of the SPS; their contents are in no interface */
    bool long_term_ref_pics;
    int num_long_term_ref_pics_sps;
    bool temporal_mvp, strong_intra_smoothing;

    bool dependent_slices, output_flag_present, sign_data_hiding, cabac_init_present;
    int num_ref_idx_l0_default_minus1, num_ref_idx_l1_default_minus1;
    int init_qp_minus26;
    bool constrained_intra_pred, transform_skip, cu_qp_delta;
    int diff_cu_qp_delta_depth;
    int cb_qp_offset, cr_qp_offset;
    bool slice_chroma_qp_offsets_present, weighted_pred, weighted_bipred, transquant_bypass;
    bool tiles, entropy_sync;
    int num_tile_columns_minus1, num_tile_rows_minus1;
    uint16_t column_width_minus1[22], row_height_minus1[22]; /* always explicit */
    bool loop_filter_across_tiles, loop_filter_across_slices;
    bool deblocking_override, pps_deblocking_disabled;
    int beta_offset_div2, tc_offset_div2;
    bool lists_modification_present;
    int log2_parallel_merge_level_minus2;
    int num_extra_slice_header_bits;
    bool slice_header_extension;

    /* Scaling lists in the diagonal order in which the standard writes them (see
     * emu_hevc_raster_to_diagonal); 32x32 has the two of 4:2:0. */
    uint8_t list_4x4[6][16], list_8x8[6][64], list_16x16[6][64], list_32x32[2][64];
    uint8_t dc_16x16[6], dc_32x32[2];

    int poc;         /* of this picture */
    int st_rps_bits; /* length of the RPS in the slice header; 0 = taken from the SPS's list */
    struct emu_hevc_reference refs[16];
    int num_refs; /* without the current picture itself */
    bool intra;   /* IRAP */
};

struct emu_vp9_picture {
    int width, height;
};

struct emu_decode_picture {
    union {
        struct emu_h264_picture h264;
        struct emu_hevc_picture hevc;
        struct emu_vp9_picture vp9;
    };
    const struct emu_slice *slices;
    int num_slices;
};

struct emu_decoder;

/* Creates a decoder. Returns 0 or a negative errno. */
int emu_decoder_create(enum emu_codec codec, struct emu_decoder **ret);
void emu_decoder_destroy(struct emu_decoder *decoder); /* NULL is welcome */

/* Decodes one picture. On success *ret is the picture (YUV 4:2:0, 8 bit or 10 bit in 16, of the
 * coded size or cropped to what the parameters say), owned by the decoder and valid until its next
 * call. For the second field of a frame it is the same frame again, now complete. Returns 0,
 * -ENOTSUP for what is not covered, -EIO when the software decoder delivered no picture, -ENOMEM.
 */
int emu_decoder_decode(struct emu_decoder *decoder, const struct emu_decode_picture *picture,
                       const AVFrame **ret);

/* Reorders one scaling list of `size` (16 or 64) entries from raster to diagonal order. */
void emu_hevc_raster_to_diagonal(const uint8_t *raster, uint8_t *diagonal, int size);
/* Reorders one H.264 scaling list from zig-zag (frame) to raster order. */
void emu_h264_zigzag_to_raster(const uint8_t *zigzag, uint8_t *raster, int size);

/* Semi-planar pictures in driver memory: NV12, or P010 (10-bit samples in the upper bits). */
struct emu_semiplanar {
    uint8_t *luma, *chroma;
    size_t luma_pitch, chroma_pitch; /* bytes */
    int width, height;               /* samples that may be written; the frame may be smaller */
    bool ten_bit;
};

/* Copies a decoded frame into driver memory. Returns 0, or -EINVAL when the depths differ. */
int emu_frame_to_semiplanar(const AVFrame *frame, const struct emu_semiplanar *dst);

#endif
