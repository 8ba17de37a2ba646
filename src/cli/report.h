/* SPDX-License-Identifier: MIT */
/*
 * What a run tells at its end: one JSON object, or a few lines.
 */
#ifndef LATHE_CLI_REPORT_H
#define LATHE_CLI_REPORT_H

#include <jansson.h>

#include "deliver.h"
#include "lathe/agent.h"

/* From the job's result (flow/summary.c) and what this run saw itself. `deliveries` has one entry
 * for each output. */
int lathe_report_build(struct lathe_agent *agent, const char *job_id,
                       const struct lathe_delivery *deliveries, int count, double wall_seconds,
                       json_t **ret, struct lathe_error *err);
/* The same for a job of a fleet; outputs keep their keys in the store. */
int lathe_report_of_result(const char *job_id, const char *result, double wall_seconds,
                           json_t **ret, struct lathe_error *err);
/* {"status": "failed" or "interrupted", "error": {what, hint, code, fault}, "wall_seconds"}; a run
 * adds its fallbacks. NULL when memory is short. */
json_t *lathe_report_failure(const struct lathe_error *err, double wall_seconds);
/* On stdout; non-zero when it cannot be written. */
int lathe_report_print_json(json_t *report);
int lathe_report_print_text(const json_t *report);

#endif
