/* SPDX-License-Identifier: MIT */
/*
 * The file of what is known about this host's GPUs. It saves seconds and nothing else: whatever is
 * wrong with it means that everything is tried again.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hardware.h"
#include "lathe/base.h"

#define CACHE_VERSION 1
#define CACHE_MAX_BYTES (1u << 20)

static char *default_path(void)
{
    const char *set = getenv("LATHE_HARDWARE_CACHE");
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (set)
        return *set ? strdup(set) : NULL;
    if (cache && *cache == '/')
        return lathe_format("%s/lathe/hardware.json", cache);
    return home && *home == '/' ? lathe_format("%s/.cache/lathe/hardware.json", home) : NULL;
}

char *lathe_hardware_cache_path(const struct lathe_hardware_options *options)
{
    if (options && options->cache_path)
        return options->cache_path[0] ? strdup(options->cache_path) : NULL;
    return default_path();
}

static int read_devices(const json_t *list, struct lathe_hardware *ret)
{
    size_t n = json_array_size(list);
    if (n > LATHE_HW_DEVICES_MAX)
        return -EPROTO;
    struct lathe_hw_device *devices = calloc(n + 1, sizeof(*devices));
    if (!devices)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int r = lathe_hw_device_from_json(json_array_get(list, i), &devices[i], NULL);
        if (r < 0) {
            free(devices);
            return r;
        }
    }
    ret->devices = devices;
    ret->n_devices = (unsigned)n;
    return 0;
}

int lathe_hardware_cache_read(const char *path, const char *key, struct lathe_hardware *ret)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    int r = lathe_read_file(path, CACHE_MAX_BYTES, &text, &size, NULL);
    if (r < 0)
        return r;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const char *found = json_string_value(json_object_get(json, "key"));
    const json_t *probed = json_object_get(json, "probed_us");
    json_int_t probed_us = json_integer_value(probed); /* below 0: made older by a test */
    json_int_t failures = json_integer_value(json_object_get(json, "failures"));
    int64_t now_us = lathe_clock_monotonic_us();
    r = -ESTALE;
    /* The key holds the boot, without which the clock would mean nothing. */
    if (found && strcmp(found, key) == 0 && json_is_integer(probed) && probed_us > INT64_MIN / 2 &&
        probed_us <= now_us && json_integer_value(json_object_get(json, "v")) == CACHE_VERSION &&
        failures >= 0 && failures <= 1000)
        r = read_devices(json_object_get(json, "devices"), ret);
    if (r == 0) {
        ret->age_seconds = (double)(now_us - probed_us) / 1e6;
        ret->probed_wall_us = lathe_clock_wall_us() - (now_us - probed_us);
        ret->failures = (unsigned)failures;
        ret->from_cache = true;
    }
    json_decref(json);
    return r;
}

int lathe_hardware_cache_write(const char *path, const char *key,
                               const struct lathe_hardware *hardware, struct lathe_error *err)
{
    json_t *devices = json_array();
    int r = devices ? 0 : -ENOMEM;
    for (unsigned i = 0; i < hardware->n_devices && r == 0; i++) {
        json_t *device = NULL;
        r = lathe_hw_device_to_json(&hardware->devices[i], &device);
        if (r == 0 && json_array_append_new(devices, device) < 0)
            r = -ENOMEM;
    }
    json_t *json = json_pack("{s:i, s:s, s:I, s:I, s:O}", "v", CACHE_VERSION, "key", key,
                             "probed_us", (json_int_t)lathe_clock_monotonic_us(), "failures",
                             (json_int_t)hardware->failures, "devices", devices);
    json_decref(devices);
    _cleanup_free_ char *text = json && r == 0 ? json_dumps(json, JSON_INDENT(1)) : NULL;
    json_decref(json);
    if (!text)
        return lathe_error_nomem(err);
    _cleanup_free_ char *folder = strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash && slash != folder) {
        *slash = '\0';
        r = lathe_mkdir_p(folder, err);
    }
    return r < 0 ? r : lathe_write_file_atomic(path, text, strlen(text), err);
}
