/* SPDX-License-Identifier: MIT */
/*
 * `lathe logs`: the entries of this host's journal about a job. The journal finds them by their
 * field; this only saves people from knowing how.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "lathe/base.h"
#include "lathe/job.h"

int lathe_cli_logs(const struct lathe_settings *settings)
{
    struct lathe_error err = {0};
    if (!lathe_job_id_is_valid(settings->input)) {
        lathe_error_set(&err, -EINVAL, LATHE_FAULT_USAGE, "\"%.60s\" is no id of a job",
                        settings->input);
        return lathe_cli_complain(&err);
    }
    _cleanup_free_ char *match = lathe_format("LATHE_JOB=%s", settings->input);
    if (!match) {
        lathe_error_nomem(&err);
        return lathe_cli_complain(&err);
    }
    char *const argv[] = {(char *)"journalctl",
                          (char *)"--no-hostname",
                          (char *)(settings->json ? "--output=json" : "--output=short-iso"),
                          (char *)(settings->follow ? "--follow" : "--no-pager"),
                          match,
                          NULL};
    execvp(argv[0], argv);
    lathe_error_errno(&err, -errno, "journalctl cannot be started");
    lathe_error_hint(&err,
                     "logs are looked up in the journal of systemd, on the host of the worker");
    return lathe_cli_complain(&err);
}
