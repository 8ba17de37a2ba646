/* SPDX-License-Identifier: MIT */
/*
 * Values of options, and the order in which sources are read: each overwrites the one before, and
 * leaves its name, so that a wrong value can be traced to where it was written.
 */
#include "lathe/config.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "config_values.h"
#include "lathe/base.h"

const struct lathe_config_option *lathe_config_find(const char *name)
{
    for (size_t i = 0; i < lathe_n_config_options; i++)
        if (strcmp(lathe_config_options[i].name, name) == 0)
            return &lathe_config_options[i];
    return NULL;
}

void lathe_config_allowed(const struct lathe_config_option *option, char *text, size_t size)
{
    switch (option->type) {
    case LATHE_CONFIG_TEXT:
        snprintf(text, size, "%s", option->allowed);
        break;
    case LATHE_CONFIG_COUNT:
        snprintf(text, size, "a whole number from %.0f to %.0f", option->min, option->max);
        break;
    case LATHE_CONFIG_REAL:
        snprintf(text, size, "a number from %g to %g", option->min, option->max);
        break;
    case LATHE_CONFIG_BYTES:
        snprintf(text, size, "a number of bytes, or of K, M, G or T as in 20G");
        break;
    case LATHE_CONFIG_FLAG:
        snprintf(text, size, "true or false");
        break;
    case LATHE_CONFIG_CHOICE: {
        size_t n = (size_t)snprintf(text, size, "one of ");
        for (const char *p = option->allowed; *p && n + 3 < size; p++) {
            text[n++] = *p == '|' ? ',' : *p;
            if (*p == '|')
                text[n++] = ' ';
        }
        text[n] = '\0';
        break;
    }
    }
}

/* --- texts to values: 0 or -EINVAL --- */

static int read_count(const struct lathe_config_option *option, const char *text, int64_t *ret)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || (double)value < option->min || (double)value > option->max)
        return -EINVAL;
    *ret = value;
    return 0;
}

static int read_real(const struct lathe_config_option *option, const char *text, double *ret)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= option->min && value <= option->max))
        return -EINVAL;
    *ret = value;
    return 0;
}

static int read_bytes(const char *text, uint64_t *ret)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || text[0] < '0' || text[0] > '9')
        return -EINVAL;
    const char *unit = *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if ((*end && !unit) || (unit && end[1]) || value > UINT64_MAX >> shift)
        return -EINVAL;
    *ret = value << shift;
    return 0;
}

static int read_choice(const char *choices, const char *text, int64_t *ret)
{
    size_t length = strlen(text);
    int64_t number = 0;
    for (const char *at = choices; at; number++) {
        size_t size = strcspn(at, "|");
        if (size == length && strncmp(at, text, size) == 0) {
            *ret = number;
            return 0;
        }
        at = at[size] ? at + size + 1 : NULL;
    }
    return -EINVAL;
}

static int read_flag(const char *text, bool *ret)
{
    int64_t number;
    if (read_choice("false|true|0|1|no|yes|off|on", text, &number) < 0)
        return -EINVAL;
    *ret = number & 1;
    return 0;
}

static int read_value(const struct lathe_config_option *option, const char *text, void *at)
{
    switch (option->type) {
    case LATHE_CONFIG_TEXT: {
        char *copy = strdup(text);
        if (!copy)
            return -ENOMEM;
        free(*(char **)at);
        *(char **)at = copy;
        return 0;
    }
    case LATHE_CONFIG_COUNT:
        return read_count(option, text, at);
    case LATHE_CONFIG_REAL:
        return read_real(option, text, at);
    case LATHE_CONFIG_BYTES:
        return read_bytes(text, at);
    case LATHE_CONFIG_CHOICE:
        return read_choice(option->allowed, text, at);
    case LATHE_CONFIG_FLAG:
        return read_flag(text, at);
    }
    return -EINVAL;
}

