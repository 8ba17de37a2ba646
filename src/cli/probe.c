/* SPDX-License-Identifier: MIT */
/*
 * `lathe probe`: what a file is, or what this machine can encode with (found out by encoding).
 */
#include <errno.h>
#include <string.h>

#include "commands.h"
#include "input.h"
#include "jobs.h"
#include "lathe/base.h"
#include "lathe/pool.h"
#include "report.h"
#include "table.h"

static int ask_encoders(struct lathe_pool *pool, json_t **ret_body, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_ENCODERS;
    int r = lathe_pool_run(pool, &order, NULL, NULL, lathe_cli_cancel, ret_body, NULL, err);
    lathe_order_finish(&order);
    return r;
}

static int ask(const struct lathe_settings *settings, json_t **ret_body, struct lathe_error *err)
{
    if (settings->presets && settings->input)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "--presets is about this machine: leave the file out");
    struct lathe_input input = {0};
    struct lathe_pool *pool = NULL;
    int r = settings->input ? lathe_input_check(settings->input, &input, err) : 0;
    if (r == 0)
        r = lathe_pool_create(NULL, &pool, err);
    if (r == 0)
        r = settings->input ? lathe_cli_inspect(pool, input.path, ret_body, err)
                            : ask_encoders(pool, ret_body, err);
    lathe_pool_destroy(pool);
    lathe_input_finish(&input);
    return r;
}

/* Tables where there are rows of equal shape, a tree elsewhere. */
static void print_text(const json_t *json)
{
    bool rows = json_is_array(json) && json_is_object(json_array_get(json, 0));
    size_t i;
    json_t *row, *value;
    const char *name;
    json_array_foreach (json, i, row) {
        json_object_foreach (row, name, value) {
            rows = rows && !json_is_object(value) && !json_is_array(value);
        }
    }
    if (rows)
        lathe_table_print(stdout, json);
    else
        lathe_tree_print(stdout, json, 0);
}

int lathe_cli_probe(const struct lathe_settings *settings)
{
    struct lathe_error err = {0};
    json_t *body = NULL;
    if (ask(settings, &body, &err) < 0) {
        if (settings->json) {
            json_t *failure = lathe_report_failure(&err, 0);
            (void)lathe_report_print_json(failure); /* the exit code says it as well */
            json_decref(failure);
        }
        return lathe_cli_complain(&err);
    }
    json_t *presets = json_object_get(body, "presets");
    json_t *shown = settings->presets ? presets : body;
    int r = 0;
    if (settings->json) {
        r = lathe_report_print_json(shown);
    } else {
        if (!settings->presets && !settings->input)
            json_object_del(body, "presets"); /* a table of its own: --presets */
        print_text(shown);
        r = fflush(stdout) == EOF ? -1 : 0;
    }
    json_decref(body);
    return r < 0;
}
