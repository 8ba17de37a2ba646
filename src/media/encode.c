/* SPDX-License-Identifier: MIT */
#include "encode.h"

#include <errno.h>
#include <libavcodec/bsf.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <limits.h>
#include <math.h>

#include "setup.h"

/* Steering: begin as soon as a little of the stretch is known, look again every few frames, and
 * leave the last frames alone. The factor may rise far, since the bitrate is a promise; it may fall
 * only as far as the stretch is known: a quiet beginning may be followed by something hard. */
#define STEER_FROM 0.06
#define STEER_TO 0.97
#define STEER_EVERY 8
#define STEER_UP 6.0
#define STEER_DOWN 1.0
#define STEER_DOWN_BY_PROGRESS 4.0
/* Weight of the budget itself, as a guess of the stretch's size, against what was measured. */
#define STEER_PRIOR 0.12
/* Steps of the rate factor that halve the size of a chunk, key frames and others together. */
#define STEER_HALVING 4.2

static double seconds(const struct lathe_plan *plan, int64_t ticks)
{
    return (double)ticks * plan->time_base.num / plan->time_base.den;
}

static AVRational rational(struct lathe_rational r)
{
    return (AVRational){r.num, r.den};
}

/* A short GOP changes the parameter sets (fewer B-frames, intra profile), which must be the same in
 * every chunk: only long ones are made equal within a chunk. */
#define GOP_FRAMES_FREE 64

static int gop_frames(const struct lathe_plan *plan, double gop_seconds)
{
    double fps = av_q2d(rational(plan->frame_rate));
    double longest = fmax(1, round(plan->gop_seconds * fps));
    if (longest <= GOP_FRAMES_FREE)
        return (int)longest;
    return (int)fmax(GOP_FRAMES_FREE, ceil(gop_seconds * fps + 0.5));
}

static int64_t frame_ticks(const struct lathe_plan *plan)
{
    int64_t ticks =
        av_rescale_q(1, av_inv_q(rational(plan->frame_rate)), rational(plan->time_base));
    return ticks > 0 ? ticks : 1;
}

/* Its rate control has no factor that the job's model knows: it is asked for the size that the
 * model expects, under the job's cap. */
static void ask_gpu(struct lathe_encoder_request *request, const struct media_encoder_setup *setup,
                    double length)
{
    const struct lathe_plan_rendition *r = &setup->plan->renditions[setup->rendition];
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(request->pix_fmt);
    const struct lathe_hwaccel *family = setup->gpu->device.family;
    request->pix_fmt = family->pixel_format(request->codec, desc ? desc->comp[0].depth : 8);
    request->device = &setup->gpu->device;
    request->frames = setup->frames;
    request->features = setup->gpu->features;
    if (!setup->rate.expected_bytes)
        return;
    double kbps = (double)setup->rate.expected_bytes * 8 / 1000 / length;
    if (r->maxrate_kbps > 0)
        kbps = fmin(kbps, r->maxrate_kbps);
    request->rate_mode = LATHE_RATE_VBR;
    request->bitrate_kbps = (int)fmin(fmax(kbps, 1), INT_MAX / 4000);
}

int media_encoder_open(struct media_encoder *ret, const struct media_encoder_setup *setup,
                       struct lathe_error *err)
{
    const struct lathe_plan *plan = setup->plan;
    const struct lathe_plan_rendition *r = &plan->renditions[setup->rendition];
    *ret = (struct media_encoder){
        .family = setup->gpu ? setup->gpu->device.family : &lathe_hwaccel_software,
        .budget_bytes = setup->rate.budget_bytes,
        .base_quality = setup->rate.quality,
        .quality = setup->rate.quality,
        .forced_keys = plan->n_renditions > 1 || setup->gpu,
        .n_recent = plan->lead_out_frames && !setup->gpu ? (unsigned)plan->lead_out_frames + 1 : 0,
        .frame_ticks = frame_ticks(plan),
    };
    /* GOPs of equal length, none longer than the plan allows: no short one before the join. */
    int64_t end = setup->end == INT64_MAX ? plan->duration : setup->end;
    double length = fmax(seconds(plan, end - setup->start), 1e-6);
    double gop_seconds = length / fmax(1, ceil(length / plan->gop_seconds - 1e-6));
    ret->gop_ticks = (int64_t)ceil(gop_seconds * plan->time_base.den / plan->time_base.num);
    ret->next_key = 0;
    struct lathe_encoder_request request = {
        .codec = plan->codec,
        .preset = plan->preset,
        .width = r->width,
        .height = r->height,
        .sar = rational(r->sar),
        .time_base = rational(plan->time_base),
        .frame_rate = rational(plan->frame_rate),
        .pix_fmt = av_get_pix_fmt(r->pix_fmt),
        .color_range = plan->color_range,
        .color_primaries = plan->color_primaries,
        .color_transfer = plan->color_transfer,
        .color_matrix = plan->color_matrix,
        .chroma_location = plan->chroma_location,
        .interlaced = plan->interlaced,
        .top_field_first = plan->top_field_first,
        .quality = setup->rate.quality,
        .maxrate_kbps = setup->uncapped ? 0 : r->maxrate_kbps,
        .bufsize_kbit = setup->uncapped ? 0 : r->bufsize_kbit,
        .starts_title = setup->starts_title,
        .gop_frames = gop_frames(plan, gop_seconds),
        .forced_keys_only = ret->forced_keys,
        .threads = plan->encoder_threads,
        .mastering_display = plan->mastering_display,
        .content_light = plan->content_light,
    };
    if (setup->gpu)
        ask_gpu(&request, setup, length);
    return ret->family->open_encoder(&request, &ret->codec, ret->options, sizeof(ret->options),
                                     err);
}

