/* SPDX-License-Identifier: MIT */
/*
 * `lathe submit`: a file (which is uploaded first) or an object of the store becomes a job of the
 * fleet.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "fleet.h"
#include "input.h"
#include "jobs.h"
#include "lathe/base.h"
#include "report.h"
#include "table.h"
#include "watch.h"

struct submit {
    const struct lathe_settings *settings;
    struct lathe_fleet fleet;
    struct lathe_input input; /* path NULL: the source is in the store */
    struct lathe_job job;
    int64_t started_us;
    json_t *report;
};

/* A file of that name first; what is no file may be an object. */
static int find_source(struct submit *s, struct lathe_error *err)
{
    const char *name = s->settings->input;
    if (access(name, F_OK) == 0)
        return lathe_input_check(name, &s->input, err);
    if (s->fleet.door) /* whose store is the worker's own */
        return lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "there is no file %s", name);
    struct lathe_store_meta meta;
    struct lathe_error why = {0};
    int r = lathe_store_stat(s->fleet.flow.store, name, &meta, &why);
    if (r == 0)
        return 0;
    if (r == -ENOENT || r == -EINVAL) {
        lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT,
                        "%s is neither a file here nor an object of the store", name);
        lathe_error_hint(err, "an object is named by its key, as in raw/film.mkv");
    } else if (err) {
        *err = why;
    }
    return r;
}

/* A slot of this host is only needed for the size of a source that nobody has named a size for. */
static int make_job(struct submit *s, struct lathe_error *err)
{
    struct lathe_pool *pool = NULL;
    int r = 0;
    if (s->settings->n_renditions == 0 && !s->input.path) {
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                            "the size of an object in the store is not known here");
        lathe_error_hint(err, "say which you want: --rendition 720p");
        return r;
    }
    if (s->settings->n_renditions == 0)
        r = lathe_pool_create(NULL, &pool, err);
    if (r == 0)
        r = lathe_cli_make_request(s->settings, s->input.path, pool, &s->job, err);
    lathe_pool_destroy(pool);
    return r;
}

/* ".mkv" of a name, as a part of a key. */
static void extension_of(const char *path, char ret[16])
{
    const char *dot = strrchr(path, '.');
    size_t n = 0;
    for (const char *p = dot && !strchr(dot, '/') ? dot + 1 : ""; *p && n < 8; p++)
        if (isalnum((unsigned char)*p))
            ret[n++] = (char)tolower((unsigned char)*p);
    ret[n] = '\0';
    if (n == 0)
        snprintf(ret, 16, "bin");
}

static int name_job(struct submit *s, struct lathe_error *err)
{
    char id[37], extension[16];
    int r = lathe_uuid7(id);
    if (r < 0)
        return lathe_error_errno(err, r, "no random numbers");
    snprintf(s->job.id, sizeof s->job.id, "%s", id);
    free(s->job.source_key);
    if (s->input.path) {
        extension_of(s->input.path, extension);
        s->job.source_key = lathe_format("raw/%s.%s", id, extension);
        if (lathe_job_name_source(&s->job, s->input.path) < 0)
            return lathe_error_nomem(err);
    } else {
        s->job.source_key = strdup(s->settings->input);
    }
    s->job.source_is_local = false;
    s->job.priority = s->settings->priority;
    return s->job.source_key ? 0 : lathe_error_nomem(err);
}

static int upload(struct submit *s, struct lathe_error *err)
{
    if (!s->input.path)
        return 0;
    if (!s->settings->quiet && isatty(STDERR_FILENO)) {
        char size[32];
        lathe_size_text(size, sizeof size, (double)s->input.size);
        fprintf(stderr, "uploading %s (%s)\n", s->settings->input, size);
    }
    return lathe_store_put(s->fleet.flow.store, s->job.source_key, s->input.path, NULL,
                           LATHE_STORE_COPY, s->fleet.flow.cancel, err);
}

static int accept_job(struct submit *s, struct lathe_error *err)
{
    int r = name_job(s, err);
    if (r == 0)
        r = upload(s, err);
    if (r < 0)
        return r;
    r = lathe_flow_submit(&s->fleet.flow, &s->job, err);
    if (r < 0 && s->input.path) /* nobody would ever read it */
        (void)lathe_store_remove(s->fleet.flow.store, s->job.source_key, NULL);
    return r;
}

