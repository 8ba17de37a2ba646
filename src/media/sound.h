/* SPDX-License-Identifier: MIT */
/*
 * One audio track on its way to AAC: decoded, placed on the job's timeline (gaps become silence,
 * overlaps are cut), encoded without a seam. Or copied packet by packet.
 */
#ifndef LATHE_MEDIA_SOUND_H
#define LATHE_MEDIA_SOUND_H

#include <libavcodec/avcodec.h>
#include <libavutil/audio_fifo.h>
#include <libswresample/swresample.h>

#include "lathe/plan.h"
#include "mux.h"

struct media_sound {
    const struct lathe_plan_audio *plan;
    AVRational time_base;   /* of the source stream */
    int64_t origin_samples; /* the job's origin on the source's clock, output rate */
    int stream;             /* of the output */
    bool conceal;
    AVCodecContext *decoder, *encoder;
    SwrContext *resampler;
    AVAudioFifo *fifo;
    AVFrame *decoded, *converted;
    AVPacket *packet;
    int64_t position; /* samples put on the timeline so far */
    int64_t skip;     /* samples to drop before the next ones are put */
    int64_t end;      /* where the source's last packet ends; INT64_MIN unknown */
    int64_t encoded;  /* samples given to the encoder */
    bool started;
    /* result */
    int64_t first_pts; /* of the first packet, 1/sample_rate from the origin */
    uint64_t packets, silence_samples, damaged;
};

int media_sound_open(struct media_sound *ret, const struct lathe_plan *plan, int track,
                     const AVCodecParameters *par_in, AVRational time_base, struct media_mux *mux,
                     struct lathe_error *err);
void media_sound_close(struct media_sound *sound);
/* `packet` NULL: the end of the source. Times are healed already. */
int media_sound_send(struct media_sound *sound, AVPacket *packet, struct media_mux *mux,
                     struct lathe_error *err);

#endif
