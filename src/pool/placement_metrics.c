/* SPDX-License-Identifier: MIT */
/*
 * The devices as Prometheus sees them.
 */
#include "placement.h"

#include <stdio.h>

#include "lathe/metrics.h"

#define LOAD_FRESH_US (60 * 1000000LL)

void lathe_placement_device_name(const struct lathe_hw_device *device, char *ret, size_t size)
{
    snprintf(ret, size, "%s:%s", lathe_encoder_name(device->family), device->path);
}

const char *lathe_device_state_name(enum lathe_device_state state)
{
    static const char *const names[LATHE_DEVICE_STATE_COUNT] = {
        [LATHE_DEVICE_IN_SERVICE] = "in service",
        [LATHE_DEVICE_BUSY] = "busy",
        [LATHE_DEVICE_QUARANTINED] = "quarantined",
        [LATHE_DEVICE_GONE] = "gone",
    };
    return names[state];
}

static void set_state(const struct lathe_placement_use *use, const char *name)
{
    enum lathe_device_state is = lathe_placement_state(use);
    for (int i = 0; i < LATHE_DEVICE_STATE_COUNT; i++)
        lathe_metrics_set(LATHE_METRIC_DEVICE_STATE, LATHE_LABELS(name, lathe_device_state_name(i)),
                          (int)is == i);
}

static void set_trials(const struct lathe_hw_device *device, const char *name)
{
    unsigned found[LATHE_HW_KIND_COUNT][LATHE_HW_VERDICT_COUNT] = {0};
    for (unsigned i = 0; i < device->n_trials; i++) {
        const struct lathe_hw_trial *trial = &device->trials[i];
        const char *kind = lathe_hw_kind_name(trial->kind);
        char bits[16];
        snprintf(bits, sizeof bits, "%d", trial->bits);
        if (trial->verdict != LATHE_HW_UNTRIED)
            lathe_metrics_set(LATHE_METRIC_DEVICE_TRIAL,
                              LATHE_LABELS(name, kind, trial->codec, bits),
                              trial->verdict == LATHE_HW_WORKS);
        lathe_metrics_set(LATHE_METRIC_DEVICE_TRIALS,
                          LATHE_LABELS(name, kind, lathe_hw_verdict_name(trial->verdict)),
                          ++found[trial->kind][trial->verdict]);
    }
}

void lathe_placement_note_load(struct lathe_placement *p, const struct lathe_place *place,
                               const struct lathe_hw_load *load)
{
    if (place->device < 0)
        return;
    char name[LATHE_DEVICE_NAME_MAX];
    pthread_mutex_lock(&p->lock);
    lathe_placement_device_name(&p->devices[place->device], name, sizeof name);
    p->use[place->device].load = *load;
    p->use[place->device].load_us = lathe_placement_now_us(p);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < load->n_engines; i++)
        if (load->engines[i].busy_us >= 0)
            lathe_metrics_add(LATHE_METRIC_DEVICE_ENGINE_BUSY,
                              LATHE_LABELS(name, load->engines[i].name),
                              (double)load->engines[i].busy_us / 1e6);
}

/* What was told long ago says nothing about now. */
static void set_load(const struct lathe_placement_use *use, const char *name, int64_t now_us)
{
    const struct lathe_hw_load *load = &use->load;
    if (!use->load_us || now_us - use->load_us > LOAD_FRESH_US)
        return;
    for (unsigned i = 0; i < load->n_engines; i++)
        if (load->engines[i].ratio >= 0)
            lathe_metrics_set(LATHE_METRIC_DEVICE_ENGINE_USE,
                              LATHE_LABELS(name, load->engines[i].name), load->engines[i].ratio);
    if (load->memory_used_bytes >= 0)
        lathe_metrics_set(LATHE_METRIC_DEVICE_MEMORY_USED, LATHE_LABELS(name),
                          (double)load->memory_used_bytes);
    if (load->sessions >= 0)
        lathe_metrics_set(LATHE_METRIC_DEVICE_SESSIONS, LATHE_LABELS(name), load->sessions);
}

void lathe_placement_collect(struct lathe_placement *p)
{
    static const enum lathe_metric filled[] = {
        LATHE_METRIC_DEVICE_INFO,        LATHE_METRIC_DEVICE_USABLE,
        LATHE_METRIC_DEVICE_STATE,       LATHE_METRIC_DEVICE_TRIAL,
        LATHE_METRIC_DEVICE_TRIALS,      LATHE_METRIC_DEVICE_LANES,
        LATHE_METRIC_DEVICE_LANES_BUSY,  LATHE_METRIC_DEVICE_ENGINE_USE,
        LATHE_METRIC_DEVICE_MEMORY_USED, LATHE_METRIC_DEVICE_SESSIONS};
    for (size_t i = 0; i < sizeof filled / sizeof filled[0]; i++)
        lathe_metrics_clear(filled[i]);
    pthread_mutex_lock(&p->lock);
    if (p->probed_wall_us)
        lathe_metrics_set(LATHE_METRIC_DEVICE_PROBED, NULL, (double)p->probed_wall_us / 1e6);
    for (unsigned i = 0; i < p->n_devices; i++) {
        const struct lathe_hw_device *d = &p->devices[i];
        char name[LATHE_DEVICE_NAME_MAX];
        lathe_placement_device_name(d, name, sizeof name);
        const char *const labels[] = {name, d->id, d->name, d->driver};
        lathe_metrics_set(LATHE_METRIC_DEVICE_INFO, labels, 1);
        lathe_metrics_set(LATHE_METRIC_DEVICE_USABLE, labels,
                          !p->use[i].health.until_us && !p->use[i].is_gone);
        set_state(&p->use[i], name);
        lathe_metrics_set(LATHE_METRIC_DEVICE_LANES, labels, p->use[i].lanes);
        lathe_metrics_set(LATHE_METRIC_DEVICE_LANES_BUSY, labels, p->use[i].active);
        set_trials(d, name);
        set_load(&p->use[i], name, lathe_placement_now_us(p));
    }
    pthread_mutex_unlock(&p->lock);
}
