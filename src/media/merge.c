/* SPDX-License-Identifier: MIT */
/* The verb merge: joins the chunks of one rendition with the sound, stamps, muxes, verifies. */
#include <errno.h>
#include <string.h>

#include "hash.h"
#include "mux.h"
#include "setup.h"
#include "source.h"
#include "stamp.h"
#include "task.h"
#include "verify.h"

struct sound_track {
    int64_t first_pts;
    uint64_t packets, written;
    int frame_size;
    AVRational time_base;
};

struct merge {
    const struct lathe_order *order;
    const struct lathe_plan *plan;
    struct media_stamps stamps;
    struct media_mux mux;
    struct media_source audio;
    AVPacket *audio_packet; /* read ahead, not written yet */
    bool audio_open, audio_held, mux_open;
    struct sound_track tracks[LATHE_AUDIO_MAX];
    int n_tracks;
    uint64_t written; /* video packets */
    lathe_media_progress progress;
    void *opaque;
};

static AVRational plan_time_base(const struct merge *m)
{
    return (AVRational){m->plan->time_base.num, m->plan->time_base.den};
}

/* --- sound --- */

static int read_track_report(struct merge *m, struct lathe_error *err)
{
    const json_t *tracks = json_object_get(m->order->audio_report, "tracks");
    if (!json_is_array(tracks) || json_array_size(tracks) != (size_t)m->plan->n_audio)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL,
                               "the audio report does not fit the plan");
    for (int i = 0; i < m->plan->n_audio; i++) {
        const json_t *t = json_array_get(tracks, (size_t)i);
        m->tracks[i] = (struct sound_track){
            .first_pts = json_integer_value(json_object_get(t, "first_pts")),
            .packets = (uint64_t)json_integer_value(json_object_get(t, "packets")),
            .frame_size = (int)json_integer_value(json_object_get(t, "frame_size")),
            .time_base = {1, m->plan->audio[i].sample_rate}};
    }
    m->n_tracks = m->plan->n_audio;
    return 0;
}

static int open_sound(struct merge *m, struct lathe_error *err)
{
    if (!m->order->audio_path)
        return 0;
    int r = read_track_report(m, err);
    if (r >= 0)
        r = media_source_open_own(&m->audio, m->order->audio_path, true, err);
    if (r < 0)
        return r;
    m->audio_open = true;
    if (m->audio.format->nb_streams != (unsigned)m->n_tracks)
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL, "%s has %u tracks of %d",
                               m->order->audio_path, m->audio.format->nb_streams, m->n_tracks);
    for (int i = 0; i < m->n_tracks; i++) {
        const struct lathe_plan_audio *track = &m->plan->audio[i];
        AVStream *stream = NULL;
        r = media_mux_add(&m->mux, m->audio.format->streams[i]->codecpar, m->tracks[i].time_base,
                          &stream, err);
        if (r < 0)
            return r;
        if ((track->language[0] &&
             av_dict_set(&stream->metadata, "language", track->language, 0) < 0) ||
            (track->title[0] && av_dict_set(&stream->metadata, "title", track->title, 0) < 0))
            return lathe_error_nomem(err);
        if (track->is_default)
            stream->disposition |= AV_DISPOSITION_DEFAULT;
    }
    return 0;
}

/* Writes sound up to `until` (plan time base), so that the file is interleaved. */
static int write_sound(struct merge *m, int64_t until, struct lathe_error *err)
{
    if (!m->audio_open)
        return 0;
    for (;;) {
        if (!m->audio_held) {
            int r = av_read_frame(m->audio.format, m->audio_packet);
            if (r == AVERROR_EOF)
                return 0;
            if (r < 0)
                return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot read %s",
                                   m->order->audio_path);
            struct sound_track *t = &m->tracks[m->audio_packet->stream_index];
            m->audio_packet->pts = m->audio_packet->dts =
                t->first_pts + (int64_t)t->written * t->frame_size;
            t->written++;
            m->audio_held = true;
        }
        const struct sound_track *t = &m->tracks[m->audio_packet->stream_index];
        if (until != INT64_MAX &&
            av_compare_ts(m->audio_packet->pts, t->time_base, until, plan_time_base(m)) > 0)
            return 0;
        m->audio_packet->stream_index += 1;
        m->audio_held = false;
        int r = media_mux_write(&m->mux, m->audio_packet, t->time_base, err);
        if (r < 0)
            return r;
    }
}

/* --- pictures --- */

static int copy_rotation(const struct lathe_plan *plan, AVStream *stream)
{
    bool any = false;
    int32_t matrix[9];
    for (int i = 0; i < 9; i++) {
        matrix[i] = plan->rotation[i];
        any = any || matrix[i];
    }
    if (!any)
        return 0;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 29, 100)
    AVPacketSideData *sd = av_packet_side_data_new(&stream->codecpar->coded_side_data,
                                                   &stream->codecpar->nb_coded_side_data,
                                                   AV_PKT_DATA_DISPLAYMATRIX, sizeof(matrix), 0);
    uint8_t *data = sd ? sd->data : NULL;
#else
    uint8_t *data = av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, sizeof(matrix));
#endif
    if (!data)
        return -ENOMEM;
    memcpy(data, matrix, sizeof(matrix));
    return 0;
}

