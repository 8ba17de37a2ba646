/* SPDX-License-Identifier: MIT */
/*
 * Findings that mean the same to every driver of the state.
 */
#ifndef LATHE_STATE_FINDINGS_H
#define LATHE_STATE_FINDINGS_H

#include <stdint.h>

#include "lathe/finding.h"

/* A lease that ran out so long ago is one that no worker looks for. */
#define LATHE_STALE_LEASE_S 60
void lathe_state_add_stale_leases(struct lathe_findings *findings, int64_t count);

#endif
