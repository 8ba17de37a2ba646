/* SPDX-License-Identifier: MIT */
#include "packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "annexb.h"
#include "h26x.h"
#include "setup.h"

#define TICKS_PER_SECOND 90000

static bool has_nal_units(enum AVCodecID id)
{
    return id == AV_CODEC_ID_H264 || id == AV_CODEC_ID_HEVC;
}

const char *media_packets_container(const AVCodecParameters *par)
{
    int length_bytes = h26x_nal_length_bytes(par);
    bool is_ts = par->codec_id == AV_CODEC_ID_MPEG2VIDEO ||
                 par->codec_id == AV_CODEC_ID_MPEG1VIDEO ||
                 (has_nal_units(par->codec_id) && (length_bytes == 0 || length_bytes == 4));
    return is_ts ? "ts" : "nut";
}

/* --- writing --- */

struct place {
    int64_t time;
    uint32_t number;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Decoding order is the order in the file; presentation follows from the index, shifted so far that
 * no packet is shown before it is decoded. */
static int list_shown(struct media_packets_writer *w)
{
    const uint32_t count = w->need.last - w->need.first + 1;
    struct place *places = malloc(count * sizeof(*places));
    w->shown = malloc(count * sizeof(*w->shown));
    if (!places || !w->shown) {
        free(places);
        return -ENOMEM;
    }
    int64_t time = 0, shift = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct media_index_entry *e = &w->index->entries[w->need.first + i];
        time = e->time != MEDIA_NO_TIME ? e->time : time; /* second fields follow the first */
        places[i] = (struct place){time, i};
    }
    qsort(places, count, sizeof(*places), compare_places);
    for (uint32_t rank = 0; rank < count; rank++) {
        int64_t number = places[rank].number;
        w->shown[number] = rank;
        shift = number - rank > shift ? number - rank : shift;
    }
    for (uint32_t i = 0; i < count; i++)
        w->shown[i] += shift;
    free(places);
    return 0;
}

static int open_writer(struct media_packets_writer *w, const char *path, struct lathe_error *err)
{
    _cleanup_(avcodec_parameters_free) AVCodecParameters *par = avcodec_parameters_alloc();
    AVStream *stream = NULL;
    if (!par || avcodec_parameters_copy(par, w->index->video) < 0 || list_shown(w) < 0)
        return lathe_error_nomem(err);
    if (w->is_ts && has_nal_units(par->codec_id)) {
        if (media_annexb_sets(par, &w->sets, &w->sets_size) < 0)
            return lathe_error_nomem(err);
        av_freep(&par->extradata); /* the packets get start codes, and begin with the sets */
        par->extradata_size = 0;
    }
    int r = media_mux_open_cut(&w->mux, path, w->is_ts ? "mpegts" : "nut", err);
    if (r >= 0)
        r = media_mux_add(&w->mux, par, (AVRational){1, TICKS_PER_SECOND}, &stream, err);
    if (r >= 0)
        r = media_mux_begin(&w->mux, false, 0, err);
    return r;
}

int media_packets_create(struct media_packets_writer *ret, const char *path,
                         const struct lathe_plan *plan, const struct media_index *index,
                         const struct media_need *need, struct lathe_error *err)
{
    *ret = (struct media_packets_writer){
        .index = index,
        .need = *need,
        .mux = {.fd = -1},
        .nal_length_bytes = h26x_nal_length_bytes(index->video),
        .frame_ticks = av_rescale(TICKS_PER_SECOND, plan->frame_rate.den, plan->frame_rate.num),
        .is_ts = strcmp(media_packets_container(index->video), "ts") == 0,
    };
    if (ret->frame_ticks < 1)
        ret->frame_ticks = 1;
    int r = open_writer(ret, path, err);
    if (r < 0)
        media_packets_discard(ret);
    return r;
}

/* NAL units with start codes, as MPEG-TS wants them, behind what players need to begin. What cannot
 * be brought back exactly is left as it is: then it is broken for players anyway. */
static int add_start_codes(struct media_packets_writer *w, AVPacket *packet, bool is_first)
{
    static const uint8_t h264[] = {0, 0, 0, 1, 9, 0xf0}, hevc[] = {0, 0, 0, 1, 0x46, 1, 0x50};
    const enum AVCodecID codec = w->index->video->codec_id;
    const size_t size = (size_t)packet->size;
    int r = av_packet_make_writable(packet);
    if (r < 0)
        return r;
    if (w->nal_length_bytes)
        (void)media_annexb_from_lengths(packet->data, size);
    const bool bare = !media_annexb_has_delimiter(codec, packet->data, size);
    const size_t delimiter = !bare && !is_first          ? 0
                             : codec == AV_CODEC_ID_H264 ? sizeof(h264)
                                                         : sizeof(hevc);
    const size_t sets = is_first ? w->sets_size : 0;
    if (!delimiter)
        return 0;
    AVPacket *longer = av_packet_alloc();
    r = longer ? av_new_packet(longer, (int)(delimiter + sets + size)) : AVERROR(ENOMEM);
    if (r >= 0)
        r = av_packet_copy_props(longer, packet);
    if (r >= 0) {
        memcpy(longer->data, codec == AV_CODEC_ID_H264 ? h264 : hevc, delimiter);
        if (sets)
            memcpy(longer->data + delimiter, w->sets, sets);
        memcpy(longer->data + delimiter + sets, packet->data, size);
        av_packet_unref(packet);
        av_packet_move_ref(packet, longer);
    }
    av_packet_free(&longer);
    return r;
}

