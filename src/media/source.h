/* SPDX-License-Identifier: MIT */
/*
 * A media file opened for demuxing: through our own I/O on one file descriptor, so that libavformat
 * can reach nothing else on disk or network, with format and codec whitelists and limits applied.
 */
#ifndef LATHE_MEDIA_SOURCE_H
#define LATHE_MEDIA_SOURCE_H

#include <libavformat/avformat.h>

#include "lathe/error.h"

struct media_source {
    AVFormatContext *format;
    AVIOContext *io;
    int fd;
    int64_t position; /* of our I/O */
    int64_t size_bytes;
    int64_t bytes_read; /* in total, for progress */
    int video_stream;   /* the picture track, never cover art; -1 = none */
    bool is_analysed;   /* streams' parameters are those found in packets too, not the header's */
    const char *path;   /* as given; not owned */
};

/* Opens `path` and reads enough to know its streams. Refuses with one clear line what is no video
 * file or is beyond the limits. On failure `ret` needs no closing. */
int media_source_open(struct media_source *ret, const char *path, struct lathe_error *err);

/* Opens a source that has been opened and indexed before, whose pictures are in `video_stream`. An
 * analysis of its streams decodes several pictures (60 ms of CPU at 1080p) and finds nothing new:
 * it is left out where the container's header is enough to read packets (MP4). Then `is_analysed`
 * is false, and the parameters of the pictures are to be taken from the index. */
int media_source_open_again(struct media_source *ret, const char *path, int video_stream,
                            struct lathe_error *err);
void media_source_close(struct media_source *source); /* harmless on a closed or zeroed one */

/* As above for a file that Lathe made itself (a chunk, the result): `ignore_edit_list` delivers
 * MP4 times as stored. */
int media_source_open_own(struct media_source *ret, const char *path, bool ignore_edit_list,
                          struct lathe_error *err);

/* As above for a transcoded chunk whose packets are to be read, with MP4 times as stored: nothing
 * is analysed, the stream's parameters are those of the header (codec, size, parameter sets). */
int media_source_open_chunk(struct media_source *ret, const char *path, struct lathe_error *err);

/* As above for packets that Lathe cut from a source, in `format`: they come as they were put in,
 * and of their streams nothing is known but the number. */
int media_source_open_cut(struct media_source *ret, const char *path, const char *format,
                          struct lathe_error *err);

AVStream *media_source_video(const struct media_source *source); /* NULL without one */

#endif
