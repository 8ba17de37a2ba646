/* SPDX-License-Identifier: MIT */
/*
 * Parameter sets of chunks that different encoders made, in one file: all in its header where their
 * ids differ, else also in front of each key frame.
 */
#ifndef LATHE_MEDIA_SETS_H
#define LATHE_MEDIA_SETS_H

#include <libavcodec/avcodec.h>
#include <stdbool.h>

#include "lathe/error.h"

#define MEDIA_SETS_MAX 64 /* different headers among the chunks of one rendition */

struct media_sets {
    AVCodecParameters *headers[MEDIA_SETS_MAX]; /* each different one */
    unsigned n_headers;
    unsigned char *of_chunk; /* which header */
    bool in_band;            /* headers contradict each other */
};

int media_sets_init(struct media_sets *sets, unsigned n_chunks);
void media_sets_finish(struct media_sets *sets);

/* The header of chunk `number`; they come in order. -E2BIG: too many different ones. */
int media_sets_add(struct media_sets *sets, unsigned number, const AVCodecParameters *par);
/* Puts all sets into `par`, a copy of the first chunk's, where ids allow it. */
int media_sets_join(struct media_sets *sets, AVCodecParameters *par);
/* In front of a key frame of chunk `number`, where needed, its sets. */
int media_sets_prepend(const struct media_sets *sets, unsigned number, AVPacket *packet);

#endif
