/* SPDX-License-Identifier: MIT */
/*
 * Who is alive, among the processes that share one database on one host.
 *
 * Each handle locks one byte of a file, at an offset that is its token. The kernel drops the lock
 * when the process dies, so whoever reads the token in a lease can tell at once that its holder is
 * gone, instead of waiting for the deadline. A stopped process keeps its lock: only the deadline
 * helps there.
 * Threads: lathe_presence_is_alive may be called from any thread.
 */
#ifndef LATHE_PRESENCE_H
#define LATHE_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"

struct lathe_presence {
    int fd;
    int64_t token; /* -1: this file system has no such locks, deadlines decide alone */
};

int lathe_presence_open(struct lathe_presence *presence, const char *path, struct lathe_error *err);
void lathe_presence_close(struct lathe_presence *presence);
/* False only when the holder of `token` is certainly dead. */
bool lathe_presence_is_alive(const struct lathe_presence *presence, int64_t token);

#endif
