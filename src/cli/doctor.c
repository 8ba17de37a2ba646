/* SPDX-License-Identifier: MIT */
/*
 * `lathe doctor`: this host, each server, and the fleet are looked over; what is wrong is said
 * together with the command that cures it. What is about a server comes from its driver.
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "fleet.h"
#include "lathe/base.h"

static void check_queue(struct lathe_doctor *d, struct lathe_findings *ret)
{
    lathe_queue_check(d->config->queue_driver, d->config->queue_location, &d->check, ret);
}

static void check_state(struct lathe_doctor *d, struct lathe_findings *ret)
{
    lathe_state_check(d->config->state_driver, d->config->state_location, &d->check, ret);
}

static void check_store(struct lathe_doctor *d, struct lathe_findings *ret)
{
    lathe_store_check(d->config->store_driver, d->config->store_location, &d->check, ret);
}

static const struct check {
    const char *group;
    void (*run)(struct lathe_doctor *doctor, struct lathe_findings *ret);
    bool is_production;
} checks[] = {
    {"this host", lathe_doctor_encoders, false},
    {"this host", lathe_doctor_devices, false},
    {"this host", lathe_doctor_gpus, false},
    {"this host", lathe_doctor_scratch, false},
    {"this host", lathe_doctor_service, false},
    {"queue", check_queue, false},
    {"state", check_state, false},
    {"store", check_store, false},
    {"fleet", lathe_doctor_workers, false},
    {"fleet", lathe_doctor_waiting_jobs, false},
    {"fleet", lathe_doctor_failed_jobs, false},
    {"production", lathe_doctor_hosts, true},
    {"production", lathe_doctor_capacity, true},
    {"production", lathe_doctor_tried, true},
    {"production", lathe_doctor_watched, true},
    {"production", lathe_doctor_advice, true},
};

/* Without a state, its own check says why, and those of the fleet find no worker. */
static void look_at_fleet(struct lathe_doctor *d)
{
    const struct lathe_config *c = d->config;
    if (lathe_state_open(c->state_driver, c->state_location, &d->state, NULL) == 0)
        (void)lathe_state_workers(d->state, &d->workers, &d->n_workers, NULL);
    d->check.workers = (unsigned)d->n_workers;
}

static void print_group(const char *group, const struct lathe_findings *f)
{
    printf("%s: %s\n", group, lathe_severity_name(lathe_findings_worst(f)));
    for (size_t i = 0; i < f->count; i++) {
        const struct lathe_finding *one = &f->list[i];
        printf("  %-8s %s\n", lathe_severity_name(one->severity), one->what);
        if (one->cure[0])
            printf("           cure: %s\n", one->cure);
    }
}

static void append(json_t *list, const char *group, const struct lathe_findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct lathe_finding *one = &f->list[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "group", group,
                                                    "id", one->id, "severity",
                                                    lathe_severity_name(one->severity), "what",
                                                    one->what, "cure", one->cure));
    }
}

/* The checks from `first` on that are of one group; returns the first one of the next. */
static size_t run_group(struct lathe_doctor *d, size_t first, struct lathe_findings *ret)
{
    size_t i = first;
    for (; i < LATHE_COUNT(checks) && strcmp(checks[i].group, checks[first].group) == 0; i++)
        if (!checks[i].is_production || d->check.is_production)
            checks[i].run(d, ret);
    return i;
}

int lathe_cli_doctor(const struct lathe_settings *settings)
{
    struct lathe_doctor d = {.config = lathe_cli_configuration,
                             .check.is_production = settings->production};
    json_t *list = json_array();
    enum lathe_severity worst = LATHE_FINDING_GOOD;
    look_at_fleet(&d);
    for (size_t i = 0; i < LATHE_COUNT(checks);) {
        struct lathe_findings findings = {0};
        const char *group = checks[i].group;
        i = run_group(&d, i, &findings);
        if (lathe_findings_worst(&findings) > worst)
            worst = lathe_findings_worst(&findings);
        if (settings->json)
            append(list, group, &findings);
        else if (findings.count)
            print_group(group, &findings);
        lathe_findings_clear(&findings);
    }
    lathe_worker_views_free(d.workers, d.n_workers);
    lathe_state_close(d.state);
    const struct lathe_error none = {0};
    json_t *answer = json_pack("{s:s, s:o}", "worst", lathe_severity_name(worst), "findings", list);
    int r = lathe_fleet_answer(settings, answer, &none);
    return r || worst == LATHE_FINDING_FAULT;
}
