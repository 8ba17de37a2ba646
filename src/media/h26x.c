/* SPDX-License-Identifier: MIT */
#include "h26x.h"

#include <string.h>

struct bits {
    const uint8_t *data;
    size_t size, position; /* position in bits */
};

static unsigned get_bit(struct bits *b)
{
    if (b->position >= b->size * 8)
        return 0;
    unsigned bit = b->data[b->position / 8] >> (7 - b->position % 8) & 1;
    b->position++;
    return bit;
}

static uint32_t get_ue(struct bits *b)
{
    unsigned zeros = 0;
    while (zeros < 32 && b->position < b->size * 8 && !get_bit(b))
        zeros++;
    if (zeros == 32)
        return UINT32_MAX;
    uint32_t value = 1;
    for (unsigned i = 0; i < zeros; i++)
        value = value << 1 | get_bit(b);
    return value - 1;
}

/* Copies the start of a NAL unit's payload without emulation prevention bytes. */
static size_t unescape(const uint8_t *nal, size_t size, uint8_t *ret, size_t ret_size)
{
    size_t n = 0, zeros = 0;
    for (size_t i = 0; i < size && n < ret_size; i++) {
        if (zeros >= 2 && nal[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal[i] ? 0 : zeros + 1;
        ret[n++] = nal[i];
    }
    return n;
}

static void inspect_sei(const uint8_t *nal, size_t size, size_t header, struct h26x_access *ret)
{
    uint8_t sei[512];
    size_t n = unescape(nal, size, sei, sizeof(sei)), at = header;
    while (at + 2 < n) {
        unsigned type = 0, length = 0;
        while (at < n && sei[at] == 0xff)
            type += 255, at++;
        type += at < n ? sei[at++] : 0;
        while (at < n && sei[at] == 0xff)
            length += 255, at++;
        length += at < n ? sei[at++] : 0;
        if (type == 6 && at < n) { /* recovery_point; in HEVC the count is signed POC */
            struct bits b = {.data = sei + at, .size = n - at};
            ret->has_recovery = true;
            ret->recovery = get_ue(&b);
            if (header == 2) /* se(v): only a positive distance needs lead-in */
                ret->recovery = ret->recovery % 2 ? (ret->recovery + 1) / 2 : 0;
            return;
        }
        at += length;
    }
}

static void inspect_nal(enum AVCodecID codec, const uint8_t *nal, size_t size,
                        struct h26x_access *ret)
{
    if (size < 3)
        return;
    if (codec == AV_CODEC_ID_H264) {
        unsigned type = nal[0] & 31;
        if (type == 5)
            ret->idr = true;
        if (type == 6)
            inspect_sei(nal, size, 1, ret);
        if (type == 1 || type == 5) {
            uint8_t head[16];
            struct bits b = {.data = head, .size = unescape(nal, size, head, sizeof(head))};
            b.position = 8;
            get_ue(&b); /* first_mb_in_slice */
            uint32_t slice_type = get_ue(&b);
            if (slice_type % 5 != 2 && slice_type % 5 != 4)
                ret->intra_slices = false;
        }
    } else {
        unsigned type = nal[0] >> 1 & 63;
        if (type == 19 || type == 20)
            ret->idr = true;
        if (type == 39)
            inspect_sei(nal, size, 2, ret);
        if (type < 16)
            ret->intra_slices = false;
    }
}

int h26x_nal_length_bytes(const AVCodecParameters *par)
{
    if (par->codec_id == AV_CODEC_ID_H264 && par->extradata_size >= 7 && par->extradata[0] == 1)
        return (par->extradata[4] & 3) + 1;
    if (par->codec_id == AV_CODEC_ID_HEVC && par->extradata_size >= 23 &&
        (par->extradata[0] || par->extradata[1] || par->extradata[2] > 1))
        return (par->extradata[21] & 3) + 1;
    return 0;
}

static const uint8_t *next_start_code(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 3) {
        const uint8_t *one = memchr(p + 2, 1, (size_t)(end - p - 2));
        if (!one)
            return NULL;
        if (!one[-1] && !one[-2])
            return one - 2;
        p = one - 1;
    }
    return NULL;
}

struct h26x_access h26x_inspect(enum AVCodecID codec, int nal_length_bytes, const uint8_t *data,
                                size_t size)
{
    struct h26x_access ret = {.intra_slices = true};
    const uint8_t *end = data + size;
    if (nal_length_bytes) {
        for (const uint8_t *p = data; end - p > nal_length_bytes;) {
            size_t length = 0;
            for (int i = 0; i < nal_length_bytes; i++)
                length = length << 8 | *p++;
            if (length > (size_t)(end - p))
                length = (size_t)(end - p);
            inspect_nal(codec, p, length, &ret);
            p += length;
        }
        return ret;
    }
    const uint8_t *p = next_start_code(data, end);
    while (p) {
        const uint8_t *nal = p + 3;
        const uint8_t *next = next_start_code(nal, end);
        inspect_nal(codec, nal, (size_t)((next ? next : end) - nal), &ret);
        p = next;
    }
    return ret;
}
