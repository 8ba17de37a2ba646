/* SPDX-License-Identifier: MIT */
/*
 * Small helpers of libc shape that every layer may use: cleanup attributes, strings, clocks, files.
 * No policy lives here.
 */
#ifndef LATHE_BASE_H
#define LATHE_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lathe/cancel.h"
#include "lathe/error.h"

#define LATHE_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- cleanup: `_cleanup_free_ char *p = NULL;` frees on every way out --- */
static inline void lathe_cleanup_free(void *p)
{
    free(*(void **)p);
}
static inline void lathe_cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
static inline void lathe_cleanup_fclose(FILE **f)
{
    if (*f)
        fclose(*f);
}
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(lathe_cleanup_free)
#define _cleanup_close_ _cleanup_(lathe_cleanup_close)
#define _cleanup_fclose_ _cleanup_(lathe_cleanup_fclose)

/* --- strings --- */
/* Returns a malloc'd string, or NULL when memory is short. */
char *lathe_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- clocks --- */
int64_t lathe_clock_monotonic_us(void); /* since boot, counts suspend (CLOCK_BOOTTIME) */
int64_t lathe_clock_wall_us(void);      /* since 1970, for people only */
/* "boot-id" of the running kernel, so that monotonic times of another boot are not believed. */
int lathe_clock_boot_id(char ret_id[37]);

/* Opens /dev/null as whichever of the descriptors 0 to 2 are missing, or files opened later would
 * take their place. 0 or a negative errno. */
int lathe_occupy_standard_streams(void);

/* --- files; all return 0 or a negative errno and fill `err` --- */
/* Makes `path` and its missing parents (mode 0700 for those made). */
int lathe_mkdir_p(const char *path, struct lathe_error *err);
/* Removes a file or a whole tree; a missing one is success. Never follows links. */
int lathe_remove_tree(const char *path, struct lathe_error *err);
/* Whole file, NUL-terminated (the NUL is not counted); -EFBIG beyond max_bytes. */
int lathe_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size,
                    struct lathe_error *err);
/* The same for a file of keys or passwords, which is refused (-EACCES) when everybody can read it.
 * Every failure is one of configuration. */
int lathe_read_secret(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size,
                      struct lathe_error *err);
/* Temporary file in the same directory, fsync, rename, fsync of the directory: readers see the
 * old or the new content, also after a power cut. */
int lathe_write_file_atomic(const char *path, const void *data, size_t size,
                            struct lathe_error *err);
/* Moves a file; across file systems it copies to `<dst>.part`, syncs and renames. */
int lathe_move_file(const char *src, const char *dst, struct lathe_error *err);
/* Copies from `in_fd` to `out_fd` (from their positions to the end of `in_fd`), in the kernel where
 * it can. -ECANCELED when `cancel` (may be NULL) fired. Says nothing about durability. */
int lathe_copy_data(int in_fd, int out_fd, const struct lathe_cancel *cancel);
/* Makes the directory entry of `path` durable. */
int lathe_fsync_parent(const char *path);

/* --- ids --- */
/* A time-ordered UUID (version 7, RFC 9562), 36 characters and a NUL. */
int lathe_uuid7(char ret_id[37]);

/* --- processors and memory this process may use --- */
unsigned lathe_usable_cpus(void);         /* affinity and cgroup quota, at least 1 */
uint64_t lathe_usable_memory_bytes(void); /* MemAvailable and cgroup limit, whichever is less */

#endif
