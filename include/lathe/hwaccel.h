/* SPDX-License-Identifier: MIT */
/*
 * Families of encoders behind one descriptor: software, and one file for each kind of GPU.
 *
 * A family says which encoders it has and opens one; decoding and scaling stages of GPU families
 * stand beside it. Nothing above this layer names an encoder or one of its options.
 * Threads: descriptors are constant; an opened encoder belongs to one thread.
 */
#ifndef LATHE_HWACCEL_H
#define LATHE_HWACCEL_H

#include <libavcodec/avcodec.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"
#include "lathe/job.h"

/* What an encoder is asked for; everything comes from the plan, nothing from the host. */
struct lathe_encoder_request {
    enum lathe_codec codec;
    enum lathe_preset preset;
    int width, height;
    AVRational sar, time_base, frame_rate;
    enum AVPixelFormat pix_fmt;
    enum AVColorRange color_range;
    enum AVColorPrimaries color_primaries;
    enum AVColorTransferCharacteristic color_transfer;
    enum AVColorSpace color_matrix;
    enum AVChromaLocation chroma_location;
    bool interlaced, top_field_first;
    double quality;                 /* rate factor, CRF scale */
    int maxrate_kbps, bufsize_kbit; /* 0 = uncapped */
    bool starts_title;              /* first chunk: the decoder's buffer starts full */
    int gop_frames;                 /* longest GOP */
    bool forced_keys_only;          /* key frames only where a frame asks for one */
    int threads;
    const char *mastering_display, *content_light; /* x265 syntax, or empty */
};

struct lathe_hwaccel {
    const char *name; /* "software", "nvenc", "vaapi" */

    /* Must provide. libavcodec's name of the encoder, or NULL when this build lacks it. */
    const char *(*encoder_name)(enum lathe_codec codec);
    /* Must provide. Pixel format for a source of `bits` per sample; AV_PIX_FMT_NONE = cannot. */
    enum AVPixelFormat (*pixel_format)(enum lathe_codec codec, int bits);
    /* Must provide. Opens an encoder with global headers. -ENOSYS: not in this build. `options`
     * receives what was really set, for people. */
    int (*open_encoder)(const struct lathe_encoder_request *request, AVCodecContext **ret,
                        char *options, size_t options_size, struct lathe_error *err);
    /* May provide. Changes the rate factor from the next frame on. Absent or -EOPNOTSUPP: it stays.
     */
    int (*set_quality)(AVCodecContext *encoder, double quality);
    /* Must provide. What the preset becomes, e.g. "preset=fast" (lathe probe --presets). */
    const char *(*preset_options)(enum lathe_codec codec, enum lathe_preset preset);
};

/* The registry: NULL-terminated, in order of preference for --encoder auto. */
extern const struct lathe_hwaccel *const lathe_hwaccels[];
extern const struct lathe_hwaccel lathe_hwaccel_software;
const struct lathe_hwaccel *lathe_hwaccel_find(const char *name); /* NULL = unknown */

#endif
