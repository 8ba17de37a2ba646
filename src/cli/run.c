/* SPDX-License-Identifier: MIT */
/*
 * `lathe run`: the whole pipeline in one command, on the embedded drivers.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "deliver.h"
#include "input.h"
#include "jobs.h"
#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/log.h"
#include "lathe/scratch.h"
#include "progress.h"
#include "report.h"
#include "resume.h"

struct run {
    const struct lathe_settings *settings;
    struct lathe_input input;
    char *output; /* absolute: a file, or the folder of several */
    bool made_folder;
    struct lathe_scratch scratch;
    struct lathe_agent *agent;
    struct lathe_job job;
    struct lathe_delivery deliveries[LATHE_RENDITIONS_MAX];
    struct lathe_progress_line line;
    int64_t started_us;
    size_t fallbacks_logged;
    bool hardware_logged;
    json_t *report;
};

static double wall_seconds(const struct run *run)
{
    return (double)(lathe_clock_monotonic_us() - run->started_us) / 1e6;
}

static int check(struct run *run, struct lathe_error *err)
{
    const struct lathe_settings *s = run->settings;
    if (!s->output) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "run needs the name of the output");
        lathe_error_hint(err, "add -o NAME.mp4");
        return -EINVAL;
    }
    if (s->keep && !s->work) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "--keep needs a folder to keep things in");
        lathe_error_hint(err, "add --work DIR");
        return -EINVAL;
    }
    int r = lathe_cli_check_settings(s, err);
    if (r == 0)
        r = lathe_input_check(s->input, &run->input, err);
    if (r == 0)
        r = lathe_output_check(s->output, s->n_renditions > 1, &run->input, &run->output, err);
    return r;
}

/* Databases of the queue hold only bells, which the submit rings anew; temporary files are of a run
 * that is gone. */
