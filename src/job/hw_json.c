/* SPDX-License-Identifier: MIT */
/*
 * Devices and trials as JSON, between slot and parent and in the file of known results.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"
#include "lathe/hw.h"

static json_t *features_to_json(unsigned mask)
{
    json_t *array = json_array();
    for (int bit = 0; bit < LATHE_HW_FEATURE_COUNT && array; bit++) {
        if (mask & 1u << bit &&
            json_array_append_new(array, json_string(lathe_hw_feature_name(bit))) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

int lathe_hw_trial_to_json(const struct lathe_hw_trial *trial, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_text(&out, "kind", lathe_hw_kind_name(trial->kind));
    if (trial->codec[0])
        lathe_json_put_text(&out, "codec", trial->codec);
    if (trial->bits)
        lathe_json_put_int(&out, "bits", trial->bits);
    lathe_json_put_text(&out, "verdict", lathe_hw_verdict_name(trial->verdict));
    lathe_json_put_text(&out, "reason", trial->reason);
    lathe_json_put_text(&out, "with", trial->with);
    if (trial->kind == LATHE_HW_ENCODE)
        lathe_json_put(&out, "features", features_to_json(trial->features));
    if (trial->kind == LATHE_HW_SESSIONS)
        lathe_json_put_int(&out, "sessions", trial->sessions);
    return lathe_json_out_take(&out, ret);
}

static enum lathe_hw_kind kind_from_name(struct lathe_json_in *in, const char *name)
{
    for (int i = 0; i < LATHE_HW_KIND_COUNT; i++)
        if (strcmp(name, lathe_hw_kind_name((enum lathe_hw_kind)i)) == 0)
            return (enum lathe_hw_kind)i;
    lathe_json_in_fail(in, "\"kind\" is unknown");
    return LATHE_HW_OPEN;
}

/* Unknown names come from another version and say nothing to this one. */
static unsigned read_features(struct lathe_json_in *in)
{
    const json_t *array = lathe_json_in_array(in, "features", 0, 64);
    unsigned mask = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));
        for (int bit = 0; name && bit < LATHE_HW_FEATURE_COUNT; bit++)
            if (strcmp(name, lathe_hw_feature_name(bit)) == 0)
                mask |= 1u << bit;
    }
    return mask;
}

int lathe_hw_trial_from_json(const json_t *json, struct lathe_hw_trial *ret,
                             struct lathe_error *err)
{
    struct lathe_hw_trial trial = {0};
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "trial", err);
    trial.kind = kind_from_name(&in, lathe_json_in_name(&in, "kind"));
    if (lathe_json_in_has(&in, "codec"))
        lathe_json_in_text(&in, "codec", trial.codec, sizeof(trial.codec));
    trial.bits = (int)lathe_json_in_int_or(&in, "bits", 0, 16, 0);
    if (lathe_hw_verdict_from_name(lathe_json_in_name(&in, "verdict"), &trial.verdict) < 0)
        lathe_json_in_fail(&in, "\"verdict\" is unknown");
    lathe_json_in_text(&in, "reason", trial.reason, sizeof(trial.reason));
    lathe_json_in_text(&in, "with", trial.with, sizeof(trial.with));
    if (trial.kind == LATHE_HW_ENCODE)
        trial.features = read_features(&in);
    trial.sessions = (unsigned)lathe_json_in_int_or(&in, "sessions", 0, LATHE_HW_SESSIONS_MAX, 0);
    if (in.code)
        return in.code;
    *ret = trial;
    return 0;
}

int lathe_hw_device_to_json(const struct lathe_hw_device *device, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_text(&out, "family", lathe_encoder_name(device->family));
    lathe_json_put_text(&out, "path", device->path);
    lathe_json_put_text(&out, "id", device->id);
    lathe_json_put_text(&out, "name", device->name);
    lathe_json_put_text(&out, "driver", device->driver);
    lathe_json_put_count(&out, "memory_bytes", device->memory_bytes);
    lathe_json_put_int(&out, "compute_major", device->compute_major);
    lathe_json_put_int(&out, "compute_minor", device->compute_minor);
    json_t *trials = json_array();
    for (unsigned i = 0; i < device->n_trials && trials; i++) {
        json_t *trial = NULL;
        int r = lathe_hw_trial_to_json(&device->trials[i], &trial);
        if (r < 0 || json_array_append_new(trials, trial) < 0) {
            json_decref(trials);
            trials = NULL;
        }
    }
    lathe_json_put(&out, "trials", trials);
    return lathe_json_out_take(&out, ret);
}

int lathe_hw_device_from_json(const json_t *json, struct lathe_hw_device *ret,
                              struct lathe_error *err)
{
    struct lathe_hw_device device = {0};
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "device", err);
    if (lathe_encoder_from_name(lathe_json_in_name(&in, "family"), &device.family) < 0 ||
        (device.family != LATHE_ENCODER_NVENC && device.family != LATHE_ENCODER_VAAPI))
        lathe_json_in_fail(&in, "\"family\" is no kind of GPU");
    lathe_json_in_text(&in, "path", device.path, sizeof(device.path));
    lathe_json_in_text(&in, "id", device.id, sizeof(device.id));
    lathe_json_in_text(&in, "name", device.name, sizeof(device.name));
    lathe_json_in_text(&in, "driver", device.driver, sizeof(device.driver));
    device.memory_bytes = (uint64_t)lathe_json_in_int(&in, "memory_bytes", 0, INT64_MAX);
    device.compute_major = (int)lathe_json_in_int(&in, "compute_major", 0, 1000);
    device.compute_minor = (int)lathe_json_in_int(&in, "compute_minor", 0, 1000);
    const json_t *trials = lathe_json_in_array(&in, "trials", 0, LATHE_HW_TRIALS_MAX);
    for (size_t i = 0; i < json_array_size(trials) && !in.code; i++)
        in.code = lathe_hw_trial_from_json(json_array_get(trials, i),
                                           &device.trials[device.n_trials++], err);
    if (in.code)
        return in.code;
    *ret = device;
    return 0;
}