int lathe_config_set(struct lathe_config *config, const struct lathe_config_option *option,
                     const char *text, const char *origin, struct lathe_error *err)
{
    char **at = &config->origins[option - lathe_config_options];
    int r = read_value(option, text, (char *)config + option->offset);
    if (r == -EINVAL) {
        char allowed[160];
        lathe_config_allowed(option, allowed, sizeof allowed);
        return lathe_error_set(err, r, LATHE_FAULT_CONFIG, "%s: %s: \"%.60s\" is not %s", origin,
                               option->name, text, allowed);
    }
    char *copy = r == 0 ? strdup(origin) : NULL;
    if (!copy)
        return lathe_error_nomem(err);
    free(*at);
    *at = copy;
    return 0;
}

char *lathe_config_text(const struct lathe_config *config, const struct lathe_config_option *option)
{
    const void *at = (const char *)config + option->offset;
    switch (option->type) {
    case LATHE_CONFIG_TEXT:
        return strdup(*(char *const *)at);
    case LATHE_CONFIG_COUNT:
        return lathe_format("%lld", (long long)*(const int64_t *)at);
    case LATHE_CONFIG_REAL:
        return lathe_format("%g", *(const double *)at);
    case LATHE_CONFIG_BYTES:
        return lathe_format("%llu", (unsigned long long)*(const uint64_t *)at);
    case LATHE_CONFIG_FLAG:
        return strdup(*(const bool *)at ? "true" : "false");
    case LATHE_CONFIG_CHOICE: {
        const char *choice = option->allowed;
        for (int64_t i = *(const int64_t *)at; i > 0; i--)
            choice += strcspn(choice, "|") + 1;
        return strndup(choice, strcspn(choice, "|"));
    }
    }
    return NULL;
}

/* --- sources --- */

static int take_defaults(struct lathe_config *config, struct lathe_error *err)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        if (read_value(option, option->standard, (char *)config + option->offset) < 0)
            return lathe_error_nomem(err); /* the table itself is held by a test */
    }
    return 0;
}

static int take_file(struct lathe_config *config, const char *file, struct lathe_error *err)
{
    const char *named = file ? file : getenv("LATHE_CONFIG");
    bool is_named = named && *named;
    struct lathe_error why = {0};
    int r = lathe_config_read_file(config, is_named ? named : LATHE_CONFIG_FILE, &why);
    if (r == -ENOENT && !is_named)
        return 0;
    if (r < 0 && err)
        *err = why;
    return r;
}

static int take_variables(struct lathe_config *config, struct lathe_error *err)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        const char *text = getenv(option->variable);
        /* Files of variables set to nothing what they do not set; for a text that is a value. */
        if (!text || (!*text && option->type != LATHE_CONFIG_TEXT))
            continue;
        int r = lathe_config_set(config, option, text, option->variable, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whether `flag` ("queue-driver", `length` long) is the option "queue.driver". */
static bool is_flag_of(const char *name, const char *flag, size_t length)
{
    if (strlen(name) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((name[i] == '.' || name[i] == '_' ? '-' : name[i]) != flag[i])
            return false;
    return true;
}

/* One flag of argv at *at. *ret_file is set by --config, only looked for when `config` is NULL. */
static int take_flag(struct lathe_config *config, int argc, char **argv, int *at,
                     const char **ret_file, struct lathe_error *err)
{
    const char *word = argv[(*at)++];
    const char *flag = strncmp(word, "--", 2) == 0 ? word + 2 : "";
    size_t length = strcspn(flag, "=");
    const struct lathe_config_option *option = NULL;
    for (size_t i = 0; i < lathe_n_config_options && !option; i++)
        if (is_flag_of(lathe_config_options[i].name, flag, length))
            option = &lathe_config_options[i];
    bool is_file = is_flag_of("config", flag, length);
    if (!option && !is_file)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "unknown option %.60s", word);
    const char *value = flag[length] ? flag + length + 1 : *at < argc ? argv[(*at)++] : NULL;
    if (!value)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "%.60s needs a value", word);
    if (is_file)
        *ret_file = value;
    if (is_file || !config)
        return 0;
    _cleanup_free_ char *origin = lathe_format("--%.*s", (int)length, flag);
    if (!origin)
        return lathe_error_nomem(err);
    int r = lathe_config_set(config, option, value, origin, err);
    if (r == -EINVAL && err)
        err->fault = LATHE_FAULT_USAGE;
    return r;
}

