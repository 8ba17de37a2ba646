/* SPDX-License-Identifier: MIT */
#include "sound_packets.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/intreadwrite.h>
#include <string.h>
#include <sys/mman.h>

#include "index.h"
#include "parameters.h"
#include "setup.h"

#define TABLE_MAGIC "LATHEAX1"

struct table_header {
    char magic[8];
    uint64_t count;
    uint32_t n_tracks, entry_size;
};

struct media_sound_entry {
    int64_t pts, dts, duration; /* healed, time base of the track; AV_NOPTS_VALUE as it was */
    uint32_t size, checksum;
    uint32_t track, flags;         /* of the packet */
    uint32_t skip_start, skip_end; /* samples that are not to be heard */
    uint8_t has_skip, start_reason, end_reason, unused[5];
};

/* Those of which Matroska keeps every byte; of AAC not the headers that MPEG-TS has. */
static bool matroska_keeps(const AVCodecParameters *par)
{
    static const enum AVCodecID kept[] = {
        AV_CODEC_ID_MP2,       AV_CODEC_ID_MP3,       AV_CODEC_ID_AC3,       AV_CODEC_ID_EAC3,
        AV_CODEC_ID_OPUS,      AV_CODEC_ID_VORBIS,    AV_CODEC_ID_FLAC,      AV_CODEC_ID_DTS,
        AV_CODEC_ID_PCM_S16LE, AV_CODEC_ID_PCM_S24LE, AV_CODEC_ID_PCM_S32LE, AV_CODEC_ID_PCM_F32LE};
    if (par->codec_id == AV_CODEC_ID_AAC)
        return par->extradata_size > 0;
    for (size_t i = 0; i < LATHE_COUNT(kept); i++)
        if (kept[i] == par->codec_id)
            return true;
    return false;
}

static const AVCodecParameters *parameters_of(const struct lathe_plan *plan, int track,
                                              const AVFormatContext *source)
{
    int stream = plan->audio[track].stream;
    return stream >= 0 && (unsigned)stream < source->nb_streams ? source->streams[stream]->codecpar
                                                                : NULL;
}

const char *media_sound_container(const struct lathe_plan *plan, const AVFormatContext *source)
{
    const AVCodecParameters *list[LATHE_AUDIO_MAX];
    bool all_kept = true;
    for (int i = 0; i < plan->n_audio; i++) {
        list[i] = parameters_of(plan, i, source);
        if (!list[i])
            return "";
        all_kept = all_kept && matroska_keeps(list[i]);
    }
    if (all_kept && media_mux_takes("matroska", list, plan->n_audio))
        return "mka";
    return media_mux_takes("nut", list, plan->n_audio) ? "nut" : "";
}

/* --- writing --- */

static int cannot_write(const struct media_sound_writer *w, int code, struct lathe_error *err)
{
    return lathe_error_set(err, code, LATHE_FAULT_RESOURCE, "cannot write %s: %s", w->table_path,
                           strerror(-code));
}

static int begin_table(struct media_sound_writer *w, const struct lathe_plan *plan,
                       const AVFormatContext *source, struct lathe_error *err)
{
    w->table = fopen(w->table_path, "wbxe");
    if (!w->table)
        return cannot_write(w, -errno, err);
    const struct table_header empty = {.magic = ""};
    if (fwrite(&empty, sizeof(empty), 1, w->table) != 1)
        return cannot_write(w, -errno, err);
    for (int i = 0; i < plan->n_audio; i++) {
        int r = media_parameters_write(w->table, parameters_of(plan, i, source),
                                       w->tracks[i].time_base);
        if (r == -ENOTSUP)
            return lathe_error_set(err, r, LATHE_FAULT_INPUT, "audio track %d has odd channels",
                                   i + 1);
        if (r < 0)
            return cannot_write(w, r, err);
    }
    return 0;
}

