/* SPDX-License-Identifier: MIT */
#include "stretch.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "extent.h"
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

/* Only two a stretch: pictures on a device are downloaded for it. */
static int hash_picture(const AVFrame *frame, char ret[MEDIA_HASH_BYTES], struct lathe_error *err)
{
    _cleanup_frame_ AVFrame *picture = NULL;
    int r = media_picture_fetch(frame, &picture);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot fetch a picture");
    media_picture_hash(picture, ret);
    return 0;
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
    if (media_gpu_decodes(s->gpu))
        return media_gpu_refuse(err, LATHE_HW_WRONG, "the GPU decoded %u of %u frames", s->frames,
                                expected);
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

static int begin_file(struct media_stretch *s, struct media_rendition *r, const AVPacket *first,
                      struct lathe_error *err)
{
    _cleanup_(avcodec_parameters_free) AVCodecParameters *par = avcodec_parameters_alloc();
    if (!par)
        return lathe_error_nomem(err);
    AVStream *stream = NULL;
    int code = media_encoder_parameters(&r->encoder, par, err);
    if (code >= 0 && first)
        code = media_headers_take(&r->headers, par, first, err);
    if (code >= 0)
        code = media_mux_add(&r->mux, par, plan_time_base(s->plan), &stream, err);
    if (code >= 0)
        code = media_mux_begin(&r->mux, false, s->plan->time_base.den, err);
    r->mux_begun = code >= 0;
    return code;
}

/* `frames`: the pool of the pictures to come, of an encoder on a GPU. */
static int open_encoder(struct media_stretch *s, int i, AVBufferRef *frames,
                        struct lathe_error *err)
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
        .gpu = media_gpu_encodes(s->gpu) ? s->gpu : NULL,
        .frames = frames,
    };
    int code = media_encoder_open(&r->encoder, &setup, err);
    if (code < 0)
        return code;
    r->encoder_open = true;
    if (s->gpu) {
        s->gpu->working = true;
        for (int k = 0; k < s->plan->n_renditions; k++)
            s->gpu->working &= s->renditions[k].encoder_open;
    }
    return 0;
}

/* An encoder on a GPU is opened when it is known where its pictures lie, its file when it is known
 * which parameter sets it makes. */
static int open_rendition(struct media_stretch *s, int i, struct lathe_error *err)
{
    struct media_rendition *r = &s->renditions[i];
    int code = media_filter_init(&r->filter, s->plan, i, s->gpu);
    if (code < 0)
        return code;
    r->filter_open = true;
    if (!media_gpu_encodes(s->gpu))
        code = open_encoder(s, i, NULL, err);
    if (code < 0 || !s->out_paths)
        return code;
    code = media_mux_open(&r->mux, s->out_paths[i], err);
    if (code < 0)
        return code;
    r->mux_open = true;
    return media_gpu_encodes(s->gpu) ? 0 : begin_file(s, r, NULL, err);
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
        media_headers_finish(&r->headers);
        media_gate_finish(&r->gate);
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
        if (!r->mux_begun)
            code = begin_file(s, r, packet, err);
        if (code >= 0)
            code = media_headers_strip(&r->headers, packet, err);
        if (code < 0)
            return code;
        packet->stream_index = 0;
        code = media_mux_write(&r->mux, packet, plan_time_base(s->plan), err);
        if (code < 0)
            return code;
    }
    return code;
}

/* The first picture, every so many, and the last: a driver that begins to fail mostly goes on. */
static bool is_sampled(const struct media_stretch *s, uint32_t number)
{
    return s->gpu && (number % MEDIA_GATE_EVERY == 0 || number + 1 == s->n_cost);
}

/* Pictures of the plan's shape and range look like what is to come out; others are compared after
 * scaling only. */
static bool looks_like_result(const struct media_stretch *s, const AVFrame *frame)
{
    return !s->plan->deinterlace && frame->width == s->plan->source_width &&
           frame->height == s->plan->source_height &&
           (frame->color_range == AVCOL_RANGE_JPEG) == (s->plan->color_range == AVCOL_RANGE_JPEG);
}

static int take_thumb(const AVFrame *frame, struct media_thumb *ret, struct lathe_error *err)
{
    _cleanup_frame_ AVFrame *picture = NULL;
    int code = media_picture_fetch(frame, &picture);
    if (code < 0)
        return media_error(err, code, LATHE_FAULT_INTERNAL, "cannot fetch a picture");
    return media_picture_thumb(picture, ret);
}

