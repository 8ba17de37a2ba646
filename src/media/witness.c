/* SPDX-License-Identifier: MIT */
#include "witness.h"

#include <errno.h>
#include <string.h>

#include "gpu.h"
#include "setup.h"

int media_witness_init(struct media_witness *w, AVCodecContext *decoder)
{
    *w = (struct media_witness){.decoder = decoder, .frame = av_frame_alloc()};
    return w->frame ? 0 : -ENOMEM;
}

void media_witness_finish(struct media_witness *w)
{
    avcodec_free_context(&w->decoder);
    av_frame_free(&w->frame);
}

static void remember(struct media_witness *w, uint32_t number)
{
    if (w->n_open == MEDIA_WITNESS_OPEN || media_frame_is_interlaced(w->frame) ||
        w->frame->decode_error_flags)
        return;
    struct media_testimony *t = &w->open[w->n_open++];
    t->packet = number;
    media_picture_hash(w->frame, t->hash);
}

void media_witness_see(struct media_witness *w, const AVPacket *packet, uint32_t number)
{
    if (!w->decoder || w->follows)
        return;
    avcodec_flush_buffers(w->decoder);
    int r = avcodec_send_packet(w->decoder, packet);
    if (r >= 0)
        r = avcodec_send_packet(w->decoder, NULL);
    if (r >= 0)
        r = avcodec_receive_frame(w->decoder, w->frame);
    if (r < 0)
        return;
    remember(w, number);
    av_frame_unref(w->frame);
}

/* Whether the picture of this packet was asked for; forgets that. */
static bool take_wanted(struct media_witness *w, int64_t number)
{
    for (unsigned i = 0; i < w->n_wanted; i++)
        if (w->wanted[i] == number) {
            w->wanted[i] = w->wanted[--w->n_wanted];
            return true;
        }
    return false;
}

void media_witness_follow(struct media_witness *w, const AVPacket *packet, bool wanted)
{
    if (!w->decoder)
        return;
    if (!w->follows)
        avcodec_flush_buffers(w->decoder);
    w->follows = true;
    if (packet && wanted && w->n_wanted < MEDIA_WITNESS_OPEN)
        w->wanted[w->n_wanted++] = (uint32_t)packet->pts;
    int r = avcodec_send_packet(w->decoder, packet);
    while (r >= 0 && (r = avcodec_receive_frame(w->decoder, w->frame)) >= 0) {
        if (take_wanted(w, w->frame->pts))
            remember(w, (uint32_t)w->frame->pts);
        av_frame_unref(w->frame);
    }
}

int media_witness_compare(struct media_witness *w, const AVFrame *frame, uint32_t number,
                          struct lathe_error *err)
{
    unsigned i = 0;
    while (i < w->n_open && w->open[i].packet != number)
        i++;
    if (i == w->n_open)
        return 0;
    const struct media_testimony t = w->open[i];
    w->open[i] = w->open[--w->n_open];
    char hash[MEDIA_HASH_BYTES];
    _cleanup_frame_ AVFrame *picture = NULL;
    int r = media_picture_fetch(frame, &picture);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot fetch a picture from the device");
    media_picture_hash(picture, hash);
    if (strcmp(hash, t.hash) != 0)
        return media_gpu_refuse(err, LATHE_HW_WRONG,
                                "the key frame of packet %u is not what software decodes", number);
    w->checked++;
    return 1;
}
