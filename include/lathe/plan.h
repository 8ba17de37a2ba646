/* SPDX-License-Identifier: MIT */
/*
 * The plan: everything that influences the bytes of a job's result. Made once, from the job and
 * an index of the source (demux only), and never changed. A host only chooses where work runs.
 *
 * All times are integers in `time_base`, counted from the job's origin (the earliest presented
 * instant of the kept streams), so the first video frame has time >= 0.
 */
#ifndef LATHE_PLAN_H
#define LATHE_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"
#include "lathe/job.h"
#include "lathe/state.h"

#define LATHE_PLAN_VERSION 1
#define LATHE_AUDIO_MAX 16

struct lathe_rational {
    int num, den;
};

/* One output picture stream. */
struct lathe_plan_rendition {
    char name[LATHE_NAME_MAX + 1];
    int width, height;         /* encoded, even */
    struct lathe_rational sar; /* 0/1 = unknown */
    int bitrate_kbps, maxrate_kbps, bufsize_kbit;
    double quality;       /* fixed rate factor, or negative: found by pilots */
    double pilot_quality; /* of the pilots: near the final one, or they mislead */
    char pix_fmt[24];     /* libavutil name of the encoder's input */
};

struct lathe_plan_chunk {
    int64_t start;         /* owns frames with start <= time < end */
    int64_t end;           /* INT64_MAX for the last */
    uint32_t first_packet; /* where decoding starts: number in the index */
    uint32_t frames;       /* expected, from the index; the decoder has the last word */
    uint64_t source_bytes; /* of its packets: the cost estimate */
};

/* A stretch encoded before the chunks, only to learn the rate factor: a few short ones spread over
 * the title, or with two passes every chunk in full (pilot i is chunk i). */
struct lathe_plan_pilot {
    int64_t start; /* first frame's time */
    uint32_t first_packet;
    uint32_t frames; /* to encode */
    uint64_t source_bytes;
};

struct lathe_plan_audio {
    int stream;       /* number in the source file */
    char language[8]; /* ISO 639-2, or empty */
    char title[128];
    bool is_default;
    bool copy; /* AAC packets as they are; else decode, fill gaps, encode */
    int sample_rate, channels, bitrate_kbps; /* of the result */
};

struct lathe_plan {
    char job_id[LATHE_ID_MAX + 1];
    char
        source_identity[80]; /* size and SHA-256 of samples of the file: detects a changed source */

    /* source, for people and for the estimate */
    char container[32], video_codec[32], source_pix_fmt[24];
    int source_width, source_height;
    uint64_t source_bytes;
    int video_stream;
    bool is_joined;   /* the pictures' file is joined from objects of a foreign producer */
    bool sound_apart; /* `audio` lies in a file of its own */
    /* What holds packets that are cut from it; "" = they cannot be cut, the source is read. */
    char packets_container[4]; /* of a chunk's pictures: "ts" or "nut" */
    char sound_container[4];   /* of all sound: "mka" or "nut" */

    /* time */
    struct lathe_rational time_base;
    struct lathe_rational frame_rate; /* nominal, for encoders that need one */
    int64_t duration;                 /* end of the last frame */
    int64_t origin;                   /* source time (healed, in time_base) that became 0 */
    int64_t sound_origin;             /* the same instant on the clock of the sound's file */
    uint64_t frames;                  /* expected in total */
    int reorder_depth;                /* frames, of the source */
    bool times_from_dts;              /* the source has no usable PTS */
    int lead_in_frames;               /* context for filters with memory */
    int lead_out_frames; /* shown to the encoder's lookahead after a stretch, never encoded */

    /* pictures */
    bool deinterlace;
    bool interlaced; /* encoded as interlaced (flagged and not scaled) */
    bool top_field_first;
    int color_range, color_primaries, color_transfer, color_matrix, chroma_location; /* AVCOL_* */
    int rotation[9];             /* display matrix; all 0 = none */
    char mastering_display[160]; /* x265 syntax, or empty */
    char content_light[32];      /* "maxcll,maxfall", or empty */

    /* encoding */
    enum lathe_codec codec;
    enum lathe_preset preset;
    int encoder_threads;
    int passes;
    double gop_seconds;
    bool conceal_damage;

    struct lathe_plan_rendition renditions[LATHE_RENDITIONS_MAX];
    int n_renditions;
    struct lathe_plan_audio audio[LATHE_AUDIO_MAX];
    int n_audio;
    struct lathe_plan_pilot *pilots;
    uint32_t n_pilots;
    struct lathe_plan_chunk *chunks;
    uint32_t n_chunks; /* at least 1 */
    uint32_t rate_lag; /* chunk i's factor uses the sizes of chunks 0 … i-rate_lag;
                          lathe_rate_lag(n_chunks) */

    char **warnings; /* for the user: streams left out, clamped renditions, … */
    uint32_t n_warnings;
};

void lathe_plan_init(struct lathe_plan *plan);
void lathe_plan_finish(struct lathe_plan *plan);
int lathe_plan_warn(struct lathe_plan *plan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Makes one chunk of all, for a source that cannot be cut, and says so in a warning. */
int lathe_plan_make_whole(struct lathe_plan *plan, const char *reason);
int lathe_plan_to_json(const struct lathe_plan *plan, json_t **ret);
int lathe_plan_from_json(const json_t *json, struct lathe_plan *ret, struct lathe_error *err);

/* With two passes pilot i is chunk i, and reads what is cut for that. */
bool lathe_plan_shares_packets(const struct lathe_plan *plan);
/* chunks/{job}/chunk_000.ts, pilot_000.ts, audio.mka, by the plan's containers. malloc'd, or NULL
 * (memory). */
char *lathe_key_packets(const struct lathe_plan *plan, enum lathe_unit_kind kind, uint32_t index);

/* The claimable units of a plan, in claim order: pilots, audio, chunks. malloc'd. */
int lathe_plan_units(const struct lathe_plan *plan, struct lathe_unit **ret, uint32_t *ret_count);

/* --- rate control over chunks (pure; src/job/rate.c) --- */

/* What one encode of one rendition produced; part of the reports of pilots and chunks. */
struct lathe_rate_sample {
    uint32_t frames;
    uint32_t key_frames;
    uint64_t key_bytes;   /* of key frames */
    uint64_t other_bytes; /* of all other frames */
    double quality;       /* rate factor it was made with (mean, where it was steered) */
};

/* What a chunk's encoder is told. */
struct lathe_rate {
    double quality;        /* rate factor to start with */
    uint64_t budget_bytes; /* steer towards this size; 0 = keep the factor */
    /* The size that the factor should give, or the budget: what an encoder without such a factor
     * is asked for. 0 = the job holds a quality, not a bitrate. */
    uint64_t expected_bytes;
};

/*
 * The order for chunk `chunk` of rendition `rendition`. `pilots` has plan->n_pilots entries,
 * `done` one for each of the first `n_done` chunks (n_done = max(0, chunk + 1 - rate_lag)): fixed
 * by the plan, never "what finished first".
 */
int lathe_rate_for_chunk(const struct lathe_plan *plan, int rendition, uint32_t chunk,
                         const struct lathe_rate_sample *pilots,
                         const struct lathe_rate_sample *done, uint32_t n_done,
                         struct lathe_rate *ret);

/* How far the sizes that a chunk's factor is made from lie behind it: small enough to correct,
 * large enough that many slots can work at once. */
uint32_t lathe_rate_lag(uint32_t n_chunks);

/* A first guess of the rate factor, from bits per pixel. */
double lathe_rate_guess(const struct lathe_plan *plan, int rendition);

#endif
