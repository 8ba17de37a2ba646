/* SPDX-License-Identifier: MIT */
/*
 * The last step of a run: finished files get the names that the user gave.
 */
#ifndef LATHE_CLI_DELIVER_H
#define LATHE_CLI_DELIVER_H

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/store.h"
#include "scratch.h"

struct lathe_delivery {
    char *from;                /* a file; with `store`, the key of an object */
    struct lathe_store *store; /* NULL, or where `from` is */
    char *to;                  /* absolute */
    char *part;                /* beside `to`; used by lathe_deliver() */
};

/* All or nothing as far as a file system allows: first every file is brought beside its place, then
 * all are renamed. An existing file is replaced only by that. */
int lathe_deliver(struct lathe_scratch *scratch, struct lathe_delivery *list, int count,
                  struct lathe_cancel *cancel, struct lathe_error *err);

#endif
