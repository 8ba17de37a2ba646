/* SPDX-License-Identifier: MIT */
/*
 * The folder that a run or a worker works in. Its lock says whether the owner lives, so that
 * whatever a killed one left behind, here or beside an output, is found and removed by the next
 * start of Lathe.
 */
#ifndef LATHE_SCRATCH_H
#define LATHE_SCRATCH_H

#include <stdbool.h>

#include "lathe/error.h"

struct lathe_scratch {
    char *dir;
    int lock_fd;
    bool keep; /* named by the user (--work) */
};

/* `work` NULL: a new folder under ${LATHE_SCRATCH:-${TMPDIR:-/var/tmp}}/lathe-<uid>/, after
 * sweeping those of dead runs. Else `work` itself, which must be new, empty, or a work folder of
 * before. */
int lathe_scratch_open(const char *work, struct lathe_scratch *ret, struct lathe_error *err);
/* A new folder `base`/worker-XXXXXX, after sweeping those of dead workers. `base` is made when it
 * is missing. */
int lathe_scratch_open_worker(const char *base, struct lathe_scratch *ret, struct lathe_error *err);
/* Removes the folder, unless it is the user's: that keeps what a repeat can use. */
void lathe_scratch_close(struct lathe_scratch *scratch);
/* Notes a file outside the folder that must go if this run dies; call before creating it. */
int lathe_scratch_note_part(struct lathe_scratch *scratch, const char *path,
                            struct lathe_error *err);
/* All noted files are gone or in their place. */
void lathe_scratch_forget_parts(struct lathe_scratch *scratch);

#endif