/* The worker copies the file before it answers. */
static int hand_over(struct submit *s, struct lathe_error *err)
{
    _cleanup_close_ int fd = open(s->input.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "%s cannot be read", s->input.path);
    s->job.priority = s->settings->priority;
    return lathe_door_submit(s->fleet.door, &s->job, fd, s->input.path, s->job.id, err);
}

/* The report of a run, with keys of the store for paths. */
static int wait_for_end(struct submit *s, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r =
        lathe_watch_job(&s->fleet, s->job.id, s->settings->quiet || s->settings->json, &view, err);
    if (r < 0)
        return r;
    if (view.status == LATHE_JOB_COMPLETED)
        r = lathe_report_of_result(s->job.id, view.result,
                                   (double)(lathe_clock_monotonic_us() - s->started_us) / 1e6,
                                   &s->report, err);
    else {
        r = lathe_error_set(err, view.status == LATHE_JOB_CANCELLED ? -ECANCELED : -EIO,
                            LATHE_FAULT_INTERNAL, "job %s is %s: %s", s->job.id,
                            lathe_job_status_name(view.status),
                            view.error ? view.error : "no reason is known");
        lathe_error_hint(err, "lathe status %s", s->job.id);
    }
    lathe_job_view_clear(&view);
    return r;
}

static int check_settings(const struct lathe_settings *settings, struct lathe_error *err)
{
    if (settings->output && !settings->wait) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "--output needs --wait");
        lathe_error_hint(err, "or fetch the result later: lathe fetch JOB -o PATH");
        return -EINVAL;
    }
    return lathe_cli_check_settings(settings, err);
}

static int submit(struct submit *s, struct lathe_error *err)
{
    int r = check_settings(s->settings, err);
    if (r == 0)
        r = lathe_fleet_open(LATHE_FLEET_ALL | LATHE_FLEET_DOOR, &s->fleet, err);
    if (r == 0)
        r = find_source(s, err);
    if (r == 0)
        r = make_job(s, err);
    if (r == 0)
        r = s->fleet.door ? hand_over(s, err) : accept_job(s, err);
    if (r == 0 && s->settings->wait)
        r = wait_for_end(s, err);
    return r;
}

/* The id first, so that a script finds it in the first line. */
static void print(const struct submit *s)
{
    if (s->settings->wait) {
        if (s->settings->quiet)
            return;
        (void)lathe_report_print_text(s->report);
        printf("next: lathe fetch %s -o PATH\n", s->job.id);
    } else {
        printf("%s\n", s->job.id);
    }
}

/* Brings all results here. What this host's worker kept for nobody else goes then; in a fleet,
 * others may still want it. */
static int take_home(const struct lathe_settings *settings, const char *id, bool by_door)
{
    struct lathe_settings fetch = *settings;
    fetch.input = id;
    fetch.n_renditions = 0;
    int code = lathe_cli_fetch(&fetch);
    struct lathe_fleet fleet;
    if (code != 0 || !by_door || lathe_fleet_open(LATHE_FLEET_ALL | LATHE_FLEET_DOOR, &fleet, NULL))
        return code;
    (void)lathe_fleet_forget(&fleet, id, NULL); /* else it is in the list, with its size */
    lathe_fleet_close(&fleet);
    return 0;
}

int lathe_cli_submit(const struct lathe_settings *settings)
{
    struct submit s = {.settings = settings, .started_us = lathe_clock_monotonic_us()};
    struct lathe_error err = {0};
    lathe_job_init(&s.job);
    s.fleet.scratch.lock_fd = -1;
    json_t *answer = NULL;
    if (submit(&s, &err) == 0 && settings->json)
        answer = s.report ? json_incref(s.report) : lathe_fleet_job_answer(s.job.id, "queued");
    else if (!err.code && !settings->output)
        print(&s);
    char id[LATHE_ID_MAX + 1];
    bool by_door = s.fleet.door != NULL;
    snprintf(id, sizeof id, "%s", s.job.id);
    json_decref(s.report);
    lathe_job_finish(&s.job);
    lathe_input_finish(&s.input);
    lathe_fleet_close(&s.fleet);
    if (err.code || !settings->output)
        return lathe_fleet_answer(settings, answer, &err);
    json_decref(answer);
    return take_home(settings, id, by_door);
}
