/* SPDX-License-Identifier: MIT */
/*
 * `lathe fetch`: the results of a job come to this host, whole or not at all.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "deliver.h"
#include "fleet.h"
#include "input.h"
#include "lathe/base.h"
#include "report.h"

/* Results are published right after their job is complete; when that worker dies, by another. */
#define PUBLISH_US (60 * 1000000LL)
#define LOOK_MS 200

struct fetch {
    const struct lathe_settings *settings;
    struct lathe_fleet fleet;
    json_t *outputs; /* of the job's result */
    char *to;        /* absolute: a file, or the folder of several */
    bool is_folder;
    int64_t published_us; /* by then, on the monotonic clock; 0: at once */
    struct lathe_delivery deliveries[LATHE_RENDITIONS_MAX];
    int count;
};

/* The state forgets ended jobs after a while; their record in the store has the result too. */
static int read_record(struct lathe_flow *flow, const char *job_id, json_t **ret_outputs)
{
    _cleanup_free_ char *key = lathe_key_job(job_id);
    _cleanup_free_ char *path = lathe_format("%s/record.json", flow->scratch_dir);
    if (!key || !path)
        return -ENOMEM;
    int r = lathe_store_get(flow->store, key, path, flow->cancel, NULL);
    json_t *record = r == 0 ? json_load_file(path, 0, NULL) : NULL;
    json_t *outputs = json_object_get(json_object_get(record, "result"), "outputs");
    if (r == 0 && json_is_array(outputs))
        *ret_outputs = json_incref(outputs);
    else if (r == 0)
        r = -ENOENT;
    json_decref(record);
    return r;
}

static int find_outputs(struct fetch *f, struct lathe_error *err)
{
    const char *id = f->settings->input;
    struct lathe_job_view view = {0};
    struct lathe_error why = {0};
    int r = lathe_fleet_get(&f->fleet, id, &view, &why);
    if (r == -ENOENT && !f->fleet.door && read_record(&f->fleet.flow, id, &f->outputs) == 0)
        return 0;
    if (r == 0 && view.status != LATHE_JOB_COMPLETED) {
        r = lathe_error_set(&why, -EAGAIN, LATHE_FAULT_INPUT, "job %s is %s%s%s", id,
                            lathe_job_status_name(view.status), view.error ? ": " : "",
                            view.error ? view.error : "");
        lathe_error_hint(&why, "lathe status %s", id);
    } else if (r == 0) {
        int64_t age_us = lathe_clock_wall_us() - view.finished_us; /* another host's clock */
        f->published_us = lathe_clock_monotonic_us() + PUBLISH_US - (age_us > 0 ? age_us : 0);
        json_t *result = view.result ? json_loads(view.result, 0, NULL) : NULL;
        f->outputs = json_incref(json_object_get(result, "outputs"));
        json_decref(result);
        if (!f->outputs)
            r = lathe_error_set(&why, -EBADMSG, LATHE_FAULT_INTERNAL,
                                "job %s has no readable result", id);
    }
    lathe_job_view_clear(&view);
    if (r < 0 && err)
        *err = why;
    return r;
}

static bool is_wanted(const struct lathe_settings *settings, const char *name)
{
    for (int i = 0; i < settings->n_renditions; i++)
        if (strcmp(settings->renditions[i], name) == 0)
            return true;
    return settings->n_renditions == 0;
}

/* The part beside the final name is whole, or not there. */
static int bring(void *opaque, const char *rendition, const char *part, struct lathe_error *err)
{
    struct fetch *f = opaque;
    struct stat st;
    struct pollfd interrupted = {.fd = lathe_cancel_fd(lathe_cli_cancel), .events = POLLIN};
    int r = lathe_fleet_fetch(&f->fleet, f->settings->input, rendition, part, err);
    while (r == -ENOENT && lathe_clock_monotonic_us() < f->published_us &&
           poll(&interrupted, 1, LOOK_MS) == 0) {
        *err = (struct lathe_error){0};
        r = lathe_fleet_fetch(&f->fleet, f->settings->input, rendition, part, err);
    }
    if (r == -ENOENT)
        lathe_error_hint(err, "it is published right after its job is complete: try again in a "
                              "moment; or it was removed");
    if (r < 0)
        return r;
    size_t i;
    json_t *output;
    json_array_foreach (f->outputs, i, output) {
        const char *name = json_string_value(json_object_get(output, "rendition"));
        json_int_t bytes = json_integer_value(json_object_get(output, "bytes"));
        if (name && strcmp(name, rendition) == 0 && stat(part, &st) == 0 && st.st_size != bytes)
            return lathe_error_set(err, -EIO, LATHE_FAULT_INPUT,
                                   "the %s of job %s has %lld bytes, and its job made %lld", name,
                                   f->settings->input, (long long)st.st_size, (long long)bytes);
    }
    return 0;
}

