/* SPDX-License-Identifier: MIT */
/*
 * The verb split: read the source once, decide everything, write index and plan. The decisions
 * themselves are in job/ (cuts, rate, rendition defaults); this file turns facts of the source
 * into their input.
 */
#include <errno.h>
#include <libavutil/display.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/pixdesc.h>
#include <libavutil/sha.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "decode.h"
#include "lathe/cuts.h"
#include "lathe/hwaccel.h"
#include "scan.h"
#include "setup.h"
#include "stretch.h"

#define GOP_SECONDS 10.0
#define LEAD_IN_DEINTERLACE 2
#define PEEK_FRAMES 8
/* The search for the pilots' factor: at most so many trials, no step larger than this (sizes are
 * not trusted further), until one is this small. */
#define TRIALS_MAX 4
#define TRIAL_STEP 5.0
#define TRIAL_NEAR 1.0
#define TRIAL_REACH 5.0
/* Bits of a picture of fewer pixels at the same factor (measured on scaled footage: 0.7 to 0.8). */
#define TRIAL_EXPONENT 0.75
#define HALVING_START 4.5
#define HALVING_MIN 3.5
#define HALVING_MAX 5.0

/* What the first decoded pictures say. */
struct peek {
    int64_t first_time; /* index time base, before the origin */
    int format, width, height;
    AVRational sar;
    bool interlaced, top_field_first;
    enum AVColorRange range;
    enum AVColorPrimaries primaries;
    enum AVColorTransferCharacteristic transfer;
    enum AVColorSpace matrix;
    enum AVChromaLocation chroma;
    char mastering_display[160], content_light[32];
};

/* --- pictures --- */

static void read_hdr(const AVFrame *frame, struct peek *p)
{
    const AVFrameSideData *sd =
        av_frame_get_side_data(frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    if (sd) {
        const AVMasteringDisplayMetadata *m = (const void *)sd->data;
        if (m->has_primaries && m->has_luminance) /* x265 syntax: units of 0.00002 and 0.0001 */
            snprintf(p->mastering_display, sizeof(p->mastering_display),
                     "G(%.0f,%.0f)B(%.0f,%.0f)R(%.0f,%.0f)WP(%.0f,%.0f)L(%.0f,%.0f)",
                     av_q2d(m->display_primaries[1][0]) * 50000,
                     av_q2d(m->display_primaries[1][1]) * 50000,
                     av_q2d(m->display_primaries[2][0]) * 50000,
                     av_q2d(m->display_primaries[2][1]) * 50000,
                     av_q2d(m->display_primaries[0][0]) * 50000,
                     av_q2d(m->display_primaries[0][1]) * 50000, av_q2d(m->white_point[0]) * 50000,
                     av_q2d(m->white_point[1]) * 50000, av_q2d(m->max_luminance) * 10000,
                     av_q2d(m->min_luminance) * 10000);
    }
    sd = av_frame_get_side_data(frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    if (sd) {
        const AVContentLightMetadata *l = (const void *)sd->data;
        snprintf(p->content_light, sizeof(p->content_light), "%u,%u", l->MaxCLL, l->MaxFALL);
    }
}

static void read_picture(const AVFrame *frame, struct peek *p)
{
    p->format = frame->format;
    p->width = frame->width;
    p->height = frame->height;
    p->sar = frame->sample_aspect_ratio;
    p->range = frame->color_range;
    p->primaries = frame->color_primaries;
    p->transfer = frame->color_trc;
    p->matrix = frame->colorspace;
    p->chroma = frame->chroma_location;
    if (p->format == AV_PIX_FMT_YUVJ420P || p->format == AV_PIX_FMT_YUVJ422P ||
        p->format == AV_PIX_FMT_YUVJ444P)
        p->range = AVCOL_RANGE_JPEG;
    read_hdr(frame, p);
}

static int peek(const struct lathe_order *order, const struct media_scan *scan,
                struct lathe_plan *plan, struct peek *ret, struct lathe_error *err)
{
    struct media_decoder decoder;
    _cleanup_frame_ AVFrame *frame = av_frame_alloc();
    if (!frame)
        return lathe_error_nomem(err);
    int r = media_decoder_open(&decoder, order->source_path, plan, &scan->index, 0, INT64_MIN,
                               false, err);
    if (r < 0)
        return r;
    int n = 0, interlaced = 0;
    while (n < PEEK_FRAMES) {
        int64_t time = 0;
        uint32_t packet = 0;
        r = media_decoder_next(&decoder, frame, &time, &packet, err);
        if (r <= 0)
            break;
        if (n == 0) {
            ret->first_time = time;
            read_picture(frame, ret);
            ret->top_field_first = media_frame_is_top_field_first(frame);
        }
        interlaced += media_frame_is_interlaced(frame);
        n++;
        av_frame_unref(frame);
    }
    media_decoder_close(&decoder);
    if (r < 0)
        return r;
    if (!n) {
        lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s: no picture could be decoded",
                        order->source_path);
        lathe_error_hint(err, "the file is damaged, or not what its header says");
        return -ENODATA;
    }
    ret->interlaced = interlaced * 2 > n;
    return 0;
}

static const int32_t *display_matrix(const AVStream *stream)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 29, 100)
    const AVPacketSideData *sd =
        av_packet_side_data_get(stream->codecpar->coded_side_data,
                                stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return sd && sd->size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)sd->data : NULL;
