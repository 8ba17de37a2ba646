/* SPDX-License-Identifier: MIT */
#include "decode.h"

#include <errno.h>

#include "setup.h"

int media_decoder_open_codec(const AVCodecParameters *par, AVRational time_base, int reorder_depth,
                             const struct media_gpu *gpu, AVCodecContext **ret,
                             struct lathe_error *err)
{
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    if (codec && gpu) {
        codec = lathe_hwaccel_decoder(gpu->device.family, par->codec_id);
        if (!codec)
            return media_gpu_refuse(err, LATHE_HW_UNSUPPORTED,
                                    "this FFmpeg does not decode %s on %s",
                                    avcodec_get_name(par->codec_id), gpu->device.family->name);
    }
    if (!codec || !media_codec_is_allowed(par->codec_id))
        return lathe_error_set(err, -ENOSYS, LATHE_FAULT_INPUT, "codec \"%s\" is not supported",
                               avcodec_get_name(par->codec_id));
    AVCodecContext *c = avcodec_alloc_context3(codec);
    if (!c)
        return lathe_error_nomem(err);
    int r = avcodec_parameters_to_context(c, par);
    if (r >= 0) {
        c->thread_count = 1;
        c->max_pixels = MEDIA_MAX_PIXELS;
        c->pkt_timebase = time_base;
        if (c->codec_type == AVMEDIA_TYPE_VIDEO && reorder_depth > c->has_b_frames)
            c->has_b_frames = reorder_depth;
        if (gpu)
            r = lathe_hwaccel_setup_decoder(c, &gpu->device, MEDIA_GPU_EXTRA_SURFACES / 2);
    }
    if (r >= 0) {
        r = avcodec_open2(c, codec, NULL);
    }
    if (r < 0) {
        avcodec_free_context(&c);
        return media_error(err, r, gpu ? LATHE_FAULT_INTERNAL : LATHE_FAULT_INPUT,
                           "cannot open the decoder %s", codec->name);
    }
    *ret = c;
    return 0;
}

/* In HEVC every key frame is one picture that refers to no other, also where an open GOP begins. */
static bool stands_alone(const struct media_decoder *d, const struct media_index_entry *entry)
{
    unsigned flag = d->codec->codec_id == AV_CODEC_ID_HEVC ? MEDIA_INDEX_KEY : MEDIA_INDEX_EXACT;
    return entry->flags & flag && entry->time != MEDIA_NO_TIME;
}

/* In the last chunk, where no key frame of a next one proves that the end was right. */
static void plan_to_follow(struct media_decoder *d, uint32_t first_packet)
{
    const struct media_index *index = d->reader.index;
    int64_t latest = INT64_MIN;
    uint32_t at = index->count;
    while (at > first_packet && d->follow_from == UINT32_MAX) {
        const struct media_index_entry *entry = &index->entries[--at];
        if (entry->time != MEDIA_NO_TIME && entry->time > latest) {
            latest = entry->time;
            d->last_shown = at;
        }
        if (stands_alone(d, entry))
            d->follow_from = at;
    }
}

static int call_witness(struct media_decoder *d, int reorder_depth, uint32_t first_packet,
                        struct lathe_error *err)
{
    AVCodecContext *decoder = NULL;
    AVRational time_base;
    const AVCodecParameters *par = media_reader_parameters(&d->reader, &time_base);
    int r = media_decoder_open_codec(par, time_base, reorder_depth, NULL, &decoder, err);
    if (r < 0)
        return r;
    if (d->witness_end == INT64_MAX)
        plan_to_follow(d, first_packet);
    return media_witness_init(&d->witness, decoder) < 0 ? lathe_error_nomem(err) : 0;
}

#define FOLLOWED_EVERY 16 /* pictures */

/* So many a second, where there are more, within the stretch, and all behind it: the picture after
 * the last one is the proof of the join. */
#define WITNESS_PER_SECOND 4

static void show_witness(struct media_decoder *d, const struct media_index_entry *entry,
                         uint32_t number)
{
    if (number >= d->follow_from) {
        bool wanted = (number - d->follow_from) % FOLLOWED_EVERY == 0 || number == d->last_shown;
        media_witness_follow(&d->witness, d->packet, wanted);
        return;
    }
    if (!stands_alone(d, entry))
        return;
    int64_t time = entry->time - d->origin;
    if (time < d->witness_from)
        return;
    if (time < d->witness_end)
        d->witness_from = time + d->ticks_per_second / WITNESS_PER_SECOND;
    media_witness_see(&d->witness, d->packet, number);
}

static bool has_times(const struct media_index *index)
{
    for (uint32_t i = 0; i < index->count && i < 16; i++)
        if (index->entries[i].raw_pts != AV_NOPTS_VALUE ||
            index->entries[i].raw_dts != AV_NOPTS_VALUE)
            return true;
    return false;
}

