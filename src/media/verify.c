/* SPDX-License-Identifier: MIT */
#include "verify.h"

#include <errno.h>
#include <libavutil/intreadwrite.h>
#include <string.h>
#include <unistd.h>

#include "setup.h"
#include "source.h"

/* Pictures decoded after each join: the key frame and what first refers to it. */
#define JOIN_PICTURES 3

struct gate {
    const struct media_stamps *stamps;
    const char *path;
    AVCodecContext *decoder;
    AVFrame *frame;
    uint64_t video, decoded, fed;
    uint32_t chunk; /* that packet `video` belongs to */
    uint64_t chunk_begin;
    int64_t last_dts;
    uint64_t audio[LATHE_AUDIO_MAX];
    bool *seen; /* which times came */
};

static int refuse(const struct gate *g, struct lathe_error *err, const char *what)
{
    return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                           "the result did not pass verification: frame %llu %s",
                           (unsigned long long)g->video, what);
}

static int decode(struct gate *g, const AVPacket *packet, struct lathe_error *err)
{
    int r = avcodec_send_packet(g->decoder, packet);
    while (r >= 0) {
        r = avcodec_receive_frame(g->decoder, g->frame);
        if (r < 0)
            break;
        if (g->frame->flags & AV_FRAME_FLAG_CORRUPT || g->frame->decode_error_flags)
            return refuse(g, err, "decodes with errors");
        g->decoded++;
        av_frame_unref(g->frame);
    }
    if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
        return 0;
    return refuse(g, err, "does not decode");
}

/* Presentation times are compared as a set: packets come in decoding order. */
static int check_time(struct gate *g, const AVPacket *packet, const AVStream *stream,
                      struct lathe_error *err)
{
    const struct media_stamps *s = g->stamps;
    AVRational tb = {1, s->timescale};
    int64_t pts = packet->pts == AV_NOPTS_VALUE ? INT64_MIN
                                                : av_rescale_q(packet->pts, stream->time_base, tb);
    uint64_t low = 0, high = s->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (s->times[middle] * s->factor < pts)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == s->count || s->times[low] * s->factor != pts)
        return refuse(g, err, "has a time that no frame of the source has");
    if (g->seen[low])
        return refuse(g, err, "comes twice");
    g->seen[low] = true;
    if (packet->dts == AV_NOPTS_VALUE || packet->dts > packet->pts ||
        (g->video && packet->dts <= g->last_dts))
        return refuse(g, err, "has a wrong decoding time");
    g->last_dts = packet->dts;
    return 0;
}

static int check_video(struct gate *g, const AVPacket *packet, const AVStream *stream,
                       struct lathe_error *err)
{
    const struct media_stamps *s = g->stamps;
    if (g->video == s->count)
        return refuse(g, err, "is one too many");
    int r = check_time(g, packet, stream, err);
    if (r < 0)
        return r;
    if (g->chunk < s->n_chunks && g->video == g->chunk_begin + s->chunks[g->chunk].frames) {
        g->chunk_begin = g->video;
        g->chunk++;
    }
    uint64_t into = g->video - g->chunk_begin;
    if (into == 0 && !(packet->flags & AV_PKT_FLAG_KEY))
        return refuse(g, err, "should be a key frame");
    if (into < JOIN_PICTURES) {
        r = decode(g, packet, err);
        g->fed++;
    }
    g->video++;
    return r;
}

static int check_totals(struct gate *g, const uint64_t *audio_packets, int n_audio,
                        struct lathe_error *err)
{
    int r = decode(g, NULL, err);
    if (r < 0)
        return r;
    if (g->video != g->stamps->count)
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                               "the result did not pass verification: %llu of %llu frames",
                               (unsigned long long)g->video, (unsigned long long)g->stamps->count);
    if (g->decoded != g->fed)
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                               "the result did not pass verification: %llu of %llu pictures at the "
                               "joins decode",
                               (unsigned long long)g->decoded, (unsigned long long)g->fed);
    for (int i = 0; i < n_audio; i++)
        if (g->audio[i] != audio_packets[i])
            return lathe_error_set(
                err, -EILSEQ, LATHE_FAULT_INTERNAL,
                "the result did not pass verification: audio track %d has %llu of %llu packets",
                i + 1, (unsigned long long)g->audio[i], (unsigned long long)audio_packets[i]);
    return 0;
}

/* A player on the network must find the index before the media (faststart). */
static int check_layout(const struct media_source *source, struct lathe_error *err)
{
    int64_t at = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t head[8];
        if (pread(source->fd, head, sizeof(head), at) != (ssize_t)sizeof(head))
            break;
        if (memcmp(head + 4, "moov", 4) == 0)
            return 0;
        uint32_t size = AV_RB32(head);
        if (size < 8 || memcmp(head + 4, "mdat", 4) == 0)
            break;
        at += size;
    }
    return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                           "the result did not pass verification: its index is not at the front");
}

static int read_packets(struct gate *g, struct media_source *source, struct lathe_error *err)
{
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!packet)
        return lathe_error_nomem(err);
    for (;;) {
        int r = av_read_frame(source->format, packet);
        if (r == AVERROR_EOF)
            return 0;
        if (r < 0)
            return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot read back the result");
        if (packet->stream_index == 0)
            r = check_video(g, packet, source->format->streams[0], err);
        else if (packet->stream_index <= LATHE_AUDIO_MAX)
            g->audio[packet->stream_index - 1]++;
        av_packet_unref(packet);
        if (r < 0)
            return r;
    }
}

int media_verify(const char *path, const struct media_stamps *stamps, const struct lathe_plan *plan,
                 const uint64_t *audio_packets, int n_audio, struct lathe_error *err)
{
    struct gate g = {.stamps = stamps, .path = path};
    struct media_source source;
    int r = media_source_open_own(&source, path, false, err);
    if (r < 0)
        return r;
    g.frame = av_frame_alloc();
    g.seen = calloc(stamps->count, sizeof(*g.seen));
    if (!g.frame || !g.seen)
        r = lathe_error_nomem(err);
    else if (source.video_stream != 0 || (int)source.format->nb_streams != 1 + n_audio)
        r = lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                            "the result did not pass verification: it has %u streams",
                            source.format->nb_streams);
    else
        r = check_layout(&source, err);
    if (r >= 0) {
        const AVCodec *codec = avcodec_find_decoder(source.format->streams[0]->codecpar->codec_id);
        g.decoder = codec ? avcodec_alloc_context3(codec) : NULL;
        if (!g.decoder ||
            avcodec_parameters_to_context(g.decoder, source.format->streams[0]->codecpar) < 0)
            r = lathe_error_nomem(err);
    }
    if (r >= 0) {
        g.decoder->thread_count = 1;
        if (avcodec_open2(g.decoder, NULL, NULL) < 0)
            r = lathe_error_set(err, -ENOSYS, LATHE_FAULT_CONFIG,
                                "no decoder for %s in this FFmpeg", lathe_codec_name(plan->codec));
    }
    if (r >= 0)
        r = read_packets(&g, &source, err);
    if (r >= 0)
        r = check_totals(&g, audio_packets, n_audio, err);
    avcodec_free_context(&g.decoder);
    av_frame_free(&g.frame);
    free(g.seen);
    media_source_close(&source);
    return r;
}
