/* SPDX-License-Identifier: MIT */
/*
 * Looking at pictures, wherever they lie: a hash that is the same for a picture decoded on a GPU
 * and in software, and a thumbnail that says whether two pictures show the same.
 */
#ifndef LATHE_MEDIA_PICTURE_H
#define LATHE_MEDIA_PICTURE_H

#include <libavutil/frame.h>
#include <stdbool.h>

#define MEDIA_HASH_BYTES 40
#define MEDIA_THUMB_WIDTH 32
#define MEDIA_THUMB_HEIGHT 18

/* Of luma, on a scale of 8 bits. */
struct media_thumb {
    float cells[MEDIA_THUMB_WIDTH * MEDIA_THUMB_HEIGHT];
};

/* A new reference in system memory: of `frame` itself, or what was downloaded from a device, in
 * the planar layout that software decodes to. A libav error otherwise. */
int media_picture_fetch(const AVFrame *frame, AVFrame **ret);

/* `frame` is planar, in system memory. */
void media_picture_hash(const AVFrame *frame, char ret[MEDIA_HASH_BYTES]);

/* False when the format has no luma of its own (RGB), or the picture is smaller than a thumbnail.
 */
bool media_picture_thumb(const AVFrame *frame, struct media_thumb *ret);
/* Mean difference of the cells. */
double media_thumb_distance(const struct media_thumb *a, const struct media_thumb *b);

#endif
