/* SPDX-License-Identifier: MIT */
/*
 * The gate: reads a finished file as a player would and compares it with what it must be. A result
 * that does not pass is never published.
 */
#ifndef LATHE_MEDIA_VERIFY_H
#define LATHE_MEDIA_VERIFY_H

#include "stamp.h"

/* `audio_packets[i]` is what track i must hold. */
int media_verify(const char *path, const struct media_stamps *stamps, const struct lathe_plan *plan,
                 const uint64_t *audio_packets, int n_audio, struct lathe_error *err);

#endif
