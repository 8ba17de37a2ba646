/* SPDX-License-Identifier: MIT */
/*
 * `lathe probe`: what a file is, or what this machine can do, GPUs included (found out by doing
 * it).
 */
#include <errno.h>
#include <string.h>

#include "commands.h"
#include "input.h"
#include "jobs.h"
#include "lathe/base.h"
#include "lathe/hardware.h"
#include "lathe/pool.h"
#include "report.h"
#include "table.h"

/* Who asks wants to know how it is now: nothing remembered is shown. */
static int add_hardware(const struct lathe_settings *settings, json_t *body,
                        struct lathe_error *err)
{
    const struct lathe_hardware_options options = {.refresh = true, .sessions = settings->sessions};
    struct lathe_hardware hardware;
    json_t *json = NULL;
    int r = lathe_hardware_load(&options, lathe_cli_cancel, &hardware, err);
    if (r < 0)
        return r;
    r = lathe_hardware_to_json(&hardware, &json);
    if (r == 0 && json_object_set_new(body, "hardware", json) < 0)
        r = -ENOMEM;
    lathe_hardware_finish(&hardware);
    return r < 0 ? lathe_error_nomem(err) : 0;
}

static int ask(const struct lathe_settings *settings, json_t **ret_body, struct lathe_error *err)
{
    if ((settings->presets || settings->sessions) && settings->input)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "--%s is about this machine: leave the file out",
                               settings->presets ? "presets" : "sessions");
    struct lathe_input input = {0};
    struct lathe_pool *pool = NULL;
    int r = settings->input ? lathe_input_check(settings->input, &input, err) : 0;
    if (r == 0)
        r = lathe_pool_create(NULL, &pool, err);
    if (r == 0)
        r = settings->input ? lathe_cli_inspect(pool, input.path, ret_body, err)
                            : lathe_cli_ask_encoders(pool, ret_body, err);
    if (r == 0 && !settings->input && !settings->presets) {
        r = add_hardware(settings, *ret_body, err);
        if (r < 0) {
            json_decref(*ret_body);
            *ret_body = NULL;
        }
    }
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

/* One row of a device's table; what works comes without a reason, unless some of it does not. */
static json_t *trial_row(const json_t *trial)
{
    _cleanup_free_ char *what = NULL;
    const char *codec = json_string_value(json_object_get(trial, "codec"));
    const char *kind = json_string_value(json_object_get(trial, "kind"));
    json_int_t bits = json_integer_value(json_object_get(trial, "bits"));
    what = lathe_format("%s%s%s%s", kind ? kind : "", codec ? " " : "", codec ? codec : "",
                        bits > 8 ? " 10 bit" : "");
    json_t *sessions = json_object_get(trial, "sessions");
    if (json_integer_value(sessions) == 0)
        sessions = NULL;
    _cleanup_free_ char *reason =
        sessions ? lathe_format("%lld at once; %s", (long long)json_integer_value(sessions),
                                json_string_value(json_object_get(trial, "reason")))
                 : NULL;
    return json_pack("{s:s, s:O, s:O, s:o}", "what", what ? what : "", "result",
                     json_object_get(trial, "verdict"), "with", json_object_get(trial, "with"),
                     "why",
                     reason ? json_string(reason) : json_incref(json_object_get(trial, "reason")));
}

static void print_device(const json_t *device)
{
    static const char *const facts[] = {"name", "family", "path", "id", "driver", "summary"};
    char *text[LATHE_COUNT(facts)];
    for (size_t i = 0; i < LATHE_COUNT(facts); i++)
        text[i] = lathe_value_text(json_object_get(device, facts[i]));
    bool same = text[2] && text[3] && strcmp(text[2], text[3]) == 0;
    printf("\n%s (%s %s%s%s, %s): %s\n", text[0], text[1], text[2], same ? "" : ", ",
           same ? "" : text[3], text[4], text[5]);
    for (size_t i = 0; i < LATHE_COUNT(facts); i++)
        free(text[i]);
    json_t *rows = json_array(), *trial;
    size_t i;
    json_array_foreach (json_object_get(device, "trials"), i, trial) {
        (void)json_array_append_new(rows, trial_row(trial));
    }
    if (json_array_size(rows) > 0)
        lathe_table_print(stdout, rows);
    json_decref(rows);
}

static void print_machine(const json_t *body)
{
    _cleanup_free_ char *version = lathe_value_text(json_object_get(body, "ffmpeg"));
    const json_t *hardware = json_object_get(body, "hardware"), *devices;
    json_t *device;
    size_t i;
    printf("FFmpeg %s\n\n", version ? version : "");
    print_text(json_object_get(body, "encoders"));
    devices = json_object_get(hardware, "devices");
    if (json_array_size(devices) == 0) {
        _cleanup_free_ char *summary = lathe_value_text(json_object_get(hardware, "summary"));
        printf("\n%s\n", summary ? summary : "");
    }
    json_array_foreach (devices, i, device) {
        print_device(device);
    }
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
    json_t *shown = settings->presets ? json_object_get(body, "presets") : body;
    int r = 0;
    if (settings->json) {
        r = lathe_report_print_json(shown);
    } else {
        if (settings->presets || settings->input)
            print_text(shown);
        else
            print_machine(body);
        r = fflush(stdout) == EOF ? -1 : 0;
    }
    json_decref(body);
    return r < 0;
}
