/* SPDX-License-Identifier: MIT */
/*
 * Generic printing, so that what a slot reports is shown whole without a second list of its fields.
 */
#include "table.h"

#include <string.h>

#include "lathe/base.h"

#define COLUMNS_MAX 32

static void clean(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) /* C1 controls in UTF-8 */
            p[0] = p[1] = '?';
    }
}

char *lathe_value_text(const json_t *value)
{
    char *text = NULL;
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        text = strdup(json_string_value(value));
        break;
    case JSON_INTEGER:
        text = lathe_format("%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        text = lathe_format("%.6g", json_real_value(value));
        break;
    case JSON_TRUE:
        return strdup("yes");
    case JSON_FALSE:
        return strdup("no");
    case JSON_NULL:
        return strdup("-");
    default:
        text = json_dumps(value, JSON_COMPACT);
        break;
    }
    if (text)
        clean(text);
    return text;
}

static void print_scalar(FILE *f, const json_t *value)
{
    _cleanup_free_ char *text = lathe_value_text(value);
    fprintf(f, "%s\n", text ? text : "?");
}

static bool is_nested(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) > 0) ||
           (json_is_array(value) && json_array_size(value) > 0);
}

void lathe_tree_print(FILE *f, const json_t *json, int indent)
{
    if (json_is_object(json)) {
        const char *name;
        json_t *value;
        json_object_foreach ((json_t *)json, name, value) {
            fprintf(f, "%*s%s:%s", indent, "", name, is_nested(value) ? "\n" : " ");
            if (is_nested(value))
                lathe_tree_print(f, value, indent + 2);
            else
                print_scalar(f, value);
        }
    } else if (json_is_array(json)) {
        size_t i;
        json_t *value;
        json_array_foreach (json, i, value) {
            fprintf(f, "%*s-%s", indent, "", is_nested(value) ? "\n" : " ");
            if (is_nested(value))
                lathe_tree_print(f, value, indent + 2);
            else
                print_scalar(f, value);
        }
    } else {
        fprintf(f, "%*s", indent, "");
        print_scalar(f, json);
    }
}

static size_t columns_of(const json_t *rows, const char *names[COLUMNS_MAX])
{
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach (json_array_get(rows, 0), name, value) {
        if (n < COLUMNS_MAX)
            names[n++] = name;
    }
    return n;
}

void lathe_table_print(FILE *f, const json_t *rows)
{
    const char *names[COLUMNS_MAX];
    int widths[COLUMNS_MAX];
    size_t n = columns_of(rows, names), i;
    json_t *row;
    for (size_t c = 0; c < n; c++) {
        widths[c] = (int)strlen(names[c]);
        json_array_foreach (rows, i, row) {
            _cleanup_free_ char *text = lathe_value_text(json_object_get(row, names[c]));
            if (text && (int)strlen(text) > widths[c])
                widths[c] = (int)strlen(text);
        }
    }
    for (size_t c = 0; c < n; c++)
        fprintf(f, "%-*s", c + 1 < n ? widths[c] + 2 : 0, names[c]);
    fputc('\n', f);
    json_array_foreach (rows, i, row) {
        for (size_t c = 0; c < n; c++) {
            _cleanup_free_ char *text = lathe_value_text(json_object_get(row, names[c]));
            fprintf(f, "%-*s", c + 1 < n ? widths[c] + 2 : 0, text ? text : "?");
        }
        fputc('\n', f);
    }
}

void lathe_size_text(char *text, size_t size, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    for (; bytes >= 1000 && u + 1 < LATHE_COUNT(units); u++)
        bytes /= 1000;
    snprintf(text, size, "%.*f %s", u ? 1 : 0, bytes, units[u]);
}

void lathe_time_text(char *text, size_t size, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
}