#else
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data && size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data : NULL;
#endif
}

static int even(double value)
{
    int n = (int)(2 * round(value / 2));
    return n < 2 ? 2 : n;
}

static int plan_rendition(struct lathe_plan *plan, const struct lathe_job *job, int i,
                          const struct peek *p, AVRational sar)
{
    const struct lathe_rendition *wish = &job->renditions[i];
    struct lathe_plan_rendition *r = &plan->renditions[i];
    const bool square = sar.num <= 0 || sar.den <= 0 || sar.num == sar.den;
    const double shown_width = square ? p->width : p->width * av_q2d(sar);
    const double short_side = fmin(shown_width, p->height);
    double factor = wish->short_side / short_side;
    snprintf(r->name, sizeof(r->name), "%s", wish->name);
    if (factor > 1 && !job->upscale) {
        if (wish->short_side > (int)short_side + 1 &&
            lathe_plan_warn(
                plan, "%s: the source has only %d lines, and is not enlarged (--upscale does)",
                wish->name, (int)short_side) < 0)
            return -ENOMEM;
        factor = 1;
    }
    if (fabs(factor - 1) * short_side <= 1) {
        r->width = p->width & ~1;
        r->height = p->height & ~1;
        r->width = r->width < 2 ? 2 : r->width;
        r->height = r->height < 2 ? 2 : r->height;
        r->sar = (struct lathe_rational){square ? sar.num > 0 : sar.num, square ? 1 : sar.den};
    } else {
        r->width = even(p->width * factor);
        r->height = even(p->height * factor);
        AVRational out = {1, 1};
        if (!square)
            av_reduce(&out.num, &out.den, (int64_t)sar.num * p->width * r->height,
                      (int64_t)sar.den * p->height * r->width, 4096);
        r->sar = (struct lathe_rational){out.num, out.den};
    }
    r->bitrate_kbps = wish->bitrate_kbps;
    r->maxrate_kbps = wish->maxrate_kbps;
    r->bufsize_kbit = wish->bufsize_kbit;
    r->quality = job->quality;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(p->format);
    int bits = desc ? desc->comp[0].depth : 8;
    enum AVPixelFormat format = lathe_hwaccel_software.pixel_format(job->codec, bits);
    snprintf(r->pix_fmt, sizeof(r->pix_fmt), "%s", av_get_pix_fmt_name(format));
    return 0;
}

