/* SPDX-License-Identifier: MIT */
/*
 * What every media file shares: the captured libav log, errors made of libav codes, whitelists.
 */
#ifndef LATHE_MEDIA_SETUP_H
#define LATHE_MEDIA_SETUP_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>

#include "lathe/base.h"
#include "lathe/error.h"
#include "lathe/media.h"

/* Refused before anything is decoded: more than 8192 × 8192, than so many streams in a file, than a
 * week. Where a longer one comes, its clock is broken, and the gap would become silence. */
#define MEDIA_MAX_PIXELS 67108864
#define MEDIA_MAX_STREAMS 128
#define MEDIA_MAX_SECONDS (7 * 24 * 3600)

/* Like lathe_error_set, with libav's words for `averror` and its last log line at the end. */
int media_error(struct lathe_error *err, int averror, enum lathe_fault fault, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

/* The last error line libav logged on this process, or "". Reading clears it. */
void media_last_log(char *ret, size_t size);

bool media_format_is_allowed(const char *name); /* of a demuxer, "mov,mp4,m4a,3gp,3g2,mj2" */
bool media_codec_is_allowed(enum AVCodecID id);
/* The allowed decoders as libav's "codec_whitelist". */
const char *media_codec_whitelist(void);

int64_t media_cpu_us(void); /* user and system time of this process */

/* FFmpeg 6.1 made flags of these fields. */
bool media_frame_is_interlaced(const AVFrame *frame);
bool media_frame_is_top_field_first(const AVFrame *frame);

#define _cleanup_packet_ _cleanup_(av_packet_free)
#define _cleanup_frame_ _cleanup_(av_frame_free)

#endif
