/* SPDX-License-Identifier: MIT */
/*
 * The GPUs of this host: listed in a slot each time, which is cheap, and tried only where nothing
 * fresh is known about exactly these devices with exactly these drivers.
 */
#include "hardware.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lathe/base.h"

#define STALL_SECONDS 30.0
#define FRESH_SECONDS 86400.0
#define RETRY_SECONDS 60.0
#define RETRY_SECONDS_MAX 3600.0

static const enum lathe_encoder families[] = {LATHE_ENCODER_NVENC, LATHE_ENCODER_VAAPI};
_Static_assert(LATHE_COUNT(families) == LATHE_COUNT(((struct lathe_hardware *)0)->notes),
               "a note a family");

static double stall_seconds(const struct lathe_hardware_options *options)
{
    if (options && options->stall_seconds > 0)
        return options->stall_seconds;
    const char *text = getenv("LATHE_STALL_SECONDS");
    double value = text ? strtod(text, NULL) : 0;
    return value >= 0.1 && value < STALL_SECONDS ? value : STALL_SECONDS;
}

/* --- which there are --- */

static int take_list(const json_t *body, struct lathe_hardware *hw, char *note, size_t note_size,
                     struct lathe_error *err)
{
    const json_t *list = json_object_get(body, "devices");
    const char *ffmpeg = json_string_value(json_object_get(body, "ffmpeg"));
    const char *why = json_string_value(json_object_get(body, "note"));
    if (!json_is_array(list) || !ffmpeg || !why)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL, "the list of GPUs is malformed");
    snprintf(hw->ffmpeg, sizeof(hw->ffmpeg), "%.60s", ffmpeg);
    snprintf(note, note_size, "%.220s", why);
    for (size_t i = 0; i < json_array_size(list) && hw->n_devices < LATHE_HW_DEVICES_MAX; i++) {
        struct lathe_hw_device *at = &hw->devices[hw->n_devices];
        int r = lathe_hw_device_from_json(json_array_get(list, i), at, err);
        if (r < 0)
            return r;
        hw->n_devices++;
    }
    return 0;
}

/* A driver that hangs or crashes while its devices are listed has none that could be used. */
static int list_family(struct lathe_pool *pool, enum lathe_encoder family, char *note,
                       size_t note_size, struct lathe_cancel *cancel, struct lathe_hardware *hw,
                       struct lathe_error *err)
{
    struct lathe_order order;
    struct lathe_error why = {0};
    json_t *body = NULL;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_PROBE;
    order.gpu_family = family;
    int r = lathe_pool_run(pool, &order, NULL, NULL, cancel, &body, NULL, &why);
    lathe_order_finish(&order);
    if (r == 0)
        r = take_list(body, hw, note, note_size, &why);
    json_decref(body);
    if (r == -ECANCELED || r == -ENOMEM || (r < 0 && why.fault == LATHE_FAULT_CONFIG)) {
        if (err)
            *err = why;
        return r;
    }
    if (r < 0)
        snprintf(note, note_size, "listing its devices failed: %.180s", why.what);
    return 0;
}

