/* SPDX-License-Identifier: MIT */
/*
 * A thread that finds out about the GPUs while the source is read, so that looking costs no time,
 * and later tries those anew that were left alone.
 */
#ifndef LATHE_AGENT_HARDWARE_H
#define LATHE_AGENT_HARDWARE_H

#include "lathe/placement.h"

struct lathe_agent_hardware;

int lathe_agent_hardware_start(struct lathe_placement *placement, const char *slot_path,
                               struct lathe_agent_hardware **ret, struct lathe_error *err);
/* Forgets what is known about the GPUs and tries them anew. NULL is allowed. */
void lathe_agent_hardware_again(struct lathe_agent_hardware *hardware);
void lathe_agent_hardware_stop(struct lathe_agent_hardware *hardware); /* NULL is allowed */

#endif
