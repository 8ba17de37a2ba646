/* SPDX-License-Identifier: MIT */
/*
 * The index: one entry a video packet in demux order, made by reading the whole source once. It
 * carries the time of every frame (healed, from the job's origin) and what is needed to find the
 * same packet again after a seek and to prove that it is the same.
 *
 * On disk it is a header and the entries as they are in memory (little-endian hosts only); it is
 * made and read by slots of one Lathe version, and mapped rather than read.
 */
#ifndef LATHE_MEDIA_INDEX_H
#define LATHE_MEDIA_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"

#define MEDIA_NO_TIME INT64_MIN

enum media_index_flags {
    MEDIA_INDEX_KEY = 1 << 0,     /* decoding may start here */
    MEDIA_INDEX_DISCARD = 1 << 1, /* decoded but never shown (edit list pre-roll) */
    MEDIA_INDEX_EXACT = 1 << 2,   /* key: an IDR or its like, nothing after needs what is before */
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
    size_t capacity; /* of a growing index */
    void *mapping;   /* of a loaded one */
    size_t mapping_size;
};

/* 0 or -ENOMEM / -EFBIG. */
int media_index_append(struct media_index *index, const struct media_index_entry *entry);
int media_index_save(const struct media_index *index, const char *path, struct lathe_error *err);
int media_index_load(struct media_index *ret, const char *path, struct lathe_error *err);
void media_index_finish(struct media_index *index);

#endif
