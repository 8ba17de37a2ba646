/* SPDX-License-Identifier: MIT */
/*
 * Packets of all kept audio tracks, cut from the source into a file of their own: Matroska where
 * that carries their codecs as they are, else NUT. Beside it a table has what containers round or
 * drop: healed times, samples to skip, and the parameters of each track.
 */
#ifndef LATHE_MEDIA_SOUND_PACKETS_H
#define LATHE_MEDIA_SOUND_PACKETS_H

#include <libavformat/avformat.h>

#include "lathe/error.h"
#include "lathe/plan.h"
#include "mux.h"
#include "source.h"

/* "mka", "nut", or "" when neither carries them: then the source is read. Tracks as in the plan. */
const char *media_sound_container(const struct lathe_plan *plan, const AVFormatContext *source);

struct media_sound_writer {
    struct media_mux mux;
    FILE *table;
    const char *table_path; /* not owned */
    uint64_t count;
    int n_tracks;
    int64_t origin_us;
    struct {
        int stream; /* of the source */
        AVRational time_base;
        int64_t last; /* written, in the file's time base */
    } tracks[LATHE_AUDIO_MAX];
};

/* Creates both files; the paths must stay valid. */
int media_sound_create(struct media_sound_writer *ret, const char *path, const char *table_path,
                       const struct lathe_plan *plan, const AVFormatContext *source,
                       struct lathe_error *err);
/* `packet` is the source's with its time healed, and is consumed. One of a track that is not kept
 * is left out. -ENOTSUP: it says something that neither file can keep. */
int media_sound_add(struct media_sound_writer *writer, AVPacket *packet, struct lathe_error *err);
int media_sound_finish(struct media_sound_writer *writer, struct lathe_error *err);
void media_sound_discard(struct media_sound_writer *writer); /* after `finish` too */

struct media_sound_reader {
    struct media_source source;
    const char *path; /* not owned */
    void *mapping;    /* of the table */
    size_t mapping_size;
    const uint8_t *entries; /* not aligned */
    uint64_t count, next;
    int n_tracks;
    AVCodecParameters *parameters[LATHE_AUDIO_MAX];
    AVRational time_bases[LATHE_AUDIO_MAX];
};

int media_sound_open_cut(struct media_sound_reader *ret, const char *path, const char *table_path,
                         struct lathe_error *err);
/* 1 with a packet as the source gave it, its time healed, and stream_index the number of the track;
 * 0 at the end. */
int media_sound_next(struct media_sound_reader *reader, AVPacket *ret, struct lathe_error *err);
void media_sound_close_cut(struct media_sound_reader *reader);

#endif
