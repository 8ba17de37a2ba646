/* SPDX-License-Identifier: MIT */
/*
 * Heals the time of sources whose clock jumps (MPEG-TS joined from pieces, restarted encoders).
 *
 * Fed with every packet of the file in demux order, so index and audio, which both read the whole
 * file, come to the same times. A jump is what FFmpeg's default takes for one: more than 10 s
 * ahead or 0.1 s back from where the stream's clock should be (ffmpeg -dts_delta_threshold). All
 * streams that jump at the same place get the same correction, so sound and picture stay together.
 */
#ifndef LATHE_MEDIA_TIMELINE_H
#define LATHE_MEDIA_TIMELINE_H

#include <libavformat/avformat.h>
#include <stdbool.h>

struct media_timeline {
    bool active;         /* the format allows discontinuities */
    int64_t *offsets_us; /* of each epoch; [0] = 0 */
    unsigned n_epochs;
    struct media_timeline_stream {
        unsigned epoch;
        int64_t next_us; /* healed DTS expected next; INT64_MIN before the first packet */
    } * streams;
    unsigned n_streams;
    unsigned jumps; /* healed so far */
};

int media_timeline_init(struct media_timeline *timeline, const AVFormatContext *format);
void media_timeline_finish(struct media_timeline *timeline);

/* Corrects pts and dts of `packet` (in its stream's time base) in place. 0 or -ENOMEM. */
int media_timeline_heal(struct media_timeline *timeline, const AVStream *stream, AVPacket *packet);

#endif
