/* SPDX-License-Identifier: MIT */
/*
 * Decoding on a GPU, tried: a stream that a software encoder has just made, decoded on the device
 * and in software; both must give the same pictures. libav falls back to software without a word
 * when a device refuses, so what counts is where the pictures lie.
 */
#include <errno.h>
#include <libavutil/opt.h>
#include <math.h>
#include <string.h>

#include "probe.h"
#include "setup.h"

/* Decoders agree to the bit, but for MPEG-2, whose transform is not exact by definition. */
#define DECODE_FAR 0.5

static const struct {
    const char *codec;
    enum AVCodecID id;
} streams[] = {
    {"h264", AV_CODEC_ID_H264}, {"hevc", AV_CODEC_ID_HEVC}, {"vp9", AV_CODEC_ID_VP9},
    {"av1", AV_CODEC_ID_AV1},   {"vp8", AV_CODEC_ID_VP8},   {"mpeg2video", AV_CODEC_ID_MPEG2VIDEO},
};

/* Of each codec the first that this FFmpeg has, set to be quick: quality is of no interest. */
#define SETTINGS_MAX 2
static const struct {
    enum AVCodecID id;
    const char *name;
    struct {
        const char *name, *value;
    } settings[SETTINGS_MAX];
} encoders[] = {
    {AV_CODEC_ID_H264, "libx264", {{"preset", "superfast"}}},
    {AV_CODEC_ID_HEVC,
     "libx265",
     {{"preset", "superfast"}, {"x265-params", "log-level=none:pools=none"}}},
    {AV_CODEC_ID_VP9, "libvpx-vp9", {{"deadline", "realtime"}, {"cpu-used", "8"}}},
    {AV_CODEC_ID_AV1, "libsvtav1", {{"preset", "12"}, {"svtav1-params", "lp=1"}}},
    {AV_CODEC_ID_AV1, "libaom-av1", {{"usage", "realtime"}, {"cpu-used", "8"}}},
    {AV_CODEC_ID_VP8, "libvpx", {{"deadline", "realtime"}, {"cpu-used", "8"}}},
    {AV_CODEC_ID_MPEG2VIDEO, "mpeg2video", {{NULL, NULL}}},
};

struct stream {
    AVCodecParameters *par;
    AVPacket *packets[2 * MEDIA_PROBE_FRAMES]; /* VP9 has packets that show nothing */
    int n_packets;
};

static void stream_finish(struct stream *s)
{
    avcodec_parameters_free(&s->par);
    for (int i = 0; i < s->n_packets; i++)
        av_packet_free(&s->packets[i]);
}

static int take_packets(AVCodecContext *encoder, struct stream *s)
{
    int r = 0;
    while (r >= 0 && s->n_packets < (int)LATHE_COUNT(s->packets)) {
        AVPacket *packet = av_packet_alloc();
        r = packet ? avcodec_receive_packet(encoder, packet) : AVERROR(ENOMEM);
        if (r >= 0)
            s->packets[s->n_packets++] = packet;
        else
            av_packet_free(&packet);
    }
    return r == AVERROR(EAGAIN) || r == AVERROR_EOF ? 0 : r;
}

static int stream_make(struct media_probe *probe, enum AVCodecID id, int bits, struct stream *ret)
{
    const AVCodec *codec = NULL;
    size_t e = 0;
    for (; e < LATHE_COUNT(encoders); e++)
        if (encoders[e].id == id && (codec = avcodec_find_encoder_by_name(encoders[e].name)))
            break;
    if (!codec)
        return AVERROR_ENCODER_NOT_FOUND;
    AVCodecContext *c = avcodec_alloc_context3(codec);
    if (!c)
        return AVERROR(ENOMEM);
    enum AVPixelFormat format = bits > 8 ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
    struct lathe_encoder_request request = media_probe_request(LATHE_CODEC_H264, format);
    c->width = request.width;
    c->height = request.height;
    c->pix_fmt = format;
    c->time_base = request.time_base;
    c->framerate = request.frame_rate;
    c->bit_rate = 2000000;
    c->gop_size = MEDIA_PROBE_FRAMES;
    c->thread_count = 1;
    for (int i = 0; i < SETTINGS_MAX && encoders[e].settings[i].name; i++)
        if (av_opt_find(c->priv_data, encoders[e].settings[i].name, NULL, 0, 0))
            (void)av_opt_set(c->priv_data, encoders[e].settings[i].name,
                             encoders[e].settings[i].value, 0);
    int r = avcodec_open2(c, codec, NULL);
    for (int n = 0; n <= MEDIA_PROBE_FRAMES && r >= 0; n++) {
        AVFrame *picture =
            n < MEDIA_PROBE_FRAMES ? media_probe_picture(format, c->width, c->height, n) : NULL;
        r = picture || n == MEDIA_PROBE_FRAMES ? avcodec_send_frame(c, picture) : AVERROR(ENOMEM);
        av_frame_free(&picture);
        if (r >= 0)
            r = take_packets(c, ret);
        if (r >= 0)
            r = media_probe_step(probe);
    }
    ret->par = r >= 0 ? avcodec_parameters_alloc() : NULL;
    if (r >= 0)
        r = ret->par ? avcodec_parameters_from_context(ret->par, c) : AVERROR(ENOMEM);
    avcodec_free_context(&c);
    return r;
}

struct pictures {
    AVFrame *frames[MEDIA_PROBE_FRAMES];
    int n;
};

