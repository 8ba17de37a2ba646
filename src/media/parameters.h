/* SPDX-License-Identifier: MIT */
/*
 * What a decoder must know of a stream beside its packets, in a file: containers of packets keep
 * only a part of it, and decoders must start from exactly what the source said.
 */
#ifndef LATHE_MEDIA_PARAMETERS_H
#define LATHE_MEDIA_PARAMETERS_H

#include <libavcodec/codec_par.h>
#include <stdio.h>

#include "lathe/error.h"

/* 0, -ENOTSUP (a layout of channels that cannot be written down), or the errno of the write. */
int media_parameters_write(FILE *file, const AVCodecParameters *par, AVRational time_base);

/* Reads at *at, which moves on, up to `end`. The caller frees *ret. 0, -EBADMSG or -ENOMEM. */
int media_parameters_read(const uint8_t **at, const uint8_t *end, AVCodecParameters **ret,
                          AVRational *ret_time_base);

#endif
