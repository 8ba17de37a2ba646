/* SPDX-License-Identifier: MIT */
/*
 * The messages between the parent and `lathe-slot`, the child that does every media verb.
 *
 * Wire: a stream socket pair; each message is a 4-byte little-endian length (at most
 * LATHE_SLOT_MESSAGE_MAX) and that many bytes of JSON with a "type". The child has its end as file
 * descriptor LATHE_SLOT_FD. One order at a time: the parent sends an order, the child answers with
 * any number of progress messages and exactly one report, then waits for the next order; end of
 * file means exit. The child's messages are not trusted: the parent checks lengths and types and
 * treats anything odd as a crash of the slot.
 */
#ifndef LATHE_SLOT_H
#define LATHE_SLOT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"
#include "lathe/job.h"
#include "lathe/ladder.h"
#include "lathe/plan.h"

#define LATHE_SLOT_FD 3
/*
 * With this argument it takes no orders but is a template: LATHE_SLOT_FD is a socket of the kind
 * SOCK_SEQPACKET. It says 0 (int32_t) when it is ready. Each message to it is one byte with two
 * descriptors, a slot's socket and its stderr; the answer is the pid of a copy of itself that
 * serves them as above and is an orphan already, or a negative errno. End of file means exit.
 */
#define LATHE_SLOT_TEMPLATE "--template"
#define LATHE_SLOT_MESSAGE_MAX (64u << 20)

enum lathe_verb {
    LATHE_VERB_SPLIT = 0, /* demux the source once: index file, plan file */
    LATHE_VERB_PILOT,     /* encode a short stretch, report its size */
    LATHE_VERB_CHUNK,     /* decode once, encode every rendition of one chunk */
    LATHE_VERB_AUDIO,     /* all audio tracks of the whole file */
    LATHE_VERB_MERGE,     /* one rendition: join, stamp, mux, then verify what was written */
    LATHE_VERB_INSPECT,   /* what the source is (lathe probe FILE) */
    LATHE_VERB_ENCODERS,  /* which encoders this build has and which really encode (lathe probe) */
    LATHE_VERB_PROBE,     /* GPUs: which there are, or what one of them really does (hw.h) */
    LATHE_VERB_CUT, /* the source's packets into a file for each pilot, chunk, and the sound */
    LATHE_VERB_COUNT
};
const char *lathe_verb_name(enum lathe_verb verb);

/* One input of a merge: chunk `i`'s attempt for the rendition, in chunk order. */
struct lathe_merge_input {
    char *path;
    char sha256[65];
    uint64_t frames;
    int64_t first_time; /* plan time base */
};

/* All strings are owned by the order. Fields not named for a verb are ignored by it. */
struct lathe_order {
    enum lathe_verb verb;
    char *source_path;  /* split, cut, pilot, chunk, audio, inspect: the media file */
    char *packets_path; /* pilot, chunk, audio: what was cut for it; the source is not opened then,
                           and source_path, if given, only names it in messages */
    char *plan_path;    /* split: written · cut, pilot, chunk, audio, merge: read */
    char *index_path;   /* split: written · cut, pilot, chunk, audio: read; audio with packets: the
                           table that lies beside them */
    struct lathe_job *job; /* split: what was asked for (owned) */
    uint32_t index;        /* pilot, chunk: which · merge: which rendition · cut: so many files of
                              pictures are there already, in their order */
    struct lathe_rate rates[LATHE_RENDITIONS_MAX]; /* chunk, pilot: one a rendition */
    char *
        out_paths[LATHE_RENDITIONS_MAX]; /* chunk: one a rendition · audio, merge: [0]; new files ·
                                            cut: [0] is how their names begin, see lathe_cut_path */
    struct lathe_merge_input *inputs;    /* merge */
    uint32_t n_inputs;
    char *audio_path; /* merge: result of the audio verb, or NULL · split: the file that has the
                         sound, where that is not the source */
    uint64_t *part_bytes; /* split: sizes of the parts that the source is joined from: cuts are
                             where these begin */
    uint32_t n_parts;
    /* The GPU of this order; auto = none, and then the slot cannot reach any. */
    enum lathe_encoder gpu_family;
    char *gpu_path;        /* what opens it; probe: NULL lists the devices of the family */
    uint32_t probe_trials; /* probe: so many of lathe_hw_trials, from `index` on */
    enum lathe_ladder_step gpu_step; /* chunk: which stages run there; none = all in software */
    unsigned gpu_features;           /* chunk: what the probe saw the encoder do, see hw.h */
    json_t *audio_report;            /* merge: body of the audio verb's report, or NULL (owned) */
};
void lathe_order_init(struct lathe_order *order);
void lathe_order_finish(struct lathe_order *order);
int lathe_order_to_json(const struct lathe_order *order, json_t **ret);
/* What a slot that has had this order can reach (malloc'd); it may be given further orders of the
 * same reach. NULL: none, or no memory. */
