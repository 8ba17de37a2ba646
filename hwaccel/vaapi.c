/* SPDX-License-Identifier: MIT */
/*
 * Intel and AMD through VA-API: decode, scale_vaapi, encode. The mode of rate control is always
 * named: libav's own choice begins with one that ignores every cap.
 */
#include <dlfcn.h>
#include <errno.h>
#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "drm_usage.h"
#include "encoder.h"
#include "lathe/base.h"
#include "presets.h"
#include "vaapi_devices.h"

static const char *encoder_name(enum lathe_codec codec)
{
    static const char *const names[] = {[LATHE_CODEC_H264] = "h264_vaapi",
                                        [LATHE_CODEC_HEVC] = "hevc_vaapi",
                                        [LATHE_CODEC_AV1] = "av1_vaapi"};
    return avcodec_find_encoder_by_name(names[codec]) ? names[codec] : NULL;
}

static enum AVPixelFormat pixel_format(enum lathe_codec codec, int bits)
{
    if (bits <= 8)
        return AV_PIX_FMT_NV12;
    return bits == 10 && codec != LATHE_CODEC_H264 ? AV_PIX_FMT_P010 : AV_PIX_FMT_NONE;
}

static void set_quality_mode(struct lathe_encoder_options *o, const struct lathe_encoder_request *r)
{
    AVCodecContext *c = o->c;
    int64_t cap = r->maxrate_kbps * INT64_C(1000);
    unsigned mode = lathe_preset_vaapi_quality_mode(r->features, cap > 0);
    if (!mode && cap > 0) {
        /* A cap is a promise to players: what holds it, if with more bits than the quality needs.
         */
        lathe_encoder_option(o, "rc_mode", "VBR");
        c->bit_rate = c->rc_max_rate = cap;
    } else {
        const char *name = mode == LATHE_HW_RC_ICQ    ? "ICQ"
                           : mode == LATHE_HW_RC_QVBR ? "QVBR"
                                                      : "CQP";
        double q = lathe_preset_quality(LATHE_ENCODER_VAAPI, r->codec, r->quality);
        lathe_encoder_option(o, "rc_mode", "%s", name);
        c->global_quality = (int)(q + 0.5);
        c->bit_rate = mode == LATHE_HW_RC_QVBR ? cap : 0;
        c->rc_max_rate = mode == LATHE_HW_RC_QVBR ? cap : 0;
        lathe_encoder_note(o, "global_quality=%d", c->global_quality);
    }
    if (c->bit_rate > 0 && r->bufsize_kbit > 0)
        c->rc_buffer_size = r->bufsize_kbit * 1000;
}

static void set_rate(struct lathe_encoder_options *o, const struct lathe_encoder_request *r)
{
    AVCodecContext *c = o->c;
    int64_t rate = r->bitrate_kbps * INT64_C(1000), cap = r->maxrate_kbps * INT64_C(1000);
    switch (r->rate_mode) {
    case LATHE_RATE_QUALITY:
        set_quality_mode(o, r);
        break;
    case LATHE_RATE_VBR:
        lathe_encoder_option(o, "rc_mode", "VBR");
        c->bit_rate = rate;
        c->rc_max_rate = cap > rate ? cap : 2 * rate;
        c->rc_buffer_size = r->bufsize_kbit > 0 ? r->bufsize_kbit * 1000 : (int)(2 * rate);
        break;
    case LATHE_RATE_CBR:
        lathe_encoder_option(o, "rc_mode", "CBR");
        c->bit_rate = c->rc_max_rate = rate;
        c->rc_buffer_size = r->bufsize_kbit > 0 ? r->bufsize_kbit * 1000 : (int)rate;
        break;
    }
    lathe_encoder_note(o, "bitrate=%lldk maxrate=%lldk bufsize=%dk", (long long)c->bit_rate / 1000,
                       (long long)c->rc_max_rate / 1000, c->rc_buffer_size / 1000);
}

static void set_preset(struct lathe_encoder_options *o, const struct lathe_encoder_request *r)
{
    AVCodecContext *c = o->c;
    struct lathe_preset_vaapi p =
        lathe_preset_vaapi(lathe_va_driver(r->device->driver), r->preset, r->features);
    c->max_b_frames = p.b_frames;
    lathe_encoder_option(o, "b_depth", "%d", p.b_depth);
    lathe_encoder_option(o, "idr_interval", "0");
    if (p.level) {
        c->compression_level = p.level;
        lathe_encoder_note(o, "compression_level=%d", p.level);
    }
    lathe_encoder_note(o, "bf=%d g=%d", c->max_b_frames, c->gop_size);
}

static int open_encoder(const struct lathe_encoder_request *r, AVCodecContext **ret, char *options,
                        size_t options_size, struct lathe_error *err)
{
    AVCodecContext *c = lathe_encoder_alloc(&lathe_hwaccel_vaapi, r, err);
    if (!c)
        return -ENOSYS;
    options[0] = '\0';
    struct lathe_encoder_options o = {.c = c, .text = options, .size = options_size};
    int code = lathe_encoder_attach(c, r, err);
    if (code == 0) {
        set_preset(&o, r);
        set_rate(&o, r);
        code = lathe_encoder_open(c, &lathe_hwaccel_vaapi, err);
    }
    if (code < 0) {
        avcodec_free_context(&c);
        return code;
    }
    *ret = c;
    return 0;
}