static int open_output(struct merge *m, struct lathe_error *err)
{
    struct media_source first;
    int r = media_source_open_own(&first, m->order->inputs[0].path, true, err);
    if (r < 0)
        return r;
    AVStream *stream = NULL;
    if (media_sets_join(&m->stamps.sets, first.format->streams[0]->codecpar) < 0) {
        media_source_close(&first);
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                               "the parameter sets of the chunks cannot be joined");
    }
    r = media_mux_open(&m->mux, m->order->out_paths[0], err);
    if (r >= 0) {
        m->mux_open = true;
        r = media_mux_add(&m->mux, first.format->streams[0]->codecpar,
                          (AVRational){1, m->stamps.timescale}, &stream, err);
    }
    media_source_close(&first);
    if (r >= 0 && copy_rotation(m->plan, stream) < 0)
        r = lathe_error_nomem(err);
    if (r >= 0) {
        AVRational rate = {m->plan->frame_rate.num, m->plan->frame_rate.den};
        const struct lathe_plan_rendition *rendition = &m->plan->renditions[m->order->index];
        stream->avg_frame_rate = rate;
        stream->disposition |= AV_DISPOSITION_DEFAULT;
        stream->sample_aspect_ratio = stream->codecpar->sample_aspect_ratio =
            (AVRational){rendition->sar.num, rendition->sar.den > 0 ? rendition->sar.den : 1};
        r = open_sound(m, err);
    }
    return r < 0 ? r : media_mux_begin(&m->mux, true, m->stamps.timescale, err);
}

/* MP4 makes durations from decoding times; what is given here counts for the last frame. */
static int64_t duration_of(const struct merge *m, int64_t time)
{
    const struct media_stamps *s = &m->stamps;
    uint64_t low = 0, high = s->count; /* the first frame after `time` */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (s->times[middle] <= time)
            low = middle + 1;
        else
            high = middle;
    }
    int64_t end = low < s->count ? s->times[low] : m->plan->duration;
    return end > time ? end - time : s->lead;
}

static int write_chunk(struct merge *m, uint32_t number, AVPacket *packet, struct lathe_error *err)
{
    const struct media_stamp_chunk *chunk = &m->stamps.chunks[number];
    struct media_source source;
    int r = media_source_open_chunk(&source, m->order->inputs[number].path, err);
    if (r < 0)
        return r;
    while ((r = av_read_frame(source.format, packet)) >= 0) {
        int64_t time = packet->pts - chunk->min_pts + chunk->first_time;
        int64_t dts = media_stamps_dts(&m->stamps, m->written);
        packet->pts = time;
        packet->dts = dts;
        packet->duration = duration_of(m, time);
        packet->stream_index = 0;
        r = write_sound(m, dts, err);
        if (r >= 0 && media_sets_prepend(&m->stamps.sets, number, packet) < 0)
            r = lathe_error_nomem(err);
        if (r >= 0)
            r = media_mux_write(&m->mux, packet, plan_time_base(m), err);
        av_packet_unref(packet);
        m->written++;
        struct lathe_progress now = {.frames = m->written, .bytes = (uint64_t)m->mux.size_bytes};
        if (r >= 0 && m->progress && m->progress(m->opaque, &now))
            r = lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
        if (r < 0)
            break;
    }
    media_source_close(&source);
    return r == AVERROR_EOF ? 0 : r;
}

static int write_all(struct merge *m, struct lathe_error *err)
{
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    m->audio_packet = av_packet_alloc();
    if (!packet || !m->audio_packet)
        return lathe_error_nomem(err);
    int r = open_output(m, err);
    for (uint32_t i = 0; i < m->order->n_inputs && r >= 0; i++)
        r = write_chunk(m, i, packet, err);
    if (r >= 0)
        r = write_sound(m, INT64_MAX, err);
    return r < 0 ? r : media_mux_end(&m->mux, err);
}

static void close_merge(struct merge *m)
{
    av_packet_free(&m->audio_packet);
    if (m->audio_open)
        media_source_close(&m->audio);
    if (m->mux_open)
        media_mux_close(&m->mux);
    media_stamps_finish(&m->stamps);
}

static int gate(struct merge *m, struct lathe_error *err)
{
    uint64_t packets[LATHE_AUDIO_MAX];
    for (int i = 0; i < m->n_tracks; i++)
        packets[i] = m->tracks[i].packets;
    return media_verify(m->order->out_paths[0], &m->stamps, m->plan, packets, m->n_tracks, err);
}

int lathe_media_merge(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err)
{
    struct media_task task;
    int r = media_task_load(&task, order, false, err);
    if (r < 0)
        return r;
    struct merge m = {.order = order, .plan = &task.plan, .progress = progress, .opaque = opaque};
    if (!order->n_inputs || order->index >= (uint32_t)task.plan.n_renditions)
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL, "the merge order fits no plan");
    if (r >= 0)
        r = media_stamps_collect(&m.stamps, order, &task.plan, err);
    if (r >= 0)
        r = write_all(&m, err);
    if (r >= 0)
        r = gate(&m, err);
    char sha256[65];
    uint64_t bytes = 0;
    if (r >= 0)
        r = media_hash_file(order->out_paths[0], sha256, &bytes, err);
    if (r >= 0) {
        int64_t last = m.stamps.times[m.stamps.count - 1];
        int64_t end = last + duration_of(&m, last);
        *ret_body = json_pack(
            "{s:I, s:I, s:I, s:s, s:I}", "frames", (json_int_t)m.stamps.count, "duration_us",
            (json_int_t)av_rescale_q(end, plan_time_base(&m), AV_TIME_BASE_Q), "bytes",
            (json_int_t)bytes, "sha256", sha256, "cpu_us", (json_int_t)media_cpu_us());
        if (!*ret_body)
            r = lathe_error_nomem(err);
    }
    close_merge(&m);
    media_task_finish(&task);
    return r;
}
