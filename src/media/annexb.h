/* SPDX-License-Identifier: MIT */
/*
 * H.264 and HEVC packets between the two ways of saying where a NAL unit ends: MP4 and Matroska
 * write its length before it, MPEG-TS a start code. Only 4-byte lengths are turned into 4-byte
 * start codes, so that a packet keeps its size and the way back gives the same bytes.
 */
#ifndef LATHE_MEDIA_ANNEXB_H
#define LATHE_MEDIA_ANNEXB_H

#include <libavcodec/codec_par.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In place. False when the lengths do not add up, or a NAL unit holds what would be taken for a
 * start code (damaged sources); then nothing was changed that undo does not undo. */
bool media_annexb_from_lengths(uint8_t *data, size_t size);
bool media_annexb_to_lengths(uint8_t *data, size_t size);

/* The parameter sets of the stream with start codes, malloc'd; NULL and 0 where there are none.
 * 0 or -ENOMEM. */
int media_annexb_sets(const AVCodecParameters *par, uint8_t **ret, size_t *ret_size);

/* Whether the packet begins with an access unit delimiter. */
bool media_annexb_has_delimiter(enum AVCodecID codec, const uint8_t *data, size_t size);

#endif