static int clear_leftovers(const char *dir, struct lathe_error *err)
{
    static const char *const names[] = {"tmp", "queue.db", "queue.db-wal", "queue.db-shm",
                                        "queue.db-holders"};
    for (size_t i = 0; i < LATHE_COUNT(names); i++) {
        _cleanup_free_ char *path = lathe_format("%s/%s", dir, names[i]);
        int r = path ? lathe_remove_tree(path, err) : lathe_error_nomem(err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int open_agent(struct run *run, struct lathe_error *err)
{
    const char *dir = run->scratch.dir;
    int r = clear_leftovers(dir, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *queue = lathe_format("%s/queue.db", dir);
    _cleanup_free_ char *state = lathe_format("%s/state.db", dir);
    _cleanup_free_ char *store = lathe_format("%s/store", dir);
    _cleanup_free_ char *tmp = lathe_format("%s/tmp", dir);
    if (!queue || !state || !store || !tmp)
        return lathe_error_nomem(err);
    r = lathe_mkdir_p(store, err);
    if (r < 0)
        return r;
    const struct lathe_agent_options options = {
        .queue_driver = "sqlite",
        .queue_location = queue,
        .state_driver = "sqlite",
        .state_location = state,
        .store_driver = "dir",
        .store_location = store,
        .scratch_dir = tmp,
        .slots = (unsigned)run->settings->slots,
        .gpus = run->settings->encoder != LATHE_ENCODER_SOFTWARE,
        .mix = (enum lathe_mix)run->settings->mix,
        /* A work folder forgets nothing before the result is delivered. */
        .keep_intermediates = run->scratch.keep,
        .only_host = true,
        .cancel = lathe_cli_cancel,
    };
    return lathe_agent_open(&options, &run->agent, err);
}

static void log_hardware(struct run *run)
{
    if (run->hardware_logged)
        return;
    json_t *hardware = lathe_placement_to_json(lathe_agent_flow(run->agent)->placement);
    const char *summary = json_string_value(json_object_get(hardware, "summary"));
    run->hardware_logged = summary && summary[0];
    if (run->hardware_logged)
        lathe_log_info("hardware: %s", summary);
    json_decref(hardware);
}

/* As they happen, for who wants to know (LATHE_LOG=info); the summary has them by reason. */
static void log_fallbacks(struct run *run)
{
    json_t *list = lathe_agent_fallbacks(run->agent);
    for (; run->fallbacks_logged < json_array_size(list); run->fallbacks_logged++) {
        const json_t *one = json_array_get(list, run->fallbacks_logged);
        lathe_log_info("chunk %lld leaves %s for %s: %s, %s",
                       (long long)json_integer_value(json_object_get(one, "chunk")),
                       json_string_value(json_object_get(json_object_get(one, "from"), "encoder")),
                       json_string_value(json_object_get(json_object_get(one, "to"), "encoder")),
                       json_string_value(json_object_get(one, "verdict")),
                       json_string_value(json_object_get(one, "reason")));
    }
    json_decref(list);
}

static void tick(void *opaque)
{
    struct run *run = opaque;
    log_hardware(run);
    log_fallbacks(run);
    struct lathe_agent_progress progress;
    lathe_agent_get_progress(run->agent, &progress);
    lathe_progress_line_draw(&run->line, &progress);
}

static int name_deliveries(struct run *run, struct lathe_error *err)
{
    struct lathe_store *store = lathe_agent_flow(run->agent)->store;
    for (int i = 0; i < run->job.n_renditions; i++) {
        const char *name = run->job.renditions[i].name;
        struct lathe_delivery *d = &run->deliveries[i];
        _cleanup_free_ char *key = lathe_key_output(run->job.id, name);
        d->to = run->settings->n_renditions > 1
                    ? lathe_format("%s/output_%s.mp4", run->output, name)
                    : strdup(run->output);
        if (!key || !d->to)
            return lathe_error_nomem(err);
        int r = lathe_store_local_path(store, key, &d->from, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int deliver(struct run *run, struct lathe_error *err)
{
    int r = name_deliveries(run, err);
    if (r < 0)
        return r;
    if (run->settings->n_renditions > 1 && mkdir(run->output, 0777) == 0)
        run->made_folder = true;
    else if (run->settings->n_renditions > 1 && errno != EEXIST)
        return lathe_error_errno(err, -errno, "the folder %s cannot be made", run->output);
    /* An output of this name may be the source by now: it was checked an encode ago. */
    for (int i = 0; i < run->job.n_renditions; i++) {
        struct stat st;
        if (stat(run->deliveries[i].to, &st) == 0 &&
            ((st.st_dev == run->input.device && st.st_ino == run->input.inode) ||
             !S_ISREG(st.st_mode)))
            return lathe_error_set(err, -EEXIST, LATHE_FAULT_INPUT,
                                   "%s is the source, or no file: it is not replaced",
                                   run->deliveries[i].to);
    }
    r = lathe_deliver(&run->scratch, run->deliveries, run->job.n_renditions, lathe_cli_cancel, err);
    if (r < 0 && run->made_folder)
        rmdir(run->output);
    return r;
}

static int transcode(struct run *run, struct lathe_error *err)
{
    int r = lathe_scratch_open(run->settings->work, &run->scratch, err);
    if (r == 0)
        r = open_agent(run, err);
    if (r == 0)
        r = lathe_cli_make_job(run->settings, &run->input, lathe_agent_flow(run->agent)->pool,
                               &run->job, err);
    if (r == 0)
        r = lathe_cli_begin(run->agent, &run->scratch, &run->job, err);
    if (r == 0) {
        r = lathe_agent_run(run->agent, run->job.id, tick, run, err);
        log_hardware(run);
        log_fallbacks(run);
        lathe_progress_line_clear(&run->line);
    }
    if (r == 0)
        r = deliver(run, err);
    if (r == 0)
        r = lathe_report_build(run->agent, run->job.id, run->deliveries, run->job.n_renditions,
                               wall_seconds(run), &run->report, err);
    if (r == 0 && run->scratch.keep && !run->settings->keep)
        r = lathe_flow_forget(lathe_agent_flow(run->agent), run->job.id, err);
    return r;
}

static void finish(struct run *run)
{
    lathe_agent_close(run->agent);
    lathe_scratch_close(&run->scratch);
    lathe_job_finish(&run->job);
    lathe_input_finish(&run->input);
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++) {
        free(run->deliveries[i].from);
        free(run->deliveries[i].to);
    }
    free(run->output);
    json_decref(run->report);
}

static int tell(struct run *run, const struct lathe_error *err)
{
    if (!err->code) {
        int r = run->settings->json    ? lathe_report_print_json(run->report)
                : run->settings->quiet ? 0
                                       : lathe_report_print_text(run->report);
        return r < 0; /* the video is there, but whoever reads stdout was not told */
    }
    if (run->settings->json) {
        json_t *failure = lathe_report_failure(err, wall_seconds(run));
        json_t *fallbacks = run->agent ? lathe_agent_fallbacks(run->agent) : json_array();
        json_object_set_new(failure, "fallbacks", fallbacks); /* without memory there is neither */
        (void)lathe_report_print_json(failure);               /* the exit code says it as well */
        json_decref(failure);
    }
    return lathe_cli_complain(err);
}

/* What only this command knows to say. */
static void advise(const struct run *run, struct lathe_error *err)
{
    if (err->fault == LATHE_FAULT_INTERRUPTED && run->settings->work)
        lathe_error_hint(err, "the same command resumes");
    else if ((err->code == -ENOSPC || err->code == -EDQUOT) && !err->hint[0])
        lathe_error_hint(err, "free some space, or let %s name a folder with more of it",
                         run->settings->work ? "--work" : "LATHE_SCRATCH");
}

int lathe_cli_run(const struct lathe_settings *settings)
{
    struct run run = {
        .settings = settings, .scratch = {.lock_fd = -1}, .started_us = lathe_clock_monotonic_us()};
    lathe_progress_line_init(&run.line, settings->quiet);
    struct lathe_error err = {0};
    int r = check(&run, &err);
    if (r == 0)
        r = transcode(&run, &err);
    if (r < 0)
        advise(&run, &err);
    r = tell(&run, &err);
    finish(&run);
    return r;
}