int media_packets_add(struct media_packets_writer *w, const AVPacket *packet, uint32_t number,
                      struct lathe_error *err)
{
    /* A decoder would miss it, and neither container has a place for it. */
    if (av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, NULL) ||
        av_packet_get_side_data(packet, AV_PKT_DATA_PALETTE, NULL))
        return lathe_error_set(err, -ENOTSUP, LATHE_FAULT_INPUT,
                               "packet %u changes the parameters of its stream", number);
    _cleanup_packet_ AVPacket *copy = av_packet_clone(packet);
    if (!copy)
        return lathe_error_nomem(err);
    const uint32_t at = number - w->need.first;
    if (w->is_ts && has_nal_units(w->index->video->codec_id) &&
        add_start_codes(w, copy, at == 0) < 0)
        return lathe_error_nomem(err);
    av_packet_free_side_data(copy);
    copy->stream_index = 0;
    copy->dts = at * w->frame_ticks;
    copy->pts = w->shown[at] * w->frame_ticks;
    copy->duration = w->frame_ticks;
    copy->flags &= AV_PKT_FLAG_KEY;
    return media_mux_write(&w->mux, copy, (AVRational){1, TICKS_PER_SECOND}, err);
}

int media_packets_end(struct media_packets_writer *w, struct lathe_error *err)
{
    return media_mux_end(&w->mux, err);
}

void media_packets_discard(struct media_packets_writer *w)
{
    media_mux_close(&w->mux);
    free(w->shown);
    free(w->sets);
    w->shown = NULL;
    w->sets = NULL;
}

/* --- reading --- */

int media_packets_open(struct media_packets_reader *ret, const char *path,
                       const struct media_index *index, struct lathe_error *err)
{
    *ret = (struct media_packets_reader){
        .source = {.fd = -1},
        .ahead = av_packet_alloc(),
        .nal_length_bytes = h26x_nal_length_bytes(index->video),
        .is_ts = strcmp(media_packets_container(index->video), "ts") == 0,
    };
    int r = ret->ahead
                ? media_source_open_cut(&ret->source, path, ret->is_ts ? "mpegts" : "nut", err)
                : lathe_error_nomem(err);
    if (r < 0)
        media_packets_close(ret);
    return r;
}

void media_packets_close(struct media_packets_reader *reader)
{
    av_packet_free(&reader->ahead);
    media_source_close(&reader->source);
}

/* The demuxer of MPEG-TS hands out large packets in pieces, of which the first has the time. */
static int read_whole(struct media_packets_reader *reader, AVPacket *ret)
{
    if (!reader->is_ts)
        return av_read_frame(reader->source.format, ret);
    int r = 0;
    if (reader->ahead->data)
        av_packet_move_ref(ret, reader->ahead);
    else
        r = av_read_frame(reader->source.format, ret);
    while (r >= 0) {
        r = av_read_frame(reader->source.format, reader->ahead);
        if (r == AVERROR_EOF)
            return 0;
        if (r < 0 || reader->ahead->pts != AV_NOPTS_VALUE || reader->ahead->dts != AV_NOPTS_VALUE)
            break;
        int size = ret->size;
        r = av_grow_packet(ret, reader->ahead->size);
        if (r >= 0)
            memcpy(ret->data + size, reader->ahead->data, (size_t)reader->ahead->size);
        av_packet_unref(reader->ahead);
    }
    return r;
}

/* Takes off what was put before the packet, and gives it its lengths back. */
static int restore(const struct media_packets_reader *reader, const struct media_index_entry *entry,
                   AVPacket *packet)
{
    if ((uint32_t)packet->size < entry->size)
        return -EBADMSG;
    packet->data += (uint32_t)packet->size - entry->size;
    packet->size = (int)entry->size;
    if (media_index_matches(entry, packet->data, packet->size))
        return 0;
    if (!reader->is_ts || !reader->nal_length_bytes)
        return -EBADMSG;
    if (av_packet_make_writable(packet) < 0)
        return -ENOMEM;
    (void)media_annexb_to_lengths(packet->data, (size_t)packet->size);
    return media_index_matches(entry, packet->data, packet->size) ? 0 : -EBADMSG;
}

int media_packets_next(struct media_packets_reader *reader, const struct media_index_entry *entry,
                       AVPacket *ret, struct lathe_error *err)
{
    int r = read_whole(reader, ret);
    if (r == AVERROR_EOF)
        return 0;
    if (r >= 0)
        r = restore(reader, entry, ret);
    if (r < 0)
        av_packet_unref(ret);
    if (r == AVERROR(ENOMEM))
        return lathe_error_nomem(err);
    if (r < 0)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "%s does not hold the packets that the index lists",
                               reader->source.path);
    ret->flags = (entry->flags & MEDIA_INDEX_MARKED ? AV_PKT_FLAG_KEY : 0) |
                 (entry->flags & MEDIA_INDEX_DISCARD ? AV_PKT_FLAG_DISCARD : 0) |
                 (entry->flags & MEDIA_INDEX_CORRUPT ? AV_PKT_FLAG_CORRUPT : 0);
    return 1;
}
