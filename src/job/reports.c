/* SPDX-License-Identifier: MIT */
/*
 * What a slot answers: progress, reports, and the samples that rate control learns from.
 */
#include <errno.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"
#include "lathe/hw.h"
#include "lathe/slot.h"

char *lathe_cut_path(const char *prefix, enum lathe_unit_kind kind, uint32_t index,
                     const struct lathe_plan *plan)
{
    if (kind == LATHE_UNIT_AUDIO)
        return lathe_format("%s.audio.%s", prefix, plan->sound_container);
    return lathe_format("%s.%s_%03u.%s", prefix, lathe_unit_kind_name(kind), index,
                        plan->packets_container);
}

char *lathe_cut_table_path(const char *prefix)
{
    return lathe_format("%s.audio.bin", prefix);
}

static json_t *file_to_json(const struct lathe_cut_file *file)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_text(&out, "kind", lathe_unit_kind_name(file->kind));
    lathe_json_put_int(&out, "index", file->index);
    lathe_json_put(&out, "cut", json_boolean(file->is_cut));
    lathe_json_put_count(&out, "bytes", file->bytes);
    lathe_json_put_text(&out, "sha256", file->sha256);
    json_t *object = NULL;
    lathe_json_out_take(&out, &object);
    return object;
}

int lathe_progress_to_json(const struct lathe_progress *progress, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_text(&out, "type", "progress");
    lathe_json_put_count(&out, "frames", progress->frames);
    lathe_json_put_count(&out, "bytes", progress->bytes);
    if (progress->has_file)
        lathe_json_put(&out, "file", file_to_json(&progress->file));
    return lathe_json_out_take(&out, ret);
}

void lathe_report_finish(struct lathe_report *report)
{
    json_decref(report->body);
    *report = (struct lathe_report){0};
}

static json_t *error_to_json(const struct lathe_error *error)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_int(&out, "code", error->code);
    lathe_json_put_text(&out, "fault", lathe_fault_name(error->fault));
    lathe_json_put(&out, "retriable", json_boolean(error->retriable));
    lathe_json_put_text(&out, "what", error->what);
    lathe_json_put_text(&out, "hint", error->hint);
    if (error->gpu_verdict)
        lathe_json_put_text(&out, "gpu_verdict",
                            lathe_hw_verdict_name((enum lathe_hw_verdict)error->gpu_verdict));
    if (error->gpu_rendition)
        lathe_json_put_int(&out, "gpu_rendition", error->gpu_rendition);
    json_t *object = NULL;
    lathe_json_out_take(&out, &object);
    return object;
}

int lathe_report_to_json(const struct lathe_report *report, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_text(&out, "type", "report");
    lathe_json_put(&out, "ok", json_boolean(report->ok));
    if (report->ok)
        lathe_json_put(&out, "body", json_incref(report->body));
    else
        lathe_json_put(&out, "error", error_to_json(&report->err));
    return lathe_json_out_take(&out, ret);
}

static int read_verdict(struct lathe_json_in *error)
{
    enum lathe_hw_verdict verdict = LATHE_HW_UNTRIED;
    if (lathe_json_in_has(error, "gpu_verdict") &&
        lathe_hw_verdict_from_name(lathe_json_in_name(error, "gpu_verdict"), &verdict) < 0)
        lathe_json_in_fail(error, "\"gpu_verdict\" is no verdict");
    return verdict;
}

static void read_error(struct lathe_json_in *in, struct lathe_error *ret)
{
    struct lathe_json_in error;
    lathe_json_in_init(&error, json_object_get(in->object, "error"), "report.error", in->err);
    ret->code = (int)lathe_json_in_int(&error, "code", INT32_MIN + 1, -1);
    ret->fault = lathe_fault_from_name(lathe_json_in_name(&error, "fault"));
    ret->retriable = lathe_json_in_bool(&error, "retriable");
    lathe_json_in_text(&error, "what", ret->what, sizeof(ret->what));
    lathe_json_in_text(&error, "hint", ret->hint, sizeof(ret->hint));
    ret->gpu_verdict = read_verdict(&error);
    ret->gpu_rendition =
        (int)lathe_json_in_int_or(&error, "gpu_rendition", 0, LATHE_RENDITIONS_MAX, 0);
    in->code = error.code;
}

