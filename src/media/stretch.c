/* SPDX-License-Identifier: MIT */
#include "stretch.h"

#include <errno.h>
#include <libavutil/adler32.h>
#include <libavutil/imgutils.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "setup.h"

#define COST_EXPONENT 0.6 /* how a frame's size follows its size in the source */

static AVRational plan_time_base(const struct lathe_plan *plan)
{
    return (AVRational){plan->time_base.num, plan->time_base.den};
}

/* --- the expected course of the stretch, from the index --- */

struct timed {
    int64_t time;
    double cost;
};

static int compare_timed(const void *a, const void *b)
{
    int64_t x = ((const struct timed *)a)->time, y = ((const struct timed *)b)->time;
    return x < y ? -1 : x > y;
}

static bool owns(const struct media_stretch *s, int64_t time)
{
    return time >= s->start && time < s->end;
}

static int predict_cost(struct media_stretch *s)
{
    const struct media_index *index = s->index;
    struct timed *frames = malloc((index->count + 1) * sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < index->count; i++) {
        const struct media_index_entry *e = &index->entries[i];
        int64_t time = s->plan->times_from_dts ? e->dts_time : e->time;
        if (time != MEDIA_NO_TIME && owns(s, time - s->plan->origin))
            frames[n++] = (struct timed){time, pow(e->size, COST_EXPONENT)};
    }
    qsort(frames, n, sizeof(*frames), compare_timed);
    s->cost = malloc((n + 1) * sizeof(*s->cost));
    if (s->cost) {
        s->n_cost = n;
        s->cost[0] = 0;
        for (uint32_t i = 0; i < n; i++)
            s->cost[i + 1] = s->cost[i] + frames[i].cost;
    }
    free(frames);
    return s->cost ? 0 : -ENOMEM;
}

static double progress_of(const struct media_stretch *s, uint32_t frames_out)
{
    if (!s->n_cost || s->cost[s->n_cost] <= 0)
        return 1;
    return s->cost[frames_out < s->n_cost ? frames_out : s->n_cost] / s->cost[s->n_cost];
}

/* --- proof that nothing was lost --- */

static void hash_picture(const AVFrame *frame, char ret[40])
{
    size_t n = 0;
    ret[0] = '\0';
    for (int plane = 0; plane < 3 && frame->data[plane]; plane++) {
        int bytes = av_image_get_linesize(frame->format, frame->width, plane);
        int rows = plane ? -(-frame->height >> 1) : frame->height;
        if (bytes <= 0)
            break;
        if (plane && (frame->format == AV_PIX_FMT_YUV444P || frame->format == AV_PIX_FMT_YUV422P))
            rows = frame->height;
        AVAdler sum = 1;
        for (int y = 0; y < rows; y++)
            sum = av_adler32_update(sum, frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane],
                                    (size_t)bytes);
        n += (size_t)snprintf(ret + n, 40 - n, "%s%08x", plane ? "-" : "", (unsigned)sum);
    }
}

/* In these codecs every packet (that is no second field) is one picture. */
static bool packets_are_pictures(enum AVCodecID id)
{
    return id == AV_CODEC_ID_H264 || id == AV_CODEC_ID_HEVC || id == AV_CODEC_ID_AV1 ||
           id == AV_CODEC_ID_VP9 || id == AV_CODEC_ID_PRORES || id == AV_CODEC_ID_DNXHD ||
           id == AV_CODEC_ID_FFV1;
}

static int check_count(struct media_stretch *s, struct lathe_error *err)
{
    if (s->max_frames || s->plan->times_from_dts || s->source.ordinal ||
        !packets_are_pictures(s->source.codec->codec_id))
        return 0;
    uint32_t expected = 0;
    for (uint32_t i = s->source.first_key; i < s->index->count; i++) {
        const struct media_index_entry *e = &s->index->entries[i];
        /* Leading pictures of the first key frame refer to what was never in the file. */
        if (e->time != MEDIA_NO_TIME && owns(s, e->time - s->plan->origin) &&
            (e->time >= s->source.first_key_time || s->source.first_key_time == MEDIA_NO_TIME))
            expected++;
    }
    if (s->frames >= expected)
        return 0;
    s->damaged += expected - s->frames;
    if (s->plan->conceal_damage)
        return 0;
    lathe_error_set(err, -EILSEQ, LATHE_FAULT_INPUT,
                    "%s is damaged: %u of %u frames could not be decoded after %.3f s",
                    s->source_path, expected - s->frames, expected,
                    (double)s->start * av_q2d(plan_time_base(s->plan)));
    lathe_error_hint(err, "copy the file again, or use --damaged conceal to convert what can be "
                          "decoded");
    return -EILSEQ;
}

/* --- set up and tear down --- */

