/* SPDX-License-Identifier: MIT */
/*
 * What the verbs that follow a split have in common: plan and index from their files.
 */
#ifndef LATHE_MEDIA_TASK_H
#define LATHE_MEDIA_TASK_H

#include "index.h"
#include "lathe/media.h"

struct media_task {
    struct lathe_plan plan;
    struct media_index index; /* empty unless asked for */
};

int media_task_load(struct media_task *ret, const struct lathe_order *order, bool with_index,
                    struct lathe_error *err);
void media_task_finish(struct media_task *task);

/* Reads a plan file. */
int media_plan_read(const char *path, struct lathe_plan *ret, struct lathe_error *err);

#endif
