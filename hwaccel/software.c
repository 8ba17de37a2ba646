/* SPDX-License-Identifier: MIT */
/*
 * x264 and x265, set up for joining: closed GOPs, the same parameter sets at every rate factor, the
 * same bytes on every CPU.
 */
#include <errno.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "encoder.h"
#include "lathe/base.h"

static const char *encoder_name(enum lathe_codec codec)
{
    static const char *const names[] = {
        [LATHE_CODEC_H264] = "libx264", [LATHE_CODEC_HEVC] = "libx265", [LATHE_CODEC_AV1] = NULL};
    const char *name = names[codec];
    return name && avcodec_find_encoder_by_name(name) ? name : NULL;
}

static enum AVPixelFormat pixel_format(enum lathe_codec codec, int bits)
{
    /* 8-bit H.264 is what every player takes; HEVC keeps 10 bits (Main 10). */
    return codec == LATHE_CODEC_HEVC && bits > 8 ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
}

static void preset_options(enum lathe_codec codec, enum lathe_preset preset, char *ret, size_t size)
{
    (void)codec;
    snprintf(ret, size, "preset=%s", lathe_preset_name(preset));
}

/* x264 gives the first key frame of an encode the quantizer of a P frame, any later one a finer one
 * by ip_factor (measured: 2.9 steps), which shows at joins. A zone of that frame makes up for it.
 */
#define FIRST_KEY_FRAME "zones=0,0,b=1.4"

/* x264: `stitchable` keeps the parameter sets equal over rate factors (measured: without it CRF 18
 * and 23 differ), `cpu-independent` the bytes over CPUs; `sps-id=1` lets its sets stand beside a
 * GPU's (id 0) in one avcC. */
static int x264_params(const struct lathe_encoder_request *r, char *ret, size_t size)
{
    int n = snprintf(ret, size,
                     "stitchable=1:cpu-independent=1:sps-id=1:open-gop=0:threads=%d:"
                     "lookahead-threads=1:sync-lookahead=0:" FIRST_KEY_FRAME,
                     r->threads);
    /* An unreachable minimum turns changes of scene into plain I frames, so that all renditions
     * have their key frames at the same places; the threshold makes up for x264's lower
     * sensitivity below its minimum GOP. */
    if (r->forced_keys_only)
        n += snprintf(ret + n, size - (size_t)n,
                      ":keyint=infinite:min-keyint=536870912:scenecut=160");
    /* The state of the buffer model does not cross chunks: never assume it full at a join. */
    if (r->maxrate_kbps > 0 && !r->starts_title)
        n += snprintf(ret + n, size - (size_t)n, ":vbv-init=0.5");
    return n;
}

static int x265_params(const struct lathe_encoder_request *r, char *ret, size_t size)
{
    int n = snprintf(ret, size,
                     "log-level=none:pools=none:frame-threads=1:wpp=0:open-gop=0:info=0:"
                     "opt-qp-pps=0:opt-ref-list-length-pps=0:crf=%.3f",
                     r->quality);
    if (r->forced_keys_only)
        n += snprintf(ret + n, size - (size_t)n, ":keyint=-1:min-keyint=536870912");
    else
        n += snprintf(ret + n, size - (size_t)n, ":keyint=%d", r->gop_frames);
    if (r->maxrate_kbps > 0)
        n += snprintf(ret + n, size - (size_t)n, ":vbv-maxrate=%d:vbv-bufsize=%d%s",
                      r->maxrate_kbps, r->bufsize_kbit, r->starts_title ? "" : ":vbv-init=0.5");
    if (r->mastering_display && r->mastering_display[0])
        n +=
            snprintf(ret + n, size - (size_t)n, ":master-display=%s:hdr10=1", r->mastering_display);
    if (r->content_light && r->content_light[0])
        n += snprintf(ret + n, size - (size_t)n, ":max-cll=%s", r->content_light);
    return n;
}

static int open_encoder(const struct lathe_encoder_request *r, AVCodecContext **ret, char *options,
                        size_t options_size, struct lathe_error *err)
{
    const char *name = encoder_name(r->codec);
    const AVCodec *codec = name ? avcodec_find_encoder_by_name(name) : NULL;
    if (!codec) {
        lathe_error_set(err, -ENOSYS, LATHE_FAULT_CONFIG,
                        "this FFmpeg has no software encoder for %s", lathe_codec_name(r->codec));
        lathe_error_hint(err, "install an FFmpeg built with libx264 and libx265");
        return -ENOSYS;
    }
    if (r->rate_mode != LATHE_RATE_QUALITY)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL,
                               "software encoders get a rate factor, not a bitrate");
    AVCodecContext *c = avcodec_alloc_context3(codec);
    if (!c)
        return lathe_error_nomem(err);
    lathe_encoder_describe(c, r);
    char params[768];
    const char *params_name = r->codec == LATHE_CODEC_HEVC ? "x265-params" : "x264-params";
    int n = r->codec == LATHE_CODEC_HEVC ? x265_params(r, params, sizeof(params))
                                         : x264_params(r, params, sizeof(params));
    int failed = n >= (int)sizeof(params);
    failed |= av_opt_set(c->priv_data, "preset", lathe_preset_name(r->preset), 0) < 0;
    failed |= av_opt_set(c->priv_data, params_name, params, 0) < 0;
    failed |= av_opt_set_int(c->priv_data, "forced-idr", 1, 0) < 0;
    if (r->codec == LATHE_CODEC_H264) {
        failed |= av_opt_set_double(c->priv_data, "crf", r->quality, 0) < 0;
        c->rc_max_rate = r->maxrate_kbps * INT64_C(1000);
        c->rc_buffer_size = r->bufsize_kbit * 1000;
    }
    if (failed) {
        avcodec_free_context(&c);
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL,
                               "%s does not take the options that Lathe needs", name);
    }
    int code = avcodec_open2(c, codec, NULL);
    if (code < 0) {
        char why[AV_ERROR_MAX_STRING_SIZE];
        av_strerror(code, why, sizeof(why));
        avcodec_free_context(&c);
        return lathe_error_set(err, code == AVERROR(ENOMEM) ? -ENOMEM : -EINVAL,
                               code == AVERROR(ENOMEM) ? LATHE_FAULT_RESOURCE
                                                       : LATHE_FAULT_INTERNAL,
                               "cannot open %s for %d×%d %s: %s", name, r->width, r->height,
                               av_get_pix_fmt_name(r->pix_fmt), why);
    }
    snprintf(options, options_size, "preset=%s crf=%.2f maxrate=%dk bufsize=%dk %s",
             lathe_preset_name(r->preset), r->quality, r->maxrate_kbps, r->bufsize_kbit, params);
    *ret = c;
    return 0;
}

/* libx264's wrapper hands a changed "crf" to x264_encoder_reconfig with the next frame; x265's has
 * no such path. */
static int set_quality(AVCodecContext *encoder, double quality)
{
    if (encoder->codec_id != AV_CODEC_ID_H264)
        return -EOPNOTSUPP;
    return av_opt_set_double(encoder->priv_data, "crf", quality, 0) < 0 ? -EOPNOTSUPP : 0;
}

const struct lathe_hwaccel lathe_hwaccel_software = {
    .name = "software",
    .encoder = LATHE_ENCODER_SOFTWARE,
    .encoder_name = encoder_name,
    .pixel_format = pixel_format,
    .open_encoder = open_encoder,
    .set_quality = set_quality,
    .preset_options = preset_options,
};
