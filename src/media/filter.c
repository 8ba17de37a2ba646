/* SPDX-License-Identifier: MIT */
#include "filter.h"

#include <errno.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "setup.h"

int media_filter_init(struct media_filter *filter, const struct lathe_plan *plan, int rendition,
                      const struct media_gpu *gpu)
{
    *filter = (struct media_filter){
        .plan = plan, .rendition = &plan->renditions[rendition], .gpu = gpu, .format = -1};
    return 0;
}

void media_filter_finish(struct media_filter *filter)
{
    avfilter_graph_free(&filter->graph);
    filter->input = filter->output = NULL;
}

static bool is_full_range(const AVFrame *frame)
{
    return frame->color_range == AVCOL_RANGE_JPEG || frame->format == AV_PIX_FMT_YUVJ420P ||
           frame->format == AV_PIX_FMT_YUVJ422P || frame->format == AV_PIX_FMT_YUVJ444P;
}

static bool is_rgb(int format)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format);
    return desc && desc->flags & AV_PIX_FMT_FLAG_RGB;
}

static void describe(struct media_filter *f, const AVFrame *frame)
{
    const struct lathe_plan_rendition *r = f->rendition;
    const int w = r->width, h = r->height;
    char *p = f->description;
    size_t size = sizeof(f->description), n = 0;
    const int range_out = f->plan->color_range == AVCOL_RANGE_JPEG;
    n += (size_t)snprintf(p, size, "%s",
                          f->plan->deinterlace ? "bwdif=mode=send_frame:deint=interlaced," : "");
    if (frame->width - w <= 1 && frame->width >= w && frame->height - h <= 1 &&
        frame->height >= h) {
        /* An odd line or column is cut off rather than blurring the whole picture. */
        if (frame->width != w || frame->height != h)
            n += (size_t)snprintf(p + n, size - n, "crop=%d:%d:0:0,", w, h);
        if (frame->format != av_get_pix_fmt(r->pix_fmt))
            n += (size_t)snprintf(p + n, size - n, "scale=%d:%d:in_range=%s:out_range=%s%s,", w, h,
                                  is_full_range(frame) ? "full" : "limited",
                                  range_out ? "full" : "limited",
                                  is_rgb(frame->format) ? ":out_color_matrix=bt709" : "");
    } else {
        /* A source that changes its shape in mid-stream keeps its proportions inside the frame. */
        int64_t shape = (int64_t)frame->width * f->plan->source_height;
        int64_t planned = (int64_t)frame->height * f->plan->source_width;
        bool same_shape = llabs(shape - planned) * 50 <= planned;
        n += (size_t)snprintf(p + n, size - n, "scale=%d:%d%s:in_range=%s:out_range=%s%s,", w, h,
                              same_shape ? "" : ":force_original_aspect_ratio=decrease",
                              is_full_range(frame) ? "full" : "limited",
                              range_out ? "full" : "limited",
                              is_rgb(frame->format) ? ":out_color_matrix=bt709" : "");
        if (!same_shape)
            n += (size_t)snprintf(p + n, size - n, "pad=%d:%d:-1:-1,", w, h);
    }
    snprintf(p + n, size - n, "format=%s", r->pix_fmt);
}

/* What only software does here: odd sizes, other shapes than the plan's, other ranges. */
static const char *not_on_gpu(const struct media_filter *f, const AVFrame *frame)
{
    int64_t shape = (int64_t)frame->width * f->plan->source_height;
    int64_t planned = (int64_t)frame->height * f->plan->source_width;
    if (f->plan->deinterlace)
        return "deinterlacing";
    if (frame->width % 2 || frame->height % 2)
        return "an odd size";
    if (llabs(shape - planned) * 50 > planned)
        return "pictures of another shape";
    if (is_full_range(frame) != (f->plan->color_range == AVCOL_RANGE_JPEG))
        return "another colour range";
    return NULL;
}

static int describe_gpu(struct media_filter *f, const AVFrame *frame, struct lathe_error *err)
{
    const struct lathe_hwaccel *family = f->gpu->device.family;
    const struct lathe_plan_rendition *r = f->rendition;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(av_get_pix_fmt(r->pix_fmt));
    const char *software = media_gpu_scales(f->gpu) ? not_on_gpu(f, frame) : NULL;
    char scale[256];
    if (software)
        return media_gpu_refuse(err, LATHE_HW_UNSUPPORTED, "%s is done in software", software);
    describe(f, frame);
    snprintf(scale, sizeof(scale), "%.255s", f->description);
    enum AVPixelFormat format =
        family->pixel_format(f->plan->codec, desc ? desc->comp[0].depth : 8);
    if (f->gpu->step == LATHE_STEP_GPU_UNTIL_SCALE)
        format = desc && desc->comp[0].depth > 8 ? AV_PIX_FMT_P010 : AV_PIX_FMT_NV12;
    size_t size = sizeof(f->description);
    int code = lathe_hwaccel_stages(family, f->gpu->step, r->width, r->height, format, scale,
                                    f->description, size);
    if (code < 0)
        return media_gpu_refuse(err, LATHE_HW_UNSUPPORTED, "%s cannot scale to %s", family->name,
                                r->pix_fmt);
    size_t n = strlen(f->description);
    if (f->gpu->step == LATHE_STEP_GPU_UNTIL_SCALE)
        snprintf(f->description + n, size - n, ",format=%s", r->pix_fmt);
    return 0;
}