static int plan_pictures(struct lathe_plan *plan, const struct lathe_job *job,
                         const AVStream *stream, const struct peek *p)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(p->format);
    const bool rgb = desc && desc->flags & AV_PIX_FMT_FLAG_RGB;
    snprintf(plan->source_pix_fmt, sizeof(plan->source_pix_fmt), "%s",
             desc ? desc->name : "unknown");
    plan->source_width = p->width;
    plan->source_height = p->height;
    plan->color_range = rgb ? AVCOL_RANGE_MPEG : p->range;
    plan->color_primaries = p->primaries;
    plan->color_transfer = p->transfer;
    plan->color_matrix = rgb ? AVCOL_SPC_BT709 : p->matrix;
    plan->chroma_location = p->chroma;
    memcpy(plan->mastering_display, p->mastering_display, sizeof(plan->mastering_display));
    memcpy(plan->content_light, p->content_light, sizeof(plan->content_light));
    const int32_t *matrix = display_matrix(stream);
    for (int i = 0; i < 9 && matrix; i++)
        plan->rotation[i] = matrix[i];
    AVRational sar = stream->sample_aspect_ratio.num ? stream->sample_aspect_ratio : p->sar;
    bool scaled = false;
    plan->n_renditions = job->n_renditions;
    for (int i = 0; i < job->n_renditions; i++) {
        if (plan_rendition(plan, job, i, p, sar) < 0)
            return -ENOMEM;
        scaled = scaled || plan->renditions[i].height != (p->height & ~1);
    }
    /* Interlaced pictures scaled as progressive are garbage; unscaled ones keep their fields, which
     * only H.264 carries in common players. */
    if (p->interlaced) {
        /* x264 codes fields of 4:2:0 only in multiples of four lines. */
        plan->deinterlace = scaled || job->codec != LATHE_CODEC_H264 || p->height % 4 != 0;
        plan->interlaced = !plan->deinterlace;
        plan->top_field_first = p->top_field_first;
        plan->lead_in_frames = plan->deinterlace ? LEAD_IN_DEINTERLACE : 0;
    }
    return 0;
}

/* --- sound --- */

static const char *tag(const AVStream *stream, const char *key)
{
    const AVDictionaryEntry *e = av_dict_get(stream->metadata, key, NULL, 0);
    return e && strcmp(e->value, "und") != 0 ? e->value : "";
}

static int encodable_rate(int rate)
{
    static const int rates[] = {96000, 88200, 64000, 48000, 44100, 32000,
                                24000, 22050, 16000, 12000, 11025, 8000};
    for (size_t i = 0; i < LATHE_COUNT(rates); i++)
        if (rates[i] == rate)
            return rate;
    return 48000;
}

static int plan_audio(struct lathe_plan *plan, const struct media_source *source,
                      const struct media_scan *scan)
{
    for (unsigned i = 0; i < scan->n_audio; i++) {
        const struct media_scan_audio *a = &scan->audio[i];
        const AVStream *stream = source->format->streams[a->stream];
        const AVCodecParameters *par = stream->codecpar;
        const char *problem = NULL;
        if (!a->packets || par->sample_rate <= 0)
            problem = "holds no sound";
        else if (!media_codec_is_allowed(par->codec_id))
            problem = "has a codec that is not supported";
        else if (plan->n_audio == LATHE_AUDIO_MAX)
            problem = "is one too many";
        if (problem) {
            if (lathe_plan_warn(plan, "audio track %u (%s) is left out: it %s", i + 1,
                                avcodec_get_name(par->codec_id), problem) < 0)
                return -ENOMEM;
            continue;
        }
        struct lathe_plan_audio *track = &plan->audio[plan->n_audio++];
        *track = (struct lathe_plan_audio){
            .stream = a->stream,
            .is_default = stream->disposition & AV_DISPOSITION_DEFAULT,
            /* LC only: a player that ignores implicit SBR would play HE-AAC at half the rate. */
            .copy = par->codec_id == AV_CODEC_ID_AAC && par->profile == FF_PROFILE_AAC_LOW &&
                    par->frame_size == 1024 && a->contiguous && !a->edited,
        };
        int channels = par->ch_layout.nb_channels;
        track->channels = track->copy || channels <= 8 ? channels : 2;
        track->sample_rate = track->copy ? par->sample_rate : encodable_rate(par->sample_rate);
        track->bitrate_kbps = channels == 1 ? 96 : 64 * track->channels;
        snprintf(track->language, sizeof(track->language), "%.7s", tag(stream, "language"));
        snprintf(track->title, sizeof(track->title), "%.127s", tag(stream, "title"));
    }
    return 0;
}

