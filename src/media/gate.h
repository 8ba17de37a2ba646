/* SPDX-License-Identifier: MIT */
/*
 * The gate for what a GPU encoded. Drivers fail silently: right counts, wrong pictures. Thumbnails
 * of a few pictures, taken on the way in, are compared with what software decodes from the result.
 */
#ifndef LATHE_MEDIA_GATE_H
#define LATHE_MEDIA_GATE_H

#include <stdint.h>

#include "lathe/error.h"
#include "picture.h"

/* Every so many frames one is looked at, and the first and the last. */
#define MEDIA_GATE_EVERY 16

struct media_gate {
    struct media_gate_sample {
        uint32_t frame; /* of the chunk, in the order shown */
        struct media_thumb thumb;
    } * samples;
    uint32_t count, capacity;
};

/* Remembers what frame `frame` looks like; numbers never fall. -ENOMEM. */
int media_gate_add(struct media_gate *gate, uint32_t frame, const struct media_thumb *thumb);
void media_gate_finish(struct media_gate *gate);

/* Decodes the chunk's file in software and compares; the number of pictures compared. A picture
 * that is not what went in is an error with the verdict WRONG. */
int media_gate_check(const struct media_gate *gate, const char *path, uint32_t frames,
                     struct lathe_error *err);

#endif
