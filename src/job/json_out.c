/* SPDX-License-Identifier: MIT */
/*
 * Writing half of json_io.h. What is not UTF-8 still gets through: texts lossily, file names
 * exactly.
 */
#include "json_io.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void lathe_json_out_init(struct lathe_json_out *out)
{
    out->object = json_object();
    out->code = out->object ? 0 : -ENOMEM;
}

void lathe_json_put(struct lathe_json_out *out, const char *key, json_t *value)
{
    if (out->code) {
        json_decref(value);
        return;
    }
    if (!value || json_object_set_new(out->object, key, value) < 0)
        out->code = -ENOMEM;
}

void lathe_json_put_int(struct lathe_json_out *out, const char *key, int64_t value)
{
    lathe_json_put(out, key, json_integer(value));
}

void lathe_json_put_count(struct lathe_json_out *out, const char *key, uint64_t value)
{
    if (value > INT64_MAX && !out->code)
        out->code = -ERANGE;
    lathe_json_put(out, key, json_integer((int64_t)(value & INT64_MAX)));
}

void lathe_json_put_real(struct lathe_json_out *out, const char *key, double value)
{
    if (!isfinite(value)) {
        if (!out->code)
            out->code = -ERANGE;
        return;
    }
    lathe_json_put(out, key, json_real(value));
}

void lathe_json_put_text(struct lathe_json_out *out, const char *key, const char *text)
{
    lathe_json_put(out, key, lathe_json_text(text));
}

void lathe_json_put_path(struct lathe_json_out *out, const char *key, const char *path)
{
    if (path)
        lathe_json_put(out, key, lathe_json_path(path));
}

int lathe_json_out_take(struct lathe_json_out *out, json_t **ret)
{
    json_t *object = out->object;
    out->object = NULL;
    if (out->code) {
        json_decref(object);
        return out->code;
    }
    *ret = object;
    return 0;
}

json_t *lathe_json_text(const char *text)
{
    json_t *string = json_string(text);
    if (string)
        return string;
    char *ascii = strdup(text);
    if (!ascii)
        return NULL;
    for (char *p = ascii; *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    string = json_string(ascii);
    free(ascii);
    return string;
}

json_t *lathe_json_path(const char *path)
{
    json_t *string = json_string(path);
    if (string)
        return string;
    static const char digits[] = "0123456789abcdef";
    size_t length = strlen(path);
    char *hex = malloc(2 * length + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        hex[2 * i] = digits[(unsigned char)path[i] >> 4];
        hex[2 * i + 1] = digits[(unsigned char)path[i] & 15];
    }
    hex[2 * length] = '\0';
    json_t *object = json_pack("{s:s}", "hex", hex);
    free(hex);
    return object;
}
