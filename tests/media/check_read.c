/* SPDX-License-Identifier: MIT */
/*
 * Reading a file the way `ffmpeg -i` does: the default demuxer and decoder settings, edit lists
 * applied, every stream but cover art. What comes out here is the definition of "a frame" that
 * both files are held to.
 */
#include "check.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/pixdesc.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "barcode.h"

#define THUMB_W (CHECK_GRID_W * 8)
#define THUMB_H (CHECK_GRID_H * 8)
#define JUMP_SECONDS 10

#if LIBAVUTIL_VERSION_MAJOR >= 58
#define FRAME_DURATION(f) ((f)->duration)
#else
#define FRAME_DURATION(f) ((f)->pkt_duration)
#endif

struct track_reader {
    int stream;
    AVCodecContext *decoder;
    SwrContext *mono;
    float *samples; /* native rate */
    size_t count, capacity;
    int64_t raw_last, shift; /* stream time base */
    int jumps;
};

struct reader {
    AVFormatContext *format;
    AVCodecContext *decoder;
    struct SwsContext *scaler;
    int video;
    struct track_reader tracks[CHECK_TRACKS_MAX];
    size_t capacity;
    bool heal;
    int64_t shifts[CHECK_JUMPS_MAX]; /* video time base */
    int jumps;
    int64_t raw_last, last_dts;
    struct check_media *out;
};

static struct check_media *log_target;

static void count_errors(void *avcl, int level, const char *format, va_list args)
{
    (void)avcl;
    if (level > AV_LOG_ERROR || !log_target)
        return;
    if (!log_target->decode_errors++)
        vsnprintf(log_target->first_error, sizeof(log_target->first_error), format, args);
}

static AVCodecContext *open_decoder(const AVStream *stream)
{
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!context)
        return NULL;
    context->thread_count = 1;
    context->pkt_timebase = stream->time_base;
    if (avcodec_parameters_to_context(context, stream->codecpar) < 0 ||
        avcodec_open2(context, codec, NULL) < 0)
        avcodec_free_context(&context);
    return context;
}