static void read_report(struct lathe_json_in *in, struct lathe_report *ret)
{
    ret->ok = lathe_json_in_bool(in, "ok");
    if (in->code)
        return;
    if (!ret->ok) {
        read_error(in, &ret->err);
        return;
    }
    json_t *body = json_object_get(in->object, "body");
    if (json_is_object(body))
        ret->body = json_incref(body);
    else
        lathe_json_in_fail(in, "\"body\" is not an object");
}

static void read_file(struct lathe_json_in *in, struct lathe_cut_file *ret)
{
    struct lathe_json_in file;
    lathe_json_in_init(&file, json_object_get(in->object, "file"), "progress.file", in->err);
    const char *name = lathe_json_in_name(&file, "kind");
    int kind = LATHE_UNIT_PILOT;
    while (kind <= LATHE_UNIT_CHUNK &&
           strcmp(name, lathe_unit_kind_name((enum lathe_unit_kind)kind)) != 0)
        kind++;
    if (kind > LATHE_UNIT_CHUNK)
        lathe_json_in_fail(&file, "\"kind\" is no kind of unit");
    ret->kind = (enum lathe_unit_kind)kind;
    ret->index = (uint32_t)lathe_json_in_int(&file, "index", 0, LATHE_UNITS_MAX);
    ret->is_cut = lathe_json_in_bool(&file, "cut");
    ret->bytes = (uint64_t)lathe_json_in_int(&file, "bytes", 0, INT64_MAX);
    lathe_json_in_text(&file, "sha256", ret->sha256, sizeof(ret->sha256));
    size_t hex = strspn(ret->sha256, "0123456789abcdef");
    if (ret->sha256[hex] || (hex != 64 && (hex || ret->is_cut)))
        lathe_json_in_fail(&file, "\"sha256\" is no hash");
    in->code = file.code;
}

int lathe_slot_message_from_json(const json_t *json, struct lathe_slot_message *ret,
                                 struct lathe_error *err)
{
    struct lathe_slot_message message = {0};
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "message of the slot", err);
    const char *type = lathe_json_in_name(&in, "type");
    if (strcmp(type, "progress") == 0) {
        message.type = LATHE_SLOT_PROGRESS;
        message.progress.frames = (uint64_t)lathe_json_in_int(&in, "frames", 0, INT64_MAX);
        message.progress.bytes = (uint64_t)lathe_json_in_int(&in, "bytes", 0, INT64_MAX);
        message.progress.has_file = lathe_json_in_has(&in, "file");
        if (message.progress.has_file)
            read_file(&in, &message.progress.file);
    } else if (strcmp(type, "report") == 0) {
        message.type = LATHE_SLOT_REPORT;
        read_report(&in, &message.report);
    } else {
        lathe_json_in_fail(&in, "unknown type");
    }
    if (in.code) {
        lathe_report_finish(&message.report);
        return in.code;
    }
    *ret = message;
    return 0;
}

int lathe_rate_sample_to_json(const struct lathe_rate_sample *sample, json_t **ret)
{
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_int(&out, "frames", sample->frames);
    lathe_json_put_int(&out, "key_frames", sample->key_frames);
    lathe_json_put_count(&out, "key_bytes", sample->key_bytes);
    lathe_json_put_count(&out, "other_bytes", sample->other_bytes);
    lathe_json_put_real(&out, "quality", sample->quality);
    return lathe_json_out_take(&out, ret);
}

int lathe_rate_sample_from_json(const json_t *json, struct lathe_rate_sample *ret)
{
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "rate sample", NULL);
    struct lathe_rate_sample sample = {
        .frames = (uint32_t)lathe_json_in_int(&in, "frames", 0, UINT32_MAX),
        .key_frames = (uint32_t)lathe_json_in_int(&in, "key_frames", 0, UINT32_MAX),
        .key_bytes = (uint64_t)lathe_json_in_int(&in, "key_bytes", 0, INT64_MAX),
        .other_bytes = (uint64_t)lathe_json_in_int(&in, "other_bytes", 0, INT64_MAX),
        .quality = lathe_json_in_real(&in, "quality", -100, 100),
    };
    if (!in.code && sample.key_frames > sample.frames)
        lathe_json_in_fail(&in, "more key frames than frames");
    if (in.code)
        return in.code;
    *ret = sample;
    return 0;
}
