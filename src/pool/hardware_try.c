/* SPDX-License-Identifier: MIT */
/*
 * One device, tried in slots. All trials share a process, since opening a device is slow; when the
 * process hangs or dies, each further trial gets its own, so that one bad trial costs no other.
 * What hangs or crashes twice is left alone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hardware.h"
#include "lathe/base.h"

#define FATAL_MAX 2

static int ask(struct lathe_pool *pool, const struct lathe_hw_device *device, unsigned first,
               unsigned count, struct lathe_cancel *cancel, json_t **ret_body,
               struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_PROBE;
    order.gpu_family = device->family;
    order.gpu_path = strdup(device->path);
    order.index = first;
    order.probe_trials = count;
    int r = order.gpu_path ? lathe_pool_run(pool, &order, NULL, NULL, cancel, ret_body, NULL, err)
                           : lathe_error_nomem(err);
    lathe_order_finish(&order);
    return r;
}

static bool is_same(const struct lathe_hw_trial *a, const struct lathe_hw_trial *b)
{
    return a->kind == b->kind && a->bits == b->bits && strcmp(a->codec, b->codec) == 0;
}

/* The report's trials must be those that were ordered. */
static int take(struct lathe_hw_device *device, const json_t *body, unsigned first, unsigned count,
                struct lathe_error *err)
{
    const json_t *trials = json_object_get(body, "trials");
    const char *driver = json_string_value(json_object_get(body, "driver"));
    size_t n = json_array_size(trials);
    if (n == 0 || n > count || !driver)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "the report of a probe is malformed");
    for (size_t i = 0; i < n; i++) {
        struct lathe_hw_trial trial;
        int r = lathe_hw_trial_from_json(json_array_get(trials, i), &trial, err);
        if (r < 0)
            return r;
        if (!is_same(&trial, &lathe_hw_trials[first + i]))
            return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                                   "the report of a probe is about another trial");
        device->trials[device->n_trials++] = trial;
    }
    if (driver[0] && device->family == LATHE_ENCODER_VAAPI)
        snprintf(device->driver, sizeof(device->driver), "%.120s", driver);
    return 0;
}

static void give(struct lathe_hw_device *device, unsigned number, enum lathe_hw_verdict verdict,
                 const char *reason)
{
    struct lathe_hw_trial *t = &device->trials[device->n_trials++];
    *t = lathe_hw_trials[number];
    t->verdict = verdict;
    snprintf(t->reason, sizeof(t->reason), "%.223s", reason);
}

static void give_up(struct lathe_hw_device *device, unsigned first, unsigned end,
                    const char *reason)
{
    for (unsigned i = first; i < end; i++)
        give(device, i, LATHE_HW_UNTRIED, reason);
}

/* A failure of the slot that says something about the device. */
static enum lathe_hw_verdict verdict_of(int code)
{
    return code == -ETIMEDOUT      ? LATHE_HW_HANGS
           : code == -ECONNABORTED ? LATHE_HW_CRASHES
                                   : LATHE_HW_ERROR;
}

int lathe_hardware_try(struct lathe_pool *pool, bool sessions, struct lathe_cancel *cancel,
                       struct lathe_hw_device *device, struct lathe_error *err)
{
    unsigned end = lathe_hw_n_trials - !sessions, next = 0, fatal = 0;
    bool alone = false;
    device->n_trials = 0;
    while (next < end) {
        struct lathe_error why = {0};
        json_t *body = NULL;
        unsigned count = alone ? 1 : end - next;
        int r = ask(pool, device, next, count, cancel, &body, &why);
        if (r == 0)
            r = take(device, body, next, count, &why);
        json_decref(body);
        if (r == -ECANCELED || r == -ENOMEM || (r < 0 && why.fault == LATHE_FAULT_CONFIG)) {
            if (err)
                *err = why;
            return r;
        }
        if (r < 0 && !alone) {
            device->n_trials = next;
            alone = true; /* the same once more, to see which one it is */
            continue;
        }
        if (r < 0) {
            device->n_trials = next;
            const char *what = why.what;
            what += strncmp(what, "probe: ", 7) == 0 ? 7 : 0;
            give(device, next, verdict_of(r), what);
            fatal++;
        }
        next = device->n_trials;
        const struct lathe_hw_trial *last = &device->trials[next - 1];
        if (device->trials[0].verdict != LATHE_HW_WORKS)
            give_up(device, next, end, "the device does not open");
        else if (last->verdict == LATHE_HW_LOST || last->verdict == LATHE_HW_STICKY)
            fatal++;
        if (fatal >= FATAL_MAX)
            give_up(device, next, end, "the device failed too often");
        next = device->n_trials;
    }
    return 0;
}
