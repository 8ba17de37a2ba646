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

void media_witness_see(struct media_witness *w, const AVPacket *packet, uint32_t number)
{
    if (!w->decoder || w->n_open == MEDIA_WITNESS_OPEN)
        return;
    avcodec_flush_buffers(w->decoder);
    int r = avcodec_send_packet(w->decoder, packet);
    if (r >= 0)
        r = avcodec_send_packet(w->decoder, NULL);
    if (r >= 0)
        r = avcodec_receive_frame(w->decoder, w->frame);
    if (r < 0)
        return;
    struct media_testimony *t = &w->open[w->n_open];
    t->packet = number;
    media_picture_hash(w->frame, t->hash);
    if (!media_frame_is_interlaced(w->frame) && !w->frame->decode_error_flags)
        w->n_open++;
    av_frame_unref(w->frame);
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
