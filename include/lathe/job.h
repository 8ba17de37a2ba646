/* SPDX-License-Identifier: MIT */
/*
 * A job as the user asked for it: what to make of one source. Plain data, JSON both ways.
 *
 * Nothing here depends on the host that runs the job.
 */
#ifndef LATHE_JOB_H
#define LATHE_JOB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"

#define LATHE_ID_MAX 64 /* job ids: [0-9a-z-]{1,64} */
#define LATHE_RENDITIONS_MAX 8
#define LATHE_NAME_MAX 31 /* of a rendition: "720p" */

/* AV1 is what some GPUs encode (lathe probe); jobs make H.264 or HEVC, and lathe_codec_from_name
 * knows only those. */
enum lathe_codec { LATHE_CODEC_H264 = 0, LATHE_CODEC_HEVC, LATHE_CODEC_AV1 };
enum lathe_encoder {
    LATHE_ENCODER_AUTO = 0,
    LATHE_ENCODER_NVENC,
    LATHE_ENCODER_VAAPI,
    LATHE_ENCODER_SOFTWARE
};
enum lathe_preset {
    LATHE_PRESET_ULTRAFAST = 0,
    LATHE_PRESET_SUPERFAST,
    LATHE_PRESET_VERYFAST,
    LATHE_PRESET_FASTER,
    LATHE_PRESET_FAST,
    LATHE_PRESET_MEDIUM,
    LATHE_PRESET_SLOW,
    LATHE_PRESET_SLOWER,
    LATHE_PRESET_VERYSLOW
};

/* Whether a GPU must encode, or may only where it can. */
enum lathe_hw_wish { LATHE_HW_PREFER = 0, LATHE_HW_REQUIRE };

/* Whether one output may hold chunks of several families of encoders. */
enum lathe_mix {
    LATHE_MIX_FALLBACK = 0, /* only for chunks that failed in the first family */
    LATHE_MIX_ALLOW,        /* and whatever has room takes a chunk */
    LATHE_MIX_NEVER         /* the odd chunks are made again */
};

/* Names as users write them; *_from_name return -EINVAL for anything else. */
const char *lathe_codec_name(enum lathe_codec codec);
const char *lathe_encoder_name(enum lathe_encoder encoder);
const char *lathe_preset_name(enum lathe_preset preset);
const char *lathe_hw_wish_name(enum lathe_hw_wish wish); /* "prefer", "require" */
const char *lathe_mix_name(enum lathe_mix mix);          /* "fallback", "allow", "never" */
int lathe_codec_from_name(const char *name, enum lathe_codec *ret);
int lathe_encoder_from_name(const char *name, enum lathe_encoder *ret);
int lathe_preset_from_name(const char *name, enum lathe_preset *ret);
int lathe_hw_wish_from_name(const char *name, enum lathe_hw_wish *ret);
int lathe_mix_from_name(const char *name, enum lathe_mix *ret);

struct lathe_rendition {
    char name[LATHE_NAME_MAX + 1]; /* "720p"; unique in the job; names its output file */
    int short_side;                /* of the displayed picture, pixels */
    int bitrate_kbps;              /* 0 with a quality and no cap asked for */
    int maxrate_kbps;              /* default 2 × bitrate; 0 = uncapped */
    int bufsize_kbit;              /* default 2 × bitrate */
};

struct lathe_job {
    char id[LATHE_ID_MAX + 1];
    char *source_key;     /* object key, or (virtual source) an absolute local path */
    bool source_is_local; /* source_key is a path: chunks are virtual */
    char *source_name;    /* what its file was called when it was submitted; NULL: not known */
    /* A foreign producer has cut the source already: its pictures are those of so many objects
     * chunks/{job}/chunk_000.ts …, joined; its sound is that of source_key, which is the first of
     * them where there is no other. 0 = not so. */
    uint32_t parts;
    struct lathe_rendition renditions[LATHE_RENDITIONS_MAX];
    int n_renditions; /* at least 1 */
    enum lathe_codec codec;
    enum lathe_encoder encoder;
    enum lathe_hw_wish hw;
    enum lathe_mix mix;
    enum lathe_preset preset;
    double quality;       /* CRF scale; negative = rate control by bitrate */
    int passes;           /* 1 or 2 */
    double chunk_seconds; /* target length of a chunk; 0 = chosen by the plan */
    double gop_seconds;   /* longest GOP; 0 = chosen by the plan */
    bool conceal_damage;  /* --damaged conceal */
    bool upscale;         /* allow renditions larger than the source */
    int priority;         /* larger = sooner */
};

