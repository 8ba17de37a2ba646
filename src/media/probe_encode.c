/* SPDX-License-Identifier: MIT */
/*
 * Encoding on a GPU, tried: frames go in, as many packets must come out, a software decoder must
 * see in them what went in, and a key frame where one was asked for. Then what else the encoder
 * can, each feature alone where all together fail.
 */
#include <errno.h>
#include <string.h>

#include "probe.h"
#include "setup.h"

#define FORCED_KEY 6 /* the frame that asks for a key frame */
#define BITRATE_KBPS 1500

struct lathe_encoder_request media_probe_request(enum lathe_codec codec, enum AVPixelFormat format)
{
    return (struct lathe_encoder_request){
        .codec = codec,
        .preset = LATHE_PRESET_VERYSLOW,
        .width = MEDIA_PROBE_WIDTH,
        .height = MEDIA_PROBE_HEIGHT,
        .sar = {1, 1},
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .pix_fmt = format,
        .color_range = AVCOL_RANGE_MPEG,
        .color_primaries = AVCOL_PRI_UNSPECIFIED,
        .color_transfer = AVCOL_TRC_UNSPECIFIED,
        .color_matrix = AVCOL_SPC_UNSPECIFIED,
        .quality = 20,
        .bitrate_kbps = BITRATE_KBPS,
        .gop_frames = 250,
        .threads = 1,
    };
}

/* One run of the encoder and what became of it. */
struct run {
    struct media_probe *probe;
    const struct lathe_encoder_request *request;
    struct lathe_hw_trial *trial; /* receives verdict and reason */
    AVCodecContext *encoder, *decoder;
    AVPacket *packet;
    AVFrame *decoded;
    int packets, pictures;
    int64_t last_pts;
    bool reordered;
};

static bool see_pictures(struct run *run)
{
    int r;
    while ((r = avcodec_receive_frame(run->decoder, run->decoded)) >= 0) {
        double distance = media_probe_distance(run->decoded, run->pictures++);
        av_frame_unref(run->decoded);
        if (distance > MEDIA_PROBE_FAR)
            return media_probe_verdict(run->trial, LATHE_HW_WRONG,
                                       "picture %d is not what went in (off by %.0f of 255)",
                                       run->pictures - 1, distance);
    }
    return r == AVERROR(EAGAIN) || r == AVERROR_EOF ||
           media_probe_verdict(run->trial, LATHE_HW_WRONG, "what it made cannot be decoded");
}

static bool see_packets(struct run *run)
{
    int r;
    while ((r = avcodec_receive_packet(run->encoder, run->packet)) >= 0) {
        int64_t pts = run->packet->pts;
        bool key = run->packet->flags & AV_PKT_FLAG_KEY;
        bool key_wanted = pts == 0 || pts == FORCED_KEY;
        run->reordered |= run->packets > 0 && pts < run->last_pts;
        run->last_pts = pts;
        run->packets++;
        r = avcodec_send_packet(run->decoder, run->packet);
        av_packet_unref(run->packet);
        if (key_wanted && !key)
            return media_probe_verdict(run->trial, LATHE_HW_UNSUPPORTED,
                                       "it makes no key frame where one is asked for");
        if (r < 0)
            return media_probe_verdict(run->trial, LATHE_HW_WRONG,
                                       "what it made cannot be decoded");
        if (!see_pictures(run))
            return false;
    }
    if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
        return true;
    media_probe_failed(run->probe, r, false, run->trial);
    return false;
}

static int upload(struct run *run, int n, AVFrame **ret)
{
    AVFrame *picture =
        media_probe_picture(run->request->pix_fmt, MEDIA_PROBE_WIDTH, MEDIA_PROBE_HEIGHT, n);
    AVFrame *surface = av_frame_alloc();
    int r = picture && surface ? av_hwframe_get_buffer(run->request->frames, surface, 0)
                               : AVERROR(ENOMEM);
    if (r >= 0)
        r = av_hwframe_transfer_data(surface, picture, 0);
    if (r >= 0)
        r = av_frame_copy_props(surface, picture);
    av_frame_free(&picture);
    if (r < 0)
        av_frame_free(&surface);
    else
        *ret = surface;
    return r;
}

