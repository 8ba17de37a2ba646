/* SPDX-License-Identifier: MIT */
/*
 * From decoded pictures to what one rendition's encoder takes: deinterlace, scale, pixel format,
 * colour range. One picture in, one out; rebuilt when the source changes size or format in
 * mid-stream.
 */
#ifndef LATHE_MEDIA_FILTER_H
#define LATHE_MEDIA_FILTER_H

#include <libavfilter/avfilter.h>
#include <libavutil/frame.h>

#include <stdbool.h>

#include "gpu.h"
#include "lathe/plan.h"

struct media_filter {
    const struct lathe_plan *plan;
    const struct lathe_plan_rendition *rendition;
    const struct media_gpu *gpu; /* NULL: all in software */
    AVFilterGraph *graph;
    AVFilterContext *input, *output;
    int width, height, format, range; /* of the source the graph was built for */
    char description[512];            /* the graph, for people */
};

int media_filter_init(struct media_filter *filter, const struct lathe_plan *plan, int rendition,
                      const struct media_gpu *gpu);
void media_filter_finish(struct media_filter *filter);

/* Whether `frame` needs another graph: then send NULL and receive what is left before sending it.
 */
bool media_filter_changes(const struct media_filter *filter, const AVFrame *frame);

/* Takes a reference of `frame`, or NULL: no more pictures. The picture's pts is passed on. */
int media_filter_send(struct media_filter *filter, const AVFrame *frame, struct lathe_error *err);
/* 1 with a picture, 0 when it wants more input or is drained. */
int media_filter_receive(struct media_filter *filter, AVFrame *ret, struct lathe_error *err);

#endif
