/* SPDX-License-Identifier: MIT */
/*
 * Parameter sets on their way from an encoder of a GPU into a chunk's file: some drivers give them
 * in front of key frames only, where MP4 wants them beside the pictures.
 */
#ifndef LATHE_MEDIA_HEADERS_H
#define LATHE_MEDIA_HEADERS_H

#include <libavcodec/bsf.h>

#include "lathe/error.h"

struct media_headers {
    AVBSFContext *strip; /* NULL: packets hold none */
};

/* Completes `par` from the stream's first packet, where the encoder left it without parameter
 * sets. */
int media_headers_take(struct media_headers *headers, AVCodecParameters *par, const AVPacket *first,
                       struct lathe_error *err);
/* Removes from `packet` what is in the file's header. */
int media_headers_strip(struct media_headers *headers, AVPacket *packet, struct lathe_error *err);
void media_headers_finish(struct media_headers *headers);

#endif
