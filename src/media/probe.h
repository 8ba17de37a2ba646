/* SPDX-License-Identifier: MIT */
/*
 * The trials of a GPU, one function a kind. Each fills verdict, reason and what it learned; none of
 * them ends the process, but a driver may, and the parent is prepared for that.
 */
#ifndef LATHE_MEDIA_PROBE_H
#define LATHE_MEDIA_PROBE_H

#include <libavcodec/avcodec.h>

#include "lathe/hwaccel.h"
#include "lathe/media.h"

/* Above the smallest size of any encoder, and not so wide that a trial takes long. */
#define MEDIA_PROBE_WIDTH 640
#define MEDIA_PROBE_HEIGHT 360
#define MEDIA_PROBE_FRAMES 12

struct media_probe {
    const struct lathe_hwaccel *family;
    struct lathe_hwaccel_device device; /* context NULL: not open */
    lathe_media_progress progress;
    void *opaque;
    uint64_t steps; /* told as frames: any step is a sign of life */
};

/* Tells the parent that something moved; a refusal of it is -ECANCELED. */
int media_probe_step(struct media_probe *probe);
/* Sets verdict and reason of a failure, from libav's code and the log since the trial began. */
void media_probe_failed(const struct media_probe *probe, int averror, bool opening,
                        struct lathe_hw_trial *trial);
/* The same for a verdict that is known; returns false. */
bool media_probe_verdict(struct lathe_hw_trial *trial, enum lathe_hw_verdict verdict,
                         const char *format, ...) __attribute__((format(printf, 3, 4)));

void media_probe_encode(struct media_probe *probe, struct lathe_hw_trial *trial);
void media_probe_decode(struct media_probe *probe, struct lathe_hw_trial *trial);
void media_probe_scale(struct media_probe *probe, struct lathe_hw_trial *trial);
void media_probe_sessions(struct media_probe *probe, struct lathe_hw_trial *trial);

/* --- test pictures: moving, so that a repeated one is noticed; coloured, so that an empty one is
 * --- */

/* A new picture number `n` in system memory; NULL: memory. */
AVFrame *media_probe_picture(enum AVPixelFormat format, int width, int height, int n);
/* Mean difference of `frame` (any size, 4:2:0, in system memory) from picture `n`, of the worst
 * component, on a scale of 8 bits. */
double media_probe_distance(const AVFrame *frame, int n);
/* The same between two frames of one size. */
double media_probe_difference(const AVFrame *a, const AVFrame *b);
/* Above this a picture is not the one that went in; pictures that follow each other are twice as
 * far apart. */
#define MEDIA_PROBE_FAR 7.0

/* A request for an encoder of test pictures at the bottom of the preset table. */
struct lathe_encoder_request media_probe_request(enum lathe_codec codec, enum AVPixelFormat format);

#endif
