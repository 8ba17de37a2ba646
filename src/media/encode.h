/* SPDX-License-Identifier: MIT */
/*
 * One rendition's encoder over one stretch of frames: asks for key frames where the plan wants
 * them, steers the rate factor towards a budget, counts bytes.
 */
#ifndef LATHE_MEDIA_ENCODE_H
#define LATHE_MEDIA_ENCODE_H

#include <libavcodec/avcodec.h>

#include "gpu.h"
#include "lathe/hwaccel.h"
#include "lathe/plan.h"

#define MEDIA_LEAD_OUT_MAX 16

struct media_encoder {
    const struct lathe_hwaccel *family;
    AVCodecContext *codec;
    char options[1024]; /* as really set */
    bool forced_keys;   /* key frames only where asked for */
    int64_t gop_ticks;  /* of forced key frames, plan time base */
    int64_t next_key;   /* time of the next one */
    /* steering */
    uint64_t budget_bytes; /* 0 = none */
    double base_quality, quality, quality_sum;
    uint64_t frames_in;
    AVFrame *recent[MEDIA_LEAD_OUT_MAX + 1]; /* frame i at i modulo n_recent */
    unsigned n_recent;
    int64_t frame_ticks; /* plan time base */
    struct lathe_rate_sample sample;
    /* of a GPU: its decoding times are not to be believed */
    int64_t *times; /* of the pictures sent */
    uint64_t times_capacity;
};

/* What a stretch of the job is encoded with. `frames` is how many are expected. */
struct media_encoder_setup {
    const struct lathe_plan *plan;
    int rendition;
    struct lathe_rate rate;
    bool starts_title, uncapped;
    int64_t start, end;          /* times of the stretch; end INT64_MAX = the job's */
    const struct media_gpu *gpu; /* that encodes, or NULL */
    AVBufferRef *frames;         /* its pictures' pool */
};

int media_encoder_open(struct media_encoder *ret, const struct media_encoder_setup *setup,
                       struct lathe_error *err);
void media_encoder_close(struct media_encoder *encoder);

/* The stream's parameters as they belong in a file. */
int media_encoder_parameters(const struct media_encoder *encoder, AVCodecParameters *ret,
                             struct lathe_error *err);

/* `frame` NULL drains. Sets the picture's type; its pts is its time relative to the stretch.
 * `progress` is the share of the stretch's expected cost that has come out so far, 0…1. */
int media_encoder_send(struct media_encoder *encoder, AVFrame *frame, double progress,
                       struct lathe_error *err);
/* Shows the encoder's lookahead picture `number` after the stretch, so that it values the last
 * frames as in one continuous encode: the stretch's last pictures, backwards, which move like what
 * follows and need not be decoded. The first one begins a GOP: no packet of the stretch depends on
 * any of them, and none of theirs need be received. */
int media_encoder_send_lead_out(struct media_encoder *encoder, int number, struct lathe_error *err);
/* 1 with a packet, 0 when more input is needed or it is drained. */
int media_encoder_receive(struct media_encoder *encoder, AVPacket *ret, struct lathe_error *err);

#endif
