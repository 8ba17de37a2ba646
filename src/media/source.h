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
    const char *path;   /* as given; not owned */
};

/* Opens `path` and reads enough to know its streams. Refuses with one clear line what is no video
 * file or is beyond the limits. On failure `ret` needs no closing. */
int media_source_open(struct media_source *ret, const char *path, struct lathe_error *err);
void media_source_close(struct media_source *source); /* harmless on a closed or zeroed one */

/* As above for a file that Lathe made itself (a chunk, the result): `ignore_edit_list` delivers
 * MP4 times as stored. */
int media_source_open_own(struct media_source *ret, const char *path, bool ignore_edit_list,
                          struct lathe_error *err);

/* As above for packets that Lathe cut from a source, in `format`: they come as they were put in,
 * and of their streams nothing is known but the number. */
int media_source_open_cut(struct media_source *ret, const char *path, const char *format,
                          struct lathe_error *err);

AVStream *media_source_video(const struct media_source *source); /* NULL without one */

#endif