static int sample_scaled(struct media_stretch *s, struct media_rendition *r, const AVFrame *scaled,
                         struct lathe_error *err)
{
    uint32_t number = (uint32_t)r->encoder.frames_in;
    struct media_thumb thumb;
    bool done = r->gate.count && r->gate.samples[r->gate.count - 1].frame >= number;
    if (done || !is_sampled(s, number) || !media_gpu_encodes(s->gpu))
        return 0;
    int code = take_thumb(scaled, &thumb, err);
    if (code > 0 && media_gate_add(&r->gate, number, &thumb) < 0)
        return lathe_error_nomem(err);
    return code < 0 ? code : 0;
}

/* Taken before anything is scaled, so that a scaler that fails is seen as well. */
static int sample_source(struct media_stretch *s, const AVFrame *frame, struct lathe_error *err)
{
    uint32_t number = s->frames - 1;
    struct media_thumb thumb;
    if (!is_sampled(s, number) || !looks_like_result(s, frame))
        return 0;
    int code = take_thumb(frame, &thumb, err);
    for (int i = 0; i < s->plan->n_renditions && code > 0; i++)
        if (media_gate_add(&s->renditions[i].gate, number, &thumb) < 0)
            return lathe_error_nomem(err);
    return code < 0 ? code : 0;
}

/* The error is about one rendition and says so. */
static int of_rendition(const struct media_stretch *s, int i, int code, struct lathe_error *err)
{
    if (code < 0 && err && s->plan->n_renditions > 1)
        err->gpu_rendition = i + 1;
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
            code = r->encoder_open
                       ? 0
                       : open_encoder(s, (int)(r - s->renditions), picture->hw_frames_ctx, err);
            if (code >= 0)
                code = sample_scaled(s, r, picture, err);
            if (code >= 0)
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
            return of_rendition(s, i, code, err);
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
        int code = 0;
        if (!r->encoder_open)
            code = media_gpu_refuse(err, LATHE_HW_WRONG, "no picture came out of the filters");
        if (code >= 0 && (s->tail_hash[0] || s->max_frames))
            code = show_lead_out(s, r, packet, err);
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
        if (code >= 0 && r->mux_open && s->gpu)
            code = media_gate_check(&r->gate, s->out_paths[i], s->frames, err);
        if (code < 0)
            return of_rendition(s, i, code, err);
        s->gpu_checked += (uint32_t)code;
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
            r = hash_picture(frame, s->tail_hash, err);
        if (!past && time >= s->start) {
            if (!s->frames) {
                s->first_time = time;
                r = hash_picture(frame, s->head_hash, err);
            }
            s->frames++;
            if (r >= 0)
                r = sample_source(s, frame, err);
            s->last_time = time;
            s->last_duration = last_duration(s);
        }
        if (r >= 0 && (!past || s->plan->lead_in_frames)) {
            frame->pts = time - s->start;
            r = push(s, frame, picture, packet, err);
        }
        av_frame_unref(frame);
        struct lathe_progress now = {.frames = s->frames,
                                     .bytes = media_reader_bytes(&s->source.reader)};
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
    s->gpu_checked = 0;
    s->head_hash[0] = s->tail_hash[0] = '\0';
    s->source =
        (struct media_decoder){.reader = {.source = {.fd = -1}, .cut = {.source = {.fd = -1}}}};
    memset(s->renditions, 0, sizeof(s->renditions));
    if (!frame || !picture || !packet || predict_cost(s) < 0) {
        free(s->cost);
        s->cost = NULL;
        return lathe_error_nomem(err);
    }
    const struct media_decoder_input input = {
        .path = s->packets_path ? s->packets_path : s->source_path,
        .need = s->packets_path ? s->need : NULL,
        .first_packet = s->first_packet,
        .linear = s->linear,
    };
    int r = media_decoder_open(&s->source, &input, s->plan, s->index, s->start, s->end,
                               media_gpu_decodes(s->gpu) ? s->gpu : NULL, err);
    if (r >= 0 && !s->gpu && !s->source.ordinal)
        s->source.last_packet =
            s->max_frames
                ? media_extent_of_pilot(s->plan, s->index, s->first_packet, s->start, s->max_frames)
                : media_extent_of_chunk(s->plan, s->index, s->first_packet, s->end);
    for (int i = 0; i < s->plan->n_renditions && r >= 0; i++)
        r = open_rendition(s, i, err);
    if (r >= 0)
        r = run_frames(s, frame, picture, packet, err);
    s->damaged += s->source.damaged;
    if (r >= 0 && !s->frames && media_gpu_decodes(s->gpu))
        r = media_gpu_refuse(err, LATHE_HW_WRONG, "the GPU decoded no frame");
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
        s->gpu_checked += s->source.witness.checked;
        snprintf(s->decoder, sizeof(s->decoder), "%s%s%s", s->source.codec->codec->name,
                 media_gpu_decodes(s->gpu) ? " on " : "",
                 media_gpu_decodes(s->gpu) ? s->gpu->device.family->name : "");
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