static int warn_of_others(struct lathe_plan *plan, const struct media_source *source)
{
    unsigned subtitles = 0, data = 0, videos = 0;
    for (unsigned i = 0; i < source->format->nb_streams; i++) {
        enum AVMediaType type = source->format->streams[i]->codecpar->codec_type;
        int disposition = source->format->streams[i]->disposition;
        subtitles += type == AVMEDIA_TYPE_SUBTITLE;
        data += type == AVMEDIA_TYPE_DATA || type == AVMEDIA_TYPE_ATTACHMENT;
        videos += type == AVMEDIA_TYPE_VIDEO && (int)i != source->video_stream &&
                  !(disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS));
    }
    if (subtitles && lathe_plan_warn(plan, "%u subtitle tracks are left out", subtitles) < 0)
        return -ENOMEM;
    if (data && lathe_plan_warn(plan, "%u data tracks are left out", data) < 0)
        return -ENOMEM;
    if (videos && lathe_plan_warn(plan, "%u further video tracks are left out", videos) < 0)
        return -ENOMEM;
    return 0;
}

/* --- time --- */

static AVRational nominal_rate(const AVStream *stream, const struct media_scan *scan)
{
    AVRational rate = stream->avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 1000)
        rate = stream->r_frame_rate;
    if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 1000 || av_q2d(rate) < 0.01)
        rate = (AVRational){25, 1};
    (void)scan;
    return rate;
}

static int compare_frames(const void *a, const void *b)
{
    int64_t x = ((const struct lathe_cut_frame *)a)->time;
    int64_t y = ((const struct lathe_cut_frame *)b)->time;
    return x < y ? -1 : x > y;
}

/* Shown frames in presentation order, times from the origin. A key frame counts as one only where
 * decoding can start without looking back. */
static int list_frames(const struct media_scan *scan, const struct lathe_plan *plan,
                       struct lathe_cut_frame **ret, uint32_t *ret_count)
{
    struct lathe_cut_frame *frames = malloc((scan->index.count + 1) * sizeof(*frames));
    if (!frames)
        return -ENOMEM;
    uint32_t n = 0;
    int64_t latest = INT64_MIN;
    for (uint32_t i = scan->first_key; i < scan->index.count; i++) {
        const struct media_index_entry *e = &scan->index.entries[i];
        int64_t time = plan->times_from_dts ? e->dts_time : e->time;
        if (time == MEDIA_NO_TIME)
            continue;
        time -= plan->origin;
        bool in_order = time > latest;
        latest = in_order ? time : latest;
        if (time < 0)
            continue; /* leading pictures of the first key frame that no decoder delivers */
        frames[n++] = (struct lathe_cut_frame){
            .time = time,
            .packet = i,
            .bytes = e->size,
            .key = e->flags & MEDIA_INDEX_KEY && in_order && e->recovery == 0 &&
                   !plan->lead_in_frames && !plan->times_from_dts,
        };
    }
    qsort(frames, n, sizeof(*frames), compare_frames);
    *ret = frames;
    *ret_count = n;
    return 0;
}

/* Where decoding must start so that frame `first` comes out right: a key frame, far enough back for
 * recovery points, filters with memory, and B-frames of containers without PTS. */
