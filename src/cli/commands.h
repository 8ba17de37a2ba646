/* SPDX-License-Identifier: MIT */
/*
 * The commands, one file each. They return the program's exit code and have said why.
 */
#ifndef LATHE_CLI_COMMANDS_H
#define LATHE_CLI_COMMANDS_H

#include "lathe/cancel.h"
#include "lathe/config.h"
#include "lathe/error.h"
#include "options.h"

int lathe_cli_config(const struct lathe_settings *settings);
int lathe_cli_run(const struct lathe_settings *settings);
int lathe_cli_plan(const struct lathe_settings *settings);
int lathe_cli_probe(const struct lathe_settings *settings);
int lathe_cli_submit(const struct lathe_settings *settings);
int lathe_cli_list(const struct lathe_settings *settings);
int lathe_cli_status(const struct lathe_settings *settings);
int lathe_cli_top(const struct lathe_settings *settings);
int lathe_cli_cancel_job(const struct lathe_settings *settings);
int lathe_cli_retry(const struct lathe_settings *settings);
int lathe_cli_fetch(const struct lathe_settings *settings);
int lathe_cli_rm(const struct lathe_settings *settings);
int lathe_cli_drain(const struct lathe_settings *settings);
int lathe_cli_logs(const struct lathe_settings *settings);
int lathe_cli_completion(const struct lathe_settings *settings);
int lathe_cli_doctor(const struct lathe_settings *settings);

/* Fired by SIGINT, SIGTERM and SIGHUP; made by main(). */
extern struct lathe_cancel *lathe_cli_cancel;

/* Loaded and exported before a command is run. */
extern const struct lathe_config *lathe_cli_configuration;

/* One line on stderr: what went wrong, and what to do about it. Returns the exit code. */
int lathe_cli_complain(const struct lathe_error *err);

#endif