static void read_side_data(const AVFrame *frame, struct check_media *out)
{
    const AVFrameSideData *sd =
        av_frame_get_side_data(frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    if (sd) {
        const AVMasteringDisplayMetadata *m = (const void *)sd->data;
        out->has_mastering = 1;
        out->mastering_red_x = av_q2d(m->display_primaries[0][0]);
        out->mastering_max_luminance = av_q2d(m->max_luminance);
    }
    sd = av_frame_get_side_data(frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    if (sd)
        out->max_cll = (int)((const AVContentLightMetadata *)sd->data)->MaxCLL;
}

static void read_picture_tags(const struct reader *r, AVFrame *frame, struct check_media *out)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(frame->format);
    out->width = frame->width;
    out->height = frame->height;
    out->depth = desc ? desc->comp[0].depth : 0;
    out->sar = av_guess_sample_aspect_ratio(r->format, r->format->streams[r->video], frame);
    if (out->sar.num == 0)
        out->sar = (AVRational){1, 1};
    out->range = frame->color_range;
    if (desc && !strncmp(desc->name, "yuvj", 4))
        out->range = AVCOL_RANGE_JPEG;
    out->primaries = frame->color_primaries;
    out->transfer = frame->color_trc;
    out->matrix = frame->colorspace;
    out->chroma_location = frame->chroma_location;
    read_side_data(frame, out);
}

static int summarize(struct reader *r, const AVFrame *frame, struct check_frame *ret)
{
    uint8_t thumb[3][THUMB_W * THUMB_H];
    uint8_t *planes[4] = {thumb[0], thumb[1], thumb[2], NULL};
    const int strides[4] = {THUMB_W, THUMB_W, THUMB_W, 0};
    r->scaler = sws_getCachedContext(r->scaler, frame->width, frame->height, frame->format, THUMB_W,
                                     THUMB_H, AV_PIX_FMT_YUV444P, SWS_AREA, NULL, NULL, NULL);
    if (!r->scaler)
        return -1;
    /* Same range in and out: the numbers in the file are compared, not their interpretation. */
    const int *coefficients = sws_getCoefficients(SWS_CS_DEFAULT);
    sws_setColorspaceDetails(r->scaler, coefficients, 0, coefficients, 0, 0, 1 << 16, 1 << 16);
    if (sws_scale(r->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
                  planes, strides) <= 0)
        return -1;
    ret->number = barcode_read(thumb[0], THUMB_W, THUMB_W, THUMB_H);
    for (int plane = 0; plane < 3; plane++)
        for (int cell = 0; cell < CHECK_GRID_W * CHECK_GRID_H; cell++) {
            int sum = 0, x0 = cell % CHECK_GRID_W * 8, y0 = cell / CHECK_GRID_W * 8;
            for (int i = 0; i < 64; i++)
                sum += thumb[plane][(y0 + i / 8) * THUMB_W + x0 + i % 8];
            ret->grid[plane][cell] = (uint8_t)(sum / 64);
        }
    return 0;
}

/* The rule for a source whose clock jumps: back, or forward by more than 10 s, continues at the
 * previous frame's end. */
static int64_t heal(struct reader *r, int64_t raw, AVRational tb)
{
    struct check_media *out = r->out;
    int64_t shift = r->jumps ? r->shifts[r->jumps - 1] : 0;
    if (!r->heal || !out->n_frames)
        return raw;
    int64_t limit = av_rescale_q(JUMP_SECONDS, (AVRational){1, 1}, tb);
    if ((raw <= r->raw_last || raw - r->raw_last > limit) && r->jumps < CHECK_JUMPS_MAX) {
        const struct check_frame *last = &out->frames[out->n_frames - 1];
        shift = last->pts + last->duration - raw;
        r->shifts[r->jumps++] = shift;
    }
    return raw + shift;
}

static int add_frame(struct reader *r, AVFrame *frame)
{
    struct check_media *out = r->out;
    if (out->n_frames == r->capacity) {
        size_t capacity = r->capacity ? r->capacity * 2 : 256;
        void *grown = realloc(out->frames, capacity * sizeof(*out->frames));
        if (!grown)
            return -1;
        out->frames = grown;
        r->capacity = capacity;
    }
    struct check_frame *f = &out->frames[out->n_frames];
    if (summarize(r, frame, f) < 0)
        return -1;
    if (!out->n_frames)
        read_picture_tags(r, frame, out);
    int64_t raw =
        r->heal && frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->best_effort_timestamp;
    f->duration = FRAME_DURATION(frame);
    if (raw == AV_NOPTS_VALUE) /* packed AVI: the last frame comes out with no packet of its own */
        raw = out->n_frames ? r->raw_last + out->frames[out->n_frames - 1].duration : 0;
    f->pts = heal(r, raw, out->time_base);
    r->raw_last = raw;
#if LIBAVUTIL_VERSION_MAJOR >= 59
    out->interlaced |= !!(frame->flags & AV_FRAME_FLAG_INTERLACED);
#else
    out->interlaced |= !!frame->interlaced_frame;
#endif
    out->n_frames++;
    return 0;
}

static int open_mono(struct track_reader *t, AVFrame *frame)
{
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
    int r = swr_alloc_set_opts2(&t->mono, &mono, AV_SAMPLE_FMT_FLT, frame->sample_rate,
                                &frame->ch_layout, frame->format, frame->sample_rate, 0, NULL);
    if (r < 0)
        return r;
    return swr_init(t->mono);
}

static int64_t audio_time(struct reader *r, struct track_reader *t, int64_t raw, AVRational tb)
{
    int64_t second = av_rescale_q(1, (AVRational){1, 1}, tb);
    if (r->heal && t->count &&
        (raw < t->raw_last - second / 2 || raw - t->raw_last > JUMP_SECONDS * second) &&
        t->jumps < r->jumps) /* sound moves with the pictures, or they would part */
        t->shift = av_rescale_q(r->shifts[t->jumps++], r->out->time_base, tb);
    t->raw_last = raw;
    return raw + t->shift;
}

static int add_samples(struct reader *r, int index, AVFrame *frame)
{
    struct track_reader *t = &r->tracks[index];
    struct check_track *out = &r->out->tracks[index];
    AVRational tb = r->format->streams[t->stream]->time_base;
    if (frame->nb_samples <= 0 || frame->best_effort_timestamp == AV_NOPTS_VALUE)
        return 0;
    if (!t->mono && open_mono(t, frame) < 0)
        return -1;
    int64_t pts = audio_time(r, t, frame->best_effort_timestamp, tb);
    if (!t->count) {
        out->start = (struct check_time){pts, tb};
        out->native_rate = frame->sample_rate;
    }
    double into = (double)pts * av_q2d(tb) - check_seconds(out->start);
    int64_t at = llrint(into * out->native_rate);
    /* Time stamps are coarser than samples: only a real step moves the write position. */
    if (llabs(at - (int64_t)t->count) <= out->native_rate / 200)
        at = (int64_t)t->count;
    if (at < 0)
        return 0;
    size_t end = (size_t)at + (size_t)frame->nb_samples;
    if (end > t->capacity) {
        size_t capacity = end * 2;
        float *grown = realloc(t->samples, capacity * sizeof(float));
        if (!grown)
            return -1;
        memset(grown + t->capacity, 0, (capacity - t->capacity) * sizeof(float));
        t->samples = grown;
        t->capacity = capacity;
    }
    uint8_t *plane = (uint8_t *)(t->samples + at);
    if (swr_convert(t->mono, &plane, frame->nb_samples, (const uint8_t **)frame->extended_data,
                    frame->nb_samples) < 0)
        return -1;
    if (end > t->count)
        t->count = end;
    return 0;
}

static int drain(struct reader *r, int track, AVFrame *frame)
{
    AVCodecContext *decoder = track < 0 ? r->decoder : r->tracks[track].decoder;
    for (;;) {
        int e = avcodec_receive_frame(decoder, frame);
        if (e == AVERROR(EAGAIN) || e == AVERROR_EOF)
            return 0;
        if (e < 0)
            continue; /* counted by the log callback; the next packet may do */
        e = track < 0 ? add_frame(r, frame) : add_samples(r, track, frame);
        av_frame_unref(frame);
        if (e < 0)
            return e;
    }
}

static int track_of(const struct reader *r, int stream)
{
    for (int i = 0; i < r->out->n_tracks; i++)
        if (r->tracks[i].stream == stream)
            return i;
    return -2;
}

static void check_packet_times(struct reader *r, const AVPacket *packet)
{
    bool bad = packet->dts == AV_NOPTS_VALUE || packet->pts == AV_NOPTS_VALUE ||
               packet->pts < packet->dts ||
               (r->last_dts != AV_NOPTS_VALUE && packet->dts <= r->last_dts);
    if (bad && !r->out->bad_dts++)
        r->out->first_bad_dts = packet->dts;
    r->last_dts = packet->dts;
}

static int read_all(struct reader *r)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int e = packet && frame ? 0 : -1;
    while (!e && av_read_frame(r->format, packet) >= 0) {
        int track = packet->stream_index == r->video ? -1 : track_of(r, packet->stream_index);
        if (track == -1)
            check_packet_times(r, packet);
        if (track >= -1) {
            avcodec_send_packet(track < 0 ? r->decoder : r->tracks[track].decoder, packet);
            e = drain(r, track, frame);
        }
        av_packet_unref(packet);
    }
    for (int track = -1; !e && track < r->out->n_tracks; track++) {
        avcodec_send_packet(track < 0 ? r->decoder : r->tracks[track].decoder, NULL);
        e = drain(r, track, frame);
    }
    av_packet_free(&packet);
    av_frame_free(&frame);
    return e;
}