static bool feed(struct run *run)
{
    for (int n = 0; n < MEDIA_PROBE_FRAMES; n++) {
        AVFrame *surface = NULL;
        int r = upload(run, n, &surface);
        if (r >= 0) {
            surface->pict_type = n == FORCED_KEY ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
            r = avcodec_send_frame(run->encoder, surface);
            av_frame_free(&surface);
        }
        if (r >= 0)
            r = media_probe_step(run->probe);
        if (r < 0) {
            media_probe_failed(run->probe, r, false, run->trial);
            return false;
        }
        if (!see_packets(run))
            return false;
    }
    int r = avcodec_send_frame(run->encoder, NULL);
    if (r < 0) {
        media_probe_failed(run->probe, r, false, run->trial);
        return false;
    }
    if (!see_packets(run))
        return false;
    r = avcodec_send_packet(run->decoder, NULL);
    if (r < 0)
        return media_probe_verdict(run->trial, LATHE_HW_ERROR, "cannot drain the decoder");
    return see_pictures(run);
}

static bool open_decoder(struct run *run)
{
    static const enum AVCodecID ids[] = {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_AV1};
    const AVCodec *codec = avcodec_find_decoder(ids[run->request->codec]);
    AVCodecParameters *par = avcodec_parameters_alloc();
    run->decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    run->packet = av_packet_alloc();
    run->decoded = av_frame_alloc();
    int r = run->decoder && run->packet && run->decoded && par
                ? avcodec_parameters_from_context(par, run->encoder)
                : AVERROR(ENOMEM);
    if (r >= 0)
        r = avcodec_parameters_to_context(run->decoder, par);
    if (r >= 0) {
        run->decoder->pix_fmt = AV_PIX_FMT_NONE; /* that of the encoder is a surface */
        run->decoder->thread_count = 1;
        r = avcodec_open2(run->decoder, codec, NULL);
    }
    avcodec_parameters_free(&par);
    return r >= 0 || media_probe_verdict(run->trial, LATHE_HW_ERROR,
                                         "no software decoder to look at the result");
}

/* True when the request was carried out faithfully. `ret_reordered` may be NULL. */
static bool encode(struct media_probe *probe, const struct lathe_encoder_request *request,
                   struct lathe_hw_trial *trial, bool *ret_reordered)
{
    struct run run = {.probe = probe, .request = request, .trial = trial};
    struct lathe_error err = {0};
    char options[512];
    lathe_hwaccel_log_start();
    int r = probe->family->open_encoder(request, &run.encoder, options, sizeof(options), &err);
    bool ok = r >= 0;
    if (!ok)
        media_probe_failed(probe, r, true, trial);
    ok = ok && open_decoder(&run) && feed(&run);
    if (ok && (run.packets != MEDIA_PROBE_FRAMES || run.pictures != MEDIA_PROBE_FRAMES))
        ok = media_probe_verdict(trial, LATHE_HW_WRONG,
                                 "of %d frames %d packets and %d pictures came back",
                                 MEDIA_PROBE_FRAMES, run.packets, run.pictures);
    if (ok && lathe_hwaccel_failed_calls())
        ok = media_probe_verdict(trial, LATHE_HW_WRONG, "calls of the driver failed");
    if (ok && ret_reordered)
        *ret_reordered = run.reordered;
    avcodec_free_context(&run.encoder);
    avcodec_free_context(&run.decoder);
    av_packet_free(&run.packet);
    av_frame_free(&run.decoded);
    return ok;
}

/* --- features --- */

static void note(struct lathe_hw_trial *trial, const char *what, const char *why)
{
    size_t n = strlen(trial->reason);
    /* The first line of the log says it; what follows are consequences. */
    const char *end = strstr(why, "; ");
    int size = end && end - why < 60 ? (int)(end - why) : 60;
    snprintf(trial->reason + n, sizeof(trial->reason) - n, "%sno %s: %.*s", n ? "; " : "", what,
             size, why);
}

/* What a feature needs besides itself. */
static unsigned needs(unsigned feature)
{
    return feature == LATHE_HW_B_REF         ? LATHE_HW_B_FRAMES
           : feature == LATHE_HW_TEMPORAL_AQ ? LATHE_HW_LOOKAHEAD
                                             : 0;
}

/* Failures after which nothing further can be learned here. */
static bool is_fatal(enum lathe_hw_verdict verdict)
{
    return verdict == LATHE_HW_STICKY || verdict == LATHE_HW_LOST;
}

