/* SPDX-License-Identifier: MIT */
/*
 * Hashes of files that a slot has made, for whoever takes them.
 */
#ifndef LATHE_MEDIA_HASH_H
#define LATHE_MEDIA_HASH_H

#include <stdint.h>

#include "lathe/error.h"

/* SHA-256 of a file as lower-case hex, and its size. */
int media_hash_file(const char *path, char ret_hex[65], uint64_t *ret_bytes,
                    struct lathe_error *err);

#endif
