/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include <errno.h>
#include <libavutil/adler32.h>
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

static bool same_bytes(const struct media_index_entry *e, const AVPacket *packet)
{
    return e->size == (uint32_t)packet->size &&
           e->checksum == (uint32_t)av_adler32_update(1, packet->data, (size_t)packet->size);
}

static bool is_packet(const struct media_index_entry *e, const AVPacket *packet)
{
    /* An edit list may show the same bytes twice: then only the time tells them apart. */
    bool same_time = packet->dts == e->raw_dts && packet->pts == e->raw_pts;
    bool same_place = packet->pos >= 0 && packet->pos == e->position && packet->dts == e->raw_dts;
    return (same_time || same_place) && same_bytes(e, packet);
}

/* After a byte seek the demuxer's clock may differ (wrap, jumps), the place in the file cannot. */
static bool is_packet_at(const struct media_index_entry *e, const AVPacket *packet)
{
    return packet->pos >= 0 && packet->pos == e->position && same_bytes(e, packet);
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

static int open_source(struct media_reader *reader, const char *path, struct lathe_error *err)
{
    int r = media_source_open(&reader->source, path, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < reader->source.format->nb_streams; i++)
        if ((int)i != reader->source.video_stream)
            reader->source.format->streams[i]->discard = AVDISCARD_ALL;
    return 0;
}

int media_reader_open(struct media_reader *ret, const char *path, const struct media_index *index,
                      uint32_t first_packet, bool linear, struct lathe_error *err)
{
    *ret = (struct media_reader){.index = index, .next = first_packet, .source = {.fd = -1}};
    ret->held = av_packet_alloc();
    if (!ret->held)
        return lathe_error_nomem(err);
    int r = open_source(ret, path, err);
    if (r < 0)
        goto fail;
    if (first_packet == 0)
        return 0;
    if (!linear) {
        if (seek(ret, first_packet) >= 0)
            return 0;
        av_packet_unref(ret->held);
        media_source_close(&ret->source);
        r = open_source(ret, path, err);
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

void media_reader_close(struct media_reader *reader)
{
    av_packet_free(&reader->held);
    media_source_close(&reader->source);
}

int media_reader_next(struct media_reader *reader, AVPacket *ret, uint32_t *ret_number,
                      struct lathe_error *err)
{
    if (reader->next >= reader->index->count)
        return 0;
    int r = 0;
    if (reader->held->data)
        av_packet_move_ref(ret, reader->held);
    else
        r = read_video(reader, ret);
    if (r == AVERROR(ENOMEM))
        return lathe_error_nomem(err);
    if (r < 0 || !same_bytes(&reader->index->entries[reader->next], ret)) {
        av_packet_unref(ret);
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                               "%s does not match its index at packet %u: was it changed?",
                               reader->source.path, reader->next);
    }
    *ret_number = reader->next++;
    return 1;
}
