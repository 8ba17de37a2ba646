/* SPDX-License-Identifier: MIT */
/*
 * Jobs, units and workers as JSON and as rows of tables: the same for list, status, top and submit.
 */
#ifndef LATHE_CLI_JOBS_VIEW_H
#define LATHE_CLI_JOBS_VIEW_H

#include <jansson.h>

#include "lathe/state.h"

/* "2026-11-28T21:00:03Z"; JSON null for 0. */
json_t *lathe_time_json(int64_t wall_us);
/* "2:13 ago", "now"; "-" for 0. */
void lathe_age_text(char *text, size_t size, int64_t wall_us, int64_t now_us);

/* Everything that is known of a job without its units; NULL: memory. */
json_t *lathe_job_json(const struct lathe_job_view *view);
/* A row of list and top. */
json_t *lathe_job_row(const struct lathe_job_view *view, int64_t now_us);

json_t *lathe_unit_json(const struct lathe_unit_view *view);
json_t *lathe_unit_row(const struct lathe_unit_view *view, int64_t now_us);

json_t *lathe_worker_json(const struct lathe_worker_view *view);
json_t *lathe_worker_row(const struct lathe_worker_view *view, int64_t now_us);
/* A number of the worker's record, or 0; how many it works on. */
int64_t lathe_worker_slots(const json_t *worker, size_t *ret_busy);

#endif