int media_sound_create(struct media_sound_writer *ret, const char *path, const char *table_path,
                       const struct lathe_plan *plan, const AVFormatContext *source,
                       struct lathe_error *err)
{
    *ret = (struct media_sound_writer){
        .mux = {.fd = -1},
        .table_path = table_path,
        .n_tracks = plan->n_audio,
        .origin_us = av_rescale_q(
            plan->origin, (AVRational){plan->time_base.num, plan->time_base.den}, AV_TIME_BASE_Q)};
    for (int i = 0; i < plan->n_audio; i++) {
        ret->tracks[i].stream = plan->audio[i].stream;
        ret->tracks[i].time_base = source->streams[plan->audio[i].stream]->time_base;
        ret->tracks[i].last = -1;
    }
    const bool is_matroska = strcmp(plan->sound_container, "mka") == 0;
    int r = begin_table(ret, plan, source, err);
    if (r >= 0)
        r = media_mux_open_cut(&ret->mux, path, is_matroska ? "matroska" : "nut", err);
    for (int i = 0; i < plan->n_audio && r >= 0; i++) {
        AVStream *stream;
        r = media_mux_add(&ret->mux, parameters_of(plan, i, source), AV_TIME_BASE_Q, &stream, err);
    }
    if (r >= 0)
        r = media_mux_begin(&ret->mux, false, 0, err);
    if (r < 0)
        media_sound_discard(ret);
    return r;
}

static void note_skip(const AVPacket *packet, struct media_sound_entry *entry)
{
    size_t size = 0;
    const uint8_t *skip = av_packet_get_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES, &size);
    if (!skip || size < 10)
        return;
    entry->has_skip = 1;
    entry->skip_start = AV_RL32(skip);
    entry->skip_end = AV_RL32(skip + 4);
    entry->start_reason = skip[8];
    entry->end_reason = skip[9];
}

/* Near the truth, and never back; ahead where the container asks for it. */
static int64_t time_for_players(struct media_sound_writer *w, const AVPacket *packet, int track)
{
    const AVRational time_base = w->mux.format->streams[track]->time_base;
    int64_t *last = &w->tracks[track].last;
    int64_t time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (time != AV_NOPTS_VALUE)
        time = av_rescale_q(time, w->tracks[track].time_base, time_base) -
               av_rescale_q(w->origin_us, AV_TIME_BASE_Q, time_base);
    int64_t least =
        w->mux.format->oformat->flags & AVFMT_TS_NONSTRICT && *last >= 0 ? *last : *last + 1;
    *last = time == AV_NOPTS_VALUE || time < least ? least : time;
    return *last;
}

int media_sound_add(struct media_sound_writer *w, AVPacket *packet, struct lathe_error *err)
{
    int track = 0;
    while (track < w->n_tracks && w->tracks[track].stream != packet->stream_index)
        track++;
    if (track == w->n_tracks || packet->size <= 0) {
        av_packet_unref(packet);
        return 0;
    }
    if (av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, NULL))
        return lathe_error_set(err, -ENOTSUP, LATHE_FAULT_INPUT,
                               "audio track %d changes its parameters", track + 1);
    struct media_sound_entry entry = {
        .pts = packet->pts,
        .dts = packet->dts,
        .duration = packet->duration,
        .size = (uint32_t)packet->size,
        .checksum = media_index_checksum(packet->data, packet->size),
        .track = (uint32_t)track,
        .flags = (uint32_t)packet->flags,
    };
    note_skip(packet, &entry);
    if (fwrite(&entry, sizeof(entry), 1, w->table) != 1)
        return cannot_write(w, errno ? -errno : -EIO, err);
    w->count++;
    const int64_t shown = time_for_players(w, packet, track);
    av_packet_free_side_data(packet);
    packet->stream_index = track;
    packet->pts = packet->dts = shown;
    packet->duration = 0;
    packet->flags = AV_PKT_FLAG_KEY;
    return media_mux_write(&w->mux, packet, w->mux.format->streams[track]->time_base, err);
}

int media_sound_finish(struct media_sound_writer *w, struct lathe_error *err)
{
    int r = media_mux_end(&w->mux, err);
    if (r < 0)
        return r;
    struct table_header header = {.count = w->count,
                                  .n_tracks = (uint32_t)w->n_tracks,
                                  .entry_size = sizeof(struct media_sound_entry)};
    memcpy(header.magic, TABLE_MAGIC, sizeof(header.magic));
    errno = 0;
    bool ok =
        fseek(w->table, 0, SEEK_SET) == 0 && fwrite(&header, sizeof(header), 1, w->table) == 1;
    ok = fclose(w->table) == 0 && ok;
    w->table = NULL;
    return ok ? 0 : cannot_write(w, errno ? -errno : -EIO, err);
}