static int open_rendition(struct media_stretch *s, int i, struct lathe_error *err)
{
    struct media_rendition *r = &s->renditions[i];
    struct media_encoder_setup setup = {
        .plan = s->plan,
        .rendition = i,
        .rate = s->rates[i],
        .starts_title = s->start <= 0,
        .uncapped = s->uncapped,
        .start = s->start,
        .end = s->end,
    };
    int code = media_filter_init(&r->filter, s->plan, i);
    if (code < 0)
        return code;
    r->filter_open = true;
    code = media_encoder_open(&r->encoder, &setup, err);
    if (code < 0)
        return code;
    r->encoder_open = true;
    if (!s->out_paths)
        return 0;
    code = media_mux_open(&r->mux, s->out_paths[i], err);
    if (code < 0)
        return code;
    r->mux_open = true;
    _cleanup_(avcodec_parameters_free) AVCodecParameters *par = avcodec_parameters_alloc();
    if (!par)
        return lathe_error_nomem(err);
    AVStream *stream = NULL;
    code = media_encoder_parameters(&r->encoder, par, err);
    if (code >= 0)
        code = media_mux_add(&r->mux, par, plan_time_base(s->plan), &stream, err);
    if (code >= 0)
        code = media_mux_begin(&r->mux, false, s->plan->time_base.den, err);
    return code;
}

static void close_all(struct media_stretch *s)
{
    for (int i = 0; i < s->plan->n_renditions; i++) {
        struct media_rendition *r = &s->renditions[i];
        if (r->filter_open)
            media_filter_finish(&r->filter);
        if (r->encoder_open)
            media_encoder_close(&r->encoder);
        if (r->mux_open)
            media_mux_close(&r->mux);
    }
    media_decoder_close(&s->source);
    free(s->cost);
    s->cost = NULL;
}

/* --- the pipeline --- */

/* Whether more packets of the stretch are to come; those of the lead-out are never asked for. */
static bool is_open(const struct media_stretch *s, const struct media_rendition *r)
{
    return !s->ended || r->encoder.sample.frames < s->frames;
}

static int take_packets(struct media_stretch *s, struct media_rendition *r, AVPacket *packet,
                        struct lathe_error *err)
{
    int code = 0;
    while (is_open(s, r) && (code = media_encoder_receive(&r->encoder, packet, err)) > 0) {
        if (!r->mux_open) {
            av_packet_unref(packet);
            continue;
        }
        packet->stream_index = 0;
        code = media_mux_write(&r->mux, packet, plan_time_base(s->plan), err);
        if (code < 0)
            return code;
    }
    return code;
}

/* Encodes what the filter has ready; context pictures outside the stretch are dropped here. */
static int take_filtered(struct media_stretch *s, struct media_rendition *r, AVFrame *picture,
                         AVPacket *packet, struct lathe_error *err)
{
    int code;
    while ((code = media_filter_receive(&r->filter, picture, err)) > 0) {
        int64_t time = picture->pts + s->start;
        if (s->frames && time >= s->first_time && time <= s->last_time) {
            code = media_encoder_send(&r->encoder, picture,
                                      progress_of(s, r->encoder.sample.frames), err);
            if (code >= 0)
                code = take_packets(s, r, packet, err);
        }
        av_frame_unref(picture);
        if (code < 0)
            return code;
    }
    return code;
}

