/* SPDX-License-Identifier: MIT */
/*
 * Reading half of json_io.h: nothing leaves here that was not checked for type, range and length.
 */
#include "json_io.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lathe_json_in_init(struct lathe_json_in *in, const json_t *object, const char *what,
                        struct lathe_error *err)
{
    *in = (struct lathe_json_in){.object = object, .what = what, .err = err};
    if (!json_is_object(object))
        lathe_json_in_fail(in, "is not an object");
}

void lathe_json_in_fail(struct lathe_json_in *in, const char *format, ...)
{
    if (in->code)
        return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    in->code = lathe_error_set(in->err, -EINVAL, LATHE_FAULT_INPUT, "%s: %s", in->what, text);
}

static const json_t *member(const struct lathe_json_in *in, const char *key)
{
    const json_t *value = in->code ? NULL : json_object_get(in->object, key);
    return json_is_null(value) ? NULL : value;
}

bool lathe_json_in_has(const struct lathe_json_in *in, const char *key)
{
    return member(in, key) != NULL;
}

static const json_t *required(struct lathe_json_in *in, const char *key)
{
    const json_t *value = member(in, key);
    if (!value)
        lathe_json_in_fail(in, "\"%s\" is missing", key);
    return value;
}

int64_t lathe_json_in_int(struct lathe_json_in *in, const char *key, int64_t min, int64_t max)
{
    const json_t *value = required(in, key);
    if (!value)
        return min;
    if (!json_is_integer(value)) {
        lathe_json_in_fail(in, "\"%s\" is not a whole number", key);
        return min;
    }
    int64_t number = json_integer_value(value);
    if (number < min || number > max) {
        lathe_json_in_fail(in, "\"%s\" is %" PRId64 ", outside %" PRId64 " to %" PRId64, key,
                           number, min, max);
        return min;
    }
    return number;
}

int64_t lathe_json_in_int_or(struct lathe_json_in *in, const char *key, int64_t min, int64_t max,
                             int64_t fallback)
{
    return lathe_json_in_has(in, key) ? lathe_json_in_int(in, key, min, max) : fallback;
}

void lathe_json_in_version(struct lathe_json_in *in, int newest)
{
    int64_t version = lathe_json_in_int(in, "v", 1, INT32_MAX);
    if (in->code || version <= newest)
        return;
    in->code = lathe_error_set(in->err, -EPROTONOSUPPORT, LATHE_FAULT_CONFIG,
                               "a newer version of Lathe made this %s: it has format %" PRId64
                               ", and " LATHE_VERSION " reads %d",
                               in->what, version, newest);
    lathe_error_hint(in->err, "upgrade this host; hosts with that version do the job");
}

double lathe_json_in_real(struct lathe_json_in *in, const char *key, double min, double max)
{
    const json_t *value = required(in, key);
    if (!value)
        return min;
    if (!json_is_number(value)) {
        lathe_json_in_fail(in, "\"%s\" is not a number", key);
        return min;
    }
    double number = json_number_value(value);
    if (!(number >= min && number <= max)) {
        lathe_json_in_fail(in, "\"%s\" is %g, outside %g to %g", key, number, min, max);
        return min;
    }
    return number;
}

double lathe_json_in_real_or(struct lathe_json_in *in, const char *key, double min, double max,
                             double fallback)
{
    return lathe_json_in_has(in, key) ? lathe_json_in_real(in, key, min, max) : fallback;
}

bool lathe_json_in_bool(struct lathe_json_in *in, const char *key)
{
    const json_t *value = required(in, key);
    if (value && !json_is_boolean(value))
        lathe_json_in_fail(in, "\"%s\" is neither true nor false", key);
    return json_is_true(value);
}

bool lathe_json_in_bool_or(struct lathe_json_in *in, const char *key, bool fallback)
{
    return lathe_json_in_has(in, key) ? lathe_json_in_bool(in, key) : fallback;
}

/* Replaces what a terminal might obey: C0, DEL, and C1 in its UTF-8 form. */
static void defuse(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            p[0] = p[1] = '?';
    }
}

int lathe_json_text_read(const json_t *string, char *buf, size_t size)
{
    const char *text = json_string_value(string);
    if (!text || strlen(text) != json_string_length(string))
        return -EINVAL;
    if (json_string_length(string) >= size)
        return -EMSGSIZE;
    memcpy(buf, text, json_string_length(string) + 1);
    defuse(buf);
    return 0;
}

void lathe_json_in_text(struct lathe_json_in *in, const char *key, char *buf, size_t size)
{
    const json_t *value = required(in, key);
    if (!value)
        return;
    int r = lathe_json_text_read(value, buf, size);
    if (r == -EMSGSIZE)
        lathe_json_in_fail(in, "\"%s\" is longer than %zu bytes", key, size - 1);
    else if (r < 0)
        lathe_json_in_fail(in, "\"%s\" is not a plain string", key);
}

const char *lathe_json_in_name(struct lathe_json_in *in, const char *key)
{
    const json_t *value = required(in, key);
    if (value && !json_is_string(value))
        lathe_json_in_fail(in, "\"%s\" is not a string", key);
    const char *name = json_string_value(value);
    return name ? name : "";
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int hex_read(const json_t *value, size_t max_bytes, char **ret)
{
    const char *hex = json_string_value(value);
    size_t length = json_string_length(value);
    if (!hex || length == 0 || length % 2 || length / 2 > max_bytes)
        return -EINVAL;
    char *path = malloc(length / 2 + 1);
    if (!path)
        return -ENOMEM;
    for (size_t i = 0; i < length / 2; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            free(path);
            return -EINVAL;
        }
        path[i] = (char)(high << 4 | low);
    }
    path[length / 2] = '\0';
    *ret = path;
    return 0;
}

int lathe_json_path_read(const json_t *value, size_t max_bytes, char **ret)
{
    if (json_is_object(value))
        return hex_read(json_object_get(value, "hex"), max_bytes, ret);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (!text || length == 0 || length > max_bytes || strlen(text) != length)
        return -EINVAL;
    char *path = strdup(text);
    if (!path)
        return -ENOMEM;
    *ret = path;
    return 0;
}

char *lathe_json_in_path(struct lathe_json_in *in, const char *key, size_t max_bytes)
{
    const json_t *value = member(in, key);
    if (!value)
        return NULL;
    char *path = NULL;
    int r = lathe_json_path_read(value, max_bytes, &path);
    if (r == -ENOMEM && !in->code)
        in->code = lathe_error_nomem(in->err);
    else if (r < 0)
        lathe_json_in_fail(in, "\"%s\" is not a file name of 1 to %zu bytes", key, max_bytes);
    return path;
}

const json_t *lathe_json_in_array(struct lathe_json_in *in, const char *key, size_t min, size_t max)
{
    const json_t *value = required(in, key);
    if (!value)
        return NULL;
    if (!json_is_array(value)) {
        lathe_json_in_fail(in, "\"%s\" is not an array", key);
        return NULL;
    }
    if (json_array_size(value) < min || json_array_size(value) > max) {
        lathe_json_in_fail(in, "\"%s\" has %zu entries, not %zu to %zu", key,
                           json_array_size(value), min, max);
        return NULL;
    }
    return value;
}
