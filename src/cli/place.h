/* SPDX-License-Identifier: MIT */
/*
 * Where `lathe plan` says that chunks will run.
 */
#ifndef LATHE_CLI_PLACE_H
#define LATHE_CLI_PLACE_H

#include <jansson.h>

#include "lathe/job.h"
#include "lathe/plan.h"
#include "lathe/pool.h"

/* {"step", "encoder", "device", "reasons": [{"step", "reason"}…], "hardware"}: the best step of
 * this host, and why no better one. -ENODEV with fault CONFIG when a GPU is required in vain. */
int lathe_cli_place(struct lathe_pool *pool, const struct lathe_plan *plan,
                    const struct lathe_job *job, json_t **ret, struct lathe_error *err);
void lathe_cli_print_place(const json_t *place);

#endif
