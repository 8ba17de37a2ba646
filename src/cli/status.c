/* SPDX-License-Identifier: MIT */
/*
 * `lathe status`: one job with its units: who works on what, what each chunk was encoded with, and
 * why it did not go at once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "fleet.h"
#include "jobs_view.h"
#include "lathe/base.h"
#include "table.h"

#define PAGE 1000u    /* units that are read at once */
#define SHORT_ROWS 40 /* more than this, and those that simply wait or are done are left out */

/* A door does not tell of units. */
static int add_units(struct lathe_fleet *fleet, const char *job_id,
                     int (*each)(void *opaque, const struct lathe_unit_view *view), void *opaque,
                     uint32_t total, struct lathe_error *err)
{
    if (fleet->door)
        return 0;
    for (uint32_t first = 0;; first += PAGE) {
        bool is_last = first + PAGE >= total;
        struct lathe_unit_view *list;
        size_t count;
        int r = lathe_state_units(fleet->flow.state, job_id, first,
                                  is_last ? LATHE_UNITS_MAX : first + PAGE, &list, &count, err);
        if (r < 0)
            return r;
        for (size_t i = 0; r == 0 && i < count; i++)
            r = each(opaque, &list[i]);
        lathe_unit_views_free(list, count);
        if (r < 0)
            return lathe_error_nomem(err);
        if (is_last)
            return 0;
    }
}

static int append_json(void *opaque, const struct lathe_unit_view *view)
{
    return json_array_append_new(opaque, lathe_unit_json(view)) < 0 ? -ENOMEM : 0;
}

struct rows {
    json_t *list;
    bool all;
    int64_t now_us;
};

static int append_row(void *opaque, const struct lathe_unit_view *view)
{
    struct rows *rows = opaque;
    bool is_plain =
        view->state != LATHE_UNIT_IS_LEASED && !view->error && view->failures + view->deaths == 0;
    bool is_split_or_merge = view->unit == LATHE_UNIT_SPLIT || view->unit == LATHE_UNIT_MERGE;
    if (is_plain && (!rows->all || is_split_or_merge))
        return 0;
    return json_array_append_new(rows->list, lathe_unit_row(view, rows->now_us)) < 0 ? -ENOMEM : 0;
}

