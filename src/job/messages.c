/* SPDX-License-Identifier: MIT */
/*
 * Orders, progress and reports as JSON. What the child says is read with the same distrust as a
 * file: it has parsed hostile bytes.
 *
 * The inputs of a merge are one short array each: [path, sha256, frames, first_time].
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"
#include "lathe/slot.h"
#include "plan_limits.h"

enum need {
    NEEDS_SOURCE = 1 << 0,
    NEEDS_PLAN = 1 << 1,
    NEEDS_INDEX = 1 << 2,
    NEEDS_JOB = 1 << 3,
    NEEDS_OUTPUT = 1 << 4,
    NEEDS_INPUTS = 1 << 5,
    NEEDS_GPU = 1 << 6,
    NEEDS_MEDIA = 1 << 7, /* the source, or packets that were cut from it */
};

static const struct {
    const char *name;
    unsigned needs;
} verbs[LATHE_VERB_COUNT] = {
    [LATHE_VERB_SPLIT] = {"split", NEEDS_SOURCE | NEEDS_PLAN | NEEDS_INDEX | NEEDS_JOB},
    [LATHE_VERB_PILOT] = {"pilot", NEEDS_MEDIA | NEEDS_PLAN | NEEDS_INDEX},
    [LATHE_VERB_CHUNK] = {"chunk", NEEDS_MEDIA | NEEDS_PLAN | NEEDS_INDEX | NEEDS_OUTPUT},
    [LATHE_VERB_AUDIO] = {"audio", NEEDS_MEDIA | NEEDS_PLAN | NEEDS_INDEX | NEEDS_OUTPUT},
    [LATHE_VERB_MERGE] = {"merge", NEEDS_PLAN | NEEDS_OUTPUT | NEEDS_INPUTS},
    [LATHE_VERB_INSPECT] = {"inspect", NEEDS_SOURCE},
    [LATHE_VERB_ENCODERS] = {"encoders", 0},
    [LATHE_VERB_PROBE] = {"probe", NEEDS_GPU},
    [LATHE_VERB_CUT] = {"cut", NEEDS_SOURCE | NEEDS_PLAN | NEEDS_INDEX | NEEDS_OUTPUT},
};

const char *lathe_verb_name(enum lathe_verb verb)
{
    return (unsigned)verb < LATHE_VERB_COUNT ? verbs[verb].name : "unknown";
}

void lathe_order_init(struct lathe_order *order)
{
    *order = (struct lathe_order){.verb = LATHE_VERB_SPLIT};
}

void lathe_order_finish(struct lathe_order *order)
{
    free(order->source_path);
    free(order->packets_path);
    free(order->plan_path);
    free(order->index_path);
    free(order->audio_path);
    free(order->gpu_path);
    if (order->job) {
        lathe_job_finish(order->job);
        free(order->job);
    }
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++)
        free(order->out_paths[i]);
    for (uint32_t i = 0; i < order->n_inputs; i++)
        free(order->inputs[i].path);
    free(order->inputs);
    free(order->part_bytes);
    json_decref(order->audio_report);
    *order = (struct lathe_order){.verb = LATHE_VERB_SPLIT};
}

