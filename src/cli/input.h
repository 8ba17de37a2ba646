/* SPDX-License-Identifier: MIT */
/*
 * What is checked about INPUT and OUTPUT before any work begins.
 */
#ifndef LATHE_CLI_INPUT_H
#define LATHE_CLI_INPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lathe/error.h"

struct lathe_input {
    char *path; /* absolute */
    dev_t device;
    ino_t inode;
    off_t size;
    char identity[40]; /* hexadecimal; of the content (samples), size and time, not of the name */
};

int lathe_input_check(const char *text, struct lathe_input *ret, struct lathe_error *err);
void lathe_input_finish(struct lathe_input *input);

/* OUTPUT must be able to take the result. `folder`: it is one, made when only itself is missing.
 * *ret_path is absolute (malloc'd), with links in it resolved. */
int lathe_output_check(const char *text, bool folder, const struct lathe_input *input,
                       char **ret_path, struct lathe_error *err);

/* FNV-1a, for names; not for secrets. */
uint64_t lathe_fnv1a(uint64_t hash, const void *data, size_t size);
#define LATHE_FNV1A_START 14695981039346656037ull

#endif
