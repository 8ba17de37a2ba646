/* SPDX-License-Identifier: MIT */
/*
 * What the state knows, for programs and for people. Records of jobs and workers come from others:
 * every member may be missing.
 */
#include "jobs_view.h"

#include <string.h>
#include <time.h>

#include "lathe/base.h"
#include "table.h"

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* A JSON text of a record or a result; null where it is none. */
static json_t *parsed(const char *text)
{
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    return json ? json : json_null();
}

json_t *lathe_time_json(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    char text[32];
    if (wall_us <= 0 || !gmtime_r(&seconds, &tm) ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return json_null();
    return json_string(text);
}

void lathe_age_text(char *text, size_t size, int64_t wall_us, int64_t now_us)
{
    if (wall_us <= 0)
        snprintf(text, size, "-");
    else if (now_us - wall_us < 1000000)
        snprintf(text, size, "now");
    else
        lathe_time_text(text, size, (double)(now_us - wall_us) / 1e6);
}

/* --- jobs --- */

json_t *lathe_job_json(const struct lathe_job_view *view)
{
    return json_pack(
        "{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "job_id",
        view->id, "status", lathe_job_status_name(view->status), "priority", view->priority,
        "epoch", (json_int_t)view->epoch, "total_chunks", (json_int_t)view->total_chunks,
        "completed_chunks", (json_int_t)view->completed_chunks, "total_units",
        (json_int_t)view->total_units, "completed_units", (json_int_t)view->completed_units,
        "created", lathe_time_json(view->created_us), "updated", lathe_time_json(view->updated_us),
        "finished", lathe_time_json(view->finished_us), "error", text_or_null(view->error),
        "replanned", text_or_null(view->replan), "request", parsed(view->record));
}

/* What the source was called, or the last part of its key. */
static const char *source_of(const json_t *record)
{
    const char *name = json_string_value(json_object_get(record, "source_name"));
    if (name)
        return name;
    const char *key = json_string_value(json_object_get(record, "source_key"));
    const char *slash = key ? strrchr(key, '/') : NULL;
    return slash ? slash + 1 : key ? key : "-";
}

static void progress_text(char *text, size_t size, const struct lathe_job_view *view)
{
    if (view->total_chunks == 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, "%u/%u", view->completed_chunks, view->total_chunks);
}

json_t *lathe_job_row(const struct lathe_job_view *view, int64_t now_us)
{
    char chunks[32], age[32], took[32] = "-";
    progress_text(chunks, sizeof chunks, view);
    lathe_age_text(age, sizeof age, view->created_us, now_us);
    if (view->finished_us > 0)
        lathe_age_text(took, sizeof took, view->created_us, view->finished_us);
    json_t *record = parsed(view->record);
    json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s}", "JOB", view->id, "STATUS",
                            lathe_job_status_name(view->status), "CHUNKS", chunks, "PRIORITY",
                            view->priority, "AGE", age, "TOOK", took, "SOURCE", source_of(record));
    json_decref(record);
    return row;
}

/* --- units --- */

json_t *lathe_unit_json(const struct lathe_unit_view *view)
{
    bool is_unit = view->unit != LATHE_UNIT_SPLIT && view->unit != LATHE_UNIT_MERGE;
    const char *kind = is_unit                          ? lathe_unit_kind_name(view->what.kind)
                       : view->unit == LATHE_UNIT_SPLIT ? "split"
                                                        : "merge";
    bool is_leased = view->state == LATHE_UNIT_IS_LEASED;
    return json_pack(
        "{s:s, s:I, s:s, s:b, s:I, s:I, s:o, s:o, s:b, s:o, s:o}", "kind", kind, "index",
        (json_int_t)view->what.index, "state", lathe_unit_state_name(view->state),
        "waits_for_object", (int)view->what.needs_object, "failures", (json_int_t)view->failures,
        "deaths", (json_int_t)view->deaths, "worker", text_or_null(view->owner), "since",
        lathe_time_json(view->leased_us), "stale", (int)(is_leased && view->lease_left_ms <= 0),
        "error", text_or_null(view->error), "result", parsed(view->result));
}

/* "h264_nvenc on 0 (3 tries)": what a chunk was encoded with, and what kept it from going at once.
 */
static char *note_of(const struct lathe_unit_view *view, const json_t *result)
{
    size_t fallbacks = json_array_size(json_object_get(result, "fallbacks"));
    const char *reason = json_string_value(json_object_get(
        json_array_get(json_object_get(result, "fallbacks"), fallbacks - 1), "reason"));
    if (view->error)
        return strdup(view->error);
    if (fallbacks > 0)
        return lathe_format("fell back: %s", reason ? reason : "no reason was given");
    if (view->what.needs_object && view->state == LATHE_UNIT_IS_BLOCKED)
        return strdup("is not cut yet");
    return strdup("");
}

