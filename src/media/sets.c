/* SPDX-License-Identifier: MIT */
#include "sets.h"

#include <errno.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mem.h>
#include <stdlib.h>
#include <string.h>

#define UNITS_MAX 64

struct unit {
    const uint8_t *data;
    unsigned size;
    bool picture; /* PPS */
    unsigned id;
};

int media_sets_init(struct media_sets *sets, unsigned n_chunks)
{
    *sets = (struct media_sets){.of_chunk = calloc(n_chunks ? n_chunks : 1, 1)};
    return sets->of_chunk ? 0 : -ENOMEM;
}

void media_sets_finish(struct media_sets *sets)
{
    for (unsigned i = 0; i < sets->n_headers; i++)
        avcodec_parameters_free(&sets->headers[i]);
    free(sets->of_chunk);
    *sets = (struct media_sets){0};
}

int media_sets_add(struct media_sets *s, unsigned number, const AVCodecParameters *par)
{
    unsigned i = 0;
    while (i < s->n_headers &&
           (s->headers[i]->extradata_size != par->extradata_size ||
            memcmp(s->headers[i]->extradata, par->extradata, (size_t)par->extradata_size) != 0))
        i++;
    s->of_chunk[number] = (unsigned char)i;
    if (i < s->n_headers)
        return 0;
    if (i == MEDIA_SETS_MAX)
        return -E2BIG;
    s->headers[i] = avcodec_parameters_alloc();
    if (!s->headers[i])
        return -ENOMEM;
    s->n_headers++;
    return avcodec_parameters_copy(s->headers[i], par) < 0 ? -ENOMEM : 0;
}

/* The first ue(v) of a unit from byte `at` on; ids are short, no emulation prevention comes before
 * they end. */
static unsigned read_id(const uint8_t *data, unsigned size, unsigned at)
{
    unsigned bit = at * 8, zeros = 0, value = 0;
    while (bit < size * 8 && zeros < 16 && !(data[bit / 8] >> (7 - bit % 8) & 1))
        zeros++, bit++;
    for (unsigned i = 0; i <= zeros && bit < size * 8; i++, bit++)
        value = value << 1 | (data[bit / 8] >> (7 - bit % 8) & 1);
    return value ? value - 1 : 0;
}

/* Of avcC (H.264) or hvcC: its units; -EILSEQ. */
static int units_of(const AVCodecParameters *par, struct unit ret[UNITS_MAX])
{
    const uint8_t *p = par->extradata, *end = p + par->extradata_size;
    bool avc = par->codec_id == AV_CODEC_ID_H264;
    int n = 0;
    if (par->extradata_size < (avc ? 7 : 23) || p[0] != 1)
        return -EILSEQ;
    unsigned arrays = avc ? 2 : p[22];
    p += avc ? 5 : 23;
    for (unsigned a = 0; a < arrays; a++) {
        if (end - p < (avc ? 1 : 3))
            return -EILSEQ;
        unsigned count = avc ? (a ? *p : *p & 31u) : AV_RB16(p + 1);
        p += avc ? 1 : 3;
        for (; count > 0; count--) {
            unsigned size = end - p >= 2 ? AV_RB16(p) : 0;
            if (size < 4 || size > (size_t)(end - p - 2) || n == UNITS_MAX)
                return -EILSEQ;
            ret[n] = (struct unit){.data = p + 2, .size = size, .picture = a == 1};
            if (avc)
                ret[n].id = read_id(p + 2, size, a ? 1 : 4);
            n++;
            p += 2 + size;
        }
    }
    return n;
}

/* Adds what is new of `more` to `all`; -EEXIST: the same id with another content. */
static int unite(struct unit *all, int n, const struct unit *more, int n_more)
{
    for (int k = 0; k < n_more; k++) {
        int i = 0;
        while (i < n && (all[i].picture != more[k].picture || all[i].id != more[k].id))
            i++;
        if (i < n &&
            (all[i].size != more[k].size || memcmp(all[i].data, more[k].data, more[k].size) != 0))
            return -EEXIST;
        if (i == n && n == UNITS_MAX)
            return -EEXIST;
        if (i == n)
            all[n++] = more[k];
    }
    return n;
}