static uint32_t decode_start(const struct media_scan *scan, const struct lathe_plan *plan,
                             const struct lathe_cut_frame *frames, uint32_t first)
{
    if (frames[first].key || first == 0)
        return first == 0 ? scan->first_key : frames[first].packet;
    const struct media_index_entry *entries = scan->index.entries;
    const int64_t start = frames[first].time;
    uint32_t keys_to_pass = plan->times_from_dts ? 1 : 0;
    for (uint32_t i = frames[first].packet + 1; i-- > scan->first_key;) {
        const struct media_index_entry *e = &entries[i];
        int64_t time = plan->times_from_dts ? e->dts_time : e->time;
        if (!(e->flags & MEDIA_INDEX_KEY) || time == MEDIA_NO_TIME || e->recovery == UINT32_MAX)
            continue;
        time -= plan->origin;
        if (time > start)
            continue;
        if (keys_to_pass) {
            keys_to_pass--;
            continue;
        }
        uint32_t between = 0; /* frames shown from this key up to the cut */
        for (uint32_t k = first; k > 0 && frames[k].time > time; k--)
            between++;
        if (between >= e->recovery && between >= (uint32_t)plan->lead_in_frames)
            return i;
    }
    return scan->first_key;
}

static int plan_chunks(struct lathe_plan *plan, const struct lathe_job *job,
                       const struct media_scan *scan, const struct lathe_cut_frame *frames,
                       uint32_t n_frames)
{
    double total = (double)plan->duration * plan->time_base.num / plan->time_base.den;
    uint32_t wish = lathe_cuts_count(n_frames, total, job->chunk_seconds);
    /* Without any clock, frames are counted from the start: there is nothing to cut by. */
    if (!scan->has_pts && !scan->has_dts)
        wish = 1;
    uint32_t *first = NULL, count = 0;
    int r = lathe_cuts_choose(frames, n_frames, wish, true, &first, &count);
    if (r < 0)
        return r;
    plan->chunks = calloc(count, sizeof(*plan->chunks));
    if (!plan->chunks) {
        free(first);
        return -ENOMEM;
    }
    plan->n_chunks = count;
    for (uint32_t c = 0; c < count; c++) {
        uint32_t end = c + 1 < count ? first[c + 1] : n_frames;
        struct lathe_plan_chunk *chunk = &plan->chunks[c];
        chunk->start = c ? frames[first[c]].time : 0;
        chunk->end = c + 1 < count ? frames[end].time : INT64_MAX;
        chunk->first_packet = decode_start(scan, plan, frames, first[c]);
        chunk->frames = end - first[c];
        for (uint32_t i = first[c]; i < end; i++)
            chunk->source_bytes += frames[i].bytes;
    }
    free(first);
    plan->rate_lag = lathe_rate_lag(count);
    return 0;
}

static int make_pilots(struct lathe_plan *plan, const struct media_scan *scan,
                       const struct lathe_cut_frame *frames, uint32_t n_frames,
                       const uint32_t *first, uint32_t count, uint32_t length)
{
    struct lathe_plan_pilot *pilots = calloc(count, sizeof(*pilots));
    if (!pilots)
        return -ENOMEM;
    free(plan->pilots);
    plan->pilots = pilots;
    plan->n_pilots = count;
    for (uint32_t p = 0; p < count; p++) {
        pilots[p].start = frames[first[p]].time;
        pilots[p].first_packet = decode_start(scan, plan, frames, first[p]);
        for (uint32_t i = first[p]; i < first[p] + length && i < n_frames; i++) {
            pilots[p].source_bytes += frames[i].bytes;
            pilots[p].frames++;
        }
    }
    return 0;
}

static int run_trial(const struct lathe_order *order, const struct lathe_plan *trial,
                     const struct media_scan *scan, struct lathe_rate_sample *ret,
                     struct lathe_error *err)
{
    struct media_stretch stretch = {
        .plan = trial,
        .index = &scan->index,
        .source_path = order->source_path,
        .first_packet = trial->pilots[0].first_packet,
        .start = trial->pilots[0].start,
        .end = INT64_MAX,
        .max_frames = trial->pilots[0].frames,
    };
    for (int i = 0; i < trial->n_renditions; i++)
        stretch.rates[i].quality = trial->renditions[i].pilot_quality;
    int r = media_stretch_run(&stretch, err);
    if (r == -ESTALE) {
        stretch.linear = true;
        r = media_stretch_run(&stretch, err);
    }
    memcpy(ret, stretch.samples, sizeof(stretch.samples));
    return r;
}

