/* SPDX-License-Identifier: MIT */
/*
 * Opening what is configured, and ending commands alike.
 */
#include "fleet.h"

#include <errno.h>
#include <string.h>

#include "commands.h"
#include "lathe/base.h"
#include "report.h"

/* An embedded driver in the default place means that nobody has configured a fleet. */
static void say_where(const struct lathe_config *config, const char *option, const char *location,
                      struct lathe_error *err)
{
    bool is_default = strncmp(location, config->state_dir, strlen(config->state_dir)) == 0;
    lathe_config_blame(config, option, err);
    if (is_default && !err->hint[0])
        lathe_error_hint(err,
                         "no server is configured for it: set %s in a file for --config, or "
                         "in the environment (man lathe.conf)",
                         option);
}

static int open_ports(struct lathe_fleet *fleet, unsigned ports, struct lathe_error *err)
{
    const struct lathe_config *c = lathe_cli_configuration;
    struct lathe_flow *flow = &fleet->flow;
    int r = 0;
    if (ports & LATHE_FLEET_STATE) {
        r = lathe_state_open(c->state_driver, c->state_location, &flow->state, err);
        if (r < 0)
            say_where(c, "state.location", c->state_location, err);
    }
    if (r == 0 && ports & LATHE_FLEET_STORE) {
        r = lathe_store_open(c->store_driver, c->store_location, &flow->store, err);
        if (r < 0)
            say_where(c, "store.location", c->store_location, err);
        else
            r = lathe_scratch_open(NULL, &fleet->scratch, err);
    }
    if (r == 0 && ports & LATHE_FLEET_QUEUE) {
        r = lathe_queue_open(c->queue_driver, c->queue_location, &flow->queue, err);
        if (r < 0)
            say_where(c, "queue.location", c->queue_location, err);
    }
    flow->scratch_dir = fleet->scratch.dir;
    return r;
}

/* The worker of this host keeps its jobs where only it may go. Somebody who has named servers, or
 * another folder for everything, does not mean that one. */
static bool may_use_door(const struct lathe_config *config)
{
    size_t length = strlen(config->state_dir);
    bool is_own = strncmp(config->state_location, config->state_dir, length) == 0;
    bool is_system = strcmp(config->state_dir, LATHE_CONFIG_STATE_DIR) == 0;
    return is_own && strcmp(config->door, "none") != 0 && (is_system || config->door[0]);
}

int lathe_fleet_open(unsigned ports, struct lathe_fleet *ret, struct lathe_error *err)
{
    *ret = (struct lathe_fleet){.scratch = {.lock_fd = -1}, .flow.cancel = lathe_cli_cancel};
    if (!(ports & LATHE_FLEET_DOOR) || !may_use_door(lathe_cli_configuration))
        return open_ports(ret, ports, err);
    const char *path = lathe_cli_configuration->door;
    struct lathe_error why = {0};
    int r = lathe_door_connect(*path ? path : NULL, &ret->door, &why);
    if (r == -ENOENT) /* no worker: whoever may, works on the files themselves */
        return open_ports(ret, ports, err);
    if (r == 0 && ports & LATHE_FLEET_STORE)
        r = lathe_scratch_open(NULL, &ret->scratch, &why);
    if (r < 0 && err)
        *err = why;
    return r;
}

void lathe_fleet_close(struct lathe_fleet *fleet)
{
    lathe_door_disconnect(fleet->door);
    lathe_queue_close(fleet->flow.queue);
    lathe_store_close(fleet->flow.store);
    lathe_state_close(fleet->flow.state);
    lathe_scratch_close(&fleet->scratch);
}

int lathe_fleet_answer(const struct lathe_settings *settings, json_t *answer,
                       const struct lathe_error *err)
{
    int code = 0;
    if (err->code) {
        if (settings->json) {
            json_t *failure = lathe_report_failure(err, 0);
            (void)lathe_report_print_json(failure); /* the exit code says it as well */
            json_decref(failure);
        }
        code = lathe_cli_complain(err);
    } else if (settings->json) {
        code = lathe_report_print_json(answer) < 0;
    } else {
        code = fflush(stdout) == EOF;
    }
    json_decref(answer);
    return code;
}

json_t *lathe_fleet_job_answer(const char *job_id, const char *status)
{
    return json_pack("{s:s, s:s}", "job_id", job_id, "status", status);
}