static void pictures_finish(struct pictures *p)
{
    for (int i = 0; i < p->n; i++)
        av_frame_free(&p->frames[i]);
}

/* To system memory, if it is not there. */
static int fetch(AVFrame *frame, AVFrame **ret)
{
    AVFrame *copy = av_frame_alloc();
    if (!copy)
        return AVERROR(ENOMEM);
    int r =
        frame->hw_frames_ctx ? av_hwframe_transfer_data(copy, frame, 0) : av_frame_ref(copy, frame);
    if (r < 0)
        av_frame_free(&copy);
    else
        *ret = copy;
    return r;
}

static int take_pictures(struct media_probe *probe, AVCodecContext *decoder, AVFrame *frame,
                         bool on_device, struct pictures *ret)
{
    int r = 0;
    while ((r = avcodec_receive_frame(decoder, frame)) >= 0) {
        if (on_device && frame->format != probe->family->surface_format) {
            av_frame_unref(frame);
            return AVERROR(ENOSYS);
        }
        r = ret->n < MEDIA_PROBE_FRAMES ? fetch(frame, &ret->frames[ret->n]) : AVERROR(ERANGE);
        av_frame_unref(frame);
        if (r >= 0) {
            ret->n++;
            r = media_probe_step(probe);
        }
        if (r < 0)
            return r;
    }
    return r == AVERROR(EAGAIN) || r == AVERROR_EOF ? 0 : r;
}

static int decode(struct media_probe *probe, const struct stream *s, const AVCodec *codec,
                  bool on_device, struct pictures *ret)
{
    AVCodecContext *c = avcodec_alloc_context3(codec);
    AVFrame *frame = av_frame_alloc();
    int r = c && frame ? avcodec_parameters_to_context(c, s->par) : AVERROR(ENOMEM);
    if (r >= 0) {
        c->thread_count = 1;
        c->pkt_timebase = (AVRational){1, 25};
        r = on_device ? lathe_hwaccel_setup_decoder(c, &probe->device, MEDIA_PROBE_FRAMES) : 0;
    }
    if (r >= 0)
        r = avcodec_open2(c, codec, NULL);
    for (int i = 0; i <= s->n_packets && r >= 0; i++) {
        r = avcodec_send_packet(c, i < s->n_packets ? s->packets[i] : NULL);
        if (r >= 0)
            r = take_pictures(probe, c, frame, on_device, ret);
    }
    av_frame_free(&frame);
    avcodec_free_context(&c);
    return r;
}

static void compare(const struct pictures *made, const struct pictures *wanted,
                    struct lathe_hw_trial *trial)
{
    if (made->n != wanted->n) {
        media_probe_verdict(trial, LATHE_HW_WRONG, "%d pictures instead of %d", made->n, wanted->n);
        return;
    }
    for (int i = 0; i < made->n; i++) {
        double off = media_probe_difference(made->frames[i], wanted->frames[i]);
        if (off > DECODE_FAR) {
            media_probe_verdict(trial, LATHE_HW_WRONG,
                                "picture %d is not what software decodes (off by %.1f of 255)", i,
                                fmin(off, 255));
            return;
        }
    }
    if (lathe_hwaccel_failed_calls())
        media_probe_verdict(trial, LATHE_HW_WRONG, "calls of the driver failed");
    else
        trial->verdict = LATHE_HW_WORKS;
}

static void try_stream(struct media_probe *probe, const AVCodec *codec, const struct stream *s,
                       struct lathe_hw_trial *trial)
{
    struct pictures wanted = {.n = 0}, made = {.n = 0};
    const AVCodec *software = avcodec_find_decoder(codec->id);
    int r = software ? decode(probe, s, software, false, &wanted) : AVERROR_DECODER_NOT_FOUND;
    if (r < 0 || wanted.n == 0) {
        media_probe_verdict(trial, LATHE_HW_UNTRIED, "software does not decode the test stream");
        pictures_finish(&wanted);
        return;
    }
    lathe_hwaccel_log_start();
    r = decode(probe, s, codec, true, &made);
    if (r < 0) {
        media_probe_failed(probe, r, r == AVERROR(ENOSYS), trial);
        if (r == AVERROR(ENOSYS) && trial->verdict == LATHE_HW_UNSUPPORTED && made.n == 0)
            media_probe_verdict(trial, LATHE_HW_UNSUPPORTED, "the driver does not decode it");
    } else {
        compare(&made, &wanted, trial);
    }
    pictures_finish(&wanted);
    pictures_finish(&made);
}

void media_probe_decode(struct media_probe *probe, struct lathe_hw_trial *trial)
{
    size_t i = 0;
    while (i < LATHE_COUNT(streams) && strcmp(streams[i].codec, trial->codec) != 0)
        i++;
    const AVCodec *codec =
        i < LATHE_COUNT(streams) ? lathe_hwaccel_decoder(probe->family, streams[i].id) : NULL;
    if (!codec) {
        media_probe_verdict(trial, LATHE_HW_UNSUPPORTED, "this FFmpeg does not decode it on %s",
                            probe->family->name);
        return;
    }
    snprintf(trial->with, sizeof(trial->with), "%s", codec->name);
    struct stream s = {.n_packets = 0};
    int r = stream_make(probe, streams[i].id, trial->bits, &s);
    if (r < 0)
        media_probe_verdict(trial, LATHE_HW_UNTRIED, "this FFmpeg cannot make a test stream of it");
    else
        try_stream(probe, codec, &s, trial);
    stream_finish(&s);
}
