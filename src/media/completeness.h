/* SPDX-License-Identifier: MIT */
/*
 * Whether a file ends where its container says it should. FFmpeg itself exits with 0 on most
 * truncated files (measured on MPEG-TS, fragmented MP4 and Matroska), so Lathe looks by itself.
 */
#ifndef LATHE_MEDIA_COMPLETENESS_H
#define LATHE_MEDIA_COMPLETENESS_H

#include "source.h"

/* 0, or -ENODATA and an error that says what is missing. */
int media_completeness_check(const struct media_source *source, struct lathe_error *err);

/* After all packets were read: `end_us` is the end of the longest stream, from the file's start. */
int media_completeness_check_duration(const struct media_source *source, int64_t end_us,
                                      struct lathe_error *err);

#endif