static uint8_t *put_units(uint8_t *at, const struct unit *all, int n, bool picture, uint8_t flags)
{
    uint8_t *count = at++;
    *count = flags;
    for (int i = 0; i < n; i++) {
        if (all[i].picture != picture)
            continue;
        ++*count;
        AV_WB16(at, all[i].size);
        memcpy(at + 2, all[i].data, all[i].size);
        at += 2 + all[i].size;
    }
    return at;
}

/* avcC of all: profile and level are the highest, what follows the sets is the first one's. */
static int write_avcc(const struct media_sets *s, const struct unit *all, int n,
                      AVCodecParameters *par)
{
    size_t size = 16;
    for (int i = 0; i < n; i++)
        size += 2 + all[i].size;
    uint8_t *data = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!data)
        return -ENOMEM;
    memcpy(data, par->extradata, 5);
    for (unsigned i = 1; i < s->n_headers; i++) {
        const uint8_t *other = s->headers[i]->extradata;
        data[1] = other[1] > data[1] ? other[1] : data[1];
        data[2] &= other[2];
        data[3] = other[3] > data[3] ? other[3] : data[3];
    }
    uint8_t *at = put_units(data + 5, all, n, false, 0xe0);
    at = put_units(at, all, n, true, 0);
    if (data[1] >= 100) { /* 4:2:0, 8 bits, no extensions: what Lathe makes of H.264 */
        static const uint8_t high[4] = {0xfd, 0xf8, 0xf8, 0};
        memcpy(at, high, sizeof(high));
        at += sizeof(high);
    }
    av_free(par->extradata);
    par->extradata = data;
    par->extradata_size = (int)(at - data);
    return 0;
}

int media_sets_join(struct media_sets *s, AVCodecParameters *par)
{
    if (s->n_headers < 2)
        return 0;
    struct unit all[UNITS_MAX], more[UNITS_MAX];
    int n = 0;
    for (unsigned i = 0; i < s->n_headers; i++) {
        int n_more = units_of(s->headers[i], more);
        if (n_more < 0)
            return n_more;
        /* x265 and GPUs all call their HEVC sets 0. */
        n = par->codec_id == AV_CODEC_ID_H264 ? unite(all, n, more, n_more) : -EEXIST;
        s->in_band = n < 0;
        if (s->in_band)
            return 0;
    }
    return write_avcc(s, all, n, par);
}

/* Before everything but an access unit delimiter. */
static size_t place_of(const AVCodecParameters *par, const AVPacket *packet)
{
    if (packet->size < 6)
        return 0;
    size_t length = AV_RB32(packet->data);
    bool delimiter = par->codec_id == AV_CODEC_ID_H264 ? (packet->data[4] & 31) == 9
                                                       : (packet->data[4] >> 1 & 63) == 35;
    return delimiter && length + 4 <= (size_t)packet->size ? length + 4 : 0;
}

int media_sets_prepend(const struct media_sets *s, unsigned number, AVPacket *packet)
{
    if (!s->in_band || !(packet->flags & AV_PKT_FLAG_KEY))
        return 0;
    const AVCodecParameters *par = s->headers[s->of_chunk[number]];
    struct unit units[UNITS_MAX];
    int n = units_of(par, units), size = 0, old = packet->size;
    for (int i = 0; i < n; i++)
        size += 4 + (int)units[i].size;
    if (n < 0)
        return n;
    size_t place = place_of(par, packet);
    if (av_grow_packet(packet, size) < 0)
        return -ENOMEM;
    uint8_t *at = packet->data + place;
    memmove(at + size, at, (size_t)old - place);
    for (int i = 0; i < n; i++) {
        AV_WB32(at, units[i].size);
        memcpy(at + 4, units[i].data, units[i].size);
        at += 4 + units[i].size;
    }
    return 0;
}
