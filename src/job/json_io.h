/* SPDX-License-Identifier: MIT */
/*
 * Checked reading and lean writing of JSON objects, inside the job layer.
 *
 * Readers keep the first failure and answer harmless values after it, so that a parser reads as a
 * list of fields and checks once at the end. Every number has a range and every string a length,
 * because jobs come from foreign producers and reports from a child that parsed hostile bytes.
 */
#ifndef LATHE_JOB_JSON_IO_H
#define LATHE_JOB_JSON_IO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"

/* --- reading --- */
struct lathe_json_in {
    const json_t *object;
    const char *what; /* for messages: "job", "plan.audio"; outlives the reader */
    struct lathe_error *err;
    int code; /* first failure, or 0 */
};

void lathe_json_in_init(struct lathe_json_in *in, const json_t *object, const char *what,
                        struct lathe_error *err);
void lathe_json_in_fail(struct lathe_json_in *in, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Present and not null. */
bool lathe_json_in_has(const struct lathe_json_in *in, const char *key);

int64_t lathe_json_in_int(struct lathe_json_in *in, const char *key, int64_t min, int64_t max);
int64_t lathe_json_in_int_or(struct lathe_json_in *in, const char *key, int64_t min, int64_t max,
                             int64_t fallback);
/* "v" of a record that is kept. A newer one is not malformed, but not for this version to judge:
 * -EPROTONOSUPPORT, CONFIG. */
void lathe_json_in_version(struct lathe_json_in *in, int newest);
double lathe_json_in_real(struct lathe_json_in *in, const char *key, double min, double max);
double lathe_json_in_real_or(struct lathe_json_in *in, const char *key, double min, double max,
                             double fallback);
bool lathe_json_in_bool(struct lathe_json_in *in, const char *key);
bool lathe_json_in_bool_or(struct lathe_json_in *in, const char *key, bool fallback);
/* Copies into buf[size]; too long is a failure. Control characters become '?', since these texts
 * reach terminals. */
void lathe_json_in_text(struct lathe_json_in *in, const char *key, char *buf, size_t size);
/* A name that is looked up in a table: valid until the JSON is freed, "" after a failure. */
const char *lathe_json_in_name(struct lathe_json_in *in, const char *key);
/* malloc'd file name or key, any bytes but NUL (see lathe_json_path); NULL when absent. */
char *lathe_json_in_path(struct lathe_json_in *in, const char *key, size_t max_bytes);
/* An array of min…max entries; NULL after a failure. */
const json_t *lathe_json_in_array(struct lathe_json_in *in, const char *key, size_t min,
                                  size_t max);

/* As lathe_json_in_text, for a bare string: 0, -EINVAL or -EMSGSIZE. */
int lathe_json_text_read(const json_t *string, char *buf, size_t size);
/* As lathe_json_in_path, for a bare value: 0, -EINVAL or -ENOMEM. */
int lathe_json_path_read(const json_t *value, size_t max_bytes, char **ret);

/* --- writing --- */
struct lathe_json_out {
    json_t *object;
    int code; /* first failure, or 0 */
};

void lathe_json_out_init(struct lathe_json_out *out);
/* Takes over `value`; NULL counts as a lack of memory. */
void lathe_json_put(struct lathe_json_out *out, const char *key, json_t *value);
void lathe_json_put_int(struct lathe_json_out *out, const char *key, int64_t value);
/* Counts beyond INT64_MAX are -ERANGE: JSON has no room for them. */
void lathe_json_put_count(struct lathe_json_out *out, const char *key, uint64_t value);
void lathe_json_put_real(struct lathe_json_out *out, const char *key, double value);
void lathe_json_put_text(struct lathe_json_out *out, const char *key, const char *text);
void lathe_json_put_path(struct lathe_json_out *out, const char *key, const char *path);
/* Hands the object over, or frees it and returns the first failure. */
int lathe_json_out_take(struct lathe_json_out *out, json_t **ret);

/* A string for people; bytes that are not UTF-8 become '?'. */
json_t *lathe_json_text(const char *text);
/* A file name: a string where it is UTF-8, else {"hex": "…"}, since names on disk are bytes. */
json_t *lathe_json_path(const char *path);

#endif