static int push(struct media_stretch *s, const AVFrame *frame, AVFrame *picture, AVPacket *packet,
                struct lathe_error *err)
{
    for (int i = 0; i < s->plan->n_renditions; i++) {
        struct media_rendition *r = &s->renditions[i];
        int code = 0;
        if (frame && media_filter_changes(&r->filter, frame)) {
            code = media_filter_send(&r->filter, NULL, err);
            if (code >= 0)
                code = take_filtered(s, r, picture, packet, err);
        }
        if (code >= 0)
            code = media_filter_send(&r->filter, frame, err);
        if (code >= 0)
            code = take_filtered(s, r, picture, packet, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int show_lead_out(struct media_stretch *s, struct media_rendition *r, AVPacket *packet,
                         struct lathe_error *err)
{
    int code = 0;
    for (int i = 0; i < s->plan->lead_out_frames && is_open(s, r) && code >= 0; i++) {
        code = media_encoder_send_lead_out(&r->encoder, i, err);
        if (code >= 0)
            code = take_packets(s, r, packet, err);
    }
    return code;
}

static int finish_renditions(struct media_stretch *s, AVPacket *packet, struct lathe_error *err)
{
    for (int i = 0; i < s->plan->n_renditions; i++) {
        struct media_rendition *r = &s->renditions[i];
        int code = s->tail_hash[0] ? show_lead_out(s, r, packet, err) : 0;
        if (code >= 0 && is_open(s, r))
            code = media_encoder_send(&r->encoder, NULL, 1, err);
        if (code >= 0)
            code = take_packets(s, r, packet, err);
        if (code >= 0 && r->encoder.sample.frames != s->frames)
            code = lathe_error_set(
                err, -EILSEQ, LATHE_FAULT_INTERNAL, "the encoder of %s made %u frames of %u",
                s->plan->renditions[i].name, r->encoder.sample.frames, s->frames);
        if (code >= 0 && r->mux_open)
            code = media_mux_end(&r->mux, err);
        if (code < 0)
            return code;
        s->samples[i] = r->encoder.sample;
    }
    return 0;
}

static int64_t last_duration(const struct media_stretch *s)
{
    int64_t end = s->end == INT64_MAX ? s->plan->duration : s->end;
    return end > s->last_time ? end - s->last_time : s->source.frame_duration;
}

static int run_frames(struct media_stretch *s, AVFrame *frame, AVFrame *picture, AVPacket *packet,
                      struct lathe_error *err)
{
    for (;;) {
        int64_t time = 0;
        uint32_t number = 0;
        int r = media_decoder_next(&s->source, frame, &time, &number, err);
        if (r <= 0)
            return r;
        if (time < s->start && !s->plan->lead_in_frames) {
            av_frame_unref(frame);
            continue;
        }
        bool past = time >= s->end || (s->max_frames && s->frames == s->max_frames);
        if (past)
            hash_picture(frame, s->tail_hash);
        if (!past && time >= s->start) {
            if (!s->frames) {
                s->first_time = time;
                hash_picture(frame, s->head_hash);
            }
            s->frames++;
            s->last_time = time;
            s->last_duration = last_duration(s);
        }
        r = 0;
        if (!past || s->plan->lead_in_frames) {
            frame->pts = time - s->start;
            r = push(s, frame, picture, packet, err);
        }
        av_frame_unref(frame);
        struct lathe_progress now = {.frames = s->frames,
                                     .bytes = (uint64_t)s->source.reader.source.bytes_read};
        if (r >= 0 && s->progress && s->progress(s->opaque, &now))
            r = lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
        if (r < 0 || past)
            return r;
    }
}

static int run_once(struct media_stretch *s, struct lathe_error *err)
{
    _cleanup_frame_ AVFrame *frame = av_frame_alloc();
    _cleanup_frame_ AVFrame *picture = av_frame_alloc();
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    s->frames = 0;
    s->ended = false;
    s->damaged = 0;
    s->head_hash[0] = s->tail_hash[0] = '\0';
    s->source = (struct media_decoder){.reader = {.source = {.fd = -1}}};
    memset(s->renditions, 0, sizeof(s->renditions));
    if (!frame || !picture || !packet || predict_cost(s) < 0) {
        free(s->cost);
        s->cost = NULL;
        return lathe_error_nomem(err);
    }
    int r = media_decoder_open(&s->source, s->source_path, s->plan, s->index, s->first_packet,
                               s->start, s->linear, err);
    for (int i = 0; i < s->plan->n_renditions && r >= 0; i++)
        r = open_rendition(s, i, err);
    if (r >= 0)
        r = run_frames(s, frame, picture, packet, err);
    s->damaged += s->source.damaged;
    if (r >= 0 && !s->frames) {
        r = lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT,
                            "%s: no frame could be decoded after %.3f s", s->source_path,
                            (double)s->start * av_q2d(plan_time_base(s->plan)));
        lathe_error_hint(err, "the file is damaged, or not what its header says");
    }
    if (r >= 0)
        r = check_count(s, err);
    if (r >= 0)
        r = push(s, NULL, picture, packet, err);
    s->ended = true;
    if (r >= 0)
        r = finish_renditions(s, packet, err);
    if (r >= 0) {
        const struct media_rendition *first = &s->renditions[0];
        snprintf(s->decoder, sizeof(s->decoder), "%s", s->source.codec->codec->name);
        snprintf(s->filter, sizeof(s->filter), "%s", first->filter.description);
        snprintf(s->encoder, sizeof(s->encoder), "%s", first->encoder.codec->codec->name);
        snprintf(s->encoder_options, sizeof(s->encoder_options), "%s", first->encoder.options);
    }
    close_all(s);
    return r;
}

int media_stretch_run(struct media_stretch *s, struct lathe_error *err)
{
    int r = run_once(s, err);
    if (r == -ESTALE && !s->linear) {
        for (int i = 0; s->out_paths && i < s->plan->n_renditions; i++)
            unlink(s->out_paths[i]);
        s->linear = true;
        r = run_once(s, err);
    }
    return r;
}

void media_stretch_of_pilot(struct media_stretch *s, uint32_t number)
{
    const struct lathe_plan_pilot *pilot = &s->plan->pilots[number];
    s->first_packet = pilot->first_packet;
    s->start = pilot->start;
    s->end = INT64_MAX;
    s->max_frames = pilot->frames;
    s->uncapped = s->plan->passes == 1;
}
