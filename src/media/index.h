/* SPDX-License-Identifier: MIT */
/*
 * The index: one entry a video packet in demux order, made by reading the whole source once. It
 * carries the time of every frame (healed, from the job's origin) and what is needed to find the
 * same packet again after a seek and to prove that it is the same.
 *
 * On disk it is a header, the entries as they are in memory (little-endian hosts only) and the
 * parameters of the stream; it is made and read by slots of one Lathe version, and mapped rather
 * than read.
 */
#ifndef LATHE_MEDIA_INDEX_H
#define LATHE_MEDIA_INDEX_H

#include <libavcodec/codec_par.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"

#define MEDIA_NO_TIME INT64_MIN

enum media_index_flags {
    MEDIA_INDEX_KEY = 1 << 0,     /* decoding may start here */
    MEDIA_INDEX_DISCARD = 1 << 1, /* decoded but never shown (edit list pre-roll) */
    MEDIA_INDEX_EXACT = 1 << 2,   /* key: an IDR or its like, nothing after needs what is before */
    MEDIA_INDEX_CORRUPT = 1 << 3, /* so the container says */
    MEDIA_INDEX_MARKED = 1 << 4,  /* a key frame, so the container says */
};

struct media_index_entry {
    int64_t time;     /* presentation, plan time base; MEDIA_NO_TIME = never shown */
    int64_t dts_time; /* decoding time likewise */
    int64_t raw_pts;  /* as the demuxer gave them, to recognise the packet */
    int64_t raw_dts;
    int64_t position; /* byte in the file, -1 unknown */
    uint32_t size;
    uint32_t checksum; /* Adler-32 of the packet's bytes */
    uint32_t flags;
    uint32_t
        recovery; /* key: frames until the picture is exact (H.264 recovery point), 0 = at once */
};

struct media_index {
    struct media_index_entry *entries;
    uint32_t count;
    AVCodecParameters *video; /* of the stream, as the source was opened */
    AVRational video_time_base;
    size_t capacity; /* of a growing index */
    void *mapping;   /* of a loaded one */
    size_t mapping_size;
};

/* 0 or -ENOMEM / -EFBIG. */
int media_index_append(struct media_index *index, const struct media_index_entry *entry);
uint32_t media_index_checksum(const uint8_t *data, int size); /* Adler-32 */
/* Whether these are the bytes of the packet, by size and checksum. */
bool media_index_matches(const struct media_index_entry *entry, const uint8_t *data, int size);
/* Where decoding can begin; 0 when no packet is a key frame. */
uint32_t media_index_first_key(const struct media_index *index);
int media_index_save(const struct media_index *index, const char *path, struct lathe_error *err);
/* Maps a whole file that is not empty, to be unmapped by the caller. */
int media_map_file(const char *path, void **ret, size_t *ret_size, struct lathe_error *err);
int media_index_load(struct media_index *ret, const char *path, struct lathe_error *err);
void media_index_finish(struct media_index *index);

#endif
