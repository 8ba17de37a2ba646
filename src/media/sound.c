/* SPDX-License-Identifier: MIT */
#include "sound.h"

#include <errno.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>

#include "decode.h"
#include "setup.h"

/* A source's clock may wander by this much before silence is inserted or samples are cut: one AAC
 * frame, which is also how far picture and sound may be apart. */
#define TOLERANCE_SAMPLES 1024
#define SILENCE_BLOCK 8192
/* Held back before encoding, so that what the container says is not to be heard can be cut off. */
#define HELD_SAMPLES 2048
/* Clocks of 1 ms round the end of a track by half as much. */
#define END_TOLERANCE_SAMPLES 96

static AVRational output_time_base(const struct media_sound *s)
{
    return (AVRational){1, s->plan->sample_rate};
}

static int open_encoder(struct media_sound *s, struct lathe_error *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    s->encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!s->encoder)
        return lathe_error_set(err, -ENOSYS, LATHE_FAULT_CONFIG, "this FFmpeg has no AAC encoder");
    AVCodecContext *c = s->encoder;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->sample_rate = s->plan->sample_rate;
    c->bit_rate = s->plan->bitrate_kbps * INT64_C(1000);
    c->time_base = output_time_base(s);
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    c->thread_count = 1;
    av_channel_layout_default(&c->ch_layout, s->plan->channels);
    int r = avcodec_open2(c, codec, NULL);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL,
                           "cannot open the AAC encoder for %d "
                           "channels at %d Hz",
                           s->plan->channels, s->plan->sample_rate);
    s->fifo = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, s->plan->channels, SILENCE_BLOCK);
    return s->fifo ? 0 : lathe_error_nomem(err);
}

int media_sound_open(struct media_sound *ret, const struct lathe_plan *plan, int track,
                     const AVCodecParameters *par_in, AVRational time_base, struct media_mux *mux,
                     struct lathe_error *err)
{
    *ret = (struct media_sound){.plan = &plan->audio[track],
                                .time_base = time_base,
                                .stream = track,
                                .conceal = plan->conceal_damage,
                                .end = INT64_MIN};
    ret->origin_samples =
        av_rescale_q(plan->sound_origin, (AVRational){plan->time_base.num, plan->time_base.den},
                     output_time_base(ret));
    ret->decoded = av_frame_alloc();
    ret->converted = av_frame_alloc();
    ret->packet = av_packet_alloc();
    _cleanup_(avcodec_parameters_free) AVCodecParameters *par = avcodec_parameters_alloc();
    int r = 0;
    if (!ret->decoded || !ret->converted || !ret->packet || !par)
        r = lathe_error_nomem(err);
    if (r >= 0 && ret->plan->copy)
        r = avcodec_parameters_copy(par, par_in) < 0 ? lathe_error_nomem(err) : 0;
    if (r >= 0 && !ret->plan->copy) {
        r = media_decoder_open_codec(par_in, time_base, 0, NULL, &ret->decoder, err);
        if (r >= 0)
            r = open_encoder(ret, err);
        if (r >= 0 && avcodec_parameters_from_context(par, ret->encoder) < 0)
            r = lathe_error_nomem(err);
    }
    AVStream *out = NULL;
    if (r >= 0)
        r = media_mux_add(mux, par, output_time_base(ret), &out, err);
    if (r < 0)
        media_sound_close(ret);
    return r;
}

void media_sound_close(struct media_sound *s)
{
    avcodec_free_context(&s->decoder);
    avcodec_free_context(&s->encoder);
    swr_free(&s->resampler);
    av_audio_fifo_free(s->fifo);
    s->fifo = NULL;
    av_frame_free(&s->decoded);
    av_frame_free(&s->converted);
    av_packet_free(&s->packet);
}

/* --- copying --- */

