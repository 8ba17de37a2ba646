/* SPDX-License-Identifier: MIT */
#include "lathe/hw_load.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"

void lathe_hw_load_init(struct lathe_hw_load *load)
{
    *load = (struct lathe_hw_load){.memory_used_bytes = -1, .sessions = -1};
}

/* It becomes a label of a metric. */
static bool is_name(const char *name)
{
    size_t n = strlen(name);
    bool ok = n > 0 && n < sizeof(((struct lathe_hw_engine *)0)->name);
    for (size_t i = 0; i < n && ok; i++)
        ok = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
    return ok;
}

struct lathe_hw_engine *lathe_hw_load_engine(struct lathe_hw_load *load, const char *name)
{
    for (unsigned i = 0; i < load->n_engines; i++)
        if (strcmp(load->engines[i].name, name) == 0)
            return &load->engines[i];
    if (load->n_engines == LATHE_HW_ENGINES_MAX || !is_name(name))
        return NULL;
    struct lathe_hw_engine *engine = &load->engines[load->n_engines++];
    *engine = (struct lathe_hw_engine){.ratio = -1, .busy_us = -1};
    snprintf(engine->name, sizeof engine->name, "%s", name);
    return engine;
}

int lathe_hw_load_to_json(const struct lathe_hw_load *load, json_t **ret)
{
    struct lathe_json_out out;
    json_t *engines = json_object();
    lathe_json_out_init(&out);
    for (unsigned i = 0; i < load->n_engines; i++) {
        const struct lathe_hw_engine *engine = &load->engines[i];
        struct lathe_json_out one;
        json_t *object = NULL;
        lathe_json_out_init(&one);
        if (engine->ratio >= 0)
            lathe_json_put_real(&one, "ratio", engine->ratio);
        if (engine->busy_us >= 0)
            lathe_json_put_int(&one, "busy_us", engine->busy_us);
        if (lathe_json_out_take(&one, &object) < 0 ||
            json_object_set_new(engines, engine->name, object) < 0) {
            json_decref(engines);
            engines = NULL;
        }
    }
    lathe_json_put(&out, "engines", engines);
    if (load->memory_used_bytes >= 0)
        lathe_json_put_int(&out, "memory_used_bytes", load->memory_used_bytes);
    if (load->sessions >= 0)
        lathe_json_put_int(&out, "sessions", load->sessions);
    return lathe_json_out_take(&out, ret);
}

static void read_engines(struct lathe_json_in *in, struct lathe_hw_load *load)
{
    json_t *engines = json_object_get(in->object, "engines"), *value;
    const char *name;
    if (!json_is_object(engines))
        lathe_json_in_fail(in, "\"engines\" is not an object");
    json_object_foreach (engines, name, value) {
        struct lathe_hw_engine *engine = lathe_hw_load_engine(load, name);
        struct lathe_json_in one;
        lathe_json_in_init(&one, value, "engine", in->err);
        if (!engine)
            lathe_json_in_fail(&one, "the name is none, or there are too many");
        else {
            engine->ratio = lathe_json_in_real_or(&one, "ratio", 0, 1, -1);
            engine->busy_us = lathe_json_in_int_or(&one, "busy_us", 0, INT64_MAX, -1);
        }
        if (one.code && !in->code)
            in->code = one.code;
    }
}

int lathe_hw_load_from_json(const json_t *json, struct lathe_hw_load *ret, struct lathe_error *err)
{
    struct lathe_json_in in;
    struct lathe_hw_load load;
    lathe_hw_load_init(&load);
    lathe_json_in_init(&in, json, "load", err);
    if (!in.code)
        read_engines(&in, &load);
    load.memory_used_bytes = lathe_json_in_int_or(&in, "memory_used_bytes", 0, INT64_MAX, -1);
    load.sessions = (int)lathe_json_in_int_or(&in, "sessions", 0, INT_MAX, -1);
    if (in.code < 0)
        return in.code;
    *ret = load;
    return 0;
}