/* Tries `features` together; true if they work. A fatal failure goes to `trial`. */
static bool try_features(struct media_probe *probe, struct lathe_encoder_request request,
                         unsigned features, struct lathe_hw_trial *trial, char *why, size_t size)
{
    struct lathe_hw_trial one = {0};
    bool reordered = false;
    request.features |= features;
    bool ok = encode(probe, &request, &one, &reordered);
    if (ok && features & LATHE_HW_B_FRAMES && !reordered)
        ok = media_probe_verdict(&one, LATHE_HW_UNSUPPORTED, "the driver makes none");
    snprintf(why, size, "%s", one.reason);
    if (!ok && is_fatal(one.verdict)) {
        trial->verdict = one.verdict;
        memcpy(trial->reason, one.reason, sizeof(trial->reason));
    }
    return ok;
}

static void learn_tools(struct media_probe *probe, const struct lathe_encoder_request *base,
                        struct lathe_hw_trial *trial)
{
    static const unsigned nvenc[] = {LATHE_HW_B_FRAMES,  LATHE_HW_B_REF,       LATHE_HW_SPATIAL_AQ,
                                     LATHE_HW_LOOKAHEAD, LATHE_HW_TEMPORAL_AQ, LATHE_HW_MULTIPASS};
    static const unsigned vaapi[] = {LATHE_HW_B_FRAMES, LATHE_HW_B_REF};
    const unsigned *tools = probe->family->encoder == LATHE_ENCODER_NVENC ? nvenc : vaapi;
    size_t n =
        probe->family->encoder == LATHE_ENCODER_NVENC ? LATHE_COUNT(nvenc) : LATHE_COUNT(vaapi);
    unsigned all = 0, working = 0;
    char why[sizeof(trial->reason)];
    for (size_t i = 0; i < n; i++)
        all |= tools[i];
    if (try_features(probe, *base, all, trial, why, sizeof(why)))
        working = all;
    for (size_t i = 0; i < n && working != all && !is_fatal(trial->verdict); i++) {
        unsigned needed = needs(tools[i]);
        bool possible = (working & needed) == needed;
        if (possible && try_features(probe, *base, tools[i] | needed, trial, why, sizeof(why)))
            working |= tools[i];
        else if (!is_fatal(trial->verdict))
            note(trial, lathe_hw_feature_name(__builtin_ctz(tools[i])),
                 possible ? why : "it needs what does not work");
    }
    /* Each alone does not mean all together. */
    for (size_t i = n; i-- > 0 && working && working != all && !is_fatal(trial->verdict);) {
        if (try_features(probe, *base, working, trial, why, sizeof(why)))
            break;
        if (working & tools[i])
            note(trial, lathe_hw_feature_name(__builtin_ctz(tools[i])), "not with the others");
        working &= ~tools[i];
    }
    trial->features |= working;
}

struct rate {
    unsigned feature;
    enum lathe_rate_mode mode;
    bool capped;
};
static const struct rate nvenc_rates[] = {{LATHE_HW_RC_VBR, LATHE_RATE_VBR, false},
                                          {LATHE_HW_RC_CBR, LATHE_RATE_CBR, false},
                                          {LATHE_HW_RC_CQ, LATHE_RATE_QUALITY, true}};
static const struct rate vaapi_rates[] = {{LATHE_HW_RC_VBR, LATHE_RATE_VBR, false},
                                          {LATHE_HW_RC_CQP, LATHE_RATE_QUALITY, false},
                                          {LATHE_HW_RC_CBR, LATHE_RATE_CBR, false},
                                          {LATHE_HW_RC_ICQ, LATHE_RATE_QUALITY, false},
                                          {LATHE_HW_RC_QVBR, LATHE_RATE_QUALITY, true}};

