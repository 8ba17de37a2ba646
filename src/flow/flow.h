/* SPDX-License-Identifier: MIT */
/*
 * What the steps of this folder share: a job loaded for work, results as the state keeps them, and
 * the one way in which an attempt fails.
 */
#ifndef LATHE_FLOW_INTERNAL_H
#define LATHE_FLOW_INTERNAL_H

#include "lathe/base.h"
#include "lathe/fail.h"
#include "lathe/flow.h"

/* --- flow.c: a job loaded for work --- */
struct lathe_flow_job {
    struct lathe_job job;
    struct lathe_plan plan; /* when loaded with `planned` */
    uint32_t epoch;
    int64_t created_us;   /* wall clock */
    char *replan;         /* why the plan has one chunk, or NULL */
    char *dir;            /* its own scratch folder, exists */
    char *source_path;    /* NULL until lathe_flow_source() */
    char *sound_path;     /* the same, where the sound is apart */
    uint64_t *part_bytes; /* one for each of job.parts, then */
    char *plan_path, *index_path;
};
/* -ESTALE when `fence` (0: none) is of another epoch: what it was granted for may be replanned. */
int lathe_flow_job_load(struct lathe_flow *flow, const char *job_id, uint64_t fence, bool planned,
                        struct lathe_flow_job *ret, struct lathe_error *err);
void lathe_flow_job_finish(struct lathe_flow_job *fj);
/* Puts the source's name in the place of paths of scratch files, which mean nothing to people. */
void lathe_flow_name_source(const struct lathe_flow_job *fj, struct lathe_error *why);

/* --- lease.c --- */
/* The lease is renewed while a step works with the copy *ret_own, whose cancel fires, too, when the
 * job comes to nothing meanwhile. */
int lathe_flow_hold(const struct lathe_flow *flow, const char *job_id, uint32_t unit,
                    uint64_t fence, struct lathe_flow *ret_own, struct lathe_error *err);
void lathe_flow_let_go(struct lathe_flow *own, const char *job_id, uint32_t unit, uint64_t fence);

/* Counts a failed attempt; an interruption gives the lease back instead and returns -ECANCELED.
 * 0 when the state took it. */
int lathe_flow_attempt_failed(struct lathe_flow *flow, const struct lathe_flow_work *work,
                              uint64_t fence, const struct lathe_error *why,
                              struct lathe_error *err);

/* Tells the outcome of a failure to whoever watches, and the world when it ended the job. */
void lathe_flow_tell_failure(struct lathe_flow *flow, const struct lathe_flow_work *work,
                             const struct lathe_error *why, enum lathe_verdict verdict);

/* --- work.c: what happens is counted, and told to the sink --- */
/* Each step begins and leaves; in between it is done, or has failed, or neither (handed back, or
 * somebody else was first). `work` has no time yet. */
void lathe_flow_begin(struct lathe_flow *flow, struct lathe_flow_work *work);
void lathe_flow_done(struct lathe_flow *flow, const struct lathe_flow_work *work,
                     const json_t *result);
void lathe_flow_failed(struct lathe_flow *flow, const struct lathe_flow_work *work,
                       const struct lathe_error *why, enum lathe_verdict verdict);
void lathe_flow_leave(const struct lathe_flow_work *work);
/* A job's first work begins; its result is committed. */
void lathe_flow_count_wait(const struct lathe_flow_job *fj);
void lathe_flow_count_job(const struct lathe_flow_job *fj, const json_t *summary);
void lathe_flow_count_fallback(const json_t *fallback);

/* --- adopt.c --- */
/* 1 when the objects of a unit's result are in the store as the result says, 0 when not, negative
 * when the store cannot be asked now. */
int lathe_flow_result_is_whole(struct lathe_flow *flow, const struct lathe_plan *plan,
                               const struct lathe_unit *what, const json_t *body);

/* --- input.c: what units read --- */
/* Whether packets are cut for the units of this job; and for which, if so. */
bool lathe_flow_is_cut(const struct lathe_flow *flow, const struct lathe_flow_job *fj);
bool lathe_flow_needs_object(const struct lathe_plan *plan, const struct lathe_unit *unit);
char *lathe_flow_packets_key(const struct lathe_plan *plan, const struct lathe_unit *unit);
/* Makes the source a local file; the parts of a foreign producer are joined. */
int lathe_flow_source(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err);
/* The same for the file of the sound, where that is apart. */
int lathe_flow_sound(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err);
/* Fills the order's input: plan, index, and packets or source. The caller drops it, also after a
 * failure: what was fetched for this attempt is removed. */
