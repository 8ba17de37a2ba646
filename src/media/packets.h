/* SPDX-License-Identifier: MIT */
/*
 * Packets of the pictures of a chunk or a pilot, cut from the source into a file of their own:
 * MPEG-TS where that carries the codec, else NUT. What is written comes back byte by byte, whatever
 * the container adds, and is checked against the index as a packet of the source is. The times in
 * the file are only for players: a frame takes as long as the next one.
 */
#ifndef LATHE_MEDIA_PACKETS_H
#define LATHE_MEDIA_PACKETS_H

#include <libavformat/avformat.h>

#include "lathe/error.h"
#include "lathe/plan.h"
#include "mux.h"
#include "need.h"
#include "source.h"

/* "ts" or "nut". */
const char *media_packets_container(const AVCodecParameters *par);

struct media_packets_writer {
    const struct media_index *index; /* not owned */
    struct media_need need;
    struct media_mux mux;
    int64_t *shown; /* of each packet: its place in the order of presentation, shifted */
    uint8_t *sets;  /* MPEG-TS: parameter sets, for who begins to play here */
    size_t sets_size;
    int nal_length_bytes;
    int64_t frame_ticks;
    bool is_ts;
};

/* Creates `path`, which must stay valid. -ENOTSUP: the container does not take this codec. */
int media_packets_create(struct media_packets_writer *ret, const char *path,
                         const struct lathe_plan *plan, const struct media_index *index,
                         const struct media_need *need, struct lathe_error *err);
/* Packet `number` of the index, as the source gave it; it stays the caller's. */
int media_packets_add(struct media_packets_writer *writer, const AVPacket *packet, uint32_t number,
                      struct lathe_error *err);
int media_packets_end(struct media_packets_writer *writer, struct lathe_error *err);
void media_packets_discard(struct media_packets_writer *writer); /* after `end` too */

struct media_packets_reader {
    struct media_source source;
    AVPacket *ahead; /* MPEG-TS: begins the next packet */
    int nal_length_bytes;
    bool is_ts;
};

int media_packets_open(struct media_packets_reader *ret, const char *path,
                       const struct media_index *index, struct lathe_error *err);
/* The next packet, which must be the one of `entry`: 1; 0 at the end of the file; -EBADMSG when it
 * is another one. */
int media_packets_next(struct media_packets_reader *reader, const struct media_index_entry *entry,
                       AVPacket *ret, struct lathe_error *err);
void media_packets_close(struct media_packets_reader *reader);

#endif
