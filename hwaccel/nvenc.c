/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA: NVDEC, scale_cuda and NVENC through libav. Closed GOPs, an IDR wherever a key frame is
 * asked for, parameter sets that do not depend on the quality.
 *
 * Only options that exist from FFmpeg 5.1 to 9 under the same name are needed; the few that were
 * renamed are tried under both. Defaults that moved between versions (GOP, profile, B-frames and
 * their references) are always set.
 */
#include <errno.h>
#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>

#include "cuda_driver.h"
#include "encoder.h"
#include "lathe/base.h"
#include "presets.h"

static const char *encoder_name(enum lathe_codec codec)
{
    static const char *const names[] = {[LATHE_CODEC_H264] = "h264_nvenc",
                                        [LATHE_CODEC_HEVC] = "hevc_nvenc",
                                        [LATHE_CODEC_AV1] = "av1_nvenc"};
    return avcodec_find_encoder_by_name(names[codec]) ? names[codec] : NULL;
}

/* H.264 in 10 bit exists since Blackwell and FFmpeg 8.1, but few players take it. */
static enum AVPixelFormat pixel_format(enum lathe_codec codec, int bits)
{
    if (bits <= 8)
        return AV_PIX_FMT_NV12;
    return bits == 10 && codec != LATHE_CODEC_H264 ? AV_PIX_FMT_P010 : AV_PIX_FMT_NONE;
}

static void set_either(struct lathe_encoder_options *o, const char *name, const char *old_name,
                       int value)
{
    if (!lathe_encoder_option(o, name, "%d", value))
        lathe_encoder_option(o, old_name, "%d", value);
}

static void set_rate(struct lathe_encoder_options *o, const struct lathe_encoder_request *r)
{
    AVCodecContext *c = o->c;
    int64_t rate = r->bitrate_kbps * INT64_C(1000), cap = r->maxrate_kbps * INT64_C(1000);
    c->bit_rate = r->rate_mode == LATHE_RATE_QUALITY ? 0 : rate;
    switch (r->rate_mode) {
    case LATHE_RATE_QUALITY:
        /* NVENC drops buffer and average in this mode; the cap stays. */
        lathe_encoder_option(o, "rc", "vbr");
        lathe_encoder_option(o, "cq", "%.2f",
                             lathe_preset_quality(LATHE_ENCODER_NVENC, r->codec, r->quality));
        c->rc_max_rate = cap;
        break;
    case LATHE_RATE_VBR:
        lathe_encoder_option(o, "rc", "vbr");
        c->rc_max_rate = cap > 0 ? cap : 2 * rate;
        c->rc_buffer_size = r->bufsize_kbit > 0 ? r->bufsize_kbit * 1000 : (int)(2 * rate);
        break;
    case LATHE_RATE_CBR:
        lathe_encoder_option(o, "rc", "cbr");
        c->rc_max_rate = rate;
        c->rc_buffer_size = r->bufsize_kbit > 0 ? r->bufsize_kbit * 1000 : (int)rate;
        break;
    }
    lathe_encoder_note(o, "bitrate=%lldk maxrate=%lldk bufsize=%dk", (long long)c->bit_rate / 1000,
                       (long long)c->rc_max_rate / 1000, c->rc_buffer_size / 1000);
}

static bool set_preset(struct lathe_encoder_options *o, const struct lathe_encoder_request *r)
{
    AVCodecContext *c = o->c;
    const struct lathe_preset_nvenc p = lathe_preset_nvenc_within(r->preset, r->features);
    bool ok = lathe_encoder_option(o, "preset", "%s", p.preset);
    lathe_encoder_option(o, "tune", "hq");
    lathe_encoder_option(o, "multipass", "%s", p.multipass);
    lathe_encoder_option(o, "rc-lookahead", "%d", p.lookahead);
    set_either(o, "spatial-aq", "spatial_aq", p.spatial_aq);
    set_either(o, "temporal-aq", "temporal_aq", p.temporal_aq);
    lathe_encoder_option(o, "b_ref_mode", "%s", p.b_ref ? "middle" : "disabled");
    c->max_b_frames = p.b_frames;
    ok &= lathe_encoder_option(o, "forced-idr", "1");
    if (r->forced_keys_only)
        ok &= lathe_encoder_option(o, "no-scenecut", "1") || r->codec == LATHE_CODEC_AV1 ||
              !p.lookahead;
    if (r->codec != LATHE_CODEC_AV1)
        lathe_encoder_option(o, "profile", "%s",
                             r->codec == LATHE_CODEC_H264    ? "high"
                             : r->pix_fmt == AV_PIX_FMT_P010 ? "main10"
                                                             : "main");
    lathe_encoder_note(o, "bf=%d g=%d", c->max_b_frames, c->gop_size);
    return ok;
}

static int open_encoder(const struct lathe_encoder_request *r, AVCodecContext **ret, char *options,
                        size_t options_size, struct lathe_error *err)
{
    AVCodecContext *c = lathe_encoder_alloc(&lathe_hwaccel_nvenc, r, err);
    if (!c)
        return -ENOSYS;
    options[0] = '\0';
    struct lathe_encoder_options o = {.c = c, .text = options, .size = options_size};
    int code = lathe_encoder_attach(c, r, err);
    if (code == 0 && !set_preset(&o, r))
        code = lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL,
                               "%s does not take the options that Lathe needs", c->codec->name);
    if (code == 0) {
        set_rate(&o, r);
        code = lathe_encoder_open(c, &lathe_hwaccel_nvenc, err);
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
    lathe_preset_nvenc_text(lathe_preset_nvenc(preset), ret, size);
}

