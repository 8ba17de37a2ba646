/* SPDX-License-Identifier: MIT */
#include "annexb.h"

#include <errno.h>
#include <libavcodec/bsf.h>
#include <libavutil/intreadwrite.h>
#include <stdlib.h>
#include <string.h>

#include "h26x.h"

#define START_CODE 1u /* as the 4 bytes where a length would be */

/* The next 00 00 00 01 from `at` on, or `size`. */
static size_t find_start_code(const uint8_t *data, size_t size, size_t at)
{
    while (at + 4 <= size) {
        const uint8_t *one = memchr(data + at + 3, 1, size - at - 3);
        if (!one)
            return size;
        if (!one[-1] && !one[-2] && !one[-3])
            return (size_t)(one - data) - 3;
        at = (size_t)(one - data) - 2;
    }
    return size;
}

bool media_annexb_from_lengths(uint8_t *data, size_t size)
{
    size_t at = 0;
    while (at < size) {
        if (size - at < 4 || AV_RB32(data + at) > size - at - 4)
            break;
        size_t next = at + 4 + AV_RB32(data + at);
        if (find_start_code(data, next, at + 4) != next)
            break;
        AV_WB32(data + at, START_CODE);
        at = next;
    }
    if (at == size)
        return true;
    media_annexb_to_lengths(data, at);
    return false;
}

bool media_annexb_to_lengths(uint8_t *data, size_t size)
{
    if (size >= 4 && AV_RB32(data) != START_CODE)
        return false;
    for (size_t at = 0; at + 4 <= size;) {
        size_t next = find_start_code(data, size, at + 4);
        AV_WB32(data + at, (uint32_t)(next - at - 4));
        at = next;
    }
    return true;
}

int media_annexb_sets(const AVCodecParameters *par, uint8_t **ret, size_t *ret_size)
{
    *ret = NULL;
    *ret_size = 0;
    AVBSFContext *bsf = NULL;
    const AVCodecParameters *from = par;
    if (h26x_nal_length_bytes(par)) {
        const AVBitStreamFilter *filter = av_bsf_get_by_name(
            par->codec_id == AV_CODEC_ID_H264 ? "h264_mp4toannexb" : "hevc_mp4toannexb");
        int r = filter ? av_bsf_alloc(filter, &bsf) : AVERROR_BSF_NOT_FOUND;
        if (r >= 0)
            r = avcodec_parameters_copy(bsf->par_in, par);
        if (r >= 0)
            r = av_bsf_init(bsf);
        if (r < 0) { /* they serve players only */
            av_bsf_free(&bsf);
            return r == AVERROR(ENOMEM) ? -ENOMEM : 0;
        }
        from = bsf->par_out;
    }
    size_t size = from->extradata_size > 4 ? (size_t)from->extradata_size : 0;
    if (size && AV_RB32(from->extradata) != START_CODE && AV_RB24(from->extradata) != START_CODE)
        size = 0;
    int r = 0;
    if (size) {
        *ret = malloc(size);
        r = *ret ? 0 : -ENOMEM;
    }
    if (*ret) {
        memcpy(*ret, from->extradata, size);
        *ret_size = size;
    }
    av_bsf_free(&bsf);
    return r;
}

bool media_annexb_has_delimiter(enum AVCodecID codec, const uint8_t *data, size_t size)
{
    size_t code = size > 5 && AV_RB32(data) == START_CODE   ? 4
                  : size > 5 && AV_RB24(data) == START_CODE ? 3
                                                            : 0;
    if (!code)
        return false;
    return codec == AV_CODEC_ID_H264 ? (data[code] & 0x1f) == 9 : (data[code] >> 1 & 0x3f) == 35;
}