static int copy_packet(struct media_sound *s, AVPacket *packet, struct media_mux *mux,
                       struct lathe_error *err)
{
    if (packet->size <= 0)
        return 0;
    int64_t pts = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (!s->packets)
        s->first_pts =
            av_rescale_q(pts == AV_NOPTS_VALUE ? 0 : pts, s->time_base, output_time_base(s)) -
            s->origin_samples;
    /* The plan copies only what is contiguous, so counting is exact where the source's clock
     * rounds. */
    packet->pts = packet->dts = s->first_pts + (int64_t)s->packets * 1024;
    packet->duration = 1024;
    packet->stream_index = s->stream;
    s->packets++;
    return media_mux_write(mux, packet, output_time_base(s), err);
}

/* --- encoding --- */

static int take_packets(struct media_sound *s, struct media_mux *mux, struct lathe_error *err)
{
    int r;
    while ((r = avcodec_receive_packet(s->encoder, s->packet)) >= 0) {
        s->packet->stream_index = s->stream;
        s->packets++;
        r = media_mux_write(mux, s->packet, output_time_base(s), err);
        if (r < 0)
            return r;
    }
    if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
        return 0;
    return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot encode AAC");
}

/* Encodes whole frames from the timeline; at the end also the last, shorter one. */
static int encode(struct media_sound *s, bool end, struct media_mux *mux, struct lathe_error *err)
{
    const int frame_size = s->encoder->frame_size;
    _cleanup_frame_ AVFrame *frame = av_frame_alloc();
    if (!frame)
        return lathe_error_nomem(err);
    for (;;) {
        int have = av_audio_fifo_size(s->fifo);
        int n = have < frame_size ? have : frame_size;
        if (n == 0 || (!end && have < frame_size + HELD_SAMPLES))
            return 0;
        av_frame_unref(frame);
        frame->nb_samples = n;
        frame->format = AV_SAMPLE_FMT_FLTP;
        frame->sample_rate = s->plan->sample_rate;
        frame->pts = s->encoded;
        int r = av_channel_layout_copy(&frame->ch_layout, &s->encoder->ch_layout);
        if (r >= 0)
            r = av_frame_get_buffer(frame, 0);
        if (r >= 0)
            r = av_audio_fifo_read(s->fifo, (void **)frame->extended_data, n) == n ? 0
                                                                                   : AVERROR_BUG;
        if (r >= 0)
            r = avcodec_send_frame(s->encoder, frame);
        if (r < 0)
            return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot encode AAC");
        s->encoded += n;
        r = take_packets(s, mux, err);
        if (r < 0)
            return r;
    }
}

static int put(struct media_sound *s, uint8_t **samples, int count, struct lathe_error *err)
{
    int drop = s->skip < count ? (int)s->skip : count;
    s->skip -= drop;
    count -= drop;
    if (!count)
        return 0;
    uint8_t *planes[64] = {0};
    for (int c = 0; c < s->plan->channels && c < 64; c++)
        planes[c] = samples[c] + (size_t)drop * sizeof(float);
    if (av_audio_fifo_write(s->fifo, (void **)planes, count) < count)
        return lathe_error_nomem(err);
    s->position += count;
    return 0;
}

static int put_silence(struct media_sound *s, int64_t count, struct media_mux *mux,
                       struct lathe_error *err)
{
    _cleanup_free_ float *zeros = calloc(SILENCE_BLOCK, sizeof(*zeros));
    if (!zeros)
        return lathe_error_nomem(err);
    uint8_t *planes[64];
    for (int c = 0; c < 64; c++)
        planes[c] = (uint8_t *)zeros;
    s->silence_samples += (uint64_t)count;
    while (count > 0) {
        int n = count < SILENCE_BLOCK ? (int)count : SILENCE_BLOCK;
        int r = put(s, planes, n, err);
        if (r >= 0)
            r = encode(s, false, mux, err);
        if (r < 0)
            return r;
        count -= n;
    }
    return 0;
}

