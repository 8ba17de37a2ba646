/* SPDX-License-Identifier: MIT */
/*
 * Chains of filters that may run on a device. Built by hand: libavfilter's parser initialises
 * filters before anybody can give them a device, which uploads refuse from FFmpeg 8 on, and a
 * source of surfaces cannot be described by text.
 */
#include <errno.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/hwaccel.h"

int lathe_hwaccel_source(AVFilterGraph *graph, const AVFrame *frame, AVRational time_base,
                         AVRational frame_rate, AVFilterContext **ret)
{
    AVBufferSrcParameters *p = av_buffersrc_parameters_alloc();
    AVFilterContext *f = avfilter_graph_alloc_filter(graph, avfilter_get_by_name("buffer"), "in");
    int r = AVERROR(ENOMEM);
    if (p && f) {
        p->format = frame->format;
        p->width = frame->width;
        p->height = frame->height;
        p->time_base = time_base;
        p->frame_rate = frame_rate;
        p->sample_aspect_ratio = frame->sample_aspect_ratio;
        p->hw_frames_ctx = frame->hw_frames_ctx;
#if LIBAVFILTER_VERSION_MAJOR >= 10
        p->color_space = frame->colorspace;
        p->color_range = frame->color_range;
#endif
        r = av_buffersrc_parameters_set(f, p);
    }
    if (r >= 0)
        r = avfilter_init_dict(f, NULL);
    av_free(p);
    if (r >= 0)
        *ret = f;
    return r;
}

/* One filter of a description: "name" or "name=arguments". */
static int append(AVFilterGraph *graph, char *text, const struct lathe_hwaccel_device *device,
                  int extra_frames, AVFilterContext **last)
{
    char *arguments = strchr(text, '=');
    if (arguments)
        *arguments++ = '\0';
    const AVFilter *filter = avfilter_get_by_name(text);
    if (!filter)
        return AVERROR_FILTER_NOT_FOUND;
    AVFilterContext *f = avfilter_graph_alloc_filter(graph, filter, NULL);
    if (!f)
        return AVERROR(ENOMEM);
    if (device) {
        f->hw_device_ctx = av_buffer_ref(device->context);
        if (!f->hw_device_ctx)
            return AVERROR(ENOMEM);
        f->extra_hw_frames = extra_frames;
    }
    int r = avfilter_init_str(f, arguments);
    if (r >= 0)
        r = avfilter_link(*last, 0, f, 0);
    if (r >= 0)
        *last = f;
    return r;
}

int lathe_hwaccel_chain(AVFilterGraph *graph, AVFilterContext *input, const char *description,
                        const struct lathe_hwaccel_device *device, int extra_frames,
                        AVFilterContext **ret_last)
{
    _cleanup_free_ char *text = strdup(description);
    if (!text)
        return AVERROR(ENOMEM);
    AVFilterContext *last = input;
    char *state = NULL;
    for (char *one = strtok_r(text, ",", &state); one; one = strtok_r(NULL, ",", &state)) {
        int r = append(graph, one, device, extra_frames, &last);
        if (r < 0)
            return r;
    }
    *ret_last = last;
    return 0;
}

int lathe_hwaccel_stages(const struct lathe_hwaccel *family, enum lathe_ladder_step step, int width,
                         int height, enum AVPixelFormat format, const char *software_scale,
                         char *ret, size_t size)
{
    char scale[256] = "";
    const char *name = av_get_pix_fmt_name(format);
    bool on_gpu = step == LATHE_STEP_ALL_GPU || step == LATHE_STEP_GPU_FROM_SCALE ||
                  step == LATHE_STEP_GPU_UNTIL_SCALE;
    if (!name || (on_gpu && !family->scale_filter))
        return -EINVAL;
    int r = on_gpu ? family->scale_filter(width, height, format, scale, sizeof(scale)) : 0;
    if (r < 0)
        return r;
    int n = -1;
    switch (step) {
    case LATHE_STEP_ALL_GPU:
        n = snprintf(ret, size, "%s", scale);
        break;
    case LATHE_STEP_GPU_FROM_SCALE:
        n = snprintf(ret, size, "format=%s,hwupload,%s", name, scale);
        break;
    case LATHE_STEP_GPU_ENCODE:
        n = snprintf(ret, size, "%s%sformat=%s,hwupload", software_scale,
                     software_scale[0] ? "," : "", name);
        break;
    case LATHE_STEP_GPU_UNTIL_SCALE:
        n = snprintf(ret, size, "%s,hwdownload,format=%s", scale, name);
        break;
    case LATHE_STEP_ALL_SOFTWARE:
        n = snprintf(ret, size, "%s", software_scale);
        break;
    default:
        return -EINVAL;
    }
    return n < 0 || (size_t)n >= size ? -ENOSPC : 0;
}
