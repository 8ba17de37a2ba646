/* SPDX-License-Identifier: MIT */
/*
 * Video packets of a source by their number in the index: from the source itself, or from those
 * that were cut from it for one chunk or pilot. A packet is believed only when its size and
 * checksum are the index's, so neither a seek that lands elsewhere nor a source that changed goes
 * unnoticed.
 */
#ifndef LATHE_MEDIA_READER_H
#define LATHE_MEDIA_READER_H

#include "index.h"
#include "packets.h"
#include "source.h"

struct media_reader {
    struct media_source source;
    struct media_packets_reader cut;
    bool is_cut;                     /* `cut` is read and not `source` */
    const char *path;                /* of either; not owned */
    const struct media_index *index; /* not owned */
    AVPacket *held;                  /* found by the seek, not yet delivered */
    uint32_t next;                   /* number of the packet delivered next */
    uint32_t end;                    /* number of the first that is not delivered */
};

/* `video_stream`: where the index found the pictures.
 * `linear`: never seek, read from the start of the file (slow, for formats whose seeking fails). */
int media_reader_open(struct media_reader *ret, const char *path, int video_stream,
                      const struct media_index *index, uint32_t first_packet, bool linear,
                      struct lathe_error *err);
/* Reads a file of packets that were cut for `need`. */
int media_reader_open_cut(struct media_reader *ret, const char *path,
                          const struct media_index *index, const struct media_need *need,
                          struct lathe_error *err);
/* What a decoder of these packets starts from. */
const AVCodecParameters *media_reader_parameters(const struct media_reader *reader,
                                                 AVRational *ret_time_base);
uint64_t media_reader_bytes(const struct media_reader *reader); /* read so far */
void media_reader_close(struct media_reader *reader);

/* 1 with the packet and its number, 0 at the end, -ESTALE when the source no longer matches,
 * -EBADMSG when the file that was cut does not. */
int media_reader_next(struct media_reader *reader, AVPacket *ret, uint32_t *ret_number,
                      struct lathe_error *err);

#endif
