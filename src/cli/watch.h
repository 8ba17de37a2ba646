/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a job of the fleet with the progress line of a run.
 */
#ifndef LATHE_CLI_WATCH_H
#define LATHE_CLI_WATCH_H

#include "fleet.h"

/* Until the job has ended (0, whatever it ended as; the caller clears *ret), or -ECANCELED, with a
 * hint how to come back: the job goes on. */
int lathe_watch_job(struct lathe_fleet *fleet, const char *job_id, bool quiet,
                    struct lathe_job_view *ret, struct lathe_error *err);

#endif
