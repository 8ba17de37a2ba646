/* SPDX-License-Identifier: MIT */
/*
 * What a free slot does next.
 */
#ifndef LATHE_AGENT_STEP_H
#define LATHE_AGENT_STEP_H

#include "lathe/flow.h"

/* One piece of work: 1 when something was done, 0 when there is nothing to do now. `job_id` NULL:
 * of any job. */
int lathe_agent_step(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);

#endif