#ifdef __SANITIZE_ADDRESS__
/* FFmpeg 5 forgets 8 bytes for each picture that is still inside x265 when it closes. Only a leak
 * checker minds; taking the pictures out means encoding them, which users need not wait for. */
static void take_out(AVCodecContext *codec)
{
    AVPacket *packet = codec && avcodec_is_open(codec) ? av_packet_alloc() : NULL;
    if (packet) {
        avcodec_send_frame(codec, NULL);
        while (avcodec_receive_packet(codec, packet) >= 0)
            av_packet_unref(packet);
    }
    av_packet_free(&packet);
}
#endif

void media_encoder_close(struct media_encoder *encoder)
{
#ifdef __SANITIZE_ADDRESS__
    take_out(encoder->codec);
#endif
    avcodec_free_context(&encoder->codec);
    free(encoder->times);
    for (unsigned i = 0; i < encoder->n_recent; i++)
        av_frame_free(&encoder->recent[i]);
}

/* x264 fed with real times writes the time base's clock into the SPS, and a reader that trusts it
 * takes the stream for one of 12800 frames a second: state the frame rate instead. */
static int state_frame_rate(const AVCodecContext *codec, AVCodecParameters *par)
{
    const AVBitStreamFilter *filter = av_bsf_get_by_name("h264_metadata");
    AVBSFContext *bsf = NULL;
    char rate[48];
    if (!filter || par->codec_id != AV_CODEC_ID_H264)
        return 0;
    snprintf(rate, sizeof(rate), "%lld/%d", 2LL * codec->framerate.num, codec->framerate.den);
    int r = av_bsf_alloc(filter, &bsf);
    if (r >= 0)
        r = avcodec_parameters_copy(bsf->par_in, par);
    if (r >= 0)
        r = av_opt_set(bsf->priv_data, "tick_rate", rate, 0);
    if (r >= 0)
        r = av_bsf_init(bsf);
    if (r >= 0)
        r = avcodec_parameters_copy(par, bsf->par_out);
    av_bsf_free(&bsf);
    return r;
}

int media_encoder_parameters(const struct media_encoder *encoder, AVCodecParameters *ret,
                             struct lathe_error *err)
{
    int r = avcodec_parameters_from_context(ret, encoder->codec);
    if (r >= 0)
        r = state_frame_rate(encoder->codec, ret);
    return r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot describe the stream of %s",
                               encoder->codec->codec->name)
                 : 0;
}

/* What comes out lags what goes in by the lookahead; `progress` is of what came out. */
static void steer(struct media_encoder *e, double progress)
{
    if (!e->budget_bytes || progress < STEER_FROM || progress > STEER_TO ||
        e->frames_in % STEER_EVERY || !e->family->set_quality || !e->sample.frames)
        return;
    double bytes = (double)(e->sample.key_bytes + e->sample.other_bytes);
    double budget = (double)e->budget_bytes;
    double mean_quality = e->quality_sum / (double)e->frames_in;
    /* Bytes a unit of progress at the quality so far, and what the rest may take. */
    double rate = (STEER_PRIOR * budget + bytes) / (STEER_PRIOR + progress);
    double left = fmax(budget - bytes, budget * 0.02) / (1 - progress);
    double quality = mean_quality + STEER_HALVING * log2(rate / left);
    double down = STEER_DOWN + STEER_DOWN_BY_PROGRESS * progress;
    quality = fmin(fmax(quality, e->base_quality - down), e->base_quality + STEER_UP);
    if (fabs(quality - e->quality) < 0.05)
        return;
    if (e->family->set_quality(e->codec, quality) < 0)
        e->budget_bytes = 0; /* this encoder keeps its factor */
    else
        e->quality = quality;
}