/* Moves a rendition's factor towards the one that meets its bitrate, learning the slope from the
 * trial before. Returns the distance moved. */
static double improve(struct lathe_plan_rendition *r, double old_quality, double old_bytes,
                      double bytes, double wanted)
{
    if (old_bytes > 0 && fabs(r->pilot_quality - old_quality) > 0.5 && bytes != old_bytes) {
        double steps = (r->pilot_quality - old_quality) / log2(old_bytes / bytes);
        r->halving_steps = fmin(fmax(steps, HALVING_MIN), HALVING_MAX);
    }
    double step = r->halving_steps * log2(bytes / wanted);
    step = fmin(fmax(step, -TRIAL_STEP), TRIAL_STEP);
    r->pilot_quality = fmin(fmax(r->pilot_quality + step, 8), 46);
    return fabs(step);
}

/*
 * Brings the factor of the pilots near the one that will be used, and learns how sizes change with
 * it: far from it, sizes do not scale as expected (measured: 1.7 times off at a distance of 4). A
 * few tiny encodes at half the size, where bits follow pixels closely enough for that.
 */
static int find_pilot_quality(const struct lathe_order *order, struct lathe_plan *plan,
                              const struct media_scan *scan, struct lathe_error *err)
{
    struct lathe_plan trial = *plan; /* borrows everything */
    trial.passes = 1;
    trial.interlaced = false; /* half the height may not hold two fields */
    double old_quality[LATHE_RENDITIONS_MAX] = {0}, old_bytes[LATHE_RENDITIONS_MAX] = {0};
    for (int i = 0; i < plan->n_renditions; i++) {
        struct lathe_plan_rendition *r = &trial.renditions[i];
        double pixels = (double)r->width * r->height;
        r->width = even(r->width / 2.0);
        r->height = even(r->height / 2.0);
        r->bitrate_kbps = (int)fmax(
            1, r->bitrate_kbps * pow((double)r->width * r->height / pixels, TRIAL_EXPONENT));
        r->maxrate_kbps = r->bufsize_kbit = 0;
        r->pilot_quality = lathe_rate_guess(plan, i);
        r->halving_steps = HALVING_START;
    }
    for (int n = 0; n < TRIALS_MAX; n++) {
        struct lathe_rate_sample samples[LATHE_RENDITIONS_MAX];
        int r = run_trial(order, &trial, scan, samples, err);
        if (r < 0)
            return r;
        double farthest = 0;
        for (int i = 0; i < plan->n_renditions; i++) {
            struct lathe_plan_rendition *t = &trial.renditions[i];
            struct lathe_rate rate;
            if (lathe_rate_for_chunk(&trial, i, 0, &samples[i], NULL, 0, &rate) < 0)
                return lathe_error_nomem(err);
            double bytes = (double)(samples[i].key_bytes + samples[i].other_bytes);
            double used = t->pilot_quality;
            double wanted = bytes * exp2((used - rate.quality) / t->halving_steps);
            double moved = improve(t, old_quality[i], old_bytes[i], bytes, wanted);
            old_quality[i] = used;
            old_bytes[i] = bytes;
            farthest = fmax(farthest, moved);
        }
        if (farthest < TRIAL_NEAR)
            break;
    }
    for (int i = 0; i < plan->n_renditions; i++) {
        /* One place may be unlike the rest: it moves the guess, it does not replace it. */
        double guess = lathe_rate_guess(plan, i);
        plan->renditions[i].pilot_quality =
            fmin(fmax(trial.renditions[i].pilot_quality, guess - TRIAL_REACH), guess + TRIAL_REACH);
        plan->renditions[i].halving_steps = trial.renditions[i].halving_steps;
    }
    return 0;
}

