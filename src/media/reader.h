/* SPDX-License-Identifier: MIT */
/*
 * Video packets of a source by their number in the index. A packet is believed only when its size
 * and checksum are the index's, so neither a seek that lands elsewhere nor a source that changed
 * goes unnoticed.
 */
#ifndef LATHE_MEDIA_READER_H
#define LATHE_MEDIA_READER_H

#include "index.h"
#include "source.h"

struct media_reader {
    struct media_source source;
    const struct media_index *index; /* not owned */
    AVPacket *held;                  /* found by the seek, not yet delivered */
    uint32_t next;                   /* number of the packet delivered next */
};

/* `linear`: never seek, read from the start of the file (slow, for formats whose seeking fails). */
int media_reader_open(struct media_reader *ret, const char *path, const struct media_index *index,
                      uint32_t first_packet, bool linear, struct lathe_error *err);
void media_reader_close(struct media_reader *reader);

/* 1 with the packet and its number, 0 at the end, -ESTALE when the file no longer matches. */
int media_reader_next(struct media_reader *reader, AVPacket *ret, uint32_t *ret_number,
                      struct lathe_error *err);

#endif
