/* SPDX-License-Identifier: MIT */
/*
 * Families of encoders behind one descriptor: software, and one file for each kind of GPU.
 *
 * A family says which encoders it has and opens one; a GPU family also finds its devices, opens a
 * context on one, and names its filters. What all GPU families have in common (decoders, filter
 * chains, copies, what the log says) is below the descriptor. Nothing above this layer names an
 * encoder, a filter of a GPU, or one of their options.
 * Options are looked up before they are set, so that FFmpeg 5.1 and later ones do.
 * Threads: descriptors are constant; an opened encoder or chain belongs to one thread. A device
 * may be shared by the threads of a process.
 */
#ifndef LATHE_HWACCEL_H
#define LATHE_HWACCEL_H

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"
#include "lathe/hw.h"
#include "lathe/hw_load.h"
#include "lathe/job.h"
#include "lathe/ladder.h"

struct lathe_hwaccel;

/* A warm context on one device: made once a process, used by decoder, filters and encoder alike,
 * so that pictures stay where they are. */
struct lathe_hwaccel_device {
    const struct lathe_hwaccel *family;
    AVBufferRef *context; /* AVHWDeviceContext */
    char driver[128];     /* as the driver calls itself; decides presets of VA-API */
};

enum lathe_rate_mode {
    LATHE_RATE_QUALITY = 0, /* `quality`, under the cap if there is one */
    LATHE_RATE_VBR,         /* `bitrate_kbps` on average, under the cap (default 2 × bitrate) */
    LATHE_RATE_CBR
};

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
    enum lathe_rate_mode rate_mode;                /* software: quality only */
    int bitrate_kbps;
    /* GPU families only: */
    const struct lathe_hwaccel_device *device;
    AVBufferRef *frames; /* pool the pictures come from (hw_frames_ctx of the filters' end) */
    unsigned features;   /* what the probe saw working; a preset uses no more. 0 = bare */
};

/* A phrase of a driver's or libav's log and what it means. */
struct lathe_hwaccel_symptom {
    const char *text;
    enum lathe_hw_verdict verdict;
    const char *means; /* for people; NULL = the log's own words */
};

struct lathe_hwaccel {
    const char *name; /* "software", "nvenc", "vaapi" */
    enum lathe_encoder encoder;

    /* Must provide. libavcodec's name of the encoder, or NULL when this build lacks it. */
    const char *(*encoder_name)(enum lathe_codec codec);
    /* Must provide. Pixel format for a source of `bits` per sample; AV_PIX_FMT_NONE = cannot. For
     * GPU families that of pictures in system memory, before upload or after download. */
    enum AVPixelFormat (*pixel_format)(enum lathe_codec codec, int bits);
    /* Must provide. Opens an encoder with global headers; of a GPU's the extradata may still be
     * empty (then parameter sets are in the packets), and only the PTS of its packets is to be
     * believed. -ENOSYS: not in this build. `options` receives what was really set, for people. */
    int (*open_encoder)(const struct lathe_encoder_request *request, AVCodecContext **ret,
                        char *options, size_t options_size, struct lathe_error *err);
    /* May provide. Changes the rate factor from the next frame on. Absent or -EOPNOTSUPP: it stays.
     */
    int (*set_quality)(AVCodecContext *encoder, double quality);
    /* Must provide. What the preset becomes, e.g. "preset=fast" (lathe probe --presets). */
    void (*preset_options)(enum lathe_codec codec, enum lathe_preset preset, char *ret,
                           size_t size);

    /* --- GPU families must provide all of the rest; software none --- */
    enum AVHWDeviceType device_type;
    enum AVPixelFormat surface_format; /* AV_PIX_FMT_CUDA, … */
    /* Fills up to `max` devices without opening them and returns the count; 0 with the reason in
     * `note`. May load the driver's library. */
    int (*enumerate)(struct lathe_hw_device *ret, int max, char *note, size_t note_size);
    /* Opens a context; -errno with the reason in `err`. */
    int (*open_device)(const char *path, struct lathe_hwaccel_device *ret, struct lathe_error *err);
    /* The filter that scales on the device, with its arguments, e.g. "scale_cuda=w=640:h=360…":
     * the result has `format` (NV12, P010) in surfaces. -ENOSYS: this FFmpeg has no such filter. */
    int (*scale_filter)(int width, int height, enum AVPixelFormat format, char *ret, size_t size);
    /* How busy the device at `path` is, for people; this process has opened it. -ENODEV: nothing is
     * told. May load a library of the driver's. */
    int (*read_load)(const char *path, struct lathe_hw_load *ret);
    const struct lathe_hwaccel_symptom *symptoms; /* ends with text NULL; the first match counts */
    bool limits_sessions;                         /* drivers of this family may cap them */
};