static void read_rotation(AVStream *stream, struct check_media *out)
{
    const uint8_t *data = NULL;
#if LIBAVCODEC_VERSION_MAJOR >= 61
    const AVPacketSideData *sd =
        av_packet_side_data_get(stream->codecpar->coded_side_data,
                                stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    data = sd ? sd->data : NULL;
#else
    data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, NULL);
#endif
    if (data) {
        memcpy(out->rotation, data, sizeof(out->rotation));
        out->has_rotation = av_display_rotation_get(out->rotation) != 0;
    }
}

static int open_all(struct reader *r, const char *path)
{
    struct check_media *out = r->out;
    if (avformat_open_input(&r->format, path, NULL, NULL) < 0 ||
        avformat_find_stream_info(r->format, NULL) < 0)
        return -1;
    r->video = -1;
    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        AVStream *stream = r->format->streams[i];
        if (stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && r->video < 0 &&
            !(stream->disposition & AV_DISPOSITION_ATTACHED_PIC)) {
            r->video = (int)i;
        } else if (stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO &&
                   out->n_tracks < CHECK_TRACKS_MAX) {
            struct check_track *track = &out->tracks[out->n_tracks];
            const AVDictionaryEntry *lang = av_dict_get(stream->metadata, "language", NULL, 0);
            snprintf(track->language, sizeof(track->language), "%s", lang ? lang->value : "und");
            track->is_default = stream->disposition & AV_DISPOSITION_DEFAULT;
            track->frame_size = stream->codecpar->frame_size;
            track->channels = stream->codecpar->ch_layout.nb_channels;
            r->tracks[out->n_tracks].stream = (int)i;
            r->tracks[out->n_tracks].decoder = open_decoder(stream);
            if (!r->tracks[out->n_tracks++].decoder)
                return -1;
        }
    }
    if (r->video < 0)
        return -1;
    AVStream *stream = r->format->streams[r->video];
    out->time_base = stream->time_base;
    out->stream_end = stream->start_time + stream->duration;
    snprintf(out->codec, sizeof(out->codec), "%s", avcodec_get_name(stream->codecpar->codec_id));
    read_rotation(stream, out);
    r->last_dts = AV_NOPTS_VALUE;
    r->decoder = open_decoder(stream);
    return r->decoder ? 0 : -1;
}

