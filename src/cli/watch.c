/* SPDX-License-Identifier: MIT */
/*
 * The state knows finished chunks only, so between them the line stands still; frames and times
 * come from the plan in the store.
 */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/plan.h"
#include "progress.h"

#define LOOK_MS 500

struct watch {
    struct lathe_fleet *fleet;
    const char *job_id;
    struct lathe_progress_line line;
    uint32_t chunks; /* of the plan that these are of: */
    uint64_t frames;
    double seconds;
    uint32_t first_done; /* chunks that were done when the watch began */
    int64_t since_us;
};

/* Without the plan the line shows chunks only. */
static void read_plan(struct watch *w, const struct lathe_job_view *view)
{
    w->chunks = view->total_chunks;
    w->frames = 0;
    w->first_done = view->completed_chunks;
    w->since_us = lathe_clock_monotonic_us();
    _cleanup_free_ char *key =
        view->replan ? lathe_key_plan_whole(w->job_id) : lathe_key_plan(w->job_id);
    _cleanup_free_ char *path = lathe_format("%s/watched.json", w->fleet->scratch.dir);
    if (w->fleet->door || !key || !path)
        return;
    unlink(path);
    json_t *json = NULL;
    if (lathe_store_get(w->fleet->flow.store, key, path, w->fleet->flow.cancel, NULL) == 0)
        json = json_load_file(path, 0, NULL);
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    if (json && lathe_plan_from_json(json, &plan, NULL) == 0) {
        w->frames = plan.frames;
        w->seconds = (double)plan.duration * plan.time_base.num / plan.time_base.den;
        lathe_plan_finish(&plan);
    }
    json_decref(json);
}

static enum lathe_phase phase_of(const struct lathe_job_view *view)
{
    switch (view->status) {
    case LATHE_JOB_QUEUED:
    case LATHE_JOB_SPLITTING:
        return LATHE_PHASE_PLANNING;
    case LATHE_JOB_TRANSCODING:
        return view->completed_chunks ? LATHE_PHASE_ENCODING : LATHE_PHASE_MEASURING;
    case LATHE_JOB_MERGING:
        return LATHE_PHASE_MERGING;
    default:
        return LATHE_PHASE_ENDED;
    }
}

static void draw(struct watch *w, const struct lathe_job_view *view)
{
    if (!w->line.active)
        return;
    if (view->total_chunks && view->total_chunks != w->chunks)
        read_plan(w, view);
    double done = view->total_chunks ? (double)view->completed_chunks / view->total_chunks : 0;
    struct lathe_agent_progress p = {.phase = phase_of(view),
                                     .chunks_done = view->completed_chunks,
                                     .chunks_total = view->total_chunks,
                                     .frames_total = w->frames ? w->frames : view->total_chunks,
                                     .eta_seconds = -1};
    p.frames_done = (uint64_t)(done * (double)p.frames_total);
    double elapsed = (double)(lathe_clock_monotonic_us() - w->since_us) / 1e6;
    if (w->frames && view->completed_chunks > w->first_done && elapsed > 0) {
        double part = (double)(view->completed_chunks - w->first_done) / view->total_chunks;
        p.fps = part * (double)w->frames / elapsed;
        p.speed = part * w->seconds / elapsed;
        p.eta_seconds = (1 - done) * elapsed / part;
    }
    lathe_progress_line_draw(&w->line, &p);
}

int lathe_watch_job(struct lathe_fleet *fleet, const char *job_id, bool quiet,
                    struct lathe_job_view *ret, struct lathe_error *err)
{
    struct watch w = {.fleet = fleet, .job_id = job_id};
    lathe_progress_line_init(&w.line, quiet);
    int r = 0;
    for (;;) {
        struct lathe_job_view view = {0};
        r = lathe_fleet_get(fleet, job_id, &view, err);
        if (r == 0 && view.status >= LATHE_JOB_COMPLETED) {
            *ret = view;
            break;
        }
        if (r == 0)
            draw(&w, &view);
        lathe_job_view_clear(&view);
        if (r < 0)
            break;
        struct pollfd fd = {.fd = lathe_cancel_fd(fleet->flow.cancel), .events = POLLIN};
        poll(&fd, 1, LOOK_MS);
        if (lathe_cancel_is_triggered(fleet->flow.cancel)) {
            r = lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED,
                                "no longer waiting; job %s goes on", job_id);
            break;
        }
    }
    lathe_progress_line_clear(&w.line);
    if (r < 0)
        lathe_error_hint(err, "lathe status %s", job_id);
    return r;
}
