/* SPDX-License-Identifier: MIT */
/*
 * Writes MP4 files: chunks, audio, and the finished video; and files of packets that are cut from a
 * source. Bit-exact (no dates, no version), through our own I/O on one file descriptor, hashed once
 * written.
 */
#ifndef LATHE_MEDIA_MUX_H
#define LATHE_MEDIA_MUX_H

#include <libavformat/avformat.h>
#include <stdbool.h>

#include "lathe/error.h"

struct media_mux {
    AVFormatContext *format;
    AVIOContext *io;
    int fd;
    int64_t position, size_bytes;
    int write_error;  /* errno of the first failed write: libavformat may report it late */
    const char *path; /* not owned */
    bool is_cut; /* packets of a source, in the order given; its file is scratch, so not synced */
};

/* Creates `path` (which must not exist). Streams are added next, then media_mux_begin. */
int media_mux_open(struct media_mux *ret, const char *path, struct lathe_error *err);
/* The same for packets that are cut from a source: "mpegts", "nut" or "matroska". */
int media_mux_open_cut(struct media_mux *ret, const char *path, const char *format,
                       struct lathe_error *err);
/* Whether `format` has a place for these streams. */
bool media_mux_takes(const char *format, const AVCodecParameters *const *list, int count);
/* A new stream with a copy of `par` and the time base its packets will use. */
int media_mux_add(struct media_mux *mux, const AVCodecParameters *par, AVRational time_base,
                  AVStream **ret, struct lathe_error *err);
/* Writes the header. `video_timescale` > 0: exactly this; it becomes the movie's too, so that edit
 * lists are exact. */
int media_mux_begin(struct media_mux *mux, bool faststart, int video_timescale,
                    struct lathe_error *err);
/* `packet` (stream_index set) is in the time base given to media_mux_add; it is consumed. */
int media_mux_write(struct media_mux *mux, AVPacket *packet, AVRational time_base,
                    struct lathe_error *err);
/* Writes the trailer and syncs. */
int media_mux_end(struct media_mux *mux, struct lathe_error *err);
/* Closes; the file stays (the caller removes it after a failure). */
void media_mux_close(struct media_mux *mux);

#endif