char *lathe_order_reach(const struct lathe_order *order);
int lathe_order_from_json(const json_t *json, struct lathe_order *ret, struct lathe_error *err);

/*
 * The verb cut makes a file for each pilot (with two passes pilots read their chunk's), then for
 * each chunk, in the order of their numbers, and one for all sound, which is complete at the end.
 * It says so at once, and waits while LATHE_CUT_AHEAD complete files have not been taken away: so
 * scratch space stays bounded, and encoding can begin long before the cutting ends.
 */
#define LATHE_CUT_AHEAD 4
struct lathe_cut_file {
    enum lathe_unit_kind kind;
    uint32_t index; /* within the kind */
    bool is_cut;    /* false: its packets cannot be cut, or it is cheaper to read the source */
    uint64_t bytes;
    char sha256[65];
};
/* PREFIX.chunk_003.ts; malloc'd, NULL: memory. The table of the sound is PREFIX.audio.bin. */
char *lathe_cut_path(const char *prefix, enum lathe_unit_kind kind, uint32_t index,
                     const struct lathe_plan *plan);
char *lathe_cut_table_path(const char *prefix);

/* At most 10 a second, but for files; any increase of either number is progress. */
struct lathe_progress {
    uint64_t frames; /* encoded so far in this order (chunk, pilot), or frames written (merge) */
    uint64_t bytes;  /* read or written so far */
    bool has_file;   /* cut: one is complete */
    struct lathe_cut_file file;
};
int lathe_progress_to_json(const struct lathe_progress *progress, json_t **ret);

/*
 * The end of an order. `body` depends on the verb:
 *  split    {"plan": {…}}: the plan, as written to plan_path
 *  pilot    {"renditions": [rate sample…]}
 *  chunk    {"frames", "first_time", "last_time", "last_duration", "head_hash", "tail_hash"|null,
 *            "decoder", "scaler", "encoder", "encoder_options", "concealed": N, "warnings": […],
 *            "step" and "device" (path, or ""), "gpu_checked": pictures compared by the gate,
 *            "load": of the device (lathe/hw_load.h), or null,
 *            "renditions": [{"bytes", "sha256", "rate": rate sample}…], "cpu_us"}
 *  cut      {"cpu_us"}; what there is was said in progress messages
 *  audio    {"tracks": [{"first_pts", "packets", "frame_size", "sample_rate", "samples"…}],
 *            "bytes", "sha256", "warnings", "cpu_us"}
 *  merge    {"frames", "duration_us", "bytes", "sha256", "warnings", "cpu_us"}
 *  inspect, encoders: what `lathe probe --json` prints
 *  probe    without a device {"ffmpeg", "devices": [device…], "note"}; with one {"driver",
 *           "trials": [trial…]}: at least one, fewer than ordered when it cannot go on
 */
struct lathe_report {
    bool ok;
    struct lathe_error err; /* when !ok; of a GPU's attempt with its verdict */
    json_t *body;           /* owned; NULL when !ok */
};
void lathe_report_finish(struct lathe_report *report);
int lathe_report_to_json(const struct lathe_report *report, json_t **ret);

/* What the parent reads from a slot. */
enum lathe_slot_message_type { LATHE_SLOT_PROGRESS, LATHE_SLOT_REPORT };
struct lathe_slot_message {
    enum lathe_slot_message_type type;
    struct lathe_progress progress;
    struct lathe_report report;
};
int lathe_slot_message_from_json(const json_t *json, struct lathe_slot_message *ret,
                                 struct lathe_error *err);

int lathe_rate_sample_to_json(const struct lathe_rate_sample *sample, json_t **ret);
int lathe_rate_sample_from_json(const json_t *json, struct lathe_rate_sample *ret);

/* Framing (blocking; EINTR is retried). read: 1 with a message, 0 at end of file, negative errno.
 */
int lathe_wire_write(int fd, const json_t *message);
int lathe_wire_read(int fd, json_t **ret, struct lathe_error *err);
/* One message without its length, for readers that do their own I/O. Bounds the number of values,
 * so that a message within the length limit cannot cost gigabytes. 0, -EPROTO or -EMSGSIZE. */
int lathe_wire_parse(const char *text, size_t size, json_t **ret, struct lathe_error *err);

#endif
