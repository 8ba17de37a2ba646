/* SPDX-License-Identifier: MIT */
/*
 * SIGHUP: the configuration is read again while work goes on.
 */
#include <string.h>

#include "lathe/base.h"
#include "lathe/log.h"
#include "worker.h"

void lathe_worker_set_log(const struct lathe_config *config)
{
    bool is_set = lathe_config_is_set(config, "log.level");
    lathe_log_set_level(is_set ? (enum lathe_log_level)config->log_level : LATHE_LOG_INFO);
    lathe_log_set_format((enum lathe_log_format)config->log_format);
}

/* Says which changes have to wait. */
static void compare(const struct lathe_config *before, const struct lathe_config *after)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        _cleanup_free_ char *was = lathe_config_text(before, option);
        _cleanup_free_ char *is = lathe_config_text(after, option);
        if (!was || !is || strcmp(was, is) == 0)
            continue;
        if (option->reloads)
            lathe_log_info("%s is %s now", option->name, is);
        else
            lathe_log_warning("%s was changed to \"%s\": that takes a restart", option->name, is);
    }
}

void lathe_worker_reload(struct lathe_worker *worker)
{
    struct lathe_error err = {0};
    struct lathe_config config;
    lathe_agent_probe_again(worker->agent);
    if (lathe_config_load(NULL, worker->argc, worker->argv, &config, &err) < 0) {
        lathe_log_error("the old configuration stays: %s", err.what);
        return;
    }
    compare(&worker->config, &config);
    lathe_worker_set_log(&config);
    lathe_agent_set_drain_seconds(worker->agent, (unsigned)config.drain_seconds);
    lathe_agent_set_quota(worker->agent, config.scratch_quota_bytes);
    lathe_agent_set_keep_hours(worker->agent, config.keep_hours);
    /* The agent keeps pointers into the first configuration. */
    worker->config.drain_seconds = config.drain_seconds;
    worker->config.scratch_quota_bytes = config.scratch_quota_bytes;
    worker->config.keep_hours = config.keep_hours;
    worker->config.log_level = config.log_level;
    worker->config.log_format = config.log_format;
    lathe_config_finish(&config);
    lathe_log_info("the configuration was read again");
}