void media_sound_discard(struct media_sound_writer *w)
{
    media_mux_close(&w->mux);
    if (w->table)
        fclose(w->table);
    w->table = NULL;
}

/* --- reading --- */

static int read_table(struct media_sound_reader *r, const char *path, struct lathe_error *err)
{
    int code = media_map_file(path, &r->mapping, &r->mapping_size, err);
    if (code < 0)
        return code;
    const struct table_header *header = r->mapping;
    const uint8_t *at = r->mapping, *end = at + r->mapping_size;
    bool ok = r->mapping_size >= sizeof(*header) &&
              memcmp(header->magic, TABLE_MAGIC, sizeof(header->magic)) == 0 &&
              header->entry_size == sizeof(struct media_sound_entry) &&
              header->n_tracks <= LATHE_AUDIO_MAX;
    at += sizeof(*header);
    for (; ok && (uint32_t)r->n_tracks < header->n_tracks; r->n_tracks += ok)
        ok = media_parameters_read(&at, end, &r->parameters[r->n_tracks],
                                   &r->time_bases[r->n_tracks]) == 0;
    if (!ok || (uint64_t)(end - at) / sizeof(struct media_sound_entry) != header->count)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "%s is not a table of audio packets of this version", path);
    r->entries = at;
    r->count = header->count;
    return 0;
}

static bool is_matroska(const char *path)
{
    static const uint8_t ebml[4] = {0x1a, 0x45, 0xdf, 0xa3};
    uint8_t begin[4] = {0};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, begin, sizeof(begin)) == sizeof(begin) &&
           memcmp(begin, ebml, sizeof(ebml)) == 0;
}

int media_sound_open_cut(struct media_sound_reader *ret, const char *path, const char *table_path,
                         struct lathe_error *err)
{
    *ret = (struct media_sound_reader){.source = {.fd = -1}, .path = path};
    int r = read_table(ret, table_path, err);
    if (r >= 0)
        r = media_source_open_cut(&ret->source, path, is_matroska(path) ? "matroska" : "nut", err);
    if (r < 0)
        media_sound_close_cut(ret);
    return r;
}

static int restore(const uint8_t *stored, AVPacket *packet)
{
    struct media_sound_entry e;
    memcpy(&e, stored, sizeof(e));
    if ((uint32_t)packet->stream_index != e.track || (uint32_t)packet->size != e.size ||
        e.checksum != media_index_checksum(packet->data, packet->size))
        return -EBADMSG;
    packet->pts = e.pts;
    packet->dts = e.dts;
    packet->duration = e.duration;
    packet->flags = (int)e.flags;
    av_packet_free_side_data(packet);
    if (!e.has_skip)
        return 0;
    uint8_t *skip = av_packet_new_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES, 10);
    if (!skip)
        return -ENOMEM;
    AV_WL32(skip, e.skip_start);
    AV_WL32(skip + 4, e.skip_end);
    skip[8] = e.start_reason;
    skip[9] = e.end_reason;
    return 0;
}

int media_sound_next(struct media_sound_reader *reader, AVPacket *ret, struct lathe_error *err)
{
    if (reader->next == reader->count)
        return 0;
    int r = av_read_frame(reader->source.format, ret);
    if (r >= 0)
        r = restore(reader->entries + reader->next * sizeof(struct media_sound_entry), ret);
    if (r < 0)
        av_packet_unref(ret);
    if (r == AVERROR(ENOMEM))
        return lathe_error_nomem(err);
    if (r < 0)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "%s does not hold the packets that its table lists", reader->path);
    reader->next++;
    return 1;
}

void media_sound_close_cut(struct media_sound_reader *reader)
{
    media_source_close(&reader->source);
    for (int i = 0; i < reader->n_tracks; i++)
        avcodec_parameters_free(&reader->parameters[i]);
    reader->n_tracks = 0;
    if (reader->mapping)
        munmap(reader->mapping, reader->mapping_size);
    reader->mapping = NULL;
}
