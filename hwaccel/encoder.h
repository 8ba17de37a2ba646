/* SPDX-License-Identifier: MIT */
/*
 * What opening an encoder has in common, whatever the family: the picture's description, and
 * options that are looked up before they are set and remembered as text.
 */
#ifndef LATHE_HWACCEL_ENCODER_H
#define LATHE_HWACCEL_ENCODER_H

#include "lathe/hwaccel.h"

/* Size, times, colours, flags. */
void lathe_encoder_describe(AVCodecContext *c, const struct lathe_encoder_request *request);

struct lathe_encoder_options {
    AVCodecContext *c;
    char *text; /* "name=value …", as really set */
    size_t size;
};
/* Sets a private option of the encoder; false when this build does not have it or refuses it. */
bool lathe_encoder_option(struct lathe_encoder_options *o, const char *name, const char *format,
                          ...) __attribute__((format(printf, 3, 4)));
/* Adds words for what was set otherwise. */
void lathe_encoder_note(struct lathe_encoder_options *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For GPU families: the device or the pool of pictures, long GOPs, and what they cannot. */
int lathe_encoder_attach(AVCodecContext *c, const struct lathe_encoder_request *request,
                         struct lathe_error *err);
/* avcodec_open2 for a GPU family, with its words for what went wrong. */
int lathe_encoder_open(AVCodecContext *c, const struct lathe_hwaccel *family,
                       struct lathe_error *err);
/* An encoder of this build, allocated and described; NULL with the reason in `err`. */
AVCodecContext *lathe_encoder_alloc(const struct lathe_hwaccel *family,
                                    const struct lathe_encoder_request *request,
                                    struct lathe_error *err);

/* A negative errno for libav's codes, which are large tags besides errno. */
int lathe_averror_errno(int averror);

#endif