static int open_reader(struct media_decoder *d, const struct media_decoder_input *input,
                       int video_stream, const struct media_index *index, uint32_t first_packet,
                       struct lathe_error *err)
{
    if (!input->need)
        return media_reader_open(&d->reader, input->path, video_stream, index, first_packet,
                                 input->linear, err);
    if (input->need->first == first_packet)
        return media_reader_open_cut(&d->reader, input->path, index, input->need, err);
    return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                           "%s begins with packet %u, and decoding with %u", input->path,
                           input->need->first, first_packet);
}

int media_decoder_open(struct media_decoder *ret, const struct media_decoder_input *input,
                       const struct lathe_plan *plan, const struct media_index *index,
                       int64_t own_from, int64_t own_end, const struct media_gpu *gpu,
                       struct lathe_error *err)
{
    uint32_t first_packet = input->first_packet;
    *ret = (struct media_decoder){
        .origin = plan->origin,
        .from_dts = plan->times_from_dts,
        .ordinal = !has_times(index),
        .conceal = plan->conceal_damage,
        .gpu = gpu,
        .ticks_per_second =
            plan->time_base.den / (plan->time_base.num > 0 ? plan->time_base.num : 1),
        .witness_from = own_from,
        .witness_end = own_end,
        .follow_from = UINT32_MAX,
        .own_from = own_from,
        .skip_before = INT64_MIN,
        .last_time = INT64_MIN,
        .last_packet = UINT32_MAX,
        .reader = {.source = {.fd = -1}, .cut = {.source = {.fd = -1}}},
    };
    ret->frame_duration =
        av_rescale_q(1, av_inv_q((AVRational){plan->frame_rate.num, plan->frame_rate.den}),
                     (AVRational){plan->time_base.num, plan->time_base.den});
    if (ret->frame_duration < 1)
        ret->frame_duration = 1;
    ret->first_key = media_index_first_key(index);
    ret->first_key_time = index->entries[ret->first_key].time;
    if (first_packet < ret->first_key)
        first_packet = ret->first_key;
    /* Pictures shown before the key frame that decoding starts at belong to the chunk before, and
     * refer to pictures that are not there. At the start of the source they may be decodable. */
    if (first_packet > ret->first_key && !ret->from_dts &&
        index->entries[first_packet].time != MEDIA_NO_TIME)
        ret->skip_before = index->entries[first_packet].time;
    int r = open_reader(ret, input, plan->video_stream, index, first_packet, err);
    if (r < 0)
        return r;
    AVRational time_base;
    const AVCodecParameters *par = media_reader_parameters(&ret->reader, &time_base);
    if (input->parameters)
        par = input->parameters;
    ret->packet = av_packet_alloc();
    r = ret->packet
            ? media_decoder_open_codec(par, time_base, plan->reorder_depth, gpu, &ret->codec, err)
            : lathe_error_nomem(err);
    if (r >= 0 && gpu)
        r = call_witness(ret, plan->reorder_depth, first_packet, err);
    if (r < 0) {
        media_decoder_close(ret);
        return r;
    }
    /* After a recovery point that is no IDR, FFmpeg's H.264 decoder takes frames for broken until
     * the first one is out, and loses them when it is drained before. Here it is known that they
     * are whole: leading pictures were not fed. */
    if (first_packet > ret->first_key)
        ret->codec->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;
    return 0;
}

void media_decoder_close(struct media_decoder *decoder)
{
    av_packet_free(&decoder->packet);
    media_witness_finish(&decoder->witness);
    avcodec_free_context(&decoder->codec);
    media_reader_close(&decoder->reader);
}

static int damage(struct media_decoder *d, uint32_t number, const char *what,
                  struct lathe_error *err)
{
    const struct media_index_entry *entry = &d->reader.index->entries[number];
    if (d->gpu) {
        char why[256];
        media_last_log(why, sizeof(why));
        /* Whether it is the source's fault an attempt in software will tell. */
        return lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL, "%s on the GPU, packet %u%s%s",
                               what, number, why[0] ? ": " : "", why);
    }
    /* Before the first key frame's own time nothing can be right, in any player. */
    if (d->first_key_time != MEDIA_NO_TIME && entry->time != MEDIA_NO_TIME &&
        entry->time < d->first_key_time)
        return 0;
    if (entry->time != MEDIA_NO_TIME && entry->time - d->origin < d->own_from)
        return 0;
    d->damaged++;
    d->last_damaged_packet = number;
    if (d->conceal)
        return 0;
    AVRational tb = d->reader.index->video_time_base;
    double seconds = entry->raw_pts != AV_NOPTS_VALUE ? (double)entry->raw_pts * av_q2d(tb) : 0;
    char logged[256];
    media_last_log(logged, sizeof(logged));
    lathe_error_set(err, -EILSEQ, LATHE_FAULT_INPUT,
                    "%s is damaged: %s at packet %u (%.3f s)%s%s%s", d->reader.path, what, number,
                    seconds, logged[0] ? " (" : "", logged, logged[0] ? ")" : "");
    lathe_error_hint(err, "copy the file again, or use --damaged conceal to convert what can be "
                          "decoded");
    return -EILSEQ;
}