/* What the results of all devices depend on, as text. */
static char *make_key(const struct lathe_hardware *hw)
{
    static const char *const variables[] = {"LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME",
                                            "LIBVA_DRIVERS_PATH", "CUDA_VISIBLE_DEVICES",
                                            "LATHE_SLOT_DRI_DIR"};
    char boot[37] = "";
    (void)lathe_clock_boot_id(boot); /* without it times of another boot might be believed: */
    if (!boot[0])
        return NULL; /* then nothing is */
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    fprintf(f, "lathe %s ffmpeg %s boot %s", LATHE_VERSION, hw->ffmpeg, boot);
    for (size_t i = 0; i < LATHE_COUNT(variables); i++)
        if (getenv(variables[i]))
            fprintf(f, "; %s=%s", variables[i], getenv(variables[i]));
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- what they do --- */

/* A device that is listed and does not open may do so later, whatever it said. */
static bool may_pass(const struct lathe_hw_trial *t)
{
    return lathe_hw_verdict_is_passing(t->verdict) ||
           (t->kind == LATHE_HW_OPEN && t->verdict != LATHE_HW_WORKS);
}

static bool has_passing_failure(const struct lathe_hw_device *device)
{
    for (unsigned t = 0; t < device->n_trials; t++)
        if (may_pass(&device->trials[t]))
            return true;
    return false;
}

static bool is_fresh(const struct lathe_hardware_known *known)
{
    double limit = FRESH_SECONDS;
    if (has_passing_failure(&known->device))
        limit = fmin(RETRY_SECONDS * exp2(known->failures), RETRY_SECONDS_MAX);
    return known->age_seconds < limit;
}

/* The driver's own name of itself is learned while a device is tried. */
static bool is_same(const struct lathe_hw_device *listed, const struct lathe_hw_device *known)
{
    return listed->family == known->family && strcmp(listed->path, known->path) == 0 &&
           strcmp(listed->id, known->id) == 0 && strcmp(listed->name, known->name) == 0 &&
           (listed->family == LATHE_ENCODER_VAAPI || strcmp(listed->driver, known->driver) == 0);
}

static const struct lathe_hardware_known *find(const struct lathe_hardware_known *known, int count,
                                               const struct lathe_hw_device *device)
{
    for (int i = 0; i < count; i++)
        if (is_same(device, &known[i].device))
            return &known[i];
    return NULL;
}

/* One device: from what is known, or tried. 1 when it was tried. */
static int learn(struct lathe_pool *pool, const struct lathe_hardware_options *options,
                 const struct lathe_hardware_known *known, struct lathe_cancel *cancel,
                 struct lathe_hardware_known *ret, struct lathe_error *err)
{
    if (known && is_fresh(known) && !(options && (options->refresh || options->sessions))) {
        *ret = *known;
        return 0;
    }
    int r = lathe_hardware_try(pool, options && options->sessions, cancel, &ret->device, err);
    ret->age_seconds = 0;
    ret->failures = known && has_passing_failure(&ret->device) ? known->failures + 1 : 0;
    return r < 0 ? r : 1;
}

static int learn_all(struct lathe_pool *pool, const struct lathe_hardware_options *options,
                     struct lathe_cancel *cancel, struct lathe_hardware *hw,
                     struct lathe_hardware_known *before, struct lathe_hardware_known *now,
                     struct lathe_error *err)
{
    _cleanup_free_ char *path = hw->n_devices ? lathe_hardware_cache_path(options) : NULL;
    _cleanup_free_ char *key = path ? make_key(hw) : NULL;
    int count = key ? lathe_hardware_cache_read(path, key, before) : 0;
    hw->from_cache = hw->n_devices > 0;
    hw->refreshed = options && options->refresh;
    for (unsigned i = 0; i < hw->n_devices; i++) {
        now[i] = (struct lathe_hardware_known){.device = hw->devices[i]};
        int r = learn(pool, options, find(before, count, &hw->devices[i]), cancel, &now[i], err);
        if (r < 0)
            return r;
        hw->devices[i] = now[i].device;
        hw->from_cache = hw->from_cache && r == 0;
        hw->age_seconds = fmax(hw->age_seconds, now[i].age_seconds);
        hw->failures = now[i].failures > hw->failures ? now[i].failures : hw->failures;
    }
    hw->probed_wall_us = lathe_clock_wall_us() - (int64_t)(hw->age_seconds * 1e6);
    /* Without the file the next start tries again: slower, not wrong. */
    if (key && !(hw->from_cache && count == (int)hw->n_devices))
        (void)lathe_hardware_cache_write(path, key, now, hw->n_devices, NULL);
    return 0;
}

static int find_and_try(struct lathe_pool *pool, const struct lathe_hardware_options *options,
                        struct lathe_cancel *cancel, struct lathe_hardware *hw,
                        struct lathe_error *err)
{
    int r = 0;
    for (size_t i = 0; i < LATHE_COUNT(families) && r == 0; i++)
        r = list_family(pool, families[i], hw->notes[i], sizeof(hw->notes[i]), cancel, hw, err);
    if (r < 0)
        return r;
    _cleanup_free_ struct lathe_hardware_known *known =
        calloc((size_t)2 * LATHE_HW_DEVICES_MAX, sizeof(*known));
    if (!known)
        return lathe_error_nomem(err);
    return learn_all(pool, options, cancel, hw, known, known + LATHE_HW_DEVICES_MAX, err);
}

int lathe_hardware_load(const struct lathe_hardware_options *options, struct lathe_cancel *cancel,
                        struct lathe_hardware *ret, struct lathe_error *err)
{
    const struct lathe_pool_options pool_options = {
        .slot_path = options ? options->slot_path : NULL, .stall_seconds = stall_seconds(options)};
    struct lathe_pool *pool = NULL;
    struct lathe_hardware hw = {0};
    hw.devices = calloc(LATHE_HW_DEVICES_MAX, sizeof(*hw.devices));
    int r = hw.devices ? lathe_pool_create(&pool_options, &pool, err) : lathe_error_nomem(err);
    if (r == 0)
        r = find_and_try(pool, options, cancel, &hw, err);
    lathe_pool_destroy(pool);
    if (r < 0)
        lathe_hardware_finish(&hw);
    else
        *ret = hw;
    return r;
}

void lathe_hardware_finish(struct lathe_hardware *hardware)
{
    free(hardware->devices);
    *hardware = (struct lathe_hardware){0};
}

int lathe_hardware_invalidate(const struct lathe_hardware_options *options, struct lathe_error *err)
{
    _cleanup_free_ char *path = lathe_hardware_cache_path(options);
    if (path && unlink(path) < 0 && errno != ENOENT)
        return lathe_error_errno(err, -errno, "%s", path);
    return 0;
}

/* --- for people --- */

void lathe_hardware_summary(const struct lathe_hardware *hw, char *ret, size_t size)
{
    if (hw->n_devices == 0) {
        snprintf(ret, size, "no GPU: %s; %s", hw->notes[0], hw->notes[1]);
        return;
    }
    size_t n = 0;
    ret[0] = '\0';
    for (unsigned i = 0; i < hw->n_devices && n < size; i++) {
        char one[400];
        lathe_hw_summary(&hw->devices[i], one, sizeof(one));
        int w = snprintf(ret + n, size - n, "%s%s (%s %s): %s", n ? " · " : "", hw->devices[i].name,
                         lathe_encoder_name(hw->devices[i].family), hw->devices[i].path, one);
        n += w > 0 ? (size_t)w : 0;
    }
}

int lathe_hardware_to_json(const struct lathe_hardware *hw, json_t **ret)
{
    char summary[2048];
    lathe_hardware_summary(hw, summary, sizeof(summary));
    json_t *devices = json_array(), *notes = json_object();
    int r = devices && notes ? 0 : -ENOMEM;
    for (unsigned i = 0; i < hw->n_devices && r == 0; i++) {
        char one[400];
        json_t *device = NULL;
        lathe_hw_summary(&hw->devices[i], one, sizeof(one));
        r = lathe_hw_device_to_json(&hw->devices[i], &device);
        if (r == 0 && (json_object_set_new(device, "summary", json_string(one)) < 0 ||
                       json_array_append(devices, device) < 0))
            r = -ENOMEM;
        json_decref(device);
    }
    for (size_t i = 0; i < LATHE_COUNT(families) && r == 0; i++)
        if (hw->notes[i][0] && json_object_set_new(notes, lathe_encoder_name(families[i]),
                                                   json_string(hw->notes[i])) < 0)
            r = -ENOMEM;
    json_t *json = r < 0 ? NULL
                         : json_pack("{s:s, s:O, s:O, s:s, s:f, s:b}", "summary", summary,
                                     "devices", devices, "notes", notes, "ffmpeg", hw->ffmpeg,
                                     "age_seconds", hw->age_seconds, "cached", hw->from_cache);
    json_decref(devices);
    json_decref(notes);
    if (!json)
        return -ENOMEM;
    *ret = json;
    return 0;
}