static int add_delivery(struct fetch *f, const json_t *output, struct lathe_error *err)
{
    const char *name = json_string_value(json_object_get(output, "rendition"));
    if (!name || f->count == LATHE_RENDITIONS_MAX || !is_wanted(f->settings, name))
        return 0;
    struct lathe_delivery *d = &f->deliveries[f->count++];
    d->bring = bring;
    d->opaque = f;
    d->from = strdup(name);
    d->to = f->is_folder ? lathe_format("%s/output_%s.mp4", f->to, name) : strdup(f->to);
    return d->from && d->to ? 0 : lathe_error_nomem(err);
}

static int choose(struct fetch *f, struct lathe_error *err)
{
    const struct lathe_settings *s = f->settings;
    size_t available = json_array_size(f->outputs), wanted = 0, i;
    json_t *output;
    json_array_foreach (f->outputs, i, output) {
        const char *name = json_string_value(json_object_get(output, "rendition"));
        wanted += name && is_wanted(s, name);
    }
    if (wanted == 0 || wanted < (size_t)s->n_renditions)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "job %s has %zu renditions, and not those that were named", s->input,
                               available);
    f->is_folder = wanted > 1;
    const struct lathe_input none = {0};
    int r = lathe_output_check(s->output, f->is_folder, &none, &f->to, err);
    if (r == 0 && f->is_folder && mkdir(f->to, 0777) < 0 && errno != EEXIST)
        r = lathe_error_errno(err, -errno, "the folder %s cannot be made", f->to);
    json_array_foreach (f->outputs, i, output) {
        if (r == 0)
            r = add_delivery(f, output, err);
    }
    return r;
}

static json_t *paths(const struct fetch *f)
{
    json_t *list = json_array();
    for (int i = 0; i < f->count; i++)
        (void)json_array_append_new(list, json_string(f->deliveries[i].to));
    return json_pack("{s:s, s:s, s:o}", "job_id", f->settings->input, "status", "fetched", "paths",
                     list);
}

int lathe_cli_fetch(const struct lathe_settings *settings)
{
    struct fetch f = {.settings = settings, .fleet = {.scratch = {.lock_fd = -1}}};
    struct lathe_error err = {0};
    json_t *answer = NULL;
    int r = 0;
    if (!settings->output) {
        r = lathe_error_set(&err, -EINVAL, LATHE_FAULT_USAGE, "fetch needs a place for the result");
        lathe_error_hint(&err, "add -o NAME.mp4");
    }
    if (r == 0)
        r = lathe_fleet_open(LATHE_FLEET_STATE | LATHE_FLEET_STORE | LATHE_FLEET_DOOR, &f.fleet,
                             &err);
    if (r == 0)
        r = find_outputs(&f, &err);
    if (r == 0)
        r = choose(&f, &err);
    if (r == 0)
        r = lathe_deliver(&f.fleet.scratch, f.deliveries, f.count, lathe_cli_cancel, &err);
    if (r == 0 && settings->json)
        answer = paths(&f);
    for (int i = 0; i < f.count; i++) {
        if (r == 0 && !settings->json && !settings->quiet)
            printf("%s\n", f.deliveries[i].to);
        free(f.deliveries[i].from);
        free(f.deliveries[i].to);
    }
    json_decref(f.outputs);
    free(f.to);
    lathe_fleet_close(&f.fleet);
    return lathe_fleet_answer(settings, answer, &err);
}
