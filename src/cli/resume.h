/* SPDX-License-Identifier: MIT */
/*
 * Beginning a job in a folder where it may have been begun before.
 */
#ifndef LATHE_CLI_RESUME_H
#define LATHE_CLI_RESUME_H

#include "lathe/agent.h"
#include "lathe/scratch.h"

/* Submits the job; finished units of an earlier run in a work folder are taken over. */
int lathe_cli_begin(struct lathe_agent *agent, const struct lathe_scratch *scratch,
                    const struct lathe_job *job, struct lathe_error *err);

#endif
