/* SPDX-License-Identifier: MIT */
/*
 * The verb split: read the source once, decide everything, write index and plan. The decisions
 * themselves are in job/ (cuts, rate, rendition defaults); this file and the other split_*.c turn
 * facts of the source into their input.
 */
#include <errno.h>
#include <libavutil/sha.h>
#include <string.h>
#include <unistd.h>

#include "packets.h"
#include "setup.h"
#include "sound_packets.h"
#include "split.h"

#define GOP_SECONDS 10.0
/* Measured on grainy footage: four bring the frames before a join to where those before ffmpeg's
 * own key frames are. */
#define LEAD_OUT_FRAMES 4

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

static AVRational nominal_rate(const AVStream *stream)
{
    AVRational rate = stream->avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 1000)
        rate = stream->r_frame_rate;
    if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 1000 || av_q2d(rate) < 0.01)
        rate = (AVRational){25, 1};
    return rate;
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
    AVRational rate = nominal_rate(stream);
    plan->frame_rate = (struct lathe_rational){rate.num, rate.den};
    plan->reorder_depth = scan->reorder_depth;
    plan->times_from_dts = !scan->has_pts;
    plan->codec = job->codec;
    plan->preset = job->preset;
    plan->encoder_threads = 1;
    plan->passes = job->passes;
    plan->gop_seconds = job->gop_seconds > 0 ? job->gop_seconds : GOP_SECONDS;
    plan->conceal_damage = job->conceal_damage;
    const AVCodecParameters *const pictures = scan->index.video;
    const char *container = media_packets_container(pictures);
    if (media_mux_takes(strcmp(container, "ts") == 0 ? "mpegts" : container, &pictures, 1))
        snprintf(plan->packets_container, sizeof(plan->packets_container), "%s", container);
    plan->lead_out_frames = job->preset > LATHE_PRESET_SUPERFAST ? LEAD_OUT_FRAMES : 0;
}

static int64_t origin_of(const struct lathe_plan *plan, const struct media_scan *scan,
                         const struct media_scan *sound, int64_t ahead, int64_t first_video)
{
    int64_t origin = first_video;
    for (int i = 0; i < plan->n_audio; i++)
        for (unsigned k = 0; k < sound->n_audio; k++)
            if (sound->audio[k].stream == plan->audio[i].stream) {
                /* Towards zero: a coarse clock must not invent an offset of one tick. */
                int64_t start =
                    ahead + av_rescale_q_rnd(sound->audio[k].start, sound->audio[k].time_base,
                                             scan->time_base, AV_ROUND_ZERO);
                if (start < origin)
                    origin = start;
            }
    return origin;
}

/* The sound of a joined source may lie in another file, with a clock of its own: both begin with
 * the same picture. Returns how far the pictures' clock is ahead, in its time base. */
static int64_t clock_ahead(const struct media_scan *scan, const struct media_scan *sound,
                           int64_t first_video)
{
    int64_t first = INT64_MAX;
    for (uint32_t i = sound->first_key; i < sound->index.count; i++) {
        int64_t time = sound->index.entries[i].time;
        if (time != MEDIA_NO_TIME && time < first)
            first = time;
    }
    return first == INT64_MAX
               ? 0
               : first_video - av_rescale_q(first, sound->time_base, scan->time_base);
}

static int make_plan(const struct lathe_order *order, const struct media_source *source,
                     const struct media_scan *scan, const struct media_source *sound_source,
                     const struct media_scan *sound, struct lathe_plan *plan,
                     struct lathe_error *err)
{
    const struct lathe_job *job = order->job;
    struct split_peek p = {0};
    plan_settings(plan, job, source, scan);
    int r = split_peek(source, scan, plan, &p, err);
    if (r < 0)
        return r;
    if (identify(source, plan->source_identity, sizeof(plan->source_identity)) < 0 ||
        plan_audio(plan, sound_source, sound) < 0 || warn_of_others(plan, source) < 0 ||
        split_plan_pictures(plan, job, media_source_video(source), &p) < 0)
        return lathe_error_nomem(err);
    plan->is_joined = order->n_parts > 0;
    plan->sound_apart = sound != scan;
    if (plan->n_audio && !plan->sound_apart)
        snprintf(plan->sound_container, sizeof(plan->sound_container), "%s",
                 media_sound_container(plan, source->format));
    if (scan->jumps &&
        lathe_plan_warn(plan, "the source's clock jumps %u times: healed", scan->jumps) < 0)
        return lathe_error_nomem(err);
    if (scan->damage[0] &&
        lathe_plan_warn(plan, "%s; what is there is converted", scan->damage) < 0)
        return lathe_error_nomem(err);
    if (scan->counter_gaps && !plan->is_joined && /* there each join has one */
        lathe_plan_warn(plan, "%llu gaps in the transport stream: pictures or sound may be missing",
                        (unsigned long long)scan->counter_gaps) < 0)
        return lathe_error_nomem(err);
    const int64_t ahead = plan->sound_apart ? clock_ahead(scan, sound, p.first_time) : 0;
    plan->origin = origin_of(plan, scan, sound, ahead, p.first_time);
    plan->sound_origin = plan->origin - ahead;
    struct lathe_cut_frame *frames = NULL;
    uint32_t n_frames = 0;
    r = split_list_frames(scan, plan, &frames, &n_frames);
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
        r = split_plan_chunks(plan, order, scan, frames, n_frames);
        if (r >= 0)
            r = split_plan_pilots(order, plan, scan, frames, n_frames, err);
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

static int plan_with_sound_apart(const struct lathe_order *order, const struct media_source *source,
                                 const struct media_scan *scan, lathe_media_progress progress,
                                 void *opaque, struct lathe_plan *plan, struct lathe_error *err)
{
    struct media_source sound_source;
    struct media_scan sound = {0};
    int r = media_source_open(&sound_source, order->audio_path, err);
    if (r < 0)
        return r;
    r = media_scan(&sound_source, order->job->conceal_damage, progress, opaque, &sound, err);
    if (r >= 0 && sound.n_audio)
        r = media_scan_first_sounds(&sound_source, &sound, err);
    if (r >= 0)
        r = make_plan(order, source, scan, &sound_source, &sound, plan, err);
    media_scan_finish(&sound);
    media_source_close(&sound_source);
    return r;
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
    if (r >= 0 && !order->audio_path && scan.n_audio)
        r = media_scan_first_sounds(&source, &scan, err);
    if (r >= 0 && !order->audio_path)
        r = make_plan(order, &source, &scan, &source, &scan, &plan, err);
    else if (r >= 0)
        r = plan_with_sound_apart(order, &source, &scan, progress, opaque, &plan, err);
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