static int send_frame(struct media_encoder *e, const AVFrame *frame, struct lathe_error *err)
{
    int r = avcodec_send_frame(e->codec, frame);
    if (r == AVERROR_EOF && !frame)
        return 0;
    return r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot encode with %s",
                               e->codec->codec->name)
                 : 0;
}

static int remember(struct media_encoder *e, const AVFrame *frame)
{
    if (!e->n_recent)
        return 0;
    AVFrame **place = &e->recent[e->frames_in % e->n_recent];
    if (!*place && !(*place = av_frame_alloc()))
        return -ENOMEM;
    av_frame_unref(*place);
    return av_frame_ref(*place, frame) < 0 ? -ENOMEM : 0;
}

int media_encoder_send_lead_out(struct media_encoder *e, int number, struct lathe_error *err)
{
    uint64_t n = e->frames_in < e->n_recent ? e->frames_in : e->n_recent;
    if (!n)
        return 0;
    /* Back and forth over the last n pictures, beginning with the last but one. */
    uint64_t turn = n > 1 ? 2 * (n - 1) : 1, at = (uint64_t)(number + 1) % turn;
    uint64_t back = at < n ? at : turn - at;
    const AVFrame *last = e->recent[(e->frames_in - 1) % e->n_recent];
    _cleanup_frame_ AVFrame *frame =
        av_frame_clone(e->recent[(e->frames_in - 1 - back) % e->n_recent]);
    if (!frame)
        return lathe_error_nomem(err);
    frame->pts = last->pts + (number + 1) * e->frame_ticks;
    frame->pict_type = number ? AV_PICTURE_TYPE_NONE : AV_PICTURE_TYPE_I;
    return send_frame(e, frame, err);
}

static int note_time(struct media_encoder *e, int64_t time)
{
    if (e->frames_in == e->times_capacity) {
        uint64_t grown = e->times_capacity ? e->times_capacity * 2 : 256;
        int64_t *times = realloc(e->times, grown * sizeof(*times));
        if (!times)
            return -ENOMEM;
        e->times = times;
        e->times_capacity = grown;
    }
    e->times[e->frames_in] = time;
    return 0;
}

/* Deeper than any encoder of a GPU reorders; the merge makes its own. */
#define GPU_REORDER 4

static void stamp(const struct media_encoder *e, AVPacket *packet)
{
    uint64_t n = e->sample.frames;
    packet->dts = n >= GPU_REORDER ? e->times[n - GPU_REORDER]
                                   : e->times[0] - (int64_t)(GPU_REORDER - n) * e->frame_ticks;
    packet->duration = e->frame_ticks;
}

int media_encoder_send(struct media_encoder *e, AVFrame *frame, double progress,
                       struct lathe_error *err)
{
    if (frame) {
        frame->pict_type = AV_PICTURE_TYPE_NONE;
        if (e->forced_keys && frame->pts >= e->next_key) {
            frame->pict_type = AV_PICTURE_TYPE_I;
            while (e->next_key <= frame->pts)
                e->next_key += e->gop_ticks;
        }
        steer(e, progress);
        bool is_gpu = e->family->device_type != AV_HWDEVICE_TYPE_NONE;
        if (remember(e, frame) < 0 || (is_gpu && note_time(e, frame->pts) < 0))
            return lathe_error_nomem(err);
        e->frames_in++;
        e->quality_sum += e->quality;
    }
    return send_frame(e, frame, err);
}

int media_encoder_receive(struct media_encoder *e, AVPacket *ret, struct lathe_error *err)
{
    int r = avcodec_receive_packet(e->codec, ret);
    if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
        return 0;
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot encode with %s",
                           e->codec->codec->name);
    if (e->times && e->sample.frames >= e->frames_in) {
        av_packet_unref(ret);
        return lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL, "%s made more than it was given",
                               e->codec->codec->name);
    }
    if (e->times)
        stamp(e, ret);
    e->sample.frames++;
    if (ret->flags & AV_PKT_FLAG_KEY) {
        e->sample.key_frames++;
        e->sample.key_bytes += (uint64_t)ret->size;
    } else {
        e->sample.other_bytes += (uint64_t)ret->size;
    }
    e->sample.quality = e->frames_in ? e->quality_sum / (double)e->frames_in : e->quality;
    return 1;
}
