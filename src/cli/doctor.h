/* SPDX-License-Identifier: MIT */
/*
 * The checks of `lathe doctor`, one small function each. A check adds findings and never fails; it
 * adds at least one, so that a report shows what was looked at.
 */
#ifndef LATHE_CLI_DOCTOR_H
#define LATHE_CLI_DOCTOR_H

#include "lathe/config.h"
#include "lathe/finding.h"
#include "lathe/state.h"

struct lathe_doctor {
    const struct lathe_config *config;
    struct lathe_check check;
    struct lathe_state *state; /* NULL: it cannot be opened, which its own check says */
    struct lathe_worker_view *workers;
    size_t n_workers;
};

/* --- doctor_host.c --- */
void lathe_doctor_encoders(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_devices(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_gpus(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_scratch(struct lathe_doctor *doctor, struct lathe_findings *ret);

/* --- doctor_service.c --- */
void lathe_doctor_service(struct lathe_doctor *doctor, struct lathe_findings *ret);

/* --- doctor_fleet.c --- */
void lathe_doctor_workers(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_failed_jobs(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_waiting_jobs(struct lathe_doctor *doctor, struct lathe_findings *ret);

/* --- doctor_production.c --- */
void lathe_doctor_hosts(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_capacity(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_tried(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_watched(struct lathe_doctor *doctor, struct lathe_findings *ret);
void lathe_doctor_advice(struct lathe_doctor *doctor, struct lathe_findings *ret);

#endif