static json_t *rates_to_json(const struct lathe_order *order)
{
    json_t *array = json_array();
    for (int i = 0; i < LATHE_RENDITIONS_MAX && array; i++) {
        struct lathe_json_out out;
        lathe_json_out_init(&out);
        lathe_json_put_real(&out, "quality", order->rates[i].quality);
        lathe_json_put_count(&out, "budget_bytes", order->rates[i].budget_bytes);
        lathe_json_put_count(&out, "expected_bytes", order->rates[i].expected_bytes);
        json_t *object = NULL;
        lathe_json_out_take(&out, &object);
        if (json_array_append_new(array, object) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *out_paths_to_json(const struct lathe_order *order)
{
    json_t *array = json_array();
    for (int i = 0; i < LATHE_RENDITIONS_MAX && order->out_paths[i] && array; i++) {
        if (json_array_append_new(array, lathe_json_path(order->out_paths[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *inputs_to_json(const struct lathe_order *order)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < order->n_inputs && array; i++) {
        const struct lathe_merge_input *input = &order->inputs[i];
        json_t *path = lathe_json_path(input->path);
        json_t *row =
            path ? json_pack("[o, s, I, I]", path, input->sha256,
                             (json_int_t)(input->frames & INT64_MAX), (json_int_t)input->first_time)
                 : NULL;
        if (json_array_append_new(array, row) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *parts_to_json(const struct lathe_order *order)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < order->n_parts && array; i++)
        if (json_array_append_new(array, json_integer((json_int_t)order->part_bytes[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

int lathe_order_to_json(const struct lathe_order *order, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_text(&out, "type", "order");
    lathe_json_put_text(&out, "verb", lathe_verb_name(order->verb));
    lathe_json_put_path(&out, "source_path", order->source_path);
    lathe_json_put_path(&out, "packets_path", order->packets_path);
    lathe_json_put_path(&out, "plan_path", order->plan_path);
    lathe_json_put_path(&out, "index_path", order->index_path);
    if (order->job) {
        json_t *job = NULL;
        int r = lathe_job_to_json(order->job, &job);
        if (r < 0 && !out.code)
            out.code = r;
        lathe_json_put(&out, "job", job);
    }
    lathe_json_put_int(&out, "index", order->index);
    lathe_json_put(&out, "rates", rates_to_json(order));
    lathe_json_put(&out, "out_paths", out_paths_to_json(order));
    lathe_json_put(&out, "inputs", inputs_to_json(order));
    lathe_json_put_path(&out, "audio_path", order->audio_path);
    if (order->n_parts)
        lathe_json_put(&out, "part_bytes", parts_to_json(order));
    if (order->gpu_family != LATHE_ENCODER_AUTO) {
        lathe_json_put_text(&out, "gpu_family", lathe_encoder_name(order->gpu_family));
        lathe_json_put_path(&out, "gpu_path", order->gpu_path);
        lathe_json_put_int(&out, "probe_trials", order->probe_trials);
        lathe_json_put_int(&out, "gpu_step", order->gpu_step);
        lathe_json_put_int(&out, "gpu_features", order->gpu_features);
    }
    if (order->audio_report)
        lathe_json_put(&out, "audio_report", json_incref(order->audio_report));
    return lathe_json_out_take(&out, ret);
}

static void read_rates(struct lathe_json_in *in, struct lathe_order *order)
{
    const json_t *array = lathe_json_in_array(in, "rates", 0, LATHE_RENDITIONS_MAX);
    for (size_t i = 0; i < json_array_size(array) && !in->code; i++) {
        struct lathe_json_in rate;
        lathe_json_in_init(&rate, json_array_get(array, i), "order.rates", in->err);
        order->rates[i].quality = lathe_json_in_real(&rate, "quality", -100, 100);
        order->rates[i].budget_bytes =
            (uint64_t)lathe_json_in_int(&rate, "budget_bytes", 0, INT64_MAX);
        order->rates[i].expected_bytes =
            (uint64_t)lathe_json_in_int_or(&rate, "expected_bytes", 0, INT64_MAX, 0);
        in->code = rate.code;
    }
}

static void read_out_paths(struct lathe_json_in *in, struct lathe_order *order)
{
    const json_t *array = lathe_json_in_array(in, "out_paths", 0, LATHE_RENDITIONS_MAX);
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (lathe_json_path_read(json_array_get(array, i), PATH_MAX - 1, &order->out_paths[i]) < 0)
            lathe_json_in_fail(in, "\"out_paths\" holds something that is not a file name");
    }
}

static bool is_sha256(const char *text)
{
    size_t length = strspn(text, "0123456789abcdef");
    return text[length] == '\0' && (length == 64 || length == 0);
}

static bool read_input(const json_t *row, struct lathe_merge_input *ret)
{
    const json_t *frames = json_array_get(row, 2), *first_time = json_array_get(row, 3);
    if (json_array_size(row) != 4 || !json_is_integer(frames) || json_integer_value(frames) < 0 ||
        !json_is_integer(first_time))
        return false;
    if (lathe_json_text_read(json_array_get(row, 1), ret->sha256, sizeof(ret->sha256)) < 0 ||
        !is_sha256(ret->sha256))
        return false;
    ret->frames = (uint64_t)json_integer_value(frames);
    ret->first_time = json_integer_value(first_time);
    return lathe_json_path_read(json_array_get(row, 0), PATH_MAX - 1, &ret->path) == 0;
}

static void read_inputs(struct lathe_json_in *in, struct lathe_order *order)
{
    const json_t *array = lathe_json_in_array(in, "inputs", 0, LATHE_PLAN_CHUNKS_MAX);
    size_t count = json_array_size(array);
    if (count == 0)
        return;
    order->inputs = calloc(count, sizeof(*order->inputs));
    if (!order->inputs) {
        in->code = lathe_error_nomem(in->err);
        return;
    }
    for (; order->n_inputs < count; order->n_inputs++) {
        if (!read_input(json_array_get(array, order->n_inputs), &order->inputs[order->n_inputs])) {
            lathe_json_in_fail(in, "input %u is malformed", order->n_inputs);
            return;
        }
    }
}

static void read_parts(struct lathe_json_in *in, struct lathe_order *order)
{
    const json_t *array = lathe_json_in_array(in, "part_bytes", 1, LATHE_PLAN_CHUNKS_MAX);
    size_t count = json_array_size(array);
    order->part_bytes = count ? calloc(count, sizeof(*order->part_bytes)) : NULL;
    if (count && !order->part_bytes)
        in->code = lathe_error_nomem(in->err);
    for (size_t i = 0; i < count && !in->code; i++) {
        const json_t *bytes = json_array_get(array, i);
        if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
            lathe_json_in_fail(in, "\"part_bytes\" holds something that is no size");
        else
            order->part_bytes[order->n_parts++] = (uint64_t)json_integer_value(bytes);
    }
}

static void read_verb(struct lathe_json_in *in, struct lathe_order *order)
{
    const char *name = lathe_json_in_name(in, "verb");
    for (int i = 0; i < LATHE_VERB_COUNT; i++) {
        if (strcmp(name, verbs[i].name) == 0) {
            order->verb = (enum lathe_verb)i;
            return;
        }
    }
    lathe_json_in_fail(in, "unknown verb");
}

static void read_gpu(struct lathe_json_in *in, struct lathe_order *order)
{
    if (!lathe_json_in_has(in, "gpu_family"))
        return;
    if (lathe_encoder_from_name(lathe_json_in_name(in, "gpu_family"), &order->gpu_family) < 0 ||
        order->gpu_family == LATHE_ENCODER_SOFTWARE)
        lathe_json_in_fail(in, "\"gpu_family\" is no kind of GPU");
    order->gpu_path = lathe_json_in_path(in, "gpu_path", PATH_MAX - 1);
    order->probe_trials = (uint32_t)lathe_json_in_int_or(in, "probe_trials", 0, UINT32_MAX, 0);
    order->gpu_step = (enum lathe_ladder_step)lathe_json_in_int_or(in, "gpu_step", LATHE_STEP_NONE,
                                                                   LATHE_STEP_ALL_SOFTWARE, 0);
    order->gpu_features =
        (unsigned)lathe_json_in_int_or(in, "gpu_features", 0, LATHE_HW_FEATURES_ALL, 0);
}

static void check_needs(struct lathe_json_in *in, const struct lathe_order *order)
{
    unsigned have = (order->source_path ? NEEDS_SOURCE | NEEDS_MEDIA : 0u) |
                    (order->packets_path ? NEEDS_MEDIA : 0u) |
                    (order->plan_path ? NEEDS_PLAN : 0u) | (order->index_path ? NEEDS_INDEX : 0u) |
                    (order->job ? NEEDS_JOB : 0u) | (order->out_paths[0] ? NEEDS_OUTPUT : 0u) |
                    (order->n_inputs > 0 ? NEEDS_INPUTS : 0u) |
                    (order->gpu_family != LATHE_ENCODER_AUTO ? NEEDS_GPU : 0u);
    if (verbs[order->verb].needs & ~have)
        lathe_json_in_fail(in, "%s lacks something that it needs", lathe_verb_name(order->verb));
}

static int read_order(const json_t *json, struct lathe_order *order, struct lathe_error *err)
{
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "order", err);
    if (strcmp(lathe_json_in_name(&in, "type"), "order") != 0)
        lathe_json_in_fail(&in, "this is no order");
    read_verb(&in, order);
    order->source_path = lathe_json_in_path(&in, "source_path", PATH_MAX - 1);
    order->packets_path = lathe_json_in_path(&in, "packets_path", PATH_MAX - 1);
    order->plan_path = lathe_json_in_path(&in, "plan_path", PATH_MAX - 1);
    order->index_path = lathe_json_in_path(&in, "index_path", PATH_MAX - 1);
    order->audio_path = lathe_json_in_path(&in, "audio_path", PATH_MAX - 1);
    order->index = (uint32_t)lathe_json_in_int_or(&in, "index", 0, UINT32_MAX, 0);
    if (lathe_json_in_has(&in, "rates"))
        read_rates(&in, order);
    if (lathe_json_in_has(&in, "out_paths"))
        read_out_paths(&in, order);
    if (lathe_json_in_has(&in, "part_bytes"))
        read_parts(&in, order);
    if (lathe_json_in_has(&in, "inputs"))
        read_inputs(&in, order);
    read_gpu(&in, order);
    if (lathe_json_in_has(&in, "audio_report")) {
        order->audio_report = json_incref(json_object_get(json, "audio_report"));
        if (!json_is_object(order->audio_report))
            lathe_json_in_fail(&in, "\"audio_report\" is not an object");
    }
    if (lathe_json_in_has(&in, "job")) {
        struct lathe_job *job = malloc(sizeof(*job));
        if (!job)
            return lathe_error_nomem(err);
        int r = lathe_job_from_json(json_object_get(json, "job"), job, err);
        if (r < 0) {
            free(job);
            return r;
        }
        order->job = job;
    }
    if (!in.code)
        check_needs(&in, order);
    return in.code;
}

int lathe_order_from_json(const json_t *json, struct lathe_order *ret, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    int r = read_order(json, &order, err);
    if (r < 0) {
        lathe_order_finish(&order);
        return r;
    }
    *ret = order;
    return 0;
}
