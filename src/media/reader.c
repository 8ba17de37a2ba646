/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include <errno.h>
#include <string.h>

#include "setup.h"

/* A seek may land this many packets early before it counts as failed. */
#define SEEK_SEARCH_PACKETS 3000

static int read_video(struct media_reader *reader, AVPacket *ret)
{
    int errors = 0;
    for (;;) {
        int r = av_read_frame(reader->source.format, ret);
        if (r < 0 && r != AVERROR_EOF && r != AVERROR(ENOMEM) && ++errors < 64)
            continue; /* the index was made over the same errors */
        if (r < 0)
            return r;
        if (ret->stream_index == reader->source.video_stream && ret->size > 0)
            return 0;
        av_packet_unref(ret);
    }
}

static bool is_packet(const struct media_index_entry *e, const AVPacket *packet)
{
    /* An edit list may show the same bytes twice: then only the time tells them apart. */
    bool same_time = packet->dts == e->raw_dts && packet->pts == e->raw_pts;
    bool same_place = packet->pos >= 0 && packet->pos == e->position && packet->dts == e->raw_dts;
    return (same_time || same_place) && media_index_matches(e, packet->data, packet->size);
}

/* After a byte seek the demuxer's clock may differ (wrap, jumps), the place in the file cannot. */
static bool is_packet_at(const struct media_index_entry *e, const AVPacket *packet)
{
    return packet->pos >= 0 && packet->pos == e->position &&
           media_index_matches(e, packet->data, packet->size);
}

static int seek(struct media_reader *reader, uint32_t number)
{
    const struct media_index_entry *e = &reader->index->entries[number];
    AVFormatContext *format = reader->source.format;
    const bool by_byte = e->position >= 0 && format->iformat->flags & AVFMT_TS_DISCONT &&
                         !(format->iformat->flags & AVFMT_NO_BYTE_SEEK);
    int64_t target = e->raw_dts != AV_NOPTS_VALUE ? e->raw_dts : e->raw_pts;
    int r;
    if (by_byte)
        r = av_seek_frame(format, -1, e->position, AVSEEK_FLAG_BYTE);
    else if (target == AV_NOPTS_VALUE)
        return -ENOSYS;
    else
        r = avformat_seek_file(format, reader->source.video_stream, INT64_MIN, target, target, 0);
    if (r < 0)
        return r;
    for (int i = 0; i < SEEK_SEARCH_PACKETS; i++) {
        r = read_video(reader, reader->held);
        if (r < 0)
            return r;
        if (by_byte ? is_packet_at(e, reader->held) : is_packet(e, reader->held))
            return 0;
        av_packet_unref(reader->held);
    }
    return -ESTALE;
}

static int skip(struct media_reader *reader, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int r = read_video(reader, reader->held);
        if (r < 0)
            return r;
        av_packet_unref(reader->held);
    }
    return 0;
}

static int open_source(struct media_reader *reader, const char *path, int video_stream,
                       struct lathe_error *err)
{
    int r = media_source_open_again(&reader->source, path, video_stream, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < reader->source.format->nb_streams; i++)
        if ((int)i != reader->source.video_stream)
            reader->source.format->streams[i]->discard = AVDISCARD_ALL;
    return 0;
}

int media_reader_open(struct media_reader *ret, const char *path, int video_stream,
                      const struct media_index *index, uint32_t first_packet, bool linear,
                      struct lathe_error *err)
{
    *ret = (struct media_reader){.path = path,
                                 .index = index,
                                 .next = first_packet,
                                 .end = index->count,
                                 .source = {.fd = -1},
                                 .cut = {.source = {.fd = -1}}};
    ret->held = av_packet_alloc();
    if (!ret->held)
        return lathe_error_nomem(err);
    int r = open_source(ret, path, video_stream, err);
    if (r < 0)
        goto fail;
    if (first_packet == 0)
        return 0;
    if (!linear) {
        if (seek(ret, first_packet) >= 0)
            return 0;
        av_packet_unref(ret->held);
        media_source_close(&ret->source);
        r = open_source(ret, path, video_stream, err);
        if (r < 0)
            goto fail;
    }
    r = skip(ret, first_packet);
    if (r < 0) {
        r = lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                            "%s is shorter than when it was indexed: was it changed?", path);
        goto fail;
    }
    return 0;
fail:
    media_reader_close(ret);
    return r;
}

int media_reader_open_cut(struct media_reader *ret, const char *path,
                          const struct media_index *index, const struct media_need *need,
                          struct lathe_error *err)
{
    *ret = (struct media_reader){.path = path,
                                 .is_cut = true,
                                 .index = index,
                                 .next = need->first,
                                 .end = need->last + 1,
                                 .source = {.fd = -1}};
    return media_packets_open(&ret->cut, path, index, err);
}

const AVCodecParameters *media_reader_parameters(const struct media_reader *reader,
                                                 AVRational *ret_time_base)
{
    if (reader->is_cut || !reader->source.is_analysed) {
        *ret_time_base = reader->index->video_time_base;
        return reader->index->video;
    }
    const AVStream *stream = media_source_video(&reader->source);
    *ret_time_base = stream->time_base;
    return stream->codecpar;
}

uint64_t media_reader_bytes(const struct media_reader *reader)
{
    return (uint64_t)(reader->is_cut ? reader->cut.source.bytes_read : reader->source.bytes_read);
}

void media_reader_close(struct media_reader *reader)
{
    media_packets_close(&reader->cut);
    av_packet_free(&reader->held);
    media_source_close(&reader->source);
}

static int next_of_cut(struct media_reader *reader, AVPacket *ret, uint32_t *ret_number,
                       struct lathe_error *err)
{
    int r = media_packets_next(&reader->cut, &reader->index->entries[reader->next], ret, err);
    if (r == 0)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "%s ends before packet %u: it should hold those up to %u",
                               reader->path, reader->next, reader->end - 1);
    if (r > 0)
        *ret_number = reader->next++;
    return r;
}

int media_reader_next(struct media_reader *reader, AVPacket *ret, uint32_t *ret_number,
                      struct lathe_error *err)
{
    if (reader->next >= reader->end)
        return 0;
    if (reader->is_cut)
        return next_of_cut(reader, ret, ret_number, err);
    int r = 0;
    if (reader->held->data)
        av_packet_move_ref(ret, reader->held);
    else
        r = read_video(reader, ret);
    if (r == AVERROR(ENOMEM))
        return lathe_error_nomem(err);
    if (r < 0 ||
        !media_index_matches(&reader->index->entries[reader->next], ret->data, ret->size)) {
        av_packet_unref(ret);
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                               "%s does not match its index at packet %u: was it changed?",
                               reader->path, reader->next);
    }
    *ret_number = reader->next++;
    return 1;
}