static int feed(struct media_decoder *d, struct lathe_error *err)
{
    for (;;) {
        uint32_t number = 0;
        int r = d->reader.next > d->last_packet
                    ? 0
                    : media_reader_next(&d->reader, d->packet, &number, err);
        if (r < 0)
            return r;
        if (r == 0) {
            d->draining = true;
            if (d->gpu && d->follow_from != UINT32_MAX)
                media_witness_follow(&d->witness, NULL, false);
            r = avcodec_send_packet(d->codec, NULL);
            return r < 0 && r != AVERROR_EOF
                       ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot drain the decoder")
                       : 0;
        }
        const struct media_index_entry *entry = &d->reader.index->entries[number];
        if (entry->time != MEDIA_NO_TIME && entry->time < d->skip_before) {
            av_packet_unref(d->packet);
            continue;
        }
        if (entry->flags & MEDIA_INDEX_CORRUPT) {
            r = damage(d, number, "a corrupt packet", err);
            if (r < 0)
                return r;
        }
        d->packet->pts = d->packet->dts = number;
        if (d->gpu)
            show_witness(d, entry, number);
        r = avcodec_send_packet(d->codec, d->packet);
        av_packet_unref(d->packet);
        if (r == AVERROR(ENOMEM))
            return lathe_error_nomem(err);
        if (r < 0) {
            r = damage(d, number, "a packet cannot be decoded", err);
            if (r < 0)
                return r;
            continue;
        }
        return 0;
    }
}

static int64_t time_of(struct media_decoder *d, const AVFrame *frame, uint32_t *ret_packet)
{
    const struct media_index *index = d->reader.index;
    int64_t number = frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->pkt_dts;
    int64_t time = MEDIA_NO_TIME;
    *ret_packet = number >= 0 && number < index->count ? (uint32_t)number : 0;
    if (d->from_dts && !d->ordinal) {
        /* FFmpeg's best effort: the DTS of the packet that pushed the picture out. */
        if (frame->pkt_dts >= 0 && frame->pkt_dts < index->count)
            time = index->entries[frame->pkt_dts].dts_time;
    } else if (!d->ordinal && number >= 0 && number < index->count) {
        time = index->entries[number].time;
    }
    if (time != MEDIA_NO_TIME)
        return time - d->origin;
    return d->last_time == INT64_MIN ? 0 : d->last_time + d->frame_duration;
}

static int check_surface(struct media_decoder *d, const AVFrame *frame, uint32_t number,
                         struct lathe_error *err)
{
    if (frame->format != d->gpu->device.family->surface_format)
        return media_gpu_refuse(err, LATHE_HW_UNSUPPORTED,
                                "the device does not decode this stream (packet %u)", number);
    return media_witness_compare(&d->witness, frame, number, err);
}

int media_decoder_next(struct media_decoder *d, AVFrame *ret, int64_t *ret_time,
                       uint32_t *ret_packet, struct lathe_error *err)
{
    for (;;) {
        int r = avcodec_receive_frame(d->codec, ret);
        if (r == AVERROR(EAGAIN)) {
            r = feed(d, err);
            if (r < 0)
                return r;
            continue;
        }
        if (r == AVERROR_EOF)
            return 0;
        if (r == AVERROR(ENOMEM))
            return lathe_error_nomem(err);
        if (r < 0) {
            uint32_t last = d->reader.next ? d->reader.next - 1 : 0;
            r = damage(d, last, "a picture cannot be decoded", err);
            if (r < 0)
                return r;
            if (d->draining && d->damaged > d->reader.index->count)
                return 0; /* a decoder that never ends its drain */
            continue;
        }
        int64_t time = time_of(d, ret, ret_packet);
        r = d->gpu ? check_surface(d, ret, *ret_packet, err) : 0;
        if (r < 0) {
            av_frame_unref(ret);
            return r;
        }
        if (ret->flags & AV_FRAME_FLAG_CORRUPT || ret->decode_error_flags) {
            r = damage(d, *ret_packet, "a picture is incomplete", err);
            if (r < 0) {
                av_frame_unref(ret);
                return r;
            }
        }
        if (d->last_time != INT64_MIN && time <= d->last_time) {
            /* Out of order although the decoder knows the depth: only broken streams do this. */
            r = damage(d, *ret_packet, "a picture comes out of order", err);
            if (r < 0) {
                av_frame_unref(ret);
                return r;
            }
            time = d->last_time + 1;
        }
        d->last_time = time;
        *ret_time = time;
        return 1;
    }
}
