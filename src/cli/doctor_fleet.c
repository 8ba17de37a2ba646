/* SPDX-License-Identifier: MIT */
/*
 * The fleet: who works, what waits for too long, and what was given up.
 */
#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "lathe/base.h"

#define LOOK_AT 1000u       /* jobs, the youngest */
#define WAITING_S (15 * 60) /* without any progress: somebody should look */

static const char *version_of(const json_t *record)
{
    const char *version = json_string_value(json_object_get(record, "version"));
    return version ? version : "?";
}

void lathe_doctor_workers(struct lathe_doctor *d, struct lathe_findings *ret)
{
    if (!d->state)
        return;
    if (d->n_workers == 0) {
        lathe_findings_add(ret, "fleet.workers", LATHE_FINDING_FAULT,
                           "systemctl enable --now lathe-worker    (on each host that is to work)",
                           "no worker lives: jobs are accepted and wait");
        return;
    }
    lathe_findings_add(ret, "fleet.workers", LATHE_FINDING_GOOD, NULL, "%zu worker%s alive",
                       d->n_workers, d->n_workers == 1 ? " is" : "s are");
    char first[64] = "";
    for (size_t i = 0; i < d->n_workers; i++) {
        const struct lathe_worker_view *worker = &d->workers[i];
        json_t *record = json_loads(worker->record, 0, NULL);
        if (i == 0)
            snprintf(first, sizeof first, "%s", version_of(record));
        if (strcmp(first, version_of(record)) != 0)
            lathe_findings_add(ret, "fleet.versions", LATHE_FINDING_WARNING,
                               "install the same version on all hosts    (equal bytes are promised "
                               "for one version only)",
                               "worker %s on %s has version %s, %s has %s", worker->name,
                               worker->host, version_of(record), d->workers[0].host, first);
        if (worker->drain)
            lathe_findings_add(
                ret, "fleet.draining", LATHE_FINDING_NOTE,
                "systemctl restart lathe-worker    (on that host)",
                "worker %s on %s is drained: it takes nothing new until it is started again",
                worker->name, worker->host);
        json_decref(record);
    }
}

void lathe_doctor_failed_jobs(struct lathe_doctor *d, struct lathe_findings *ret)
{
    struct lathe_job_view *jobs = NULL;
    size_t count = 0, failed = 0;
    uint64_t next;
    if (!d->state ||
        lathe_state_list(d->state, LATHE_JOBS_ENDED, 0, LOOK_AT, &jobs, &count, &next, NULL) < 0)
        return;
    const struct lathe_job_view *last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].status != LATHE_JOB_FAILED)
            continue;
        failed++;
        last = last ? last : &jobs[i];
    }
    if (last) {
        char cure[320];
        snprintf(cure, sizeof cure, "lathe status %s    (after the cure: lathe retry %s)", last->id,
                 last->id);
        lathe_findings_add(ret, "fleet.failed-jobs", LATHE_FINDING_WARNING, cure,
                           "%zu of the last %zu ended jobs failed; the youngest: %s", failed, count,
                           last->error ? last->error : "no reason is known");
    } else {
        lathe_findings_add(ret, "fleet.failed-jobs", LATHE_FINDING_GOOD, NULL,
                           "none of the last %zu ended jobs failed", count);
    }
    lathe_job_views_free(jobs, count);
}

void lathe_doctor_waiting_jobs(struct lathe_doctor *d, struct lathe_findings *ret)
{
    struct lathe_job_view *jobs = NULL;
    size_t count = 0, waiting = 0;
    uint64_t next;
    if (!d->state ||
        lathe_state_list(d->state, LATHE_JOBS_OPEN, 0, LOOK_AT, &jobs, &count, &next, NULL) < 0)
        return;
    int64_t since_us = lathe_clock_wall_us() - WAITING_S * 1000000LL;
    const struct lathe_job_view *oldest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].updated_us >= since_us)
            continue;
        waiting++;
        oldest = &jobs[i];
    }
    char cure[320];
    snprintf(cure, sizeof cure, "lathe status %s    and    lathe top", oldest ? oldest->id : "");
    if (oldest)
        lathe_findings_add(ret, "fleet.waiting-jobs", LATHE_FINDING_WARNING, cure,
                           "%zu open jobs have made no progress for %d minutes", waiting,
                           WAITING_S / 60);
    else
        lathe_findings_add(ret, "fleet.waiting-jobs", LATHE_FINDING_GOOD, NULL,
                           "%zu jobs are open, and all of them go on", count);
    lathe_job_views_free(jobs, count);
}
