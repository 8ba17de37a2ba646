/* SPDX-License-Identifier: MIT */
#include <libavutil/pixdesc.h>
#include <math.h>
#include <string.h>

#include "probe.h"
#include "setup.h"

/* What picture `n` shows at (u, v), each 0…1: slopes in all components, and a bright bar that moves
 * by most of its width. */
static double shown(int component, double u, double v, int n)
{
    double left = 0.02 + 0.075 * n;
    if (component == 0)
        return u >= left && u < left + 0.1 ? 225 : 50 + 70 * u + 20 * v;
    return component == 1 ? 80 + 60 * v : 180 - 60 * u;
}

static int sample_bits(const AVComponentDescriptor *c)
{
    return c->depth + c->shift;
}

static void put(AVFrame *frame, const AVComponentDescriptor *c, int x, int y, double value)
{
    uint8_t *at = frame->data[c->plane] + (ptrdiff_t)y * frame->linesize[c->plane] +
                  (ptrdiff_t)x * c->step + c->offset;
    unsigned scaled = (unsigned)(value * (1 << (c->depth - 8)) + 0.5) << c->shift;
    if (sample_bits(c) > 8)
        at[1] = (uint8_t)(scaled >> 8);
    at[0] = (uint8_t)scaled;
}

static double get(const AVFrame *frame, const AVComponentDescriptor *c, int x, int y)
{
    const uint8_t *at = frame->data[c->plane] + (ptrdiff_t)y * frame->linesize[c->plane] +
                        (ptrdiff_t)x * c->step + c->offset;
    unsigned value = sample_bits(c) > 8 ? (unsigned)(at[0] | at[1] << 8) : at[0];
    return (double)(value >> c->shift) / (1 << (c->depth - 8));
}

static int component_width(const AVPixFmtDescriptor *d, int component, int width)
{
    return component ? -((-width) >> d->log2_chroma_w) : width;
}

static int component_height(const AVPixFmtDescriptor *d, int component, int height)
{
    return component ? -((-height) >> d->log2_chroma_h) : height;
}

AVFrame *media_probe_picture(enum AVPixelFormat format, int width, int height, int n)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    AVFrame *frame = av_frame_alloc();
    if (!frame)
        return NULL;
    frame->format = format;
    frame->width = width;
    frame->height = height;
    frame->pts = n;
    frame->sample_aspect_ratio = (AVRational){1, 1};
    if (av_frame_get_buffer(frame, 0) < 0) {
        av_frame_free(&frame);
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        int w = component_width(d, i, width), h = component_height(d, i, height);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                put(frame, &d->comp[i], x, y, shown(i, (x + 0.5) / w, (y + 0.5) / h, n));
    }
    return frame;
}

double media_probe_distance(const AVFrame *frame, int n)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    double worst = 0;
    if (!d || d->nb_components < 3)
        return INFINITY;
    for (int i = 0; i < 3; i++) {
        int w = component_width(d, i, frame->width), h = component_height(d, i, frame->height);
        double sum = 0;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                sum +=
                    fabs(get(frame, &d->comp[i], x, y) - shown(i, (x + 0.5) / w, (y + 0.5) / h, n));
        worst = fmax(worst, sum / ((double)w * h));
    }
    return worst;
}

double media_probe_difference(const AVFrame *a, const AVFrame *b)
{
    const AVPixFmtDescriptor *da = av_pix_fmt_desc_get(a->format);
    const AVPixFmtDescriptor *db = av_pix_fmt_desc_get(b->format);
    double worst = 0;
    if (!da || !db || da->nb_components < 3 || db->nb_components < 3 || a->width != b->width ||
        a->height != b->height)
        return INFINITY;
    for (int i = 0; i < 3; i++) {
        int w = component_width(da, i, a->width), h = component_height(da, i, a->height);
        double sum = 0;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                sum += fabs(get(a, &da->comp[i], x, y) - get(b, &db->comp[i], x, y));
        worst = fmax(worst, sum / ((double)w * h));
    }
    return worst;
}
