/* SPDX-License-Identifier: MIT */
#include "timeline.h"

#include <errno.h>

#define JUMP_AHEAD_US 10000000
#define JUMP_BACK_US 100000
/* A stream that follows another over a jump may land this far from its own clock. */
#define SAME_JUMP_US 1000000

int media_timeline_init(struct media_timeline *timeline, const AVFormatContext *format)
{
    *timeline = (struct media_timeline){0};
    timeline->active = format->iformat->flags & AVFMT_TS_DISCONT;
    timeline->n_streams = format->nb_streams;
    timeline->streams = av_calloc(format->nb_streams, sizeof(*timeline->streams));
    timeline->offsets_us = av_mallocz(sizeof(*timeline->offsets_us));
    timeline->n_epochs = 1;
    if (!timeline->streams || !timeline->offsets_us) {
        media_timeline_finish(timeline);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < timeline->n_streams; i++)
        timeline->streams[i].next_us = INT64_MIN;
    return 0;
}

void media_timeline_finish(struct media_timeline *timeline)
{
    av_freep(&timeline->streams);
    av_freep(&timeline->offsets_us);
    timeline->n_epochs = timeline->n_streams = 0;
}

static bool is_jump(int64_t delta_us, int64_t ahead_us, int64_t back_us)
{
    return delta_us > ahead_us || delta_us < -back_us;
}

static int add_epoch(struct media_timeline *timeline, int64_t offset_us)
{
    int64_t *offsets =
        av_realloc_array(timeline->offsets_us, timeline->n_epochs + 1, sizeof(*offsets));
    if (!offsets)
        return -ENOMEM;
    offsets[timeline->n_epochs++] = offset_us;
    timeline->offsets_us = offsets;
    return 0;
}

int media_timeline_heal(struct media_timeline *timeline, const AVStream *stream, AVPacket *packet)
{
    if (!timeline->active || (unsigned)stream->index >= timeline->n_streams)
        return 0;
    struct media_timeline_stream *s = &timeline->streams[stream->index];
    int64_t dts = packet->dts != AV_NOPTS_VALUE ? packet->dts : packet->pts;
    if (dts == AV_NOPTS_VALUE)
        return 0;
    const int64_t raw_us = av_rescale_q(dts, stream->time_base, AV_TIME_BASE_Q);
    if (s->next_us != INT64_MIN) {
        int64_t delta_us = raw_us + timeline->offsets_us[s->epoch] - s->next_us;
        /* Follow the jumps that other streams made before making one of our own. */
        unsigned epoch = s->epoch;
        while (is_jump(delta_us, JUMP_AHEAD_US, JUMP_BACK_US) && epoch + 1 < timeline->n_epochs) {
            epoch++;
            int64_t followed_us = raw_us + timeline->offsets_us[epoch] - s->next_us;
            if (!is_jump(followed_us, SAME_JUMP_US, SAME_JUMP_US)) {
                s->epoch = epoch;
                delta_us = 0;
            }
        }
        if (is_jump(delta_us, JUMP_AHEAD_US, JUMP_BACK_US)) {
            int r = add_epoch(timeline, s->next_us - raw_us);
            if (r < 0)
                return r;
            s->epoch = timeline->n_epochs - 1;
            timeline->jumps++;
        }
    }
    const int64_t offset_us = timeline->offsets_us[s->epoch];
    s->next_us =
        raw_us + offset_us +
        (packet->duration > 0 ? av_rescale_q(packet->duration, stream->time_base, AV_TIME_BASE_Q)
                              : 0);
    const int64_t offset = av_rescale_q(offset_us, AV_TIME_BASE_Q, stream->time_base);
    if (packet->pts != AV_NOPTS_VALUE)
        packet->pts += offset;
    if (packet->dts != AV_NOPTS_VALUE)
        packet->dts += offset;
    return 0;
}
