/* SPDX-License-Identifier: MIT */
/*
 * From settings to a job.
 */
#ifndef LATHE_CLI_JOBS_H
#define LATHE_CLI_JOBS_H

#include <jansson.h>

#include "input.h"
#include "lathe/job.h"
#include "lathe/pool.h"
#include "options.h"

/* Wrong renditions or combinations are found before anything is opened. */
int lathe_cli_check_settings(const struct lathe_settings *settings, struct lathe_error *err);
/* What is asked for, validated, without id or source. With no rendition in `settings` a slot is
 * asked for the size of the file `path`. */
int lathe_cli_make_request(const struct lathe_settings *settings, const char *path,
                           struct lathe_pool *pool, struct lathe_job *ret, struct lathe_error *err);
/* The whole job, validated, with its id. Without a rendition in `settings` a slot is asked for the
 * size of the source. */
int lathe_cli_make_job(const struct lathe_settings *settings, const struct lathe_input *input,
                       struct lathe_pool *pool, struct lathe_job *ret, struct lathe_error *err);
/* What the source is: the body of an inspect report. */
int lathe_cli_inspect(struct lathe_pool *pool, const char *path, json_t **ret_body,
                      struct lathe_error *err);
/* What this host's slots encode with: the body of an encoders report. */
int lathe_cli_ask_encoders(struct lathe_pool *pool, json_t **ret_body, struct lathe_error *err);

#endif