static int open_device(const char *path, struct lathe_hwaccel_device *ret, struct lathe_error *err)
{
    AVBufferRef *context = NULL;
    int code = av_hwdevice_ctx_create(&context, AV_HWDEVICE_TYPE_CUDA, path, NULL, 0);
    if (code < 0) {
        char log[512], reason[256];
        lathe_hwaccel_log_read(log, sizeof(log));
        lathe_hwaccel_classify(&lathe_hwaccel_nvenc, code, true, log, reason, sizeof(reason));
        return lathe_error_set(err, lathe_averror_errno(code), LATHE_FAULT_INTERNAL,
                               "CUDA device %s: %s", path, reason);
    }
    *ret = (struct lathe_hwaccel_device){.family = &lathe_hwaccel_nvenc, .context = context};
    snprintf(ret->driver, sizeof(ret->driver), "CUDA");
    return 0;
}

static int scale_filter(int width, int height, enum AVPixelFormat format, char *ret, size_t size)
{
    if (!avfilter_get_by_name("scale_cuda"))
        return -ENOSYS;
    /* Passing pictures of the right size through would keep the decoder's surfaces, which are few,
     * in the encoder. */
    int n = snprintf(ret, size, "scale_cuda=w=%d:h=%d:format=%s:passthrough=0", width, height,
                     av_get_pix_fmt_name(format));
    return n < 0 || (size_t)n >= size ? -ENOSPC : 0;
}

/* Errors 700, 719, 214 and their like: nothing in this process works on the device any more. */
#define SPOILT "the CUDA context is spoilt"
static const struct lathe_hwaccel_symptom symptoms[] = {
    {"CUDA_ERROR_ILLEGAL_ADDRESS", LATHE_HW_STICKY, SPOILT " (illegal address, 700)"},
    {"CUDA_ERROR_LAUNCH_FAILED", LATHE_HW_STICKY, SPOILT " (launch failed, 719)"},
    {"CUDA_ERROR_LAUNCH_TIMEOUT", LATHE_HW_STICKY, SPOILT " (launch timed out, 702)"},
    {"CUDA_ERROR_ECC_UNCORRECTABLE", LATHE_HW_STICKY, SPOILT " (memory error, 214)"},
    {"CUDA_ERROR_HARDWARE_STACK", LATHE_HW_STICKY, SPOILT " (714)"},
    {"CUDA_ERROR_ASSERT", LATHE_HW_STICKY, SPOILT " (710)"},
    {"CUDA_ERROR_NO_DEVICE", LATHE_HW_LOST, "the device is gone (CUDA error 100)"},
    {"CUDA_ERROR_INVALID_DEVICE", LATHE_HW_LOST, "the device is gone (CUDA error 101)"},
    {"CUDA_ERROR_DEVICE_UNAVAILABLE", LATHE_HW_LOST, "the device is unavailable (CUDA error 46)"},
    {"CUDA_ERROR_SYSTEM_NOT_READY", LATHE_HW_LOST, "the driver is not ready (CUDA error 802)"},
    {"CUDA_ERROR_UNKNOWN", LATHE_HW_LOST, "the device does not answer (CUDA error 999)"},
    {"device does not exist (", LATHE_HW_LOST, "the device is gone"},
    {"CUDA_ERROR_OUT_OF_MEMORY", LATHE_HW_BUSY, "the device's memory is used up"},
    {"CreateBitstreamBuffer failed: out of memory", LATHE_HW_BUSY,
     "the device's memory is used up"},
    {"OpenEncodeSessionEx failed: out of memory", LATHE_HW_BUSY,
     "all encode sessions, or the device's memory, are in use"},
    {"No decoder surfaces left", LATHE_HW_BUSY, "the decoder's surfaces are used up"},
    {"Driver does not support the required nvenc API", LATHE_HW_ABSENT, NULL},
    {"Cannot load libnvidia-encode", LATHE_HW_ABSENT,
     "libnvidia-encode.so.1 is missing (in a container NVIDIA_DRIVER_CAPABILITIES needs video)"},
    {"Cannot load libnvcuvid", LATHE_HW_ABSENT,
     "libnvcuvid.so.1 is missing (in a container NVIDIA_DRIVER_CAPABILITIES needs video)"},
    {"Cannot load libcuda", LATHE_HW_ABSENT, "no NVIDIA driver (libcuda.so.1)"},
    {"Cannot load cu", LATHE_HW_ABSENT, NULL},
    {"no encode device (1)", LATHE_HW_ABSENT, "this GPU has no encoder"},
    {"unsupported device (2)", LATHE_HW_ABSENT, "this GPU has no encoder"},
    {"Codec not supported", LATHE_HW_UNSUPPORTED, "this GPU's encoder does not have this codec"},
    {"10 bit encode not supported", LATHE_HW_UNSUPPORTED, "10 bit encode not supported"},
    {"Hardware is lacking required capabilities", LATHE_HW_UNSUPPORTED,
     "this GPU's decoder lacks it"},
    {NULL, LATHE_HW_ERROR, NULL},
};

const struct lathe_hwaccel lathe_hwaccel_nvenc = {
    .name = "nvenc",
    .encoder = LATHE_ENCODER_NVENC,
    .encoder_name = encoder_name,
    .pixel_format = pixel_format,
    .open_encoder = open_encoder,
    .preset_options = preset_options,
    .device_type = AV_HWDEVICE_TYPE_CUDA,
    .surface_format = AV_PIX_FMT_CUDA,
    .enumerate = lathe_cuda_driver_list,
    .open_device = open_device,
    .scale_filter = scale_filter,
    .read_load = lathe_cuda_driver_load,
    .symptoms = symptoms,
    .limits_sessions = true,
};