int lathe_flow_take_input(struct lathe_flow *flow, struct lathe_flow_job *fj,
                          const struct lathe_claim *claim, struct lathe_order *order,
                          struct lathe_error *err);
void lathe_flow_drop_input(struct lathe_flow *flow, struct lathe_order *order);

/* --- foreign.c: jobs of producers that know nothing of Lathe --- */
bool lathe_flow_sound_is_apart(const struct lathe_job *job);
/* Fetches and joins the parts. */
int lathe_flow_join(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err);
/* Removes what Lathe has made in chunks/{job}/; a foreign producer's own objects stay. `record`:
 * the job's, or NULL. */
int lathe_flow_remove_chunks(struct lathe_flow *flow, const char *job_id, const char *record,
                             struct lathe_error *err);

/* --- cut.c --- */
/* The units are published: cuts and stores what they read, until none waits. -ESTALE when somebody
 * else holds the split now, or the job has ended. */
int lathe_flow_cut(struct lathe_flow *flow, struct lathe_flow_job *fj, uint64_t fence,
                   const struct lathe_unit *units, uint32_t count, struct lathe_error *err);

/* --- split.c --- */
/* The bell of a unit: somebody is to look whether it can be claimed. */
int lathe_flow_ring_unit(struct lathe_flow *flow, const struct lathe_job *job,
                         const struct lathe_unit *unit, uint32_t number, struct lathe_error *err);

/* --- redo.c: what the merge cannot use --- */
/* A merge of this manifest failed: exactly the units whose results are to blame are done again;
 * where none is, the merge itself is tried again. */
int lathe_flow_merge_failed(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                            const struct lathe_flow_work *work, uint64_t merge_fence,
                            const struct lathe_done *done, size_t count,
                            const struct lathe_error *why, struct lathe_error *err);
/* These results are to be made again, for the reason given. */
int lathe_flow_reopen(struct lathe_flow *flow, const struct lathe_job *job,
                      const struct lathe_flow_work *work, uint64_t merge_fence,
                      const struct lathe_done **list, size_t count, const struct lathe_error *why,
                      struct lathe_error *err);
/* The job begins again with one chunk: once, then it fails. */
int lathe_flow_replan(struct lathe_flow *flow, const struct lathe_flow_work *work,
                      uint64_t merge_fence, const struct lathe_error *why, struct lathe_error *err);

/* --- object.c: objects and local files --- */
/* A local file with the object's content: in place where the store can, else fetched once to
 * `dir`/`name`. malloc'd. */
int lathe_flow_fetch(struct lathe_flow *flow, const char *key, const char *dir, const char *name,
                     char **ret_path, struct lathe_error *err);
/* Stores a local file and asks the store whether it has all of it. Consumes the file unless `keep`.
 */
int lathe_flow_put(struct lathe_flow *flow, const char *key, const char *path, const char *sha256,
                   uint64_t frames, bool keep, struct lathe_error *err);
int lathe_flow_put_json(struct lathe_flow *flow, const char *key, const json_t *json,
                        struct lathe_error *err);
/* -ENOENT; -EBADMSG when it is not JSON. */
int lathe_flow_get_json(struct lathe_flow *flow, const char *key, json_t **ret,
                        struct lathe_error *err);
/* Size of what a slot wrote must be what it said. */
int lathe_flow_check_file(const char *path, uint64_t bytes, struct lathe_error *err);

/* --- result.c: bodies of reports, checked --- */
struct lathe_chunk_result {
    uint64_t frames;
    int64_t first_time;
    uint32_t plan_chunks; /* chunks of the plan that it was made by; 0 in a fresh report */
    const char *head_hash, *tail_hash; /* borrowed from the JSON; NULL = none */
    struct {
        uint64_t bytes;
        char sha256[65];
        const char *key; /* of the stored attempt; NULL in a fresh report */
        struct lathe_rate_sample rate;
    } renditions[LATHE_RENDITIONS_MAX];
};
int lathe_flow_parse_chunk(const json_t *body, int n_renditions, struct lathe_chunk_result *ret,
                           struct lathe_error *err);
int lathe_flow_parse_samples(const json_t *body, int n_renditions, struct lathe_rate_sample *ret,
                             struct lathe_error *err); /* of a pilot */