static void preset_options(enum lathe_codec codec, enum lathe_preset preset, char *ret, size_t size)
{
    (void)codec;
    struct lathe_preset_vaapi ihd = lathe_preset_vaapi(LATHE_VA_IHD, preset, LATHE_HW_FEATURES_ALL);
    struct lathe_preset_vaapi old =
        lathe_preset_vaapi(LATHE_VA_I965, preset, LATHE_HW_FEATURES_ALL);
    snprintf(ret, size, "compression_level=%d (iHD), %d (i965), unset (others) bf=%d b_depth=%d",
             ihd.level, old.level, ihd.b_frames, ihd.b_depth);
}

/* How the driver calls itself. libavutil has loaded libva by now; its own headers are not needed
 * for the one member of its context that every version begins with. */
static void read_vendor(AVBufferRef *context, char *ret, size_t size)
{
    const char *(*query)(void *display);
    *(void **)&query = dlsym(RTLD_DEFAULT, "vaQueryVendorString");
    void *library = query ? NULL : dlopen("libva.so.2", RTLD_NOW | RTLD_NOLOAD);
    if (library)
        *(void **)&query = dlsym(library, "vaQueryVendorString");
    void *display = *(void **)((AVHWDeviceContext *)context->data)->hwctx;
    const char *vendor = query ? query(display) : NULL;
    snprintf(ret, size, "%s", vendor ? vendor : "unknown driver");
    if (library)
        dlclose(library);
}

static int open_device(const char *path, struct lathe_hwaccel_device *ret, struct lathe_error *err)
{
    char kernel[32];
    AVDictionary *options = NULL;
    AVBufferRef *context = NULL;
    setenv("LIBVA_MESSAGING_LEVEL", "1", 0); /* it writes to stderr, past libav's log */
    lathe_vaapi_kernel_driver(path, kernel, sizeof(kernel));
    int code = av_dict_set(&options, "connection_type", "drm", 0);
    /* libva up to 2.17 does not know which driver this one needs. */
    if (code >= 0 && strcmp(kernel, "xe") == 0 && !getenv("LIBVA_DRIVER_NAME"))
        code = av_dict_set(&options, "driver", "iHD", 0);
    if (code >= 0)
        code = av_hwdevice_ctx_create(&context, AV_HWDEVICE_TYPE_VAAPI, path, options, 0);
    av_dict_free(&options);
    if (code < 0) {
        char log[512], reason[256];
        lathe_hwaccel_log_read(log, sizeof(log));
        lathe_hwaccel_classify(&lathe_hwaccel_vaapi, code, true, log, reason, sizeof(reason));
        return lathe_error_set(err, lathe_averror_errno(code), LATHE_FAULT_INTERNAL, "%s: %s", path,
                               reason);
    }
    *ret = (struct lathe_hwaccel_device){.family = &lathe_hwaccel_vaapi, .context = context};
    read_vendor(context, ret->driver, sizeof(ret->driver));
    return 0;
}

static int scale_filter(int width, int height, enum AVPixelFormat format, char *ret, size_t size)
{
    if (!avfilter_get_by_name("scale_vaapi"))
        return -ENOSYS;
    int n = snprintf(ret, size, "scale_vaapi=w=%d:h=%d:format=%s", width, height,
                     av_get_pix_fmt_name(format));
    return n < 0 || (size_t)n >= size ? -ENOSPC : 0;
}

static const struct lathe_hwaccel_symptom symptoms[] = {
    {"No VA display found", LATHE_HW_ABSENT, "the render node cannot be opened"},
    {"Failed to initialise VAAPI connection", LATHE_HW_ABSENT,
     "no VA driver works with this device"},
    {"No usable encoding entrypoint", LATHE_HW_UNSUPPORTED,
     "the driver does not encode this codec or depth"},
    {"No usable encoding profile", LATHE_HW_UNSUPPORTED, "the driver does not know this profile"},
    {"Encoding profile not found", LATHE_HW_UNSUPPORTED, "the driver does not know this profile"},
    {"RC mode (supported modes", LATHE_HW_UNSUPPORTED, NULL},
    {"RC mode compatible with selected options", LATHE_HW_UNSUPPORTED, NULL},
    {"Driver does not support any", LATHE_HW_UNSUPPORTED, NULL},
    {"No support for codec", LATHE_HW_UNSUPPORTED, "the driver does not decode this profile"},
    {"resource allocation failed", LATHE_HW_BUSY, "the device's memory is used up"},
    {"(HW busy now)", LATHE_HW_BUSY, "the engine is busy"},
    {"hw busy", LATHE_HW_BUSY, "the engine is busy"},
    {"Failed to create processing pipeline config", LATHE_HW_UNSUPPORTED,
     "the driver has no video processing"},
    {NULL, LATHE_HW_ERROR, NULL},
};

/* A process works on one device. */
static int read_load(const char *path, struct lathe_hw_load *ret)
{
    (void)path;
    return lathe_drm_read_load(ret);
}

const struct lathe_hwaccel lathe_hwaccel_vaapi = {
    .name = "vaapi",
    .encoder = LATHE_ENCODER_VAAPI,
    .encoder_name = encoder_name,
    .pixel_format = pixel_format,
    .open_encoder = open_encoder,
    .preset_options = preset_options,
    .device_type = AV_HWDEVICE_TYPE_VAAPI,
    .surface_format = AV_PIX_FMT_VAAPI,
    .enumerate = lathe_vaapi_list,
    .open_device = open_device,
    .scale_filter = scale_filter,
    .read_load = read_load,
    .symptoms = symptoms,
};