/* Every way to control the rate, with nothing else; `base` becomes the first that works. */
static void learn_rates(struct media_probe *probe, struct lathe_encoder_request *base,
                        struct lathe_hw_trial *trial)
{
    bool is_nvenc = probe->family->encoder == LATHE_ENCODER_NVENC;
    const struct rate *rates = is_nvenc ? nvenc_rates : vaapi_rates;
    size_t n = is_nvenc ? LATHE_COUNT(nvenc_rates) : LATHE_COUNT(vaapi_rates);
    struct lathe_encoder_request request = *base;
    for (size_t i = 0; i < n; i++) {
        struct lathe_hw_trial one = {0};
        request.rate_mode = rates[i].mode;
        request.maxrate_kbps = rates[i].capped ? 2 * BITRATE_KBPS : 0;
        request.features = rates[i].feature;
        if (encode(probe, &request, &one, NULL)) {
            if (!trial->features)
                *base = request;
            trial->features |= rates[i].feature;
            continue;
        }
        if (trial->verdict == LATHE_HW_UNTRIED) {
            trial->verdict = one.verdict;
            memcpy(trial->reason, one.reason, sizeof(trial->reason));
        }
        /* Only a refusal of this very mode leaves hope for the others. */
        if (one.verdict != LATHE_HW_UNSUPPORTED)
            return;
    }
    if (trial->features) {
        trial->verdict = LATHE_HW_WORKS;
        trial->reason[0] = '\0';
    }
}

static enum lathe_codec codec_of(const char *name)
{
    enum lathe_codec codec = LATHE_CODEC_AV1;
    while (codec > LATHE_CODEC_H264 && strcmp(name, lathe_codec_name(codec)) != 0)
        codec--;
    return codec;
}

static AVBufferRef *prepare(struct media_probe *probe, struct lathe_hw_trial *trial,
                            struct lathe_encoder_request *ret)
{
    enum lathe_codec codec = codec_of(trial->codec);
    const char *name = probe->family->encoder_name(codec);
    enum AVPixelFormat format = probe->family->pixel_format(codec, trial->bits);
    if (!name || format == AV_PIX_FMT_NONE) {
        if (!name)
            media_probe_verdict(trial, LATHE_HW_UNSUPPORTED, "this FFmpeg has no %s_%s",
                                trial->codec, probe->family->name);
        else
            media_probe_verdict(trial, LATHE_HW_UNSUPPORTED, "not made by Lathe in %d bit",
                                trial->bits);
        return NULL;
    }
    snprintf(trial->with, sizeof(trial->with), "%s", name);
    lathe_hwaccel_log_start();
    AVBufferRef *pool =
        lathe_hwaccel_pool(&probe->device, format, MEDIA_PROBE_WIDTH, MEDIA_PROBE_HEIGHT);
    if (!pool)
        media_probe_failed(probe, AVERROR(EIO), true, trial);
    *ret = media_probe_request(codec, format);
    ret->device = &probe->device;
    ret->frames = pool;
    return pool;
}

void media_probe_encode(struct media_probe *probe, struct lathe_hw_trial *trial)
{
    struct lathe_encoder_request base;
    AVBufferRef *pool = prepare(probe, trial, &base);
    if (!pool)
        return;
    learn_rates(probe, &base, trial);
    if (trial->verdict == LATHE_HW_WORKS)
        learn_tools(probe, &base, trial);
    av_buffer_unref(&pool);
}

void media_probe_sessions(struct media_probe *probe, struct lathe_hw_trial *trial)
{
    if (!probe->family->limits_sessions) {
        media_probe_verdict(trial, LATHE_HW_UNSUPPORTED, "drivers of this family set no limit");
        return;
    }
    struct lathe_encoder_request request;
    AVCodecContext *open[LATHE_HW_SESSIONS_MAX] = {NULL};
    snprintf(trial->codec, sizeof(trial->codec), "h264");
    trial->bits = 8;
    AVBufferRef *pool = prepare(probe, trial, &request);
    trial->codec[0] = '\0';
    trial->bits = 0;
    if (!pool)
        return;
    request.rate_mode = LATHE_RATE_VBR;
    unsigned n = 0;
    int r = 0;
    for (; n < LATHE_HW_SESSIONS_MAX && r >= 0; n += r >= 0) {
        struct lathe_error err = {0};
        char options[512];
        lathe_hwaccel_log_start();
        r = probe->family->open_encoder(&request, &open[n], options, sizeof(options), &err);
        if (r >= 0)
            r = media_probe_step(probe);
    }
    if (n == 0 && r < 0) {
        media_probe_failed(probe, r, true, trial);
    } else {
        trial->sessions = n;
        trial->verdict = LATHE_HW_WORKS;
        snprintf(trial->reason, sizeof(trial->reason), "%s",
                 r < 0 ? "the next one was refused" : "no limit was met");
    }
    for (unsigned i = 0; i < LATHE_HW_SESSIONS_MAX; i++)
        avcodec_free_context(&open[i]);
    av_buffer_unref(&pool);
}
