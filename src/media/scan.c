/* SPDX-License-Identifier: MIT */
#include "scan.h"

#include <errno.h>
#include <libavutil/intreadwrite.h>
#include <string.h>

#include "completeness.h"
#include "decode.h"
#include "h26x.h"
#include "setup.h"
#include "timeline.h"

/* After so many read errors in a row the rest of the file is taken for lost. */
#define MAX_READ_ERRORS 64
/* Finer clocks than this do not fit the 32-bit timescale of MP4; a tick of 1/90000 s is used. */
#define MAX_TIMESCALE 1000000000

struct scanner {
    struct media_source *source;
    struct media_scan *scan;
    struct media_timeline timeline;
    AVStream *video;
    AVCodecParserContext *parser; /* tells fields from frames */
    AVCodecContext *parser_context;
    int nal_length_bytes;
    bool first_field; /* the packet before was the first field of a frame */
    int64_t max_time;
};

static AVRational plan_time_base(AVRational stream)
{
    if (stream.num <= 0 || stream.den <= 0 || stream.den > MAX_TIMESCALE)
        return (AVRational){1, 90000};
    return (AVRational){1, stream.den};
}

static int open_parser(struct scanner *s)
{
    enum AVCodecID id = s->video->codecpar->codec_id;
    if (id != AV_CODEC_ID_H264 && id != AV_CODEC_ID_MPEG2VIDEO && id != AV_CODEC_ID_HEVC)
        return 0;
    s->parser = av_parser_init((int)id);
    s->parser_context = avcodec_alloc_context3(NULL);
    if (!s->parser || !s->parser_context)
        return -ENOMEM;
    s->parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    return avcodec_parameters_to_context(s->parser_context, s->video->codecpar);
}

/* Whether the packet is the second field of the frame that the packet before it began (PAFF). */
static bool is_second_field(struct scanner *s, const AVPacket *packet)
{
    if (!s->parser)
        return false;
    uint8_t *out = NULL;
    int out_size = 0;
    av_parser_parse2(s->parser, s->parser_context, &out, &out_size, packet->data, packet->size,
                     packet->pts, packet->dts, packet->pos);
    bool field = s->parser->picture_structure == AV_PICTURE_STRUCTURE_TOP_FIELD ||
                 s->parser->picture_structure == AV_PICTURE_STRUCTURE_BOTTOM_FIELD;
    bool second = field && s->first_field;
    s->first_field = field && !second;
    return second;
}

static int64_t to_plan(const struct scanner *s, int64_t time)
{
    return time == AV_NOPTS_VALUE ? MEDIA_NO_TIME
                                  : av_rescale_q(time, s->video->time_base, s->scan->time_base);
}

static void classify_key(const struct scanner *s, const AVPacket *packet,
                         struct media_index_entry *entry)
{
    enum AVCodecID id = s->video->codecpar->codec_id;
    entry->flags |= MEDIA_INDEX_KEY;
    if (id != AV_CODEC_ID_H264 && id != AV_CODEC_ID_HEVC)
        return;
    struct h26x_access access =
        h26x_inspect(id, s->nal_length_bytes, packet->data, (size_t)packet->size);
    if (access.idr) {
        entry->flags |= MEDIA_INDEX_EXACT;
        return;
    }
    entry->recovery = access.has_recovery ? access.recovery : 0;
    /* A container may call any packet a key frame: believe only pictures that can be one. */
    if (!access.intra_slices && !access.has_recovery)
        entry->flags &= ~(uint32_t)MEDIA_INDEX_KEY;
    if (!access.intra_slices && access.has_recovery && access.recovery == 0)
        entry->recovery = UINT32_MAX; /* claims to be exact at once, yet predicts: no start */
}

static int add_video(struct scanner *s, const AVPacket *packet, int64_t raw_pts, int64_t raw_dts)
{
    struct media_scan *scan = s->scan;
    struct media_index_entry entry = {
        .time = to_plan(s, packet->pts),
        .dts_time = to_plan(s, packet->dts),
        .raw_pts = raw_pts,
        .raw_dts = raw_dts,
        .position = packet->pos,
        .size = (uint32_t)packet->size,
        .checksum = media_index_checksum(packet->data, packet->size),
    };
    if (packet->flags & AV_PKT_FLAG_KEY) {
        entry.flags |= MEDIA_INDEX_MARKED;
        classify_key(s, packet, &entry);
    }
    if (packet->flags & AV_PKT_FLAG_DISCARD)
        entry.flags |= MEDIA_INDEX_DISCARD;
    /* In MPEG-TS the flag means a gap in the packet counter: joined pieces have one at each join
     * although nothing is lost. Whether something is lost shows when it is decoded. */
    if (packet->flags & AV_PKT_FLAG_CORRUPT && !s->timeline.active)
        entry.flags |= MEDIA_INDEX_CORRUPT;
    if (is_second_field(s, packet)) {
        entry.time = MEDIA_NO_TIME;
        entry.flags &= ~(uint32_t)MEDIA_INDEX_KEY;
    } else if (packet->flags & AV_PKT_FLAG_DISCARD) {
        entry.time = MEDIA_NO_TIME;
    } else if (packet->pts == AV_NOPTS_VALUE) {
        scan->without_pts++;
    }
    if (packet->dts == AV_NOPTS_VALUE)
        scan->has_dts = false;
    if (entry.time != MEDIA_NO_TIME && entry.time >= s->max_time) {
        s->max_time = entry.time;
        scan->last_duration = to_plan(s, packet->duration);
    }
    return media_index_append(&scan->index, &entry);
}