static void print_renditions(const json_t *request)
{
    size_t i;
    json_t *one;
    printf("  wanted    ");
    json_array_foreach (json_object_get(request, "renditions"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        printf("%s%s %lld kbit/s", i ? ", " : "", name ? name : "?",
               (long long)json_integer_value(json_object_get(one, "bitrate_kbps")));
    }
    const char *codec = json_string_value(json_object_get(request, "codec"));
    const char *preset = json_string_value(json_object_get(request, "preset"));
    const char *encoder = json_string_value(json_object_get(request, "encoder"));
    printf("; %s, preset %s, encoder %s\n", codec ? codec : "?", preset ? preset : "?",
           encoder ? encoder : "?");
}

static bool has_device_of(const struct lathe_worker_view *worker, const char *encoder)
{
    json_t *record = worker->record ? json_loads(worker->record, 0, NULL) : NULL;
    bool has = false;
    size_t i;
    json_t *device;
    json_array_foreach (json_object_get(record, "devices"), i, device) {
        const char *family = json_string_value(json_object_get(device, "family"));
        const char *state = json_string_value(json_object_get(device, "state"));
        bool is_meant = strcmp(encoder, "auto") == 0 || (family && strcmp(family, encoder) == 0);
        has = has || (is_meant && state &&
                      (strcmp(state, "in service") == 0 || strcmp(state, "busy") == 0));
    }
    json_decref(record);
    return has;
}

/* The encoder (or "auto": any GPU) that an open job requires and no worker that lives has. NULL:
 * it does not wait for that. Borrowed from `request`. */
static const char *missing_encoder(struct lathe_fleet *fleet, const struct lathe_job_view *view,
                                   const json_t *request)
{
    const char *hw = json_string_value(json_object_get(request, "hw"));
    const char *encoder = json_string_value(json_object_get(request, "encoder"));
    struct lathe_worker_view *workers = NULL;
    size_t count = 0;
    if (view->finished_us || fleet->door || !encoder || !hw || strcmp(hw, "require") != 0 ||
        lathe_state_workers(fleet->flow.state, &workers, &count, NULL) < 0)
        return NULL;
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || has_device_of(&workers[i], encoder);
    lathe_worker_views_free(workers, count);
    return found ? NULL : encoder;
}

static void print_job(struct lathe_fleet *fleet, const struct lathe_job_view *view)
{
    int64_t now_us = lathe_clock_wall_us();
    char age[32], took[32];
    json_t *job = lathe_job_json(view);
    const json_t *request = json_object_get(job, "request");
    _cleanup_free_ char *source = lathe_value_text(json_object_get(request, "source_key"));
    lathe_age_text(age, sizeof age, view->created_us, now_us);
    printf("job %s: %s\n", view->id, lathe_job_status_name(view->status));
    if (view->error)
        printf("  why       %s\n", view->error);
    const char *name = json_string_value(json_object_get(request, "source_name"));
    printf("  source    %s%s%s\n", name ? name : "", name ? ", stored as " : "",
           source ? source : "?");
    print_renditions(request);
    printf("  created   %s ago, priority %d\n", age, view->priority);
    if (view->finished_us) {
        lathe_age_text(took, sizeof took, view->created_us, view->finished_us);
        printf("  took      %s\n", took);
    }
    if (view->total_chunks)
        printf("  chunks    %u of %u done\n", view->completed_chunks, view->total_chunks);
    const char *missing = missing_encoder(fleet, view, request);
    if (missing)
        printf("  waits     for a worker with %s: no worker that lives has one in service\n",
               strcmp(missing, "auto") == 0    ? "a GPU"
               : strcmp(missing, "nvenc") == 0 ? "an NVIDIA GPU (nvenc)"
                                               : "an Intel or AMD GPU (vaapi)");
    if (view->replan)
        printf("  planned   a second time, because %s\n", view->replan);
    json_decref(job);
}

static void print_next(const struct lathe_job_view *view)
{
    if (view->status == LATHE_JOB_COMPLETED)
        printf("next: lathe fetch %s -o PATH\n", view->id);
    else if (view->status == LATHE_JOB_FAILED || view->status == LATHE_JOB_CANCELLED)
        printf("next: lathe retry %s    or    lathe rm %s\n", view->id, view->id);
}

static int print(const struct lathe_settings *settings, struct lathe_fleet *fleet,
                 const struct lathe_job_view *view, struct lathe_error *err)
{
    struct rows rows = {.list = json_array(),
                        .all = settings->all || view->total_units <= SHORT_ROWS,
                        .now_us = lathe_clock_wall_us()};
    int r = rows.list ? add_units(fleet, view->id, append_row, &rows, view->total_units, err)
                      : lathe_error_nomem(err);
    if (r == 0) {
        print_job(fleet, view);
        if (json_array_size(rows.list) > 0) {
            printf("\n");
            lathe_table_print(stdout, rows.list);
        }
        if (!rows.all)
            printf("(units that wait, or are done at the first try, are shown with --all)\n");
        print_next(view);
    }
    json_decref(rows.list);
    return r;
}

static int to_json(struct lathe_fleet *fleet, const struct lathe_job_view *view, json_t **ret,
                   struct lathe_error *err)
{
    json_t *job = lathe_job_json(view), *units = json_array();
    const char *missing = missing_encoder(fleet, view, json_object_get(job, "request"));
    json_t *result = view->result ? json_loads(view->result, 0, NULL) : NULL;
    int r = job && units ? 0 : lathe_error_nomem(err);
    if (r == 0)
        r = add_units(fleet, view->id, append_json, units, view->total_units, err);
    if (r == 0 &&
        (json_object_set(job, "units", units) < 0 ||
         json_object_set_new(job, "waits_for", missing ? json_string(missing) : json_null()) < 0 ||
         json_object_set_new(job, "result", result ? json_incref(result) : json_null()) < 0))
        r = lathe_error_nomem(err);
    json_decref(units);
    json_decref(result);
    if (r < 0)
        json_decref(job);
    else
        *ret = job;
    return r;
}

int lathe_cli_status(const struct lathe_settings *settings)
{
    struct lathe_fleet fleet;
    struct lathe_error err = {0};
    struct lathe_job_view view = {0};
    json_t *answer = NULL;
    int r = lathe_fleet_open(LATHE_FLEET_STATE | LATHE_FLEET_DOOR, &fleet, &err);
    if (r == 0)
        r = lathe_fleet_get(&fleet, settings->input, &view, &err);
    if (r == -ENOENT)
        lathe_error_hint(&err, "\"lathe list\" shows the jobs that are known");
    if (r == 0 && settings->json)
        r = to_json(&fleet, &view, &answer, &err);
    else if (r == 0)
        r = print(settings, &fleet, &view, &err);
    lathe_job_view_clear(&view);
    lathe_fleet_close(&fleet);
    return lathe_fleet_answer(settings, answer, &err);
}
