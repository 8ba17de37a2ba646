/* SPDX-License-Identifier: MIT */
#include "encoder.h"

#include <errno.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"

/* Longer than any chunk: key frames then come only where a frame asks for one. Not "infinite":
 * what that is differs between encoders and versions. */
#define GOP_FRAMES_ENDLESS (1 << 20)

void lathe_encoder_describe(AVCodecContext *c, const struct lathe_encoder_request *r)
{
    c->width = r->width;
    c->height = r->height;
    c->sample_aspect_ratio = r->sar;
    c->time_base = r->time_base;
    c->framerate = r->frame_rate;
    c->pix_fmt = r->pix_fmt;
    c->color_range = r->color_range;
    c->color_primaries = r->color_primaries;
    c->color_trc = r->color_transfer;
    c->colorspace = r->color_matrix;
    c->chroma_sample_location = r->chroma_location;
    c->thread_count = r->threads;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    if (r->interlaced) {
        c->flags |= AV_CODEC_FLAG_INTERLACED_DCT;
        c->field_order = r->top_field_first ? AV_FIELD_TT : AV_FIELD_BB;
    }
    if (!r->forced_keys_only)
        c->gop_size = r->gop_frames;
}

static void append(struct lathe_encoder_options *o, const char *text)
{
    size_t n = strlen(o->text);
    snprintf(o->text + n, o->size - n, "%s%s", n ? " " : "", text);
}

bool lathe_encoder_option(struct lathe_encoder_options *o, const char *name, const char *format,
                          ...)
{
    char value[64], text[128];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (!av_opt_find(o->c->priv_data, name, NULL, 0, 0) ||
        av_opt_set(o->c->priv_data, name, value, 0) < 0)
        return false;
    snprintf(text, sizeof(text), "%s=%s", name, value);
    append(o, text);
    return true;
}

void lathe_encoder_note(struct lathe_encoder_options *o, const char *format, ...)
{
    char text[192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    append(o, text);
}

int lathe_averror_errno(int averror)
{
    return averror < -4095 ? -EIO : averror;
}

AVCodecContext *lathe_encoder_alloc(const struct lathe_hwaccel *family,
                                    const struct lathe_encoder_request *request,
                                    struct lathe_error *err)
{
    const char *name = family->encoder_name(request->codec);
    const AVCodec *codec = name ? avcodec_find_encoder_by_name(name) : NULL;
    if (!codec) {
        lathe_error_set(err, -ENOSYS, LATHE_FAULT_CONFIG, "this FFmpeg has no %s encoder for %s",
                        family->name, lathe_codec_name(request->codec));
        return NULL;
    }
    AVCodecContext *c = avcodec_alloc_context3(codec);
    if (!c) {
        lathe_error_nomem(err);
        return NULL;
    }
    lathe_encoder_describe(c, request);
    return c;
}

int lathe_encoder_attach(AVCodecContext *c, const struct lathe_encoder_request *request,
                         struct lathe_error *err)
{
    if (request->interlaced)
        return lathe_error_set(err, -EOPNOTSUPP, LATHE_FAULT_INTERNAL,
                               "interlaced pictures are encoded in software");
    if (!request->frames || !request->device)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL,
                               "an encoder of a GPU needs a device and its pictures");
    c->thread_count = 1;
    c->pix_fmt = request->device->family->surface_format;
    if (request->forced_keys_only)
        c->gop_size = GOP_FRAMES_ENDLESS;
    /* Without the device NVENC looks for one itself and all its errors become one. */
    c->hw_device_ctx = av_buffer_ref(request->device->context);
    c->hw_frames_ctx = av_buffer_ref(request->frames);
    return c->hw_device_ctx && c->hw_frames_ctx ? 0 : lathe_error_nomem(err);
}

int lathe_encoder_open(AVCodecContext *c, const struct lathe_hwaccel *family,
                       struct lathe_error *err)
{
    const char *name = c->codec->name; /* gone after a failure */
    int code = avcodec_open2(c, NULL, NULL);
    if (code >= 0)
        return 0;
    char log[512], reason[256];
    lathe_hwaccel_log_read(log, sizeof(log));
    enum lathe_hw_verdict verdict =
        lathe_hwaccel_classify(family, code, true, log, reason, sizeof(reason));
    return lathe_error_set(err, lathe_averror_errno(code),
                           verdict == LATHE_HW_BUSY ? LATHE_FAULT_RESOURCE : LATHE_FAULT_INTERNAL,
                           "cannot open %s for %d×%d: %s, %s", name, c->width, c->height,
                           lathe_hw_verdict_name(verdict), reason);
}
