/* SPDX-License-Identifier: MIT */
/*
 * `lathe config`: what is configured and by whom, and the pages made from the option table.
 */
#include "lathe/config.h"

#include <errno.h>

#include "commands.h"
#include "lathe/base.h"
#include "table.h"

static json_t *effective(const struct lathe_config *config)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        const char *origin = config->origins[i] ? config->origins[i] : "default";
        _cleanup_free_ char *value = lathe_config_text(config, option);
        json_t *row = value ? json_pack("{s:s, s:s, s:s}", "option", option->name, "value", value,
                                        "from", origin)
                            : NULL;
        if (json_array_append_new(rows, row) < 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

int lathe_cli_config(const struct lathe_settings *settings)
{
    if (settings->sample) {
        lathe_config_write_sample(stdout);
    } else if (settings->reference) {
        lathe_config_write_reference(stdout);
    } else if (settings->man) {
        lathe_config_write_man(stdout);
    } else {
        json_t *rows = effective(lathe_cli_configuration);
        if (rows && settings->json)
            json_dumpf(rows, stdout, JSON_INDENT(2));
        else if (rows)
            lathe_table_print(stdout, rows);
        json_decref(rows);
        if (!rows) {
            struct lathe_error err = {0};
            lathe_error_nomem(&err);
            return lathe_cli_complain(&err);
        }
        if (settings->json)
            putchar('\n');
    }
    return fflush(stdout) == EOF || ferror(stdout);
}
