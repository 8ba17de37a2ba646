/* SPDX-License-Identifier: MIT */
/*
 * The verb probe: which GPUs of a family there are, or what one of them really does. The parent
 * gives each device a process of its own, and after a hang or a crash each trial.
 */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "setup.h"

int media_probe_step(struct media_probe *probe)
{
    struct lathe_progress progress = {.frames = ++probe->steps};
    return probe->progress(probe->opaque, &progress) ? AVERROR(ECANCELED) : 0;
}

bool media_probe_verdict(struct lathe_hw_trial *trial, enum lathe_hw_verdict verdict,
                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(trial->reason, sizeof(trial->reason), format, args);
    va_end(args);
    trial->verdict = verdict;
    return false;
}

void media_probe_failed(const struct media_probe *probe, int averror, bool opening,
                        struct lathe_hw_trial *trial)
{
    char log[1024];
    lathe_hwaccel_log_read(log, sizeof(log));
    trial->verdict = lathe_hwaccel_classify(probe->family, averror, opening, log, trial->reason,
                                            sizeof(trial->reason));
}

/* --- which devices --- */

static int list_devices(const struct lathe_hwaccel *family, json_t **ret_body,
                        struct lathe_error *err)
{
    char note[224] = "";
    struct lathe_hw_device *devices = calloc(LATHE_HW_DEVICES_MAX, sizeof(*devices));
    json_t *list = json_array();
    int n = 0, r = devices && list ? 0 : -ENOMEM;
    if (r == 0)
        n = family->enumerate(devices, LATHE_HW_DEVICES_MAX, note, sizeof(note));
    for (int i = 0; i < n && r == 0; i++) {
        json_t *device = NULL;
        r = lathe_hw_device_to_json(&devices[i], &device);
        if (r == 0 && json_array_append_new(list, device) < 0)
            r = -ENOMEM;
    }
    if (r == 0)
        *ret_body = json_pack("{s:s, s:O, s:s}", "ffmpeg", av_version_info(), "devices", list,
                              "note", note);
    json_decref(list);
    free(devices);
    return r == 0 && *ret_body ? 0 : lathe_error_nomem(err);
}

/* --- what one of them does --- */

static void open_device(struct media_probe *probe, const char *path, struct lathe_hw_trial *trial)
{
    struct lathe_error err = {0};
    lathe_hwaccel_log_start();
    int r = probe->family->open_device(path, &probe->device, &err);
    if (r < 0)
        media_probe_failed(probe, r, true, trial);
    else
        trial->verdict = LATHE_HW_WORKS;
}

/* A device that is gone makes everything look unsupported: only one that still opens is believed.
 */
static void check_presence(struct media_probe *probe, const char *path,
                           struct lathe_hw_trial *trial)
{
    struct lathe_hwaccel_device again = {0};
    struct lathe_error err = {0};
    if (trial->verdict == LATHE_HW_WORKS || trial->verdict == LATHE_HW_STICKY)
        return;
    int r = probe->family->open_device(path, &again, &err);
    lathe_hwaccel_close_device(&again);
    if (r < 0 && r != -ENOMEM)
        media_probe_verdict(trial, LATHE_HW_LOST, "the device is gone (%.180s)", trial->reason);
}

static void try_one(struct media_probe *probe, struct lathe_hw_trial *trial)
{
    switch (trial->kind) {
    case LATHE_HW_ENCODE:
        media_probe_encode(probe, trial);
        break;
    case LATHE_HW_DECODE:
        media_probe_decode(probe, trial);
        break;
    case LATHE_HW_SCALE:
        media_probe_scale(probe, trial);
        break;
    case LATHE_HW_SESSIONS:
        media_probe_sessions(probe, trial);
        break;
    default:
        break;
    }
    /* Wrong pictures have many causes; this one has a name. */
    unsigned calls = trial->verdict == LATHE_HW_WRONG ? lathe_hwaccel_failed_calls() : 0;
    if (calls)
        media_probe_verdict(trial, LATHE_HW_WRONG,
                            "%u calls of the driver failed while libav reported success", calls);
}

static int append(json_t *list, const struct lathe_hw_trial *trial)
{
    json_t *json = NULL;
    int r = lathe_hw_trial_to_json(trial, &json);
    return r == 0 && json_array_append_new(list, json) < 0 ? -ENOMEM : r;
}

/* A spoilt context or a lost device would fail all that follows as well: the parent goes on with a
 * fresh process. */
static bool can_go_on(const struct lathe_hw_trial *trial)
{
    return trial->verdict != LATHE_HW_STICKY && trial->verdict != LATHE_HW_LOST;
}

static int try_device(struct media_probe *probe, const struct lathe_order *order, json_t *list)
{
    struct lathe_hw_trial opening = lathe_hw_trials[0];
    open_device(probe, order->gpu_path, &opening);
    bool is_open = opening.verdict == LATHE_HW_WORKS;
    uint64_t end = (uint64_t)order->index + order->probe_trials;
    int r = 0;
    for (uint32_t i = order->index; i < end && i < lathe_hw_n_trials && r == 0; i++) {
        struct lathe_hw_trial trial = lathe_hw_trials[i];
        if (trial.kind == LATHE_HW_OPEN || !is_open) {
            trial.verdict = opening.verdict;
            memcpy(trial.reason, opening.reason, sizeof(trial.reason));
        } else {
            try_one(probe, &trial);
            check_presence(probe, order->gpu_path, &trial);
        }
        r = append(list, &trial);
        if (r == 0)
            r = media_probe_step(probe);
        if (!is_open || !can_go_on(&trial))
            break;
    }
    return r;
}

int lathe_media_probe(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                      json_t **ret_body, struct lathe_error *err)
{
    const struct lathe_hwaccel *family = lathe_hwaccel_find(lathe_encoder_name(order->gpu_family));
    if (!family || !family->enumerate)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL, "this is no kind of GPU");
    if (!order->gpu_path)
        return list_devices(family, ret_body, err);
    if (order->index >= lathe_hw_n_trials || order->probe_trials == 0)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL, "there is no trial %u",
                               order->index);
    struct media_probe probe = {.family = family, .progress = progress, .opaque = opaque};
    json_t *list = json_array();
    int r = list ? try_device(&probe, order, list) : -ENOMEM;
    if (r == 0)
        *ret_body = json_pack("{s:s, s:O}", "driver", probe.device.driver, "trials", list);
    lathe_hwaccel_close_device(&probe.device);
    json_decref(list);
    if (r == AVERROR(ECANCELED))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
    return r == 0 && *ret_body ? 0 : lathe_error_nomem(err);
}