static int64_t skipped_samples(const AVPacket *packet)
{
    size_t size = 0;
    const uint8_t *skip = av_packet_get_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES, &size);
    return skip && size >= 4 ? AV_RL32(skip) : 0;
}

static void add_audio(struct scanner *s, const AVStream *stream, const AVPacket *packet)
{
    struct media_scan_audio *a = NULL;
    for (unsigned i = 0; i < s->scan->n_audio; i++)
        if (s->scan->audio[i].stream == stream->index)
            a = &s->scan->audio[i];
    int64_t pts = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (!a || pts == AV_NOPTS_VALUE)
        return;
    /* Priming is one or two packets; more is an edit list that copying could not follow. */
    if (packet->flags & AV_PKT_FLAG_DISCARD && ++a->discarded > 2)
        a->edited = true;
    if (packet->flags & AV_PKT_FLAG_DISCARD && a->packets)
        return;
    int64_t us = av_rescale_q(pts, stream->time_base, AV_TIME_BASE_Q);
    int64_t duration_us = av_rescale_q(packet->duration, stream->time_base, AV_TIME_BASE_Q);
    if (!a->packets) {
        int rate = stream->codecpar->sample_rate;
        a->start = pts + (rate > 0 ? av_rescale_q(skipped_samples(packet), (AVRational){1, rate},
                                                  stream->time_base)
                                   : 0);
        a->contiguous = packet->duration > 0;
    } else if (llabs(us - a->end_us) > 2000 + duration_us / 4) {
        a->contiguous = false; /* more than the rounding of a coarse clock */
    }
    a->packets++;
    a->end_us = us + duration_us;
}

static int add_packet(struct scanner *s, AVPacket *packet)
{
    const AVStream *stream = s->source->format->streams[packet->stream_index];
    const enum AVMediaType type = stream->codecpar->codec_type;
    const bool is_video = packet->stream_index == s->source->video_stream;
    const int64_t raw_pts = packet->pts, raw_dts = packet->dts;
    if ((is_video || type == AVMEDIA_TYPE_AUDIO)) {
        int r = media_timeline_heal(&s->timeline, stream, packet);
        if (r < 0)
            return r;
    }
    if ((is_video || type == AVMEDIA_TYPE_AUDIO) && packet->flags & AV_PKT_FLAG_CORRUPT) {
        if (s->timeline.active)
            s->scan->counter_gaps++;
        else
            s->scan->damaged_packets++;
    }
    int64_t end = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (end != AV_NOPTS_VALUE) {
        int64_t end_us = av_rescale_q(end + packet->duration, stream->time_base, AV_TIME_BASE_Q);
        if (end_us > s->scan->end_us)
            s->scan->end_us = end_us;
    }
    if (is_video && packet->size > 0)
        return add_video(s, packet, raw_pts, raw_dts);
    if (type == AVMEDIA_TYPE_AUDIO)
        add_audio(s, stream, packet);
    return 0;
}

static int read_all(struct scanner *s, lathe_media_progress progress, void *opaque,
                    struct lathe_error *err)
{
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!packet)
        return lathe_error_nomem(err);
    int errors = 0;
    for (;;) {
        int r = av_read_frame(s->source->format, packet);
        if (r == AVERROR_EOF)
            return 0;
        if (r < 0) {
            if (r == AVERROR(ENOMEM))
                return lathe_error_nomem(err);
            s->scan->damaged_packets++;
            if (++errors > MAX_READ_ERRORS)
                return 0;
            continue;
        }
        errors = 0;
        r = add_packet(s, packet);
        av_packet_unref(packet);
        if (r < 0)
            return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot index %s: %s",
                                   s->source->path, strerror(-r));
        struct lathe_progress now = {.bytes = (uint64_t)s->source->bytes_read};
        if (progress && progress(opaque, &now))
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
    }
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The number of frames that must be held back to put pictures in order: how many come before a
 * picture in decoding order and after it in presentation order, at most. */