static int plan_pilots(const struct lathe_order *order, struct lathe_plan *plan,
                       const struct media_scan *scan, const struct lathe_cut_frame *frames,
                       uint32_t n_frames, struct lathe_error *err)
{
    if (order->job->quality >= 0)
        return 0;
    uint32_t *first = NULL, count = 0, length = 0;
    int r = lathe_cuts_pilots(frames, n_frames, &first, &count, &length);
    if (r >= 0)
        r = make_pilots(plan, scan, frames, n_frames, &first[count / 2], 1, length);
    if (r >= 0)
        r = find_pilot_quality(order, plan, scan, err);
    if (r >= 0)
        r = make_pilots(plan, scan, frames, n_frames, first, count, length);
    free(first);
    if (r < 0 || plan->passes != 2)
        return r;
    struct lathe_plan_pilot *pilots = calloc(plan->n_chunks, sizeof(*pilots));
    if (!pilots)
        return -ENOMEM;
    for (uint32_t i = 0; i < plan->n_chunks; i++)
        pilots[i] = (struct lathe_plan_pilot){.start = plan->chunks[i].start,
                                              .first_packet = plan->chunks[i].first_packet,
                                              .frames = plan->chunks[i].frames,
                                              .source_bytes = plan->chunks[i].source_bytes};
    free(plan->pilots);
    plan->pilots = pilots;
    plan->n_pilots = plan->n_chunks;
    return 0;
}

/* --- the source's identity --- */

static int identify(const struct media_source *source, char *ret, size_t size)
{
    enum { SAMPLES = 16, SAMPLE_BYTES = 65536 };
    _cleanup_free_ struct AVSHA *sha = av_sha_alloc();
    _cleanup_free_ uint8_t *buffer = malloc(SAMPLE_BYTES);
    if (!sha || !buffer)
        return -ENOMEM;
    av_sha_init(sha, 256);
    for (int i = 0; i < SAMPLES; i++) {
        int64_t at = (source->size_bytes - SAMPLE_BYTES) / (SAMPLES - 1) * i;
        ssize_t n = pread(source->fd, buffer, SAMPLE_BYTES, at > 0 ? at : 0);
        if (n > 0)
            av_sha_update(sha, buffer, (size_t)n);
    }
    uint8_t digest[32];
    av_sha_final(sha, digest);
    int n = snprintf(ret, size, "%lld-", (long long)source->size_bytes);
    for (int i = 0; i < 20 && n + 2 < (int)size; i++)
        n += snprintf(ret + n, size - (size_t)n, "%02x", digest[i]);
    return 0;
}

/* --- all together --- */

static void plan_settings(struct lathe_plan *plan, const struct lathe_job *job,
                          const struct media_source *source, const struct media_scan *scan)
{
    const AVStream *stream = media_source_video(source);
    snprintf(plan->job_id, sizeof(plan->job_id), "%s", job->id);
    snprintf(plan->container, sizeof(plan->container), "%.31s", source->format->iformat->name);
    snprintf(plan->video_codec, sizeof(plan->video_codec), "%.31s",
             avcodec_get_name(stream->codecpar->codec_id));
    plan->source_bytes = (uint64_t)source->size_bytes;
    plan->video_stream = source->video_stream;
    plan->time_base = (struct lathe_rational){scan->time_base.num, scan->time_base.den};
    AVRational rate = nominal_rate(stream, scan);
    plan->frame_rate = (struct lathe_rational){rate.num, rate.den};
    plan->reorder_depth = scan->reorder_depth;
    plan->times_from_dts = !scan->has_pts;
    plan->codec = job->codec;
    plan->preset = job->preset;
    plan->encoder_threads = 1;
    plan->passes = job->passes;
    plan->gop_seconds = job->gop_seconds > 0 ? job->gop_seconds : GOP_SECONDS;
    plan->conceal_damage = job->conceal_damage;
}

static int64_t origin_of(const struct lathe_plan *plan, const struct media_scan *scan,
                         int64_t first_video)
{
    int64_t origin = first_video;
    for (int i = 0; i < plan->n_audio; i++)
        for (unsigned k = 0; k < scan->n_audio; k++)
            if (scan->audio[k].stream == plan->audio[i].stream) {
                /* Towards zero: a coarse clock must not invent an offset of one tick. */
                int64_t start = av_rescale_q_rnd(scan->audio[k].start, scan->audio[k].time_base,
                                                 scan->time_base, AV_ROUND_ZERO);
                if (start < origin)
                    origin = start;
            }
    return origin;
}

