/* SPDX-License-Identifier: MIT */
/*
 * Media verbs, as lathe-slot calls them: one function a verb of slot.h. Hostile bytes are parsed
 * here and nowhere else.
 *
 * Each takes the order, calls `progress` as work advances (at most a few times per frame; the
 * caller thins it out) and fills a report body. They read and write only the files that the order
 * names, never the network. A non-zero answer of `progress` ends the verb with -ECANCELED.
 * Threads: one verb at a time per process.
 */
#ifndef LATHE_MEDIA_H
#define LATHE_MEDIA_H

#include "lathe/slot.h"

typedef int (*lathe_media_progress)(void *opaque, const struct lathe_progress *progress);

int lathe_media_split(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err);
int lathe_media_pilot(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err);
int lathe_media_chunk(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err);
int lathe_media_cut(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                    json_t **ret_body, struct lathe_error *err);
int lathe_media_audio(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err);
int lathe_media_merge(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err);
int lathe_media_inspect(const struct lathe_order *order, lathe_media_progress progress,
                        void *opaque, json_t **ret_body, struct lathe_error *err);
int lathe_media_encoders(const struct lathe_order *order, lathe_media_progress progress,
                         void *opaque, json_t **ret_body, struct lathe_error *err);
int lathe_media_probe(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err);

/* Silences libav's own logging and keeps its last error line for messages. Call once. */
void lathe_media_setup(void);

#endif