static int measure_reorder(struct media_scan *scan)
{
    enum { WINDOW = 32 };
    int64_t window[WINDOW];
    int n = 0, depth = 0;
    for (uint32_t i = 0; i < scan->index.count; i++) {
        int64_t time = scan->index.entries[i].time;
        if (time == MEDIA_NO_TIME)
            continue;
        int later = 0;
        for (int k = 0; k < n; k++)
            later += window[k] > time;
        if (later > depth)
            depth = later;
        if (n == WINDOW)
            memmove(window, window + 1, --n * sizeof(*window));
        window[n++] = time;
    }
    return depth > 16 ? 16 : depth;
}

/* Times of shown packets become distinct: equal ones (damaged or badly muxed files) would make a
 * frame disappear. */
static int separate_times(struct media_scan *scan)
{
    struct media_index *index = &scan->index;
    int64_t *times = malloc((index->count + 1) * sizeof(*times));
    if (!times)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < index->count; i++)
        if (index->entries[i].time != MEDIA_NO_TIME)
            times[n++] = index->entries[i].time;
    qsort(times, n, sizeof(*times), compare_times);
    bool equal = false;
    for (uint32_t i = 1; i < n; i++)
        equal = equal || times[i] == times[i - 1];
    free(times);
    if (!equal)
        return 0;
    /* Rare: quadratic only within runs of equal times, which stand close together. */
    for (uint32_t i = 0; i < index->count; i++) {
        struct media_index_entry *e = &index->entries[i];
        if (e->time == MEDIA_NO_TIME)
            continue;
        uint32_t from = i > 64 ? i - 64 : 0;
        for (bool again = true; again;) {
            again = false;
            for (uint32_t k = from; k < i; k++)
                if (index->entries[k].time == e->time) {
                    e->time++;
                    again = true;
                }
        }
    }
    return 0;
}

static int prepare(struct scanner *s, struct lathe_error *err)
{
    struct media_scan *scan = s->scan;
    const AVFormatContext *format = s->source->format;
    s->video = media_source_video(s->source);
    s->nal_length_bytes = h26x_nal_length_bytes(s->video->codecpar);
    s->max_time = INT64_MIN;
    scan->time_base = plan_time_base(s->video->time_base);
    scan->index.video = avcodec_parameters_alloc();
    scan->index.video_time_base = s->video->time_base;
    scan->has_dts = true;
    scan->end_us = INT64_MIN;
    scan->audio = calloc(format->nb_streams, sizeof(*scan->audio));
    if (!scan->audio || !scan->index.video ||
        avcodec_parameters_copy(scan->index.video, s->video->codecpar) < 0 ||
        media_timeline_init(&s->timeline, format) < 0 || open_parser(s) < 0)
        return lathe_error_nomem(err);
    for (unsigned i = 0; i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO)
            scan->audio[scan->n_audio++] =
                (struct media_scan_audio){.stream = (int)i,
                                          .time_base = format->streams[i]->time_base,
                                          .start = MEDIA_NO_TIME};
    return 0;
}

static int check_length(const struct media_source *source, const struct media_scan *scan,
                        struct lathe_error *err)
{
    const int64_t start_us = source->format->start_time,
                  limit_us = MEDIA_MAX_SECONDS * INT64_C(1000000);
    if (scan->end_us == INT64_MIN || start_us == AV_NOPTS_VALUE ||
        scan->end_us - limit_us <= start_us)
        return 0;
    lathe_error_set(err, -E2BIG, LATHE_FAULT_INPUT, "%s lasts %.0f hours; the limit is %d",
                    source->path, ((double)scan->end_us - (double)start_us) / 3.6e9,
                    MEDIA_MAX_SECONDS / 3600);
    lathe_error_hint(err, "if it is shorter, its clock is damaged: mux it again, with new times");
    return -E2BIG;
}

static int find_damage(const struct media_source *source, const struct media_scan *scan,
                       struct lathe_error *err)
{
    if (scan->damaged_packets) {
        lathe_error_set(err, -EILSEQ, LATHE_FAULT_INPUT,
                        "%s is damaged or truncated: %llu packets are corrupt or unreadable",
                        source->path, (unsigned long long)scan->damaged_packets);
        lathe_error_hint(err, "copy the file again, or use --damaged conceal to convert what is "
                              "there");
        return -EILSEQ;
    }
    int64_t start_us =
        source->format->start_time == AV_NOPTS_VALUE ? 0 : source->format->start_time;
    return media_completeness_check_duration(source, scan->end_us - start_us, err);
}

