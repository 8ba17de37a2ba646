/* SPDX-License-Identifier: MIT */
/*
 * What a deployment is asked before anybody relies on it.
 */
#include <string.h>

#include "doctor.h"
#include "lathe/base.h"

#define LOOK_AT 1000u
#define QUEUED_S (15 * 60) /* without a begin: the fleet is too small */

void lathe_doctor_hosts(struct lathe_doctor *d, struct lathe_findings *ret)
{
    size_t hosts = 0;
    for (size_t i = 0; i < d->n_workers; i++) {
        bool is_new = true;
        for (size_t k = 0; k < i; k++)
            is_new = is_new && strcmp(d->workers[k].host, d->workers[i].host) != 0;
        hosts += is_new;
    }
    if (hosts < 2)
        lathe_findings_add(ret, "production.hosts", LATHE_FINDING_WARNING,
                           "systemctl enable --now lathe-worker    (on a second host)",
                           "workers live on %zu host%s: when it is lost, everything waits", hosts,
                           hosts == 1 ? "" : "s");
    else
        lathe_findings_add(ret, "production.hosts", LATHE_FINDING_GOOD, NULL,
                           "workers live on %zu hosts", hosts);
}

static json_int_t count_slots(const struct lathe_doctor *d)
{
    json_int_t slots = 0;
    for (size_t i = 0; i < d->n_workers; i++) {
        json_t *record = json_loads(d->workers[i].record, 0, NULL);
        slots += json_integer_value(json_object_get(record, "slots"));
        json_decref(record);
    }
    return slots;
}

void lathe_doctor_capacity(struct lathe_doctor *d, struct lathe_findings *ret)
{
    struct lathe_job_view *jobs = NULL;
    size_t count = 0, waiting = 0;
    uint64_t next;
    if (!d->state ||
        lathe_state_list(d->state, LATHE_JOBS_OPEN, 0, LOOK_AT, &jobs, &count, &next, NULL) < 0)
        return;
    int64_t since_us = lathe_clock_wall_us() - QUEUED_S * 1000000LL;
    for (size_t i = 0; i < count; i++)
        waiting += jobs[i].status == LATHE_JOB_QUEUED && jobs[i].created_us < since_us;
    lathe_job_views_free(jobs, count);
    if (waiting)
        lathe_findings_add(ret, "production.capacity", LATHE_FINDING_WARNING,
                           "systemctl enable --now lathe-worker    (on more hosts)",
                           "%zu jobs have waited for more than %d minutes for one of %lld slots",
                           waiting, QUEUED_S / 60, (long long)count_slots(d));
    else
        lathe_findings_add(ret, "production.capacity", LATHE_FINDING_GOOD, NULL,
                           "no job has waited for long for one of %lld slots",
                           (long long)count_slots(d));
}

void lathe_doctor_tried(struct lathe_doctor *d, struct lathe_findings *ret)
{
    struct lathe_job_view *jobs = NULL;
    size_t count = 0, completed = 0;
    uint64_t next;
    if (!d->state ||
        lathe_state_list(d->state, LATHE_JOBS_ENDED, 0, LOOK_AT, &jobs, &count, &next, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        completed += jobs[i].status == LATHE_JOB_COMPLETED;
    lathe_job_views_free(jobs, count);
    if (completed)
        lathe_findings_add(ret, "production.tried", LATHE_FINDING_GOOD, NULL,
                           "%zu jobs were completed lately", completed);
    else
        lathe_findings_add(
            ret, "production.tried", LATHE_FINDING_WARNING,
            "lathe submit FILM -r 1080p -r 480p --wait    (a real one, of full length)",
            "no job was completed lately: try the fleet with a real video");
}

void lathe_doctor_watched(struct lathe_doctor *d, struct lathe_findings *ret)
{
    if (d->config->metrics_listen[0])
        lathe_findings_add(ret, "production.metrics", LATHE_FINDING_GOOD, NULL,
                           "workers with this configuration serve metrics at %s",
                           d->config->metrics_listen);
    else
        lathe_findings_add(ret, "production.metrics", LATHE_FINDING_WARNING,
                           "metrics.listen in /etc/lathe/lathe.conf",
                           "workers serve no metrics: nobody sees a full disk or a stalled queue");
    if (access("/var/log/journal", F_OK) == 0)
        lathe_findings_add(ret, "production.logs", LATHE_FINDING_GOOD, NULL,
                           "the journal of this host survives a restart");
    else
        lathe_findings_add(ret, "production.logs", LATHE_FINDING_WARNING,
                           "mkdir -p /var/log/journal && systemctl restart systemd-journald    "
                           "(or send the logs elsewhere)",
                           "the journal of this host is lost when it restarts");
}

/* What no program can see from here. */
void lathe_doctor_advice(struct lathe_doctor *d, struct lathe_findings *ret)
{
    (void)d;
    lathe_findings_add(ret, "production.alerts", LATHE_FINDING_NOTE,
                       "alert on lathe_queue_oldest_job_age_seconds and lathe_jobs_failed_total    "
                       "(docs/metrics.md)",
                       "whether somebody is told when jobs fail cannot be seen from here");
    lathe_findings_add(ret, "production.failures", LATHE_FINDING_NOTE,
                       "stop a worker, the broker, Redis and the store for a minute each while a "
                       "job runs; it must complete",
                       "whether the fleet outlives its network was not tried by this command");
    lathe_findings_add(ret, "production.scaling", LATHE_FINDING_NOTE,
                       "lathe drain HOST while a job runs, then systemctl restart lathe-worker "
                       "there; it must complete",
                       "whether hosts can come and go was not tried by this command");
    lathe_findings_add(ret, "production.recovery", LATHE_FINDING_NOTE,
                       "back the bucket up; all open jobs can be made again from it "
                       "(docs/fleet.md)",
                       "backups are not looked at");
}