static int build_gpu(struct media_filter *f, const AVFrame *frame, struct lathe_error *err)
{
    media_filter_finish(f);
    int r = describe_gpu(f, frame, err);
    if (r < 0)
        return r;
    f->graph = avfilter_graph_alloc();
    if (!f->graph)
        return lathe_error_nomem(err);
    f->graph->nb_threads = 1;
    AVFilterContext *last = NULL;
    AVRational time_base = {f->plan->time_base.num, f->plan->time_base.den};
    AVRational rate = {f->plan->frame_rate.num, f->plan->frame_rate.den};
    r = lathe_hwaccel_source(f->graph, frame, time_base, rate, &f->input);
    if (r >= 0)
        r = lathe_hwaccel_chain(f->graph, f->input, f->description, &f->gpu->device,
                                MEDIA_GPU_EXTRA_SURFACES, &last);
    if (r >= 0)
        r = avfilter_graph_create_filter(&f->output, avfilter_get_by_name("buffersink"), "out",
                                         NULL, NULL, f->graph);
    if (r >= 0)
        r = avfilter_link(last, 0, f->output, 0);
    if (r >= 0)
        r = avfilter_graph_config(f->graph, NULL);
    f->width = frame->width;
    f->height = frame->height;
    f->format = frame->format;
    f->range = is_full_range(frame);
    return r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot set up the filters \"%s\"",
                               f->description)
                 : 0;
}

static int build(struct media_filter *f, const AVFrame *frame, struct lathe_error *err)
{
    if (f->gpu)
        return build_gpu(f, frame, err);
    media_filter_finish(f);
    describe(f, frame);
    char args[256];
    snprintf(args, sizeof(args), "video_size=%dx%d:pix_fmt=%d:time_base=%d/%d:pixel_aspect=%d/%d",
             frame->width, frame->height, frame->format, f->plan->time_base.num,
             f->plan->time_base.den, frame->sample_aspect_ratio.num,
             frame->sample_aspect_ratio.den > 0 ? frame->sample_aspect_ratio.den : 1);
    AVFilterInOut *inputs = avfilter_inout_alloc(), *outputs = avfilter_inout_alloc();
    f->graph = avfilter_graph_alloc();
    int r = AVERROR(ENOMEM);
    if (!inputs || !outputs || !f->graph)
        goto out;
    f->graph->nb_threads = 1; /* one thread everywhere: slots are the parallelism */
    r = avfilter_graph_create_filter(&f->input, avfilter_get_by_name("buffer"), "in", args, NULL,
                                     f->graph);
    if (r >= 0)
        r = avfilter_graph_create_filter(&f->output, avfilter_get_by_name("buffersink"), "out",
                                         NULL, NULL, f->graph);
    if (r < 0)
        goto out;
    outputs->name = av_strdup("in");
    outputs->filter_ctx = f->input;
    inputs->name = av_strdup("out");
    inputs->filter_ctx = f->output;
    r = outputs->name && inputs->name
            ? avfilter_graph_parse_ptr(f->graph, f->description, &inputs, &outputs, NULL)
            : AVERROR(ENOMEM);
    if (r >= 0)
        r = avfilter_graph_config(f->graph, NULL);
    f->width = frame->width;
    f->height = frame->height;
    f->format = frame->format;
    f->range = is_full_range(frame);
out:
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot set up the filters \"%s\"",
                           f->description);
    return 0;
}

bool media_filter_changes(const struct media_filter *f, const AVFrame *frame)
{
    return f->graph && (frame->width != f->width || frame->height != f->height ||
                        frame->format != f->format || is_full_range(frame) != f->range);
}

int media_filter_send(struct media_filter *f, const AVFrame *frame, struct lathe_error *err)
{
    int r;
    if (!frame) {
        r = f->graph ? av_buffersrc_add_frame_flags(f->input, NULL, 0) : 0;
    } else {
        if (!f->graph || media_filter_changes(f, frame)) {
            r = build(f, frame, err);
            if (r < 0)
                return r;
        }
        r = av_buffersrc_write_frame(f->input, frame);
    }
    return r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot filter a picture") : 0;
}

int media_filter_receive(struct media_filter *f, AVFrame *ret, struct lathe_error *err)
{
    if (!f->graph)
        return 0;
    int r = av_buffersink_get_frame(f->output, ret);
    if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
        return 0;
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot filter a picture");
    /* bwdif halves the time base. */
    ret->pts = av_rescale_q(ret->pts, av_buffersink_get_time_base(f->output),
                            (AVRational){f->plan->time_base.num, f->plan->time_base.den});
    return 1;
}
