/* SPDX-License-Identifier: MIT */
/*
 * The core of pilots and chunks: decode one stretch of the source once, and filter and encode it
 * for every rendition.
 */
#ifndef LATHE_MEDIA_STRETCH_H
#define LATHE_MEDIA_STRETCH_H

#include "decode.h"
#include "encode.h"
#include "filter.h"
#include "gate.h"
#include "headers.h"
#include "lathe/media.h"
#include "mux.h"

struct media_stretch {
    /* what to do; set by the caller */
    const struct lathe_plan *plan;
    const struct media_index *index;
    const char *source_path;
    const char *packets_path;      /* what was cut from the source for it, or NULL */
    const struct media_need *need; /* which packets these are */
    uint32_t first_packet;
    int64_t start, end;  /* owns start <= time < end */
    uint32_t max_frames; /* 0 = all */
    struct lathe_rate rates[LATHE_RENDITIONS_MAX];
    char *const *out_paths; /* one a rendition; NULL: bytes are only counted */
    bool linear;            /* decode from the beginning of the source */
    bool uncapped;          /* without the plan's VBV, which cannot settle in a few frames */
    struct media_gpu *gpu;  /* NULL: all in software */
    lathe_media_progress progress;
    void *opaque;

    /* what came of it */
    uint32_t frames;
    int64_t first_time, last_time, last_duration;
    char head_hash[40], tail_hash[40]; /* tail: of the picture after the last one; "" none */
    char decoder[64], filter[512], encoder[64], encoder_options[1024];
    struct lathe_rate_sample samples[LATHE_RENDITIONS_MAX];
    uint64_t damaged;     /* concealed errors and missing frames */
    uint32_t gpu_checked; /* pictures that the gate compared */

    /* while it runs */
    bool ended; /* the encoders have all frames */
    struct media_decoder source;
    struct media_rendition {
        struct media_filter filter;
        struct media_encoder encoder;
        struct media_mux mux;
        struct media_headers headers;
        struct media_gate gate;
        bool filter_open, encoder_open, mux_open, mux_begun;
    } renditions[LATHE_RENDITIONS_MAX];
    double *cost; /* cumulative, per own frame */
    uint32_t n_cost;
};

/* Sets what stretch a pilot of the plan is. */
void media_stretch_of_pilot(struct media_stretch *stretch, uint32_t number);

/* Runs it; where seeking in the source leads astray, once more from its beginning. On failure
 * output files may exist, incomplete; the caller removes them. */
int media_stretch_run(struct media_stretch *stretch, struct lathe_error *err);

#endif
