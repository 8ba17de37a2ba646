/* SPDX-License-Identifier: MIT */
/*
 * How large a plan may be: the parent reads plans that a child wrote after parsing hostile bytes.
 */
#ifndef LATHE_JOB_PLAN_LIMITS_H
#define LATHE_JOB_PLAN_LIMITS_H

#define LATHE_PLAN_CHUNKS_MAX 100000
#define LATHE_PLAN_PILOTS_MAX 10000
#define LATHE_PLAN_WARNINGS_MAX 100
#define LATHE_PLAN_WARNING_SIZE 512 /* bytes, with the NUL */
#define LATHE_PICTURE_SIDE_MAX 65536

#endif
