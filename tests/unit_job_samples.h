/* SPDX-License-Identifier: MIT */
/*
 * One of everything that crosses a process, filled so that no member has its default, for the
 * tests of the job layer.
 */
#ifndef LATHE_TESTS_UNIT_JOB_SAMPLES_H
#define LATHE_TESTS_UNIT_JOB_SAMPLES_H

#include "lathe/plan.h"
#include "lathe/slot.h"

void sample_plan(struct lathe_plan *plan, uint32_t n_chunks);
void sample_order(struct lathe_order *order, enum lathe_verb verb);

#endif