static int64_t delay_samples(const struct media_sound *s)
{
    return s->resampler ? swr_get_delay(s->resampler, s->plan->sample_rate) : 0;
}

/* Converts `frame` (NULL: what the resampler still holds) and puts it on the timeline. */
static int convert(struct media_sound *s, const AVFrame *frame, struct lathe_error *err)
{
    AVFrame *out = s->converted;
    int capacity = swr_get_out_samples(s->resampler, frame ? frame->nb_samples : 0);
    if (capacity <= 0)
        return 0;
    av_frame_unref(out);
    out->nb_samples = capacity;
    out->format = AV_SAMPLE_FMT_FLTP;
    out->sample_rate = s->plan->sample_rate;
    int r = av_channel_layout_copy(&out->ch_layout, &s->encoder->ch_layout);
    if (r >= 0)
        r = av_frame_get_buffer(out, 0);
    if (r >= 0)
        r = swr_convert(s->resampler, out->extended_data, capacity,
                        frame ? (const uint8_t **)frame->extended_data : NULL,
                        frame ? frame->nb_samples : 0);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot convert audio samples");
    return put(s, out->extended_data, r, err);
}

static int set_up_resampler(struct media_sound *s, const AVFrame *frame, struct lathe_error *err)
{
    AVChannelLayout layout = {0};
    int r = 0;
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&layout, frame->ch_layout.nb_channels);
    else
        r = av_channel_layout_copy(&layout, &frame->ch_layout);
    if (r >= 0)
        r = swr_alloc_set_opts2(&s->resampler, &s->encoder->ch_layout, AV_SAMPLE_FMT_FLTP,
                                s->plan->sample_rate, &layout, frame->format, frame->sample_rate, 0,
                                NULL);
    if (r >= 0)
        r = swr_init(s->resampler);
    av_channel_layout_uninit(&layout);
    return r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot convert audio samples") : 0;
}

/* Another sample format, rate or layout in mid-stream: finish the old conversion first. */
static int follow_format(struct media_sound *s, const AVFrame *frame, struct lathe_error *err)
{
    int64_t rate = 0;
    int format = -1;
    AVChannelLayout layout = {0};
    if (s->resampler) {
        bool same =
            av_opt_get_int(s->resampler, "isr", 0, &rate) >= 0 && rate == frame->sample_rate &&
            av_opt_get_sample_fmt(s->resampler, "isf", 0, (enum AVSampleFormat *)&format) >= 0 &&
            format == frame->format && av_opt_get_chlayout(s->resampler, "ichl", 0, &layout) >= 0 &&
            layout.nb_channels == frame->ch_layout.nb_channels;
        av_channel_layout_uninit(&layout);
        if (same)
            return 0;
        int r = convert(s, NULL, err);
        if (r < 0)
            return r;
        swr_free(&s->resampler);
    }
    return set_up_resampler(s, frame, err);
}

static int place(struct media_sound *s, const AVFrame *frame, struct media_mux *mux,
                 struct lathe_error *err)
{
    int r = follow_format(s, frame, err);
    if (r < 0)
        return r;
    int64_t pts = frame->best_effort_timestamp;
    if (!s->started) {
        /* A track that starts late starts late in the result too. */
        int64_t at = pts == AV_NOPTS_VALUE
                         ? 0
                         : av_rescale_q(pts, s->time_base, output_time_base(s)) - s->origin_samples;
        s->position = s->encoded = at > 0 ? at : 0;
        s->skip = at < 0 ? -at : 0;
        s->first_pts = s->position - s->encoder->initial_padding;
    } else if (pts != AV_NOPTS_VALUE) {
        int64_t at = av_rescale_q(pts, s->time_base, output_time_base(s)) - s->origin_samples;
        int64_t ahead = at - (s->position + delay_samples(s) - s->skip);
        if (ahead > TOLERANCE_SAMPLES || ahead < -TOLERANCE_SAMPLES) {
            if (ahead > 0) {
                r = convert(s, NULL, err);
                ahead = at - s->position;
                if (r >= 0 && ahead > 0)
                    r = put_silence(s, ahead, mux, err);
            } else {
                s->skip -= ahead;
            }
        }
    }
    s->started = true;
    if (r >= 0)
        r = convert(s, frame, err);
    return r < 0 ? r : encode(s, false, mux, err);
}

