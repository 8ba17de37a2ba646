/* SPDX-License-Identifier: MIT */
/*
 * The verb encoders: which encoders this build has, and which of them really encode. Believed is
 * only what made pictures here and now.
 */
#include <errno.h>
#include <libavutil/pixdesc.h>
#include <string.h>

#include "lathe/hwaccel.h"
#include "setup.h"

#define TRIAL_FRAMES 12
#define TRIAL_WIDTH 640
#define TRIAL_HEIGHT 360

/* Signs of life: a loaded machine takes long for all of it. */
struct teller {
    lathe_media_progress progress;
    void *opaque;
    uint64_t frames;
};

static int encode_trial(AVCodecContext *encoder, struct teller *teller, struct lathe_error *err)
{
    _cleanup_frame_ AVFrame *frame = av_frame_alloc();
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!frame || !packet)
        return lathe_error_nomem(err);
    frame->width = TRIAL_WIDTH;
    frame->height = TRIAL_HEIGHT;
    frame->format = encoder->pix_fmt;
    int packets = 0, r = av_frame_get_buffer(frame, 0);
    for (int i = 0; i <= TRIAL_FRAMES && r >= 0; i++) {
        r = i < TRIAL_FRAMES ? av_frame_make_writable(frame) : 0;
        for (int plane = 0; plane < 3 && r >= 0; plane++)
            memset(frame->data[plane], 64 + 8 * i,
                   (size_t)frame->linesize[plane] * (size_t)(TRIAL_HEIGHT >> (plane > 0)));
        frame->pts = i;
        struct lathe_progress now = {.frames = ++teller->frames};
        if (r >= 0 && teller->progress(teller->opaque, &now))
            r = AVERROR(ECANCELED);
        if (r >= 0)
            r = avcodec_send_frame(encoder, i < TRIAL_FRAMES ? frame : NULL);
        while (r >= 0 && (r = avcodec_receive_packet(encoder, packet)) >= 0) {
            packets++;
            av_packet_unref(packet);
        }
        r = r == AVERROR(EAGAIN) || r == AVERROR_EOF ? 0 : r;
    }
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "the trial failed");
    if (packets != TRIAL_FRAMES)
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL, "the trial gave %d frames of %d",
                               packets, TRIAL_FRAMES);
    return 0;
}

static json_t *try_encoder(const struct lathe_hwaccel *family, enum lathe_codec codec, int bits,
                           struct teller *teller)
{
    if (codec == LATHE_CODEC_AV1 && !family->encoder_name(codec))
        return NULL; /* of no interest where there is none: jobs do not ask for it */
    struct lathe_error err = {0};
    enum AVPixelFormat format = family->pixel_format(codec, bits);
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format);
    if (!desc || desc->comp[0].depth != bits)
        return NULL;
    const char *name = family->encoder_name(codec);
    struct lathe_encoder_request request = {
        .codec = codec,
        .preset = LATHE_PRESET_FAST,
        .width = TRIAL_WIDTH,
        .height = TRIAL_HEIGHT,
        .sar = {1, 1},
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .pix_fmt = format,
        .color_primaries = AVCOL_PRI_UNSPECIFIED,
        .color_transfer = AVCOL_TRC_UNSPECIFIED,
        .color_matrix = AVCOL_SPC_UNSPECIFIED,
        .quality = 25,
        .gop_frames = 250,
        .threads = 1,
    };
    AVCodecContext *encoder = NULL;
    char options[1024];
    int r = family->open_encoder(&request, &encoder, options, sizeof(options), &err);
    if (r >= 0)
        r = encode_trial(encoder, teller, &err);
    avcodec_free_context(&encoder);
    return json_pack("{s:s, s:s, s:i, s:s, s:b, s:s}", "family", family->name, "codec",
                     lathe_codec_name(codec), "bits", bits, "encoder", name ? name : "", "works",
                     r >= 0, "reason", r >= 0 ? "" : err.what);
}

static json_t *describe_preset(const struct lathe_hwaccel *family, enum lathe_codec codec,
                               enum lathe_preset preset)
{
    char options[512];
    family->preset_options(codec, preset, options, sizeof(options));
    return json_pack("{s:s, s:s, s:s, s:s}", "family", family->name, "codec",
                     lathe_codec_name(codec), "preset", lathe_preset_name(preset), "options",
                     options);
}

static int append(json_t *list, json_t *value)
{
    return !value ? 0 : json_array_append_new(list, value);
}

int lathe_media_encoders(const struct lathe_order *order, lathe_media_progress progress,
                         void *opaque, json_t **ret_body, struct lathe_error *err)
{
    (void)order;
    struct teller teller = {.progress = progress, .opaque = opaque};
    json_t *encoders = json_array(), *presets = json_array();
    int r = encoders && presets ? 0 : -ENOMEM;
    for (const struct lathe_hwaccel *const *h = lathe_hwaccels; *h && r >= 0; h++)
        for (enum lathe_codec codec = LATHE_CODEC_H264; codec <= LATHE_CODEC_AV1 && r >= 0;
             codec++) {
            /* Those of GPUs are tried by the verb probe, on each device. */
            for (int bits = 8; bits <= 10 && r >= 0 && !(*h)->enumerate; bits += 2)
                r = append(encoders, try_encoder(*h, codec, bits, &teller));
            for (enum lathe_preset p = LATHE_PRESET_ULTRAFAST;
                 p <= LATHE_PRESET_VERYSLOW && r >= 0 && (*h)->encoder_name(codec); p++)
                r = append(presets, describe_preset(*h, codec, p));
        }
    if (r >= 0)
        *ret_body = json_pack("{s:s, s:O, s:O}", "ffmpeg", av_version_info(), "encoders", encoders,
                              "presets", presets);
    json_decref(encoders);
    json_decref(presets);
    return r >= 0 && *ret_body ? 0 : lathe_error_nomem(err);
}
