/* SPDX-License-Identifier: MIT */
/*
 * A second opinion on a hardware decoder: now and then a key frame is decoded in software as well,
 * alone, which costs one picture. Decoders are bit-exact, so any difference is the driver's.
 * Behind the last key frame nothing would be looked at, so the end of a source is decoded in
 * software as a whole.
 */
#ifndef LATHE_MEDIA_WITNESS_H
#define LATHE_MEDIA_WITNESS_H

#include <libavcodec/avcodec.h>
#include <stdbool.h>

#include "lathe/error.h"
#include "picture.h"

#define MEDIA_WITNESS_OPEN 8 /* key frames between decoder's input and output */

struct media_witness {
    AVCodecContext *decoder; /* NULL: there is none */
    AVFrame *frame;
    struct media_testimony {
        uint32_t packet;
        char hash[MEDIA_HASH_BYTES];
    } open[MEDIA_WITNESS_OPEN];
    unsigned n_open, checked;
    bool follows;
    uint32_t wanted[MEDIA_WITNESS_OPEN]; /* packets whose pictures are still in the decoder */
    unsigned n_wanted;
};

/* Takes over `decoder`, an open one in software. */
int media_witness_init(struct media_witness *witness, AVCodecContext *decoder);
void media_witness_finish(struct media_witness *witness);

/* Looks at packet `number`, a picture that refers to no other. What it cannot decode alone it says
 * nothing about. */
void media_witness_see(struct media_witness *witness, const AVPacket *packet, uint32_t number);

/* The end of the source, packet after packet from a key frame on, then NULL. Pictures that are
 * `wanted` are remembered. What it cannot decode it says nothing about. */
void media_witness_follow(struct media_witness *witness, const AVPacket *packet, bool wanted);

/* Compares what the device made of packet `number`. 1 when it was compared, 0 when it was not to
 * be. */
int media_witness_compare(struct media_witness *witness, const AVFrame *frame, uint32_t number,
                          struct lathe_error *err);

#endif