/* Damage ends the scan, or where it is to be concealed becomes a line for the user. */
static int judge(int damage, bool conceal, struct media_scan *scan, const struct lathe_error *found,
                 struct lathe_error *err)
{
    if (damage >= 0)
        return 0;
    if (!conceal) {
        if (err)
            *err = *found;
        return damage;
    }
    snprintf(scan->damage, sizeof(scan->damage), "%s", found->what);
    return 0;
}

int media_scan(struct media_source *source, bool conceal, lathe_media_progress progress,
               void *opaque, struct media_scan *ret, struct lathe_error *err)
{
    *ret = (struct media_scan){0};
    struct scanner s = {.source = source, .scan = ret};
    struct lathe_error found = {0};
    int r = judge(media_completeness_check(source, &found), conceal, ret, &found, err);
    if (r >= 0)
        r = prepare(&s, err);
    if (r >= 0)
        r = read_all(&s, progress, opaque, err);
    if (r >= 0 && !ret->index.count) {
        r = lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s holds no pictures", source->path);
        lathe_error_hint(err, "the file is damaged or was not written completely");
    }
    if (r >= 0)
        r = check_length(source, ret, err);
    if (r >= 0 && !ret->damage[0])
        r = judge(find_damage(source, ret, &found), conceal, ret, &found, err);
    if (r >= 0 && separate_times(ret) < 0)
        r = lathe_error_nomem(err);
    if (r >= 0) {
        ret->reorder_depth = measure_reorder(ret);
        ret->jumps = s.timeline.jumps;
        ret->has_pts = ret->without_pts < ret->index.count / 10 + 1;
        ret->first_key = media_index_first_key(&ret->index);
    }
    media_timeline_finish(&s.timeline);
    av_parser_close(s.parser);
    avcodec_free_context(&s.parser_context);
    if (r < 0)
        media_scan_finish(ret);
    return r;
}

/* Tracks whose sound starts later than this into the file keep the container's word. */
#define FIRST_SOUND_PACKETS 4000

static bool first_sound(AVCodecContext *decoder, const AVPacket *packet, AVFrame *frame,
                        int64_t *ret_pts)
{
    if (avcodec_send_packet(decoder, packet) < 0)
        return false;
    bool found = false;
    while (avcodec_receive_frame(decoder, frame) >= 0) {
        if (!found && frame->best_effort_timestamp != AV_NOPTS_VALUE && frame->nb_samples > 0) {
            *ret_pts = frame->best_effort_timestamp;
            found = true;
        }
        av_frame_unref(frame);
    }
    return found;
}

static unsigned open_sounds(const struct media_source *source, const struct media_scan *scan,
                            AVCodecContext **decoders)
{
    unsigned open = 0;
    for (unsigned i = 0; i < scan->n_audio; i++) {
        struct lathe_error ignored = {0}; /* a track that cannot be decoded is left out later */
        const AVStream *stream = source->format->streams[scan->audio[i].stream];
        if (scan->audio[i].packets &&
            media_decoder_open_codec(stream->codecpar, stream->time_base, 0, NULL, &decoders[i],
                                     &ignored) >= 0)
            open++;
    }
    return open;
}

int media_scan_first_sounds(const struct media_source *scanned, struct media_scan *scan,
                            struct lathe_error *err)
{
    struct media_source source; /* anew: the scan read the other to its end */
    int r = media_source_open_again(&source, scanned->path, scanned->video_stream, err);
    if (r < 0)
        return r;
    AVCodecContext **decoders = calloc(scan->n_audio + 1, sizeof(*decoders));
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    _cleanup_frame_ AVFrame *frame = av_frame_alloc();
    unsigned wanted = 0;
    if (!decoders || !packet || !frame)
        r = lathe_error_nomem(err);
    else
        wanted = open_sounds(scanned, scan, decoders);
    for (int n = 0; n < FIRST_SOUND_PACKETS && wanted && r >= 0; n++) {
        if (av_read_frame(source.format, packet) < 0)
            break;
        for (unsigned i = 0; i < scan->n_audio; i++) {
            int64_t pts = 0;
            if (scan->audio[i].stream != packet->stream_index || !decoders[i] ||
                !first_sound(decoders[i], packet, frame, &pts))
                continue;
            scan->audio[i].start = pts;
            avcodec_free_context(&decoders[i]);
            wanted--;
        }
        av_packet_unref(packet);
    }
    for (unsigned i = 0; decoders && i < scan->n_audio; i++)
        avcodec_free_context(&decoders[i]);
    free(decoders);
    media_source_close(&source);
    return r;
}

void media_scan_finish(struct media_scan *scan)
{
    media_index_finish(&scan->index);
    free(scan->audio);
    *scan = (struct media_scan){0};
}