/* "bytes" and "sha256" of an audio or merge report. */
int lathe_flow_parse_file(const json_t *body, uint64_t *ret_bytes, char ret_sha256[65],
                          struct lathe_error *err);

/* --- samples.c: what chunks learn from --- */
struct lathe_samples_of { /* [rendition][number], of one job */
    struct lathe_rate_sample *pilots[LATHE_RENDITIONS_MAX];
    struct lathe_rate_sample *done[LATHE_RENDITIONS_MAX]; /* chunks */
};
void lathe_samples_clear(struct lathe_samples_of *s);
/* Those of all pilots and of chunks 0 … n_done-1; the caller clears. -ESTALE when one is missing.
 */
int lathe_samples_get(struct lathe_flow *flow, const struct lathe_flow_job *fj, uint32_t n_done,
                      struct lathe_samples_of *ret, struct lathe_error *err);

/* --- the kinds of units: each runs its order and stores the attempt; *ret_result is what the state
 * will keep --- */
int lathe_flow_pilot(struct lathe_flow *flow, struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, json_t **ret_result, struct lathe_error *err);
int lathe_flow_audio(struct lathe_flow *flow, struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, json_t **ret_result, struct lathe_error *err);
int lathe_flow_chunk(struct lathe_flow *flow, struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, json_t **ret_result, struct lathe_error *err);

/* --- gpu.c: a chunk's attempts --- */
/* Runs the order where the placement says, again elsewhere when a GPU fails, and adds to the body
 * "family", "step", "device" and "fallbacks". */
int lathe_flow_run_placed(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                          const struct lathe_claim *claim, struct lathe_order *order,
                          json_t **ret_body, struct lathe_error *err);
/* With --mix never: chunks of several families are to be made again in one. Moves those that are
 * odd to the front of `list`; returns how many. */
size_t lathe_flow_find_odd(const struct lathe_flow_job *fj, json_t *const *bodies,
                           const struct lathe_done *done, size_t count,
                           const struct lathe_done **list);

/* --- unit.c --- */
void lathe_flow_remove_objects(struct lathe_flow *flow, const json_t *result);

/* --- seams.c --- */
/* Every chunk saw the picture that its neighbour begins with: -EILSEQ otherwise. */
int lathe_flow_check_seams(const struct lathe_plan *plan, const struct lathe_chunk_result *chunks,
                           struct lathe_error *err);

/* --- summary.c: what a job's result tells people --- */
/* `chunks` has plan->n_chunks bodies, `merges` and `keys` one a rendition; `audio` may be NULL. */
int lathe_flow_summary(const struct lathe_plan *plan, json_t *const *chunks, const json_t *audio,
                       json_t *const *merges, char *const *keys, json_t **ret);

/* --- found.c: results of units, kept in the store too --- */
int lathe_flow_keep_result(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                           const struct lathe_claim *claim, json_t *result,
                           struct lathe_error *err);
/* Removes it and the objects that it names. */
void lathe_flow_drop_result(struct lathe_flow *flow, const struct lathe_claim *claim,
                            const json_t *result);
/* *ret stays NULL when there is none that can be used. */
int lathe_flow_find_result(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                           const struct lathe_claim *claim, json_t **ret, struct lathe_error *err);

/* --- rebuild.c --- */
/* A call found no open job. When the state has lost it, it is made again, with a bell, and 1 is
 * returned; *ret_status is what it is now, cancelled for one that nobody knows. */
int lathe_flow_revive(struct lathe_flow *flow, const char *job_id,
                      enum lathe_job_status *ret_status, struct lathe_error *err);

/* --- publish.c --- */
/* Moves the outputs that `result` names to their final names; those that have them are passed over.
 */
int lathe_flow_publish_outputs(struct lathe_flow *flow, const char *job_id, const json_t *result,
                               struct lathe_error *err);

/* --- submit.c --- */
/* The bell of a job: somebody is to look at its split. */
int lathe_flow_ring_job(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);
/* Rewrites the job's record in the store with its terminal state. */
int lathe_flow_record_end(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);

/* Sends the progress of one order to the sink. */
struct lathe_flow_meter {
    struct lathe_flow *flow;
    const char *job_id;
    uint32_t unit;
    enum lathe_task task;
    uint64_t frames; /* counted so far */
};
int lathe_flow_meter_tick(void *opaque, const struct lathe_progress *progress);

#endif
