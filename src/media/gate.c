/* SPDX-License-Identifier: MIT */
#include "gate.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu.h"
#include "setup.h"
#include "source.h"

/* Mean difference of thumbnails, of 255. Encoders at starved bitrates stay below 4: thumbnails
 * average what they blur. */
#define FAR 8.0
/* A repeated picture of slow content is not far off; it is told by being nearer to what was shown
 * before. */
#define STALE 1.5
#define STALE_TIMES 3.0

int media_gate_add(struct media_gate *g, uint32_t frame, const struct media_thumb *thumb)
{
    if (g->count == g->capacity) {
        uint32_t grown = g->capacity ? g->capacity * 2 : 16;
        struct media_gate_sample *samples = realloc(g->samples, grown * sizeof(*samples));
        if (!samples)
            return -ENOMEM;
        g->samples = samples;
        g->capacity = grown;
    }
    g->samples[g->count++] = (struct media_gate_sample){.frame = frame, .thumb = *thumb};
    return 0;
}

void media_gate_finish(struct media_gate *gate)
{
    free(gate->samples);
    *gate = (struct media_gate){0};
}

struct check {
    const struct media_gate *gate;
    AVCodecContext *decoder;
    AVFrame *frame;
    uint32_t shown, compared, at; /* `at`: next sample */
};

static int compare(struct check *c, struct lathe_error *err)
{
    struct media_thumb seen;
    const struct media_gate *g = c->gate;
    for (; c->at < g->count && g->samples[c->at].frame == c->shown; c->at++) {
        if (!media_picture_thumb(c->frame, &seen))
            return 0;
        double off = media_thumb_distance(&seen, &g->samples[c->at].thumb);
        double before =
            c->at ? media_thumb_distance(&seen, &g->samples[c->at - 1].thumb) : off * STALE_TIMES;
        if (off > FAR || (off > STALE && before * STALE_TIMES < off))
            return media_gpu_refuse(err, LATHE_HW_WRONG,
                                    "picture %u of the chunk is not what went in (off by %.1f of "
                                    "255)",
                                    c->shown, off);
        c->compared++;
    }
    return 0;
}

static int take(struct check *c, const AVPacket *packet, struct lathe_error *err)
{
    int r = avcodec_send_packet(c->decoder, packet);
    while (r >= 0 && (r = avcodec_receive_frame(c->decoder, c->frame)) >= 0) {
        bool broken = c->frame->flags & AV_FRAME_FLAG_CORRUPT || c->frame->decode_error_flags;
        int code = broken
                       ? media_gpu_refuse(err, LATHE_HW_WRONG,
                                          "picture %u of the chunk decodes with errors", c->shown)
                       : compare(c, err);
        c->shown++;
        av_frame_unref(c->frame);
        if (code < 0)
            return code;
    }
    if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
        return 0;
    return media_gpu_refuse(err, LATHE_HW_WRONG, "the chunk does not decode after picture %u",
                            c->shown);
}

static int read_all(struct check *c, struct media_source *source, struct lathe_error *err)
{
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!packet)
        return lathe_error_nomem(err);
    int r;
    while ((r = av_read_frame(source->format, packet)) >= 0) {
        r = take(c, packet, err);
        av_packet_unref(packet);
        if (r < 0)
            return r;
    }
    if (r != AVERROR_EOF)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot read back the chunk");
    return take(c, NULL, err);
}

int media_gate_check(const struct media_gate *gate, const char *path, uint32_t frames,
                     struct lathe_error *err)
{
    struct media_source source;
    struct check c = {.gate = gate};
    int r = media_source_open_own(&source, path, true, err);
    if (r < 0)
        return r;
    const AVCodecParameters *par = source.format->streams[0]->codecpar;
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    c.decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    c.frame = av_frame_alloc();
    if (!c.decoder || !c.frame || avcodec_parameters_to_context(c.decoder, par) < 0) {
        r = lathe_error_nomem(err);
    } else {
        c.decoder->thread_count = 1;
        r = avcodec_open2(c.decoder, codec, NULL);
        r = r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot open %s", codec->name)
                  : read_all(&c, &source, err);
    }
    if (r >= 0 && c.shown != frames)
        r = media_gpu_refuse(err, LATHE_HW_WRONG, "%u of the chunk's %u pictures decode", c.shown,
                             frames);
    avcodec_free_context(&c.decoder);
    av_frame_free(&c.frame);
    media_source_close(&source);
    return r < 0 ? r : (int)c.compared;
}