/* Defaults of DESIGN ("Presets and rate control"); no rendition yet. */
void lathe_job_init(struct lathe_job *job);
void lathe_job_finish(struct lathe_job *job); /* frees what the job owns */
/* The source as people know it: its name, or else its key. Not NULL once it is validated. */
const char *lathe_job_source(const struct lathe_job *job);
/* Sets source_name to the last part of `path`, fit for a terminal. 0 or -ENOMEM. */
int lathe_job_name_source(struct lathe_job *job, const char *path);

/* Appends a rendition written as "720p", "720p:2500k" or "720p:2500"; bitrate default by height
 * (2160p 16000, 1440p 9000, 1080p 5000, 720p 2500, 480p 1200, 360p 800, others interpolated). */
int lathe_job_add_rendition(struct lathe_job *job, const char *text, struct lathe_error *err);

/* Checks ranges and fills maxrate and bufsize. Call once when all is set. */
int lathe_job_validate(struct lathe_job *job, struct lathe_error *err);

int lathe_job_to_json(const struct lathe_job *job, json_t **ret);
/* Checks everything (the JSON may come from a foreign producer); on failure `ret` holds nothing. */
int lathe_job_from_json(const json_t *json, struct lathe_job *ret, struct lathe_error *err);

/* --- records of foreign producers: one a chunk that they have cut (src/job/foreign.c) --- */
struct lathe_foreign_chunk {
    char job_id[LATHE_ID_MAX + 1];
    uint32_t chunk_index;
    struct lathe_rendition rendition;
};
/* Whether a record has their plain form: "job_id", "chunk_index", "s3_key", "resolution" ("1080p"),
 * "bitrate" (kbit/s), and no "unit". */
bool lathe_foreign_is_chunk(const json_t *json);
/* Checks everything; further members are ignored. */
int lathe_foreign_chunk_from_json(const json_t *json, struct lathe_foreign_chunk *ret,
                                  struct lathe_error *err);
/* The job that `chunk` belongs to, of `parts` chunks; `sound_key` NULL: in the chunks. */
int lathe_foreign_make_job(const struct lathe_foreign_chunk *chunk, uint32_t parts,
                           const char *sound_key, struct lathe_job *ret, struct lathe_error *err);

bool lathe_job_id_is_valid(const char *id);

/* Object keys (DESIGN, "Store keys"). Each returns a malloc'd string or NULL (memory). */
char *lathe_key_job(const char *job_id);        /* jobs/{job}.json */
char *lathe_key_plan(const char *job_id);       /* chunks/{job}/plan.json */
char *lathe_key_plan_whole(const char *job_id); /* chunks/{job}/plan_whole.json: one chunk */
char *lathe_key_part(const char *job_id, uint32_t part); /* chunks/{job}/chunk_000.ts, foreign */
char *lathe_key_index(const char *job_id);               /* chunks/{job}/index.bin */
char *lathe_key_sound_table(const char *job_id); /* chunks/{job}/audio.bin: beside audio.mka */
char *lathe_key_chunk(const char *job_id, const char *rendition, uint32_t chunk, uint64_t fence);
/* transcoded/{job}/{rendition}/chunk_000.{fence}.mp4 */
char *lathe_key_audio(const char *job_id, uint64_t fence); /* transcoded/{job}/audio.{fence}.mp4 */
/* transcoded/{job}/unit_00000.{fence}.json: what the state is told about a finished unit */
char *lathe_key_result(const char *job_id, uint32_t unit, uint64_t fence);
char *lathe_key_prefix_results(const char *job_id, uint32_t unit); /* of all attempts of a unit */
char *lathe_key_merged(const char *job_id, const char *rendition, uint64_t fence);
/* transcoded/{job}/{rendition}/merged.{fence}.mp4 */
char *lathe_key_output(const char *job_id, const char *rendition);
/* transcoded/{job}/output_{rendition}.mp4 */
char *lathe_key_prefix_chunks(const char *job_id);     /* chunks/{job}/ */
char *lathe_key_prefix_transcoded(const char *job_id); /* transcoded/{job}/ */

#endif