static int make_plan(const struct lathe_order *order, const struct media_source *source,
                     const struct media_scan *scan, struct lathe_plan *plan,
                     struct lathe_error *err)
{
    const struct lathe_job *job = order->job;
    struct peek p = {0};
    plan_settings(plan, job, source, scan);
    int r = peek(order, scan, plan, &p, err);
    if (r < 0)
        return r;
    if (identify(source, plan->source_identity, sizeof(plan->source_identity)) < 0 ||
        plan_audio(plan, source, scan) < 0 || warn_of_others(plan, source) < 0 ||
        plan_pictures(plan, job, media_source_video(source), &p) < 0)
        return lathe_error_nomem(err);
    if (scan->jumps &&
        lathe_plan_warn(plan, "the source's clock jumps %u times: healed", scan->jumps) < 0)
        return lathe_error_nomem(err);
    if (scan->damage[0] &&
        lathe_plan_warn(plan, "%s; what is there is converted", scan->damage) < 0)
        return lathe_error_nomem(err);
    if (scan->counter_gaps &&
        lathe_plan_warn(plan, "%llu gaps in the transport stream: pictures or sound may be missing",
                        (unsigned long long)scan->counter_gaps) < 0)
        return lathe_error_nomem(err);
    plan->origin = origin_of(plan, scan, p.first_time);
    struct lathe_cut_frame *frames = NULL;
    uint32_t n_frames = 0;
    r = list_frames(scan, plan, &frames, &n_frames);
    if (r >= 0 && !n_frames)
        r = lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s holds no pictures that are shown",
                            order->source_path);
    if (r >= 0) {
        AVRational tb = scan->time_base;
        int64_t frame =
            av_rescale_q(1, av_inv_q((AVRational){plan->frame_rate.num, plan->frame_rate.den}), tb);
        plan->frames = n_frames;
        plan->duration = frames[n_frames - 1].time + (scan->last_duration > 0 ? scan->last_duration
                                                      : frame > 0             ? frame
                                                                              : 1);
        r = plan_chunks(plan, job, scan, frames, n_frames);
        if (r >= 0)
            r = plan_pilots(order, plan, scan, frames, n_frames, err);
    }
    free(frames);
    if (r == -ENOMEM)
        lathe_error_nomem(err);
    return r;
}

/* The parent made the place and publishes the file: no need for a temporary one here. */
static int write_plan(const char *path, const char *text, struct lathe_error *err)
{
    _cleanup_fclose_ FILE *file = fopen(path, "wbe");
    if (!file || fputs(text, file) < 0 || fflush(file) != 0 || fsync(fileno(file)) != 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "cannot write %s: %s", path,
                               strerror(errno));
    return 0;
}

int lathe_media_split(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err)
{
    struct media_source source;
    struct media_scan scan = {0};
    struct lathe_plan plan;
    json_t *json = NULL;
    lathe_plan_init(&plan);
    int r = media_source_open(&source, order->source_path, err);
    if (r < 0)
        return r;
    r = media_scan(&source, order->job->conceal_damage, progress, opaque, &scan, err);
    if (r >= 0 && scan.n_audio)
        r = media_scan_first_sounds(order->source_path, &scan, err);
    if (r >= 0)
        r = make_plan(order, &source, &scan, &plan, err);
    if (r >= 0)
        r = media_index_save(&scan.index, order->index_path, err);
    if (r >= 0 && lathe_plan_to_json(&plan, &json) < 0)
        r = lathe_error_nomem(err);
    if (r >= 0) {
        _cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
        r = text ? write_plan(order->plan_path, text, err) : lathe_error_nomem(err);
    }
    if (r >= 0 &&
        !(*ret_body = json_pack("{s:O, s:I}", "plan", json, "cpu_us", (json_int_t)media_cpu_us())))
        r = lathe_error_nomem(err);
    json_decref(json);
    lathe_plan_finish(&plan);
    media_scan_finish(&scan);
    media_source_close(&source);
    return r;
}