json_t *lathe_unit_row(const struct lathe_unit_view *view, int64_t now_us)
{
    char name[64], since[32], tries[48];
    bool is_stale = view->state == LATHE_UNIT_IS_LEASED && view->lease_left_ms <= 0;
    lathe_unit_describe(view->unit, &view->what, name, sizeof name);
    lathe_age_text(since, sizeof since, view->leased_us, now_us);
    snprintf(tries, sizeof tries, "%u",
             view->failures + view->deaths +
                 (view->state == LATHE_UNIT_IS_DONE || view->state == LATHE_UNIT_IS_LEASED ||
                  (view->state == LATHE_UNIT_IS_CLOSED && view->error))); /* ended the job */
    json_t *result = parsed(view->result);
    const char *encoder = json_string_value(json_object_get(result, "encoder"));
    _cleanup_free_ char *device = lathe_value_text(json_object_get(result, "device"));
    bool has_device =
        json_object_get(result, "device") && !json_is_null(json_object_get(result, "device"));
    _cleanup_free_ char *with = !encoder ? strdup("-")
                                : has_device
                                    ? lathe_format("%s on %s", encoder, device ? device : "?")
                                    : strdup(encoder);
    _cleanup_free_ char *note = note_of(view, result);
    json_decref(result);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "UNIT", name, "STATE",
                     is_stale ? "stale" : lathe_unit_state_name(view->state), "TRIES", tries,
                     "ENCODER", with ? with : "", "WORKER", view->owner ? view->owner : "-", "FOR",
                     since, "NOTE", note ? note : "");
}

/* --- workers --- */

json_t *lathe_worker_json(const struct lathe_worker_view *view)
{
    return json_pack("{s:s, s:s, s:b, s:o, s:o}", "worker", view->name, "host", view->host,
                     "draining", (int)view->drain, "seen", lathe_time_json(view->seen_us), "record",
                     parsed(view->record));
}

int64_t lathe_worker_slots(const json_t *worker, size_t *ret_busy)
{
    const json_t *record = json_object_get(worker, "record");
    *ret_busy = json_array_size(json_object_get(record, "work"));
    return json_integer_value(json_object_get(record, "slots"));
}

/* "unit 3 of ...0e8a7b6c, merge of ...": what a worker does; ids that sort by time differ at their
 * ends. */
static char *work_of(const json_t *record)
{
    char *text = NULL;
    size_t size = 0, i;
    json_t *one;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    json_array_foreach (json_object_get(record, "work"), i, one) {
        const char *id = json_string_value(json_object_get(one, "job_id"));
        json_int_t unit = json_integer_value(json_object_get(one, "unit"));
        size_t length = id ? strlen(id) : 0;
        char name[32];
        if (unit == LATHE_UNIT_SPLIT || unit == LATHE_UNIT_MERGE)
            snprintf(name, sizeof name, "%s", unit == LATHE_UNIT_SPLIT ? "split" : "merge");
        else
            snprintf(name, sizeof name, "unit %lld", (long long)unit);
        fprintf(f, "%s%s of ...%s", i ? ", " : "", name,
                id ? id + (length > 8 ? length - 8 : 0) : "?");
    }
    if (fclose(f) == EOF) {
        free(text);
        return NULL;
    }
    return text;
}

json_t *lathe_worker_row(const struct lathe_worker_view *view, int64_t now_us)
{
    json_t *worker = lathe_worker_json(view);
    const json_t *record = json_object_get(worker, "record");
    size_t busy = 0, i;
    long long slots = (long long)lathe_worker_slots(worker, &busy);
    char load[48], seen[32], devices[128] = "";
    snprintf(load, sizeof load, "%zu/%lld", busy, slots);
    lathe_age_text(seen, sizeof seen, view->seen_us, now_us);
    json_t *one;
    json_array_foreach (json_object_get(record, "devices"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        size_t n = strlen(devices);
        snprintf(devices + n, sizeof devices - n, "%s%s", i ? ", " : "", name ? name : "?");
    }
    const char *version = json_string_value(json_object_get(record, "version"));
    _cleanup_free_ char *work = work_of(record);
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "HOST", view->host, "WORKER",
                            view->name, "VERSION", version ? version : "-", "BUSY", load, "SEEN",
                            seen, "DEVICES", devices[0] ? devices : "software", "WORK",
                            view->drain     ? "draining"
                            : work && *work ? work
                                            : "-");
    json_decref(worker);
    return row;
}
