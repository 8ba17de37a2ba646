/* SPDX-License-Identifier: MIT */
/*
 * Upload, scaling on a GPU, and download, tried on pictures that look the same at any size.
 */
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/pixdesc.h>
#include <string.h>

#include "probe.h"
#include "setup.h"

#define SCALED_WIDTH (MEDIA_PROBE_WIDTH / 2)
#define SCALED_HEIGHT (MEDIA_PROBE_HEIGHT / 2)
#define PICTURES 4

/* From system memory to the device, there to half the size, and back. */
static int build(struct media_probe *probe, AVFilterGraph *graph, const AVFrame *first,
                 enum AVPixelFormat to, AVFilterContext **ret_in, AVFilterContext **ret_out)
{
    char stages[320], all[400];
    const AVRational time_base = {1, 25}, frame_rate = {25, 1};
    int r = lathe_hwaccel_stages(probe->family, LATHE_STEP_GPU_FROM_SCALE, SCALED_WIDTH,
                                 SCALED_HEIGHT, to, "", stages, sizeof(stages));
    if (r < 0)
        return r;
    /* The upload is of the source's format; the scaler converts. */
    const char *upload = strstr(stages, "hwupload");
    snprintf(all, sizeof(all), "%s,hwdownload,format=%s", upload ? upload : stages,
             av_get_pix_fmt_name(to));
    AVFilterContext *last = NULL;
    r = lathe_hwaccel_source(graph, first, time_base, frame_rate, ret_in);
    if (r >= 0)
        r = lathe_hwaccel_chain(graph, *ret_in, all, &probe->device, PICTURES, &last);
    if (r >= 0)
        r = avfilter_graph_create_filter(ret_out, avfilter_get_by_name("buffersink"), "out", NULL,
                                         NULL, graph);
    if (r >= 0)
        r = avfilter_link(last, 0, *ret_out, 0);
    return r >= 0 ? avfilter_graph_config(graph, NULL) : r;
}

static bool run(struct media_probe *probe, enum AVPixelFormat from, enum AVPixelFormat to,
                struct lathe_hw_trial *trial)
{
    AVFilterGraph *graph = avfilter_graph_alloc();
    AVFilterContext *in = NULL, *out = NULL;
    AVFrame *scaled = av_frame_alloc();
    bool ok = graph && scaled;
    int r = ok ? 0 : AVERROR(ENOMEM);
    lathe_hwaccel_log_start();
    for (int n = 0; n < PICTURES && r >= 0 && ok; n++) {
        AVFrame *picture = media_probe_picture(from, MEDIA_PROBE_WIDTH, MEDIA_PROBE_HEIGHT, n);
        r = picture ? 0 : AVERROR(ENOMEM);
        if (r >= 0 && !in) {
            graph->nb_threads = 1;
            r = build(probe, graph, picture, to, &in, &out);
            if (r < 0)
                media_probe_failed(probe, r, true, trial);
        }
        if (r >= 0)
            r = av_buffersrc_write_frame(in, picture);
        av_frame_free(&picture);
        if (r >= 0)
            r = av_buffersink_get_frame(out, scaled);
        if (r >= 0)
            r = media_probe_step(probe);
        double off = r >= 0 ? media_probe_distance(scaled, n) : 0;
        if (off > MEDIA_PROBE_FAR)
            ok = media_probe_verdict(trial, LATHE_HW_WRONG,
                                     "picture %d is not what went in (off by %.0f of 255)", n, off);
        av_frame_unref(scaled);
    }
    if (r < 0 && trial->verdict == LATHE_HW_UNTRIED)
        media_probe_failed(probe, r, false, trial);
    else if (r >= 0 && ok && lathe_hwaccel_failed_calls())
        ok = media_probe_verdict(trial, LATHE_HW_WRONG, "calls of the driver failed");
    av_frame_free(&scaled);
    avfilter_graph_free(&graph);
    return ok && r >= 0;
}

void media_probe_scale(struct media_probe *probe, struct lathe_hw_trial *trial)
{
    char filter[160];
    enum AVPixelFormat format = trial->bits > 8 ? AV_PIX_FMT_P010 : AV_PIX_FMT_NV12;
    if (probe->family->scale_filter(SCALED_WIDTH, SCALED_HEIGHT, format, filter, sizeof(filter)) <
        0) {
        media_probe_verdict(trial, LATHE_HW_UNSUPPORTED, "this FFmpeg has no scaler for %s",
                            probe->family->name);
        return;
    }
    snprintf(trial->with, sizeof(trial->with), "%.*s", (int)strcspn(filter, "="), filter);
    /* 10 bit: as it is, and to the 8 bit that most results have. */
    if (run(probe, format, format, trial) &&
        (trial->bits <= 8 || run(probe, format, AV_PIX_FMT_NV12, trial)))
        trial->verdict = LATHE_HW_WORKS;
}
