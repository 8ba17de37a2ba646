/* SPDX-License-Identifier: MIT */
/*
 * Bodies of reports. They come from a process that parses hostile bytes, so each member is checked
 * before anything is decided from it; results read back from the state pass the same door.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

static int wrong(struct lathe_error *err, const char *member)
{
    return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                           "lathe-slot reported no valid \"%s\"", member);
}

static int get_count(const json_t *json, const char *name, uint64_t *ret, struct lathe_error *err)
{
    const json_t *value = json_object_get(json, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong(err, name);
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

static int get_sha256(const json_t *json, char ret[65], struct lathe_error *err)
{
    const char *text = json_string_value(json_object_get(json, "sha256"));
    if (!text || strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64)
        return wrong(err, "sha256");
    memcpy(ret, text, 65);
    return 0;
}

int lathe_flow_parse_file(const json_t *body, uint64_t *ret_bytes, char ret_sha256[65],
                          struct lathe_error *err)
{
    int r = get_count(body, "bytes", ret_bytes, err);
    return r < 0 ? r : get_sha256(body, ret_sha256, err);
}

int lathe_flow_parse_samples(const json_t *body, int n_renditions, struct lathe_rate_sample *ret,
                             struct lathe_error *err)
{
    const json_t *list = json_object_get(body, "renditions");
    if (!json_is_array(list) || json_array_size(list) != (size_t)n_renditions)
        return wrong(err, "renditions");
    for (int i = 0; i < n_renditions; i++)
        if (lathe_rate_sample_from_json(json_array_get(list, (size_t)i), &ret[i]) < 0)
            return wrong(err, "renditions");
    return 0;
}

int lathe_flow_parse_chunk(const json_t *body, int n_renditions, struct lathe_chunk_result *ret,
                           struct lathe_error *err)
{
    struct lathe_chunk_result c = {0};
    int r = get_count(body, "frames", &c.frames, err);
    if (r < 0)
        return r;
    const json_t *first_time = json_object_get(body, "first_time");
    if (!json_is_integer(first_time))
        return wrong(err, "first_time");
    c.first_time = json_integer_value(first_time);
    json_int_t plan_chunks = json_integer_value(json_object_get(body, "plan_chunks"));
    c.plan_chunks = plan_chunks > 0 && plan_chunks <= UINT32_MAX ? (uint32_t)plan_chunks : 0;
    c.head_hash = json_string_value(json_object_get(body, "head_hash"));
    c.tail_hash = json_string_value(json_object_get(body, "tail_hash"));

    const json_t *list = json_object_get(body, "renditions");
    const json_t *keys = json_object_get(body, "keys");
    if (!json_is_array(list) || json_array_size(list) != (size_t)n_renditions)
        return wrong(err, "renditions");
    for (int i = 0; i < n_renditions; i++) {
        const json_t *one = json_array_get(list, (size_t)i);
        r = lathe_flow_parse_file(one, &c.renditions[i].bytes, c.renditions[i].sha256, err);
        if (r < 0)
            return r;
        if (lathe_rate_sample_from_json(json_object_get(one, "rate"), &c.renditions[i].rate) < 0)
            return wrong(err, "rate");
        c.renditions[i].key = json_string_value(json_array_get(keys, (size_t)i));
    }
    *ret = c;
    return 0;
}
