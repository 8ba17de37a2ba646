/* SPDX-License-Identifier: MIT */
/*
 * The result of a job as it is committed: outputs, chunks, fallbacks, warnings. What `--json` and
 * the status of a job print comes from here, so that it is the same on one host and on a fleet.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

/* Appends the strings of `list` that are not there yet. */
static int add_new(json_t *to, const json_t *list)
{
    size_t i, k;
    json_t *one, *known;
    json_array_foreach (list, i, one) {
        bool there = false;
        json_array_foreach (to, k, known)
            there = there || json_equal(one, known);
        if (!there && json_array_append(to, one) < 0)
            return -1;
    }
    return 0;
}

static json_t *quality_of(const json_t *rendition)
{
    json_t *quality = json_object_get(json_object_get(rendition, "rate"), "quality");
    return quality ? json_incref(quality) : json_null();
}

static json_t *copy_of(const json_t *body, const char *name)
{
    json_t *value = json_object_get(body, name);
    return value ? json_incref(value) : json_null();
}

static json_t *chunk_entry(const struct lathe_plan *plan, uint32_t index, const json_t *body)
{
    const json_t *renditions = json_object_get(body, "renditions");
    json_int_t bytes = 0;
    json_t *list = json_array();
    for (int i = 0; i < plan->n_renditions; i++) {
        const json_t *one = json_array_get(renditions, (size_t)i);
        json_int_t size = json_integer_value(json_object_get(one, "bytes"));
        bytes += size;
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:o}", "rendition", plan->renditions[i].name,
                                        "bytes", size, "quality", quality_of(one)));
    }
    double start = (double)plan->chunks[index].start * plan->time_base.num / plan->time_base.den;
    return json_pack("{s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "index",
                     (json_int_t)index, "start", start, "frames", copy_of(body, "frames"),
                     "encoder", copy_of(body, "encoder"), "scaler", copy_of(body, "scaler"),
                     "decoder", copy_of(body, "decoder"), "step", copy_of(body, "step"), "device",
                     copy_of(body, "device"), "attempts", copy_of(body, "attempt"), "quality",
                     quality_of(json_array_get(renditions, 0)), "bytes", bytes, "renditions", list);
}

/* The encoder of all chunks, or "mixed". */
static const char *common_encoder(const struct lathe_plan *plan, json_t *const *chunks)
{
    const char *first = json_string_value(json_object_get(chunks[0], "encoder"));
    for (uint32_t i = 1; first && i < plan->n_chunks; i++) {
        const char *other = json_string_value(json_object_get(chunks[i], "encoder"));
        if (!other || strcmp(first, other) != 0)
            return "mixed";
    }
    return first ? first : "";
}

static json_t *output_entry(const struct lathe_plan_rendition *rendition, const json_t *body,
                            const char *key, const char *encoder)
{
    json_int_t bytes = json_integer_value(json_object_get(body, "bytes"));
    json_int_t duration_us = json_integer_value(json_object_get(body, "duration_us"));
    double seconds = (double)duration_us / 1e6;
    double kbps = seconds > 0 ? (double)bytes * 8 / 1000 / seconds : 0;
    return json_pack("{s:s, s:s, s:o, s:f, s:I, s:f, s:s, s:i, s:i, s:o}", "rendition",
                     rendition->name, "key", key, "frames", copy_of(body, "frames"), "duration",
                     seconds, "bytes", bytes, "bitrate_kbps", kbps, "encoder", encoder, "width",
                     rendition->width, "height", rendition->height, "sha256",
                     copy_of(body, "sha256"));
}

int lathe_flow_summary(const struct lathe_plan *plan, json_t *const *chunks, const json_t *audio,
                       json_t *const *merges, char *const *keys, json_t **ret)
{
    json_t *outputs = json_array(), *entries = json_array();
    json_t *fallbacks = json_array(), *warnings = json_array();
    bool ok = outputs && entries && fallbacks && warnings;
    json_int_t concealed = 0;
    for (uint32_t i = 0; ok && i < plan->n_warnings; i++)
        ok = json_array_append_new(warnings, json_string(plan->warnings[i])) == 0;
    for (uint32_t i = 0; ok && i < plan->n_chunks; i++) {
        concealed += json_integer_value(json_object_get(chunks[i], "concealed"));
        ok = json_array_append_new(entries, chunk_entry(plan, i, chunks[i])) == 0 &&
             add_new(warnings, json_object_get(chunks[i], "warnings")) == 0 &&
             json_array_extend(fallbacks, json_object_get(chunks[i], "fallbacks")) == 0;
    }
    if (ok)
        ok = add_new(warnings, json_object_get(audio, "warnings")) == 0;
    if (ok && concealed > 0)
        ok = json_array_append_new(
                 warnings, json_sprintf("damage in the source was concealed in %lld place%s",
                                        (long long)concealed, concealed == 1 ? "" : "s")) == 0;
    const char *encoder = common_encoder(plan, chunks);
    for (int i = 0; ok && i < plan->n_renditions; i++)
        ok = json_array_append_new(
                 outputs, output_entry(&plan->renditions[i], merges[i], keys[i], encoder)) == 0 &&
             add_new(warnings, json_object_get(merges[i], "warnings")) == 0;
    json_t *summary =
        ok ? json_pack("{s:O, s:O, s:O, s:O, s:I}", "outputs", outputs, "chunks", entries,
                       "fallbacks", fallbacks, "warnings", warnings, "concealed", concealed)
           : NULL;
    json_decref(outputs);
    json_decref(entries);
    json_decref(fallbacks);
    json_decref(warnings);
    if (!summary)
        return -ENOMEM;
    *ret = summary;
    return 0;
}
