/* SPDX-License-Identifier: MIT */
/*
 * The last step of a run: finished files get the names that the user gave.
 */
#ifndef LATHE_CLI_DELIVER_H
#define LATHE_CLI_DELIVER_H

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/scratch.h"

struct lathe_delivery {
    char *from; /* a file; with `bring`, whatever that knows it by */
    /* NULL, or makes the new file `part` from it. */
    int (*bring)(void *opaque, const char *from, const char *part, struct lathe_error *err);
    void *opaque;
    char *to;   /* absolute */
    char *part; /* beside `to`; used by lathe_deliver() */
};

/* All or nothing as far as a file system allows: first every file is brought beside its place, then
 * all are renamed. An existing file is replaced only by that. */
int lathe_deliver(struct lathe_scratch *scratch, struct lathe_delivery *list, int count,
                  struct lathe_cancel *cancel, struct lathe_error *err);

/* The rest of an open file as a new one, durably. */
int lathe_deliver_copy(int in_fd, const char *path, struct lathe_cancel *cancel,
                       struct lathe_error *err);

#endif
