/* SPDX-License-Identifier: MIT */
#include "parameters.h"

#include <errno.h>
#include <libavcodec/defs.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mem.h>
#include <string.h>

#include "lathe/base.h"

#define EXTRADATA_MAX (16u << 20)

/* As in memory: files of slots of one Lathe version, little-endian hosts only. */
struct stored {
    int64_t bit_rate;
    uint64_t channel_mask;
    int32_t type, id, profile, level, format, bits_coded, bits_raw;
    uint32_t tag, extradata_bytes;
    int32_t width, height, sar_num, sar_den, field_order, video_delay;
    int32_t color_range, color_primaries, color_trc, color_space, chroma_location;
    int32_t sample_rate, channel_order, channels, block_align, frame_size;
    int32_t initial_padding, trailing_padding, seek_preroll;
    int32_t time_base_num, time_base_den;
};

int media_parameters_write(FILE *file, const AVCodecParameters *par, AVRational time_base)
{
    const AVChannelLayout *layout = &par->ch_layout;
    if (layout->order != AV_CHANNEL_ORDER_UNSPEC && layout->order != AV_CHANNEL_ORDER_NATIVE)
        return -ENOTSUP;
    const struct stored s = {
        .bit_rate = par->bit_rate,
        .channel_mask = layout->order == AV_CHANNEL_ORDER_NATIVE ? layout->u.mask : 0,
        .type = par->codec_type,
        .id = par->codec_id,
        .profile = par->profile,
        .level = par->level,
        .format = par->format,
        .bits_coded = par->bits_per_coded_sample,
        .bits_raw = par->bits_per_raw_sample,
        .tag = par->codec_tag,
        .extradata_bytes = par->extradata_size > 0 ? (uint32_t)par->extradata_size : 0,
        .width = par->width,
        .height = par->height,
        .sar_num = par->sample_aspect_ratio.num,
        .sar_den = par->sample_aspect_ratio.den,
        .field_order = par->field_order,
        .video_delay = par->video_delay,
        .color_range = par->color_range,
        .color_primaries = par->color_primaries,
        .color_trc = par->color_trc,
        .color_space = par->color_space,
        .chroma_location = par->chroma_location,
        .sample_rate = par->sample_rate,
        .channel_order = layout->order,
        .channels = layout->nb_channels,
        .block_align = par->block_align,
        .frame_size = par->frame_size,
        .initial_padding = par->initial_padding,
        .trailing_padding = par->trailing_padding,
        .seek_preroll = par->seek_preroll,
        .time_base_num = time_base.num,
        .time_base_den = time_base.den,
    };
    errno = 0;
    bool ok = fwrite(&s, sizeof(s), 1, file) == 1 &&
              (!s.extradata_bytes || fwrite(par->extradata, s.extradata_bytes, 1, file) == 1);
    return ok ? 0 : errno ? -errno : -EIO;
}

static int fill(const struct stored *s, const uint8_t *extradata, AVCodecParameters *par)
{
    par->codec_type = s->type;
    par->codec_id = s->id;
    par->codec_tag = s->tag;
    par->format = s->format;
    par->bit_rate = s->bit_rate;
    par->bits_per_coded_sample = s->bits_coded;
    par->bits_per_raw_sample = s->bits_raw;
    par->profile = s->profile;
    par->level = s->level;
    par->width = s->width;
    par->height = s->height;
    par->sample_aspect_ratio = (AVRational){s->sar_num, s->sar_den};
    par->field_order = s->field_order;
    par->video_delay = s->video_delay;
    par->color_range = s->color_range;
    par->color_primaries = s->color_primaries;
    par->color_trc = s->color_trc;
    par->color_space = s->color_space;
    par->chroma_location = s->chroma_location;
    par->sample_rate = s->sample_rate;
    par->block_align = s->block_align;
    par->frame_size = s->frame_size;
    par->initial_padding = s->initial_padding;
    par->trailing_padding = s->trailing_padding;
    par->seek_preroll = s->seek_preroll;
    if (s->channel_order == AV_CHANNEL_ORDER_NATIVE &&
        (av_channel_layout_from_mask(&par->ch_layout, s->channel_mask) < 0 ||
         par->ch_layout.nb_channels != s->channels))
        return -EBADMSG;
    if (s->channel_order != AV_CHANNEL_ORDER_NATIVE) {
        par->ch_layout.order = AV_CHANNEL_ORDER_UNSPEC;
        par->ch_layout.nb_channels = s->channels;
    }
    if (!s->extradata_bytes)
        return 0;
    par->extradata = av_mallocz((size_t)s->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!par->extradata)
        return -ENOMEM;
    memcpy(par->extradata, extradata, s->extradata_bytes);
    par->extradata_size = (int)s->extradata_bytes;
    return 0;
}

int media_parameters_read(const uint8_t **at, const uint8_t *end, AVCodecParameters **ret,
                          AVRational *ret_time_base)
{
    struct stored s;
    if ((size_t)(end - *at) < sizeof(s))
        return -EBADMSG;
    memcpy(&s, *at, sizeof(s));
    if (s.extradata_bytes > EXTRADATA_MAX || s.extradata_bytes > (size_t)(end - *at) - sizeof(s) ||
        s.time_base_num <= 0 || s.time_base_den <= 0 || s.channels < 0 || s.channels > 64)
        return -EBADMSG;
    AVCodecParameters *par = avcodec_parameters_alloc();
    int r = par ? fill(&s, *at + sizeof(s), par) : -ENOMEM;
    if (r < 0) {
        avcodec_parameters_free(&par);
        return r;
    }
    *at += sizeof(s) + s.extradata_bytes;
    *ret = par;
    *ret_time_base = (AVRational){s.time_base_num, s.time_base_den};
    return 0;
}
