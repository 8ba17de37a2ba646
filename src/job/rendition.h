/* SPDX-License-Identifier: MIT */
/*
 * What the files of the job layer share about renditions.
 */
#ifndef LATHE_JOB_RENDITION_H
#define LATHE_JOB_RENDITION_H

#include <stdbool.h>

#include "lathe/job.h"

#define LATHE_SHORT_SIDE_MIN 16
#define LATHE_SHORT_SIDE_MAX 8640
#define LATHE_KBPS_MAX 10000000

int lathe_rendition_default_kbps(int short_side);
/* Bitrate, maxrate and bufsize stay 0 where the text says nothing. */
int lathe_rendition_parse(const char *text, struct lathe_rendition *ret, struct lathe_error *err);
/* Names become file names. */
bool lathe_rendition_name_is_valid(const char *name);

#endif
