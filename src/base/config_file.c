/* SPDX-License-Identifier: MIT */
/*
 * The file, in libconfig's syntax. A name that is not in the table is an error: a misspelt option
 * that is silently ignored costs more than a start that fails.
 */
#include <errno.h>
#include <libconfig.h>
#include <string.h>

#include "config_values.h"
#include "lathe/base.h"

#define NAME_MAX_BYTES 128

/* A scalar as it was written, near enough to be parsed again; NULL for groups and lists. */
static char *scalar_text(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
        return lathe_format("%d", config_setting_get_int(setting));
    case CONFIG_TYPE_INT64:
        return lathe_format("%lld", config_setting_get_int64(setting));
    case CONFIG_TYPE_FLOAT:
        return lathe_format("%.15g", config_setting_get_float(setting));
    case CONFIG_TYPE_BOOL:
        return strdup(config_setting_get_bool(setting) ? "true" : "false");
    case CONFIG_TYPE_STRING:
        return strdup(config_setting_get_string(setting));
    default:
        return NULL;
    }
}

static int take_setting(struct lathe_config *config, const char *path, const char *name,
                        const config_setting_t *setting, struct lathe_error *err)
{
    const char *file = config_setting_source_file(setting);
    _cleanup_free_ char *origin =
        lathe_format("%s:%u", file ? file : path, config_setting_source_line(setting));
    if (!origin)
        return lathe_error_nomem(err);
    const struct lathe_config_option *option = lathe_config_find(name);
    if (!option) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s: there is no option \"%s\"", origin,
                        name);
        lathe_error_hint(err, "\"lathe config\" lists the options");
        return -EINVAL;
    }
    int type = config_setting_type(setting);
    if (type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST) {
        char allowed[160];
        lathe_config_allowed(option, allowed, sizeof allowed);
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s: %s: a list is not %s", origin,
                               name, allowed);
    }
    _cleanup_free_ char *text = scalar_text(setting);
    return text ? lathe_config_set(config, option, text, origin, err) : lathe_error_nomem(err);
}

/* `prefix` is the group's own name and a dot. */
static int take_group(struct lathe_config *config, const char *path, const char *prefix,
                      const config_setting_t *group, struct lathe_error *err)
{
    int r = 0;
    for (int i = 0; i < config_setting_length(group) && r == 0; i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        char name[NAME_MAX_BYTES];
        bool is_group = config_setting_is_group(setting);
        snprintf(name, sizeof name, "%s%.60s%s", prefix, config_setting_name(setting),
                 is_group ? "." : "");
        /* Options are one group deep, so a group in a group is a name that no option has. */
        r = is_group && !*prefix ? take_group(config, path, name, setting, err)
                                 : take_setting(config, path, name, setting, err);
    }
    return r;
}

static int parse_error(const config_t *file, const char *path, struct lathe_error *err)
{
    const char *included = config_error_file(file);
    lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s:%d: %s", included ? included : path,
                    config_error_line(file), config_error_text(file));
    lathe_error_hint(err, "lines look like: slots = 4;   queue: { driver = \"kafka\"; };");
    return -EINVAL;
}

int lathe_config_read_file(struct lathe_config *config, const char *path, struct lathe_error *err)
{
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    if (!f) {
        int r = lathe_error_errno(err, -errno, "the configuration %s cannot be read", path);
        if (err)
            err->fault = LATHE_FAULT_CONFIG;
        if (r == -EACCES)
            lathe_error_hint(err, "it holds no secrets: let everybody read it");
        return r;
    }
    config_t file;
    config_init(&file);
    _cleanup_free_ char *folder = strdup(path);
    if (!folder) {
        config_destroy(&file);
        return lathe_error_nomem(err);
    }
    char *slash = strrchr(folder, '/');
    if (slash) { /* names in @include count from here */
        *slash = '\0';
        config_set_include_dir(&file, folder);
    }
    int r = config_read(&file, f) == CONFIG_TRUE
                ? take_group(config, path, "", config_root_setting(&file), err)
                : parse_error(&file, path, err);
    config_destroy(&file);
    return r;
}