static int decode(struct media_sound *s, AVPacket *packet, struct media_mux *mux,
                  struct lathe_error *err)
{
    int r = avcodec_send_packet(s->decoder, packet);
    for (;;) {
        if (r >= 0)
            r = avcodec_receive_frame(s->decoder, s->decoded);
        if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
            return 0;
        if (r == AVERROR(ENOMEM))
            return lathe_error_nomem(err);
        if (r < 0) {
            /* Captures begin in mid-frame: the first packet of a track may be half a one. */
            if (!s->started)
                return 0;
            s->damaged++;
            if (s->conceal)
                return 0; /* the gap becomes silence */
            media_error(err, r, LATHE_FAULT_INPUT, "audio track %d is damaged at %.3f s",
                        s->stream + 1, (double)s->position / s->plan->sample_rate);
            lathe_error_hint(err, "use --damaged conceal to replace what is lost with silence");
            return -EILSEQ;
        }
        r = place(s, s->decoded, mux, err);
        av_frame_unref(s->decoded);
        if (r < 0)
            return r;
    }
}

/* Cuts off what lies behind the end that the container gives (an edit list's). */
static int trim_end(struct media_sound *s, struct lathe_error *err)
{
    int have = av_audio_fifo_size(s->fifo);
    int64_t excess = s->end == INT64_MIN ? 0 : s->position - s->end;
    if (excess <= END_TOLERANCE_SAMPLES || !have)
        return 0;
    int keep = excess < have ? have - (int)excess : 0;
    AVAudioFifo *kept = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, s->plan->channels, have);
    AVFrame *frame = s->converted;
    av_frame_unref(frame);
    frame->nb_samples = have;
    frame->format = AV_SAMPLE_FMT_FLTP;
    bool ok = kept && av_channel_layout_copy(&frame->ch_layout, &s->encoder->ch_layout) >= 0 &&
              av_frame_get_buffer(frame, 0) >= 0 &&
              av_audio_fifo_read(s->fifo, (void **)frame->extended_data, have) == have &&
              av_audio_fifo_write(kept, (void **)frame->extended_data, keep) == keep;
    if (!ok) {
        av_audio_fifo_free(kept);
        return lathe_error_nomem(err);
    }
    av_audio_fifo_free(s->fifo);
    s->fifo = kept;
    s->position -= have - keep;
    return 0;
}

static void note_end(struct media_sound *s, const AVPacket *packet)
{
    if (packet->pts == AV_NOPTS_VALUE || packet->duration <= 0)
        return;
    int64_t end = av_rescale_q(packet->pts + packet->duration, s->time_base, output_time_base(s)) -
                  s->origin_samples;
    s->end = end > s->end ? end : s->end;
}

int media_sound_send(struct media_sound *s, AVPacket *packet, struct media_mux *mux,
                     struct lathe_error *err)
{
    if (s->plan->copy)
        return packet ? copy_packet(s, packet, mux, err) : 0;
    if (packet)
        note_end(s, packet);
    int r = decode(s, packet, mux, err);
    if (r < 0 || packet)
        return r;
    if (s->resampler)
        r = convert(s, NULL, err);
    if (r >= 0)
        r = trim_end(s, err);
    if (r >= 0)
        r = encode(s, true, mux, err);
    if (r >= 0) {
        r = avcodec_send_frame(s->encoder, NULL);
        r = r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot encode AAC")
                  : take_packets(s, mux, err);
    }
    return r;
}
