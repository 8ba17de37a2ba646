/* SPDX-License-Identifier: MIT */
/*
 * What the files of the configuration share: values as texts, and the file's own syntax.
 */
#ifndef LATHE_BASE_CONFIG_VALUES_H
#define LATHE_BASE_CONFIG_VALUES_H

#include "lathe/config.h"

/* NULL when there is no option of that name. */
const struct lathe_config_option *lathe_config_find(const char *name);

/* Takes the value of `text`, which comes from `origin`. Fault CONFIG. */
int lathe_config_set(struct lathe_config *config, const struct lathe_config_option *option,
                     const char *text, const char *origin, struct lathe_error *err);

/* "one of error, warning", "a whole number from 0 to 256". */
void lathe_config_allowed(const struct lathe_config_option *option, char *text, size_t size);

/* --- config_file.c --- */
/* Reads every option of the file. -ENOENT when there is none. */
int lathe_config_read_file(struct lathe_config *config, const char *path, struct lathe_error *err);

#endif
