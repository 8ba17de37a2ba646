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

#define CACHE_VERSION 2
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

static int read_known(const json_t *json, int64_t now_us, struct lathe_hardware_known *ret)
{
    const json_t *probed = json_object_get(json, "probed_us");
    json_int_t probed_us = json_integer_value(probed); /* below 0: made older by a test */
    json_int_t failures = json_integer_value(json_object_get(json, "failures"));
    if (!json_is_integer(probed) || probed_us <= INT64_MIN / 2 || probed_us > now_us ||
        failures < 0 || failures > 1000)
        return -ESTALE;
    *ret = (struct lathe_hardware_known){.age_seconds = (double)(now_us - probed_us) / 1e6,
                                         .failures = (unsigned)failures};
    return lathe_hw_device_from_json(json_object_get(json, "device"), &ret->device, NULL);
}

int lathe_hardware_cache_read(const char *path, const char *key, struct lathe_hardware_known *ret)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    int r = lathe_read_file(path, CACHE_MAX_BYTES, &text, &size, NULL);
    if (r < 0)
        return r;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(json, "devices");
    const char *found = json_string_value(json_object_get(json, "key"));
    size_t n = json_array_size(list);
    /* The key holds the boot, without which the clock would mean nothing. */
    r = found && strcmp(found, key) == 0 && n <= LATHE_HW_DEVICES_MAX &&
                json_integer_value(json_object_get(json, "v")) == CACHE_VERSION
            ? 0
            : -ESTALE;
    for (size_t i = 0; i < n && r == 0; i++)
        r = read_known(json_array_get(list, i), lathe_clock_monotonic_us(), &ret[i]);
    json_decref(json);
    return r < 0 ? r : (int)n;
}

int lathe_hardware_cache_write(const char *path, const char *key,
                               const struct lathe_hardware_known *known, unsigned count,
                               struct lathe_error *err)
{
    json_t *list = json_array();
    const int64_t now_us = lathe_clock_monotonic_us();
    int r = list ? 0 : -ENOMEM;
    for (unsigned i = 0; i < count && r == 0; i++) {
        json_t *device = NULL;
        json_int_t probed_us = (json_int_t)(now_us - (int64_t)(known[i].age_seconds * 1e6));
        r = lathe_hw_device_to_json(&known[i].device, &device);
        if (r == 0 && json_array_append_new(
                          list, json_pack("{s:I, s:I, s:o}", "probed_us", probed_us, "failures",
                                          (json_int_t)known[i].failures, "device", device)) < 0)
            r = -ENOMEM;
    }
    json_t *json = json_pack("{s:i, s:s, s:O}", "v", CACHE_VERSION, "key", key, "devices", list);
    json_decref(list);
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
