/* SPDX-License-Identifier: MIT */
/*
 * Who is alive, among the processes that share one database on one host, and which boot this is.
 *
 * Each handle locks one byte of a file, at an offset that is its token. The kernel drops the lock
 * when the process dies, so whoever reads the token in a lease can tell at once that its holder is
 * gone, instead of waiting for the deadline. A stopped process keeps its lock: only the deadline
 * helps there.
 *
 * The file holds the boot id that all who have a lock agree on: that of the first of them. Their
 * own views differ in a container, where a service with a /proc of its own sees the kernel's id and
 * the rest one that systemd-nspawn laid over it, though all read the same clock. No lock outlives a
 * boot, so the first one after it brings a new id.
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
    char boot_id[37];
};

/* Makes the file if missing. After a failure there is nothing to close. */
int lathe_presence_open(struct lathe_presence *presence, const char *path, struct lathe_error *err);
void lathe_presence_close(struct lathe_presence *presence);
/* False only when the holder of `token` is certainly dead. */
bool lathe_presence_is_alive(const struct lathe_presence *presence, int64_t token);

#endif