/* The registry: NULL-terminated, in order of preference for --encoder auto. */
extern const struct lathe_hwaccel *const lathe_hwaccels[];
extern const struct lathe_hwaccel lathe_hwaccel_software, lathe_hwaccel_nvenc, lathe_hwaccel_vaapi;
const struct lathe_hwaccel *lathe_hwaccel_find(const char *name); /* NULL = unknown */

/* --- the same for every GPU family --- */

/* NULL is allowed; what was opened on the device keeps its own reference. */
void lathe_hwaccel_close_device(struct lathe_hwaccel_device *device);

/* Before avcodec_open2: decode on the device. Pictures arrive in the family's surface format, or,
 * where device or FFmpeg cannot, in system memory: look at frame->format. Any error from send or
 * receive means that pictures are lost, even if as many come as should. `extra_frames`: held
 * outside at once (queues, lookahead). Sets thread_count to 1. */
int lathe_hwaccel_setup_decoder(AVCodecContext *decoder, const struct lathe_hwaccel_device *device,
                                int extra_frames);

/* The decoder of this build for `id` that can use the device; NULL = none, decode in software. */
const AVCodec *lathe_hwaccel_decoder(const struct lathe_hwaccel *family, enum AVCodecID id);

/* A pool of surfaces that hold pictures of `format` (NV12, P010), for uploads. NULL: memory, or the
 * device cannot. */
AVBufferRef *lathe_hwaccel_pool(const struct lathe_hwaccel_device *device,
                                enum AVPixelFormat format, int width, int height);

/* Appends the filters of `description` ("a=x=1:y=2,b") after `input`, each with the device where
 * it wants one; *ret_last is the last of them (`input` for an empty description). Unlike
 * avfilter_graph_parse_ptr it works for upload filters of FFmpeg 8. */
int lathe_hwaccel_chain(AVFilterGraph *graph, AVFilterContext *input, const char *description,
                        const struct lathe_hwaccel_device *device, int extra_frames,
                        AVFilterContext **ret_last);
/* A buffer source for pictures like `frame`, on a device or not. */
int lathe_hwaccel_source(AVFilterGraph *graph, const AVFrame *frame, AVRational time_base,
                         AVRational frame_rate, AVFilterContext **ret);
/* The filters between decoder and encoder for a step of the ladder: what is before `scale` in
 * software, upload, scale, download, as the step wants. `software_scale` is the description of
 * scaling in software (steps 3 and 5). */
int lathe_hwaccel_stages(const struct lathe_hwaccel *family, enum lathe_ladder_step step, int width,
                         int height, enum AVPixelFormat format, const char *software_scale,
                         char *ret, size_t size);

/* --- what the log says --- */

/* To be called from the process's av_log callback, before anything else is done with the line. */
void lathe_hwaccel_log(void *avcl, int level, const char *format, va_list args);
/* Forgets what was collected. */
void lathe_hwaccel_log_start(void);
/* Warnings and errors since then, joined by "; " (the oldest are dropped when there are many). */
void lathe_hwaccel_log_read(char *ret, size_t size);
/* Driver calls since then that failed although libav may have reported success (copies to and from
 * CUDA): the pictures of this attempt cannot be trusted. */
unsigned lathe_hwaccel_failed_calls(void);

/* What a failure means, from libav's code and the collected log; `reason` in words. `opening`:
 * while something was being opened, rather than in mid-stream. Pure. */
enum lathe_hw_verdict lathe_hwaccel_classify(const struct lathe_hwaccel *family, int averror,
                                             bool opening, const char *log, char *reason,
                                             size_t reason_size);

#endif
