/* SPDX-License-Identifier: MIT */
/*
 * `lathe cancel`, `lathe retry`, `lathe rm` and `lathe drain`: one call each.
 */
#include <errno.h>
#include <stdio.h>

#include "commands.h"
#include "fleet.h"

struct change {
    int (*call)(struct lathe_fleet *fleet, const struct lathe_settings *settings,
                struct lathe_error *err);
    unsigned ports;
    const char *status; /* of the answer */
    const char *text;   /* a line for people, with the job's id */
};

static int change_job(const struct lathe_settings *settings, const struct change *change)
{
    struct lathe_fleet fleet;
    struct lathe_error err = {0};
    json_t *answer = NULL;
    int r = lathe_fleet_open(change->ports, &fleet, &err);
    if (r == 0)
        r = change->call(&fleet, settings, &err);
    if (r == 0 && settings->json)
        answer = lathe_fleet_job_answer(settings->input, change->status);
    else if (r == 0 && !settings->quiet)
        printf("job %s: %s\n", settings->input, change->text);
    lathe_fleet_close(&fleet);
    return lathe_fleet_answer(settings, answer, &err);
}

static int cancel(struct lathe_fleet *fleet, const struct lathe_settings *settings,
                  struct lathe_error *err)
{
    return lathe_fleet_cancel(fleet, settings->input, err);
}

int lathe_cli_cancel_job(const struct lathe_settings *settings)
{
    const struct change change = {cancel, LATHE_FLEET_ALL | LATHE_FLEET_DOOR, "cancelled",
                                  "cancelled; workers stop what they do for it within seconds"};
    return change_job(settings, &change);
}

static int retry(struct lathe_fleet *fleet, const struct lathe_settings *settings,
                 struct lathe_error *err)
{
    return lathe_fleet_retry(fleet, settings->input, settings->from_start, err);
}

int lathe_cli_retry(const struct lathe_settings *settings)
{
    const struct change change = {retry, LATHE_FLEET_ALL | LATHE_FLEET_DOOR, "queued",
                                  "tried again (lathe status shows how it goes)"};
    return change_job(settings, &change);
}

static int forget(struct lathe_fleet *fleet, const struct lathe_settings *settings,
                  struct lathe_error *err)
{
    return lathe_fleet_forget(fleet, settings->input, err);
}

int lathe_cli_rm(const struct lathe_settings *settings)
{
    const struct change change = {forget, LATHE_FLEET_ALL | LATHE_FLEET_DOOR, "removed",
                                  "removed, with its results"};
    return change_job(settings, &change);
}

int lathe_cli_drain(const struct lathe_settings *settings)
{
    struct lathe_fleet fleet;
    struct lathe_error err = {0};
    json_t *answer = NULL;
    uint32_t workers = 0;
    int r = lathe_fleet_open(LATHE_FLEET_STATE, &fleet, &err);
    if (r == 0)
        r = lathe_state_drain(fleet.flow.state, settings->input, &workers, &err);
    if (r == 0 && workers == 0) {
        r = lathe_error_set(&err, -ENOENT, LATHE_FAULT_INPUT,
                            "no worker that lives has the name or host %s", settings->input);
        lathe_error_hint(&err, "\"lathe top\" shows the workers");
    }
    if (r == 0 && settings->json)
        answer = json_pack("{s:s, s:I}", "host", settings->input, "workers", (json_int_t)workers);
    else if (r == 0)
        printf("%s: %u worker%s; what runs is finished, nothing new is taken until a restart\n",
               settings->input, workers, workers == 1 ? "" : "s");
    lathe_fleet_close(&fleet);
    return lathe_fleet_answer(settings, answer, &err);
}