/* Brings a track to the common rate, so that copied and encoded sound compare sample by sample. */
static int finish_track(struct track_reader *t, struct check_track *out)
{
    if (!t->count || out->native_rate == CHECK_AUDIO_RATE) {
        out->samples = t->samples;
        out->count = t->count;
        t->samples = NULL;
        return 0;
    }
    size_t capacity =
        (size_t)av_rescale((int64_t)t->count, CHECK_AUDIO_RATE, out->native_rate) + 4096;
    out->samples = calloc(capacity, sizeof(float));
    SwrContext *swr = NULL;
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
    swr_alloc_set_opts2(&swr, &mono, AV_SAMPLE_FMT_FLT, CHECK_AUDIO_RATE, &mono, AV_SAMPLE_FMT_FLT,
                        out->native_rate, 0, NULL);
    int got = -1;
    if (out->samples && swr && swr_init(swr) >= 0) {
        const uint8_t *in = (const uint8_t *)t->samples;
        uint8_t *to = (uint8_t *)out->samples;
        got = swr_convert(swr, &to, (int)capacity, &in, (int)t->count);
        to += (size_t)(got > 0 ? got : 0) * sizeof(float);
        int rest = got < 0 ? 0 : swr_convert(swr, &to, (int)capacity - got, NULL, 0);
        out->count = got < 0 ? 0 : (size_t)(got + (rest > 0 ? rest : 0));
    }
    swr_free(&swr);
    return got < 0 ? -1 : 0;
}

static void find_origin(struct check_media *out)
{
    bool known = out->n_frames > 0;
    if (known)
        out->origin = (struct check_time){out->frames[0].pts, out->time_base};
    for (int i = 0; i < out->n_tracks; i++) {
        const struct check_track *track = &out->tracks[i];
        if (track->count && (!known || av_compare_ts(track->start.value, track->start.unit,
                                                     out->origin.value, out->origin.unit) < 0)) {
            out->origin = track->start;
            known = true;
        }
    }
}

int check_read(const char *path, bool heal_jumps, struct check_media *ret)
{
    struct reader r = {.heal = heal_jumps, .out = ret};
    *ret = (struct check_media){.path = path, .origin = {0, {0, 1}}};
    log_target = ret;
    av_log_set_callback(count_errors);
    int e = open_all(&r, path);
    if (!e)
        e = read_all(&r);
    for (int i = 0; !e && i < ret->n_tracks; i++)
        e = finish_track(&r.tracks[i], &ret->tracks[i]);
    if (!e)
        find_origin(ret);
    else
        check_fail("%s cannot be read: %s", path, ret->first_error);
    for (int i = 0; i < CHECK_TRACKS_MAX; i++) {
        avcodec_free_context(&r.tracks[i].decoder);
        swr_free(&r.tracks[i].mono);
        free(r.tracks[i].samples);
    }
    avcodec_free_context(&r.decoder);
    sws_freeContext(r.scaler);
    avformat_close_input(&r.format);
    return e;
}

void check_media_clear(struct check_media *media)
{
    for (int i = 0; i < media->n_tracks; i++)
        free(media->tracks[i].samples);
    free(media->frames);
    *media = (struct check_media){0};
}