static int take_flags(struct lathe_config *config, int argc, char **argv, const char **ret_file,
                      struct lathe_error *err)
{
    for (int at = 1; at < argc;) {
        int r = take_flag(config, argc, argv, &at, ret_file, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Embedded drivers live in the state directory; every other one must be told where its server is.
 */
static int place_port(struct lathe_config *config, const char *driver_option,
                      const char *location_option, const char *name, struct lathe_error *err)
{
    const struct lathe_config_option *driver = lathe_config_find(driver_option);
    const struct lathe_config_option *location = lathe_config_find(location_option);
    char **at = (char **)(void *)((char *)config + location->offset);
    const char *chosen = *(char *const *)(const void *)((const char *)config + driver->offset);
    if (**at)
        return 0;
    if (strcmp(chosen, driver->standard) != 0) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s: the driver %s needs %s",
                        config->origins[driver - lathe_config_options], chosen, location_option);
        lathe_error_hint(err, "%s: %s", location_option, location->help);
        return -EINVAL;
    }
    char *path = lathe_format("%s/%s", config->state_dir, name);
    if (!path)
        return lathe_error_nomem(err);
    free(*at);
    *at = path;
    return 0;
}

static int load(struct lathe_config *config, const char *file, int argc, char **argv,
                struct lathe_error *err)
{
    int r = take_flags(NULL, argc, argv, &file, err);
    if (r == 0)
        r = take_defaults(config, err);
    if (r == 0)
        r = take_file(config, file, err);
    if (r == 0)
        r = take_variables(config, err);
    if (r == 0)
        r = take_flags(config, argc, argv, &file, err);
    if (r == 0)
        r = place_port(config, "queue.driver", "queue.location", "queue.db", err);
    if (r == 0)
        r = place_port(config, "state.driver", "state.location", "state.db", err);
    if (r == 0)
        r = place_port(config, "store.driver", "store.location", "store", err);
    return r;
}

int lathe_config_load(const char *file, int argc, char **argv, struct lathe_config *ret,
                      struct lathe_error *err)
{
    struct lathe_config config = {0};
    int r = load(&config, file, argc, argv, err);
    if (r < 0) {
        lathe_config_finish(&config);
        return r;
    }
    *ret = config;
    return 0;
}

void lathe_config_finish(struct lathe_config *config)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        if (lathe_config_options[i].type == LATHE_CONFIG_TEXT)
            free(*(char **)(void *)((char *)config + lathe_config_options[i].offset));
        free(config->origins[i]);
    }
    *config = (struct lathe_config){0};
}

int lathe_config_export(const struct lathe_config *config, struct lathe_error *err)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        if (!option->exported || !config->origins[i])
            continue;
        _cleanup_free_ char *text = lathe_config_text(config, option);
        if (!text || setenv(option->variable, text, 1) < 0)
            return lathe_error_nomem(err);
    }
    return 0;
}

bool lathe_config_is_set(const struct lathe_config *config, const char *option)
{
    const struct lathe_config_option *found = lathe_config_find(option);
    return found && config->origins[found - lathe_config_options];
}

void lathe_config_blame(const struct lathe_config *config, const char *option,
                        struct lathe_error *err)
{
    const struct lathe_config_option *found = lathe_config_find(option);
    const char *origin = found ? config->origins[found - lathe_config_options] : NULL;
    lathe_error_prefix(err, "%s (%s)", option, origin ? origin : "the default");
}
