/* SPDX-License-Identifier: MIT */
/* The verb audio: every kept track of the whole file in one pass, into one MP4 without pictures.
 * From the source, or from what was cut of it. */
#include <errno.h>

#include "hash.h"
#include "setup.h"
#include "sound.h"
#include "sound_packets.h"
#include "source.h"
#include "task.h"
#include "timeline.h"

#define READ_ERRORS_MAX 64

struct audio_run {
    struct media_source source;
    struct media_timeline timeline;
    struct media_sound_reader cut; /* instead of both */
    struct media_mux mux;
    struct media_sound sounds[LATHE_AUDIO_MAX];
    int n_open;
    bool mux_open, source_open, cut_open;
};

static void close_run(struct audio_run *a)
{
    for (int i = 0; i < a->n_open; i++)
        media_sound_close(&a->sounds[i]);
    if (a->mux_open)
        media_mux_close(&a->mux);
    media_timeline_finish(&a->timeline);
    if (a->cut_open)
        media_sound_close_cut(&a->cut);
    if (a->source_open)
        media_source_close(&a->source);
}

static int open_input(struct audio_run *a, const struct lathe_order *order, struct lathe_error *err)
{
    if (order->packets_path) {
        int r = media_sound_open_cut(&a->cut, order->packets_path, order->index_path, err);
        a->cut_open = r >= 0;
        return r;
    }
    int r = media_source_open(&a->source, order->source_path, err);
    if (r < 0)
        return r;
    a->source_open = true;
    return media_timeline_init(&a->timeline, a->source.format) < 0 ? lathe_error_nomem(err) : 0;
}

/* What the decoder of a track starts from; NULL when the input has no such track. */
static const AVCodecParameters *track_parameters(const struct audio_run *a,
                                                 const struct lathe_plan *plan, int track,
                                                 AVRational *ret_time_base)
{
    int stream = plan->audio[track].stream;
    if (a->cut_open && track < a->cut.n_tracks) {
        *ret_time_base = a->cut.time_bases[track];
        return a->cut.parameters[track];
    }
    if (a->cut_open || stream < 0 || (unsigned)stream >= a->source.format->nb_streams)
        return NULL;
    *ret_time_base = a->source.format->streams[stream]->time_base;
    return a->source.format->streams[stream]->codecpar;
}

static int open_run(struct audio_run *a, const struct lathe_order *order,
                    const struct lathe_plan *plan, struct lathe_error *err)
{
    int r = open_input(a, order, err);
    if (r >= 0)
        r = media_mux_open(&a->mux, order->out_paths[0], err);
    if (r < 0)
        return r;
    a->mux_open = true;
    for (int i = 0; i < plan->n_audio; i++) {
        AVRational time_base;
        const AVCodecParameters *par = track_parameters(a, plan, i, &time_base);
        if (!par)
            return lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                                   "%s does not match its plan: was it changed?",
                                   order->source_path ? order->source_path : order->packets_path);
        r = media_sound_open(&a->sounds[i], plan, i, par, time_base, &a->mux, err);
        if (r < 0)
            return r;
        a->n_open++;
    }
    return media_mux_begin(&a->mux, false, 0, err);
}

static struct media_sound *sound_of(struct audio_run *a, int stream)
{
    for (int i = 0; i < a->n_open; i++)
        if (a->sounds[i].plan->stream == stream)
            return &a->sounds[i];
    return NULL;
}

/* The next packet of a kept track: 1; another one: 1 with no `ret_sound`; 0 at the end. */
static int next_packet(struct audio_run *a, AVPacket *packet, struct media_sound **ret_sound,
                       struct lathe_error *err)
{
    if (a->cut_open) {
        int r = media_sound_next(&a->cut, packet, err);
        *ret_sound = r > 0 ? &a->sounds[packet->stream_index] : NULL;
        return r;
    }
    int r = 0;
    for (int errors = 0; errors < READ_ERRORS_MAX; errors++) {
        r = av_read_frame(a->source.format, packet);
        if (r >= 0 || r == AVERROR_EOF || r == AVERROR(ENOMEM))
            break; /* errors were counted when the file was indexed */
    }
    if (r == AVERROR(ENOMEM))
        return lathe_error_nomem(err);
    if (r < 0)
        return 0;
    /* Pictures are read too, only for the clock: jumps are healed for all streams together. */
    const AVStream *stream = a->source.format->streams[packet->stream_index];
    *ret_sound = sound_of(a, packet->stream_index);
    if ((*ret_sound || packet->stream_index == a->source.video_stream ||
         stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) &&
        media_timeline_heal(&a->timeline, stream, packet) < 0)
        return lathe_error_nomem(err);
    return 1;
}

static int run_packets(struct audio_run *a, lathe_media_progress progress, void *opaque,
                       struct lathe_error *err)
{
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!packet)
        return lathe_error_nomem(err);
    for (;;) {
        struct media_sound *sound = NULL;
        int r = next_packet(a, packet, &sound, err);
        if (r == 0)
            break;
        if (r > 0 && sound)
            r = media_sound_send(sound, packet, &a->mux, err);
        av_packet_unref(packet);
        const struct media_source *source = a->cut_open ? &a->cut.source : &a->source;
        struct lathe_progress now = {.bytes = (uint64_t)source->bytes_read};
        if (r >= 0 && progress && progress(opaque, &now))
            r = lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
        if (r < 0)
            return r;
    }
    for (int i = 0; i < a->n_open; i++) {
        int r = media_sound_send(&a->sounds[i], NULL, &a->mux, err);
        if (r < 0)
            return r;
    }
    return media_mux_end(&a->mux, err);
}

static json_t *tracks_json(const struct audio_run *a)
{
    json_t *tracks = json_array();
    for (int i = 0; i < a->n_open && tracks; i++) {
        const struct media_sound *s = &a->sounds[i];
        json_t *track =
            json_pack("{s:I, s:I, s:i, s:i, s:b, s:I, s:I}", "first_pts", (json_int_t)s->first_pts,
                      "packets", (json_int_t)s->packets, "frame_size", 1024, "sample_rate",
                      s->plan->sample_rate, "copied", s->plan->copy, "silence_samples",
                      (json_int_t)s->silence_samples, "concealed", (json_int_t)s->damaged);
        if (!track || json_array_append_new(tracks, track) < 0) {
            json_decref(tracks);
            return NULL;
        }
    }
    return tracks;
}

int lathe_media_audio(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err)
{
    struct media_task task;
    struct audio_run run = {0};
    int r = media_task_load(&task, order, false, err);
    if (r < 0)
        return r;
    r = open_run(&run, order, &task.plan, err);
    if (r >= 0)
        r = run_packets(&run, progress, opaque, err);
    char sha256[65];
    uint64_t bytes = 0;
    if (r >= 0)
        r = media_hash_file(order->out_paths[0], sha256, &bytes, err);
    if (r >= 0) {
        json_t *tracks = tracks_json(&run);
        *ret_body =
            tracks ? json_pack("{s:o, s:I, s:s, s:I}", "tracks", tracks, "bytes", (json_int_t)bytes,
                               "sha256", sha256, "cpu_us", (json_int_t)media_cpu_us())
                   : NULL;
        if (!*ret_body)
            r = lathe_error_nomem(err);
    }
    close_run(&run);
    media_task_finish(&task);
    return r;
}
