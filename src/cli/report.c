/* SPDX-License-Identifier: MIT */
/*
 * The report of a run.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "commands.h"
#include "lathe/base.h"
#include "lathe/log.h"
#include "table.h"

struct lathe_cancel *lathe_cli_cancel;
const struct lathe_config *lathe_cli_configuration;

int lathe_cli_complain(const struct lathe_error *err)
{
    if (err->hint[0])
        fprintf(stderr, "lathe: %s (%s)\n", err->what, err->hint);
    else
        fprintf(stderr, "lathe: %s\n", err->what);
    return lathe_error_exit_code(err);
}

static json_t *load_result(struct lathe_agent *agent, const char *job_id, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    if (lathe_state_get(lathe_agent_flow(agent)->state, job_id, &view, err) < 0)
        return NULL;
    json_t *result = view.result ? json_loads(view.result, 0, NULL) : NULL;
    lathe_job_view_clear(&view);
    if (!result)
        lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "the job has no readable result");
    return result;
}

static double cpu_seconds(const struct lathe_usage *children)
{
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return (double)(children->user_us + children->system_us) / 1e6 +
           (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
           (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
}

/* What only this run knows: where the files went, what was done before, what it took. */
static bool add_own(struct lathe_agent *agent, json_t *report,
                    const struct lathe_delivery *deliveries, int count, double wall_seconds)
{
    size_t i;
    json_t *entry;
    bool ok = json_object_set_new(report, "status", json_string("completed")) == 0;
    json_array_foreach (json_object_get(report, "outputs"), i, entry) {
        json_object_del(entry, "key");
        if ((int)i < count)
            ok = ok && json_object_set_new(entry, "path", json_string(deliveries[i].to)) == 0;
    }
    json_array_foreach (json_object_get(report, "chunks"), i, entry) {
        ok = ok &&
             json_object_set_new(entry, "resumed",
                                 json_boolean(lathe_agent_is_resumed(agent, (uint32_t)i))) == 0;
    }
    json_t *retries = lathe_agent_retries(agent);
    json_array_foreach (retries, i, entry) {
        json_t *text = json_sprintf("tried again: %s", json_string_value(entry));
        ok = ok && json_array_append_new(json_object_get(report, "warnings"), text) == 0;
    }
    json_decref(retries);
    struct lathe_pool *pool = lathe_agent_flow(agent)->pool;
    json_t *hardware = lathe_placement_to_json(lathe_agent_flow(agent)->placement);
    ok = ok && json_object_set_new(report, "hardware", hardware) == 0;
    struct lathe_usage usage;
    lathe_pool_cool(pool, 0);
    lathe_pool_usage(pool, &usage);
    return ok && json_object_set_new(report, "wall_seconds", json_real(wall_seconds)) == 0 &&
           json_object_set_new(report, "cpu_seconds", json_real(cpu_seconds(&usage))) == 0 &&
           json_object_set_new(report, "peak_memory_bytes",
                               json_integer((json_int_t)lathe_pool_peak_bytes(pool))) == 0;
}

int lathe_report_build(struct lathe_agent *agent, const char *job_id,
                       const struct lathe_delivery *deliveries, int count, double wall_seconds,
                       json_t **ret, struct lathe_error *err)
{
    struct lathe_error why = {0};
    json_t *report = load_result(agent, job_id, &why);
    if (!report) {
        if (err)
            *err = why;
        return why.code;
    }
    if (!add_own(agent, report, deliveries, count, wall_seconds)) {
        json_decref(report);
        return lathe_error_nomem(err);
    }
    *ret = report;
    return 0;
}

int lathe_report_of_result(const char *job_id, const char *result, double wall_seconds,
                           json_t **ret, struct lathe_error *err)
{
    json_t *report = result ? json_loads(result, 0, NULL) : NULL, *output;
    size_t i;
    if (!json_is_object(report)) {
        json_decref(report);
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "job %s has no readable result",
                               job_id);
    }
    bool ok = json_object_set_new(report, "job_id", json_string(job_id)) == 0 &&
              json_object_set_new(report, "status", json_string("completed")) == 0 &&
              json_object_set_new(report, "wall_seconds", json_real(wall_seconds)) == 0;
    json_array_foreach (json_object_get(report, "outputs"), i, output) {
        _cleanup_free_ char *key =
            lathe_key_output(job_id, json_string_value(json_object_get(output, "rendition")));
        ok = ok && key && json_object_set_new(output, "key", json_string(key)) == 0;
    }
    if (!ok) {
        json_decref(report);
        return lathe_error_nomem(err);
    }
    *ret = report;
    return 0;
}

json_t *lathe_report_failure(const struct lathe_error *err, double wall_seconds)
{
    bool interrupted = err->fault == LATHE_FAULT_INTERRUPTED;
    return json_pack("{s:s, s:f, s:{s:s, s:s, s:i, s:s}}", "status",
                     interrupted ? "interrupted" : "failed", "wall_seconds", wall_seconds, "error",
                     "what", err->what, "hint", err->hint, "code", lathe_error_exit_code(err),
                     "fault", lathe_fault_name(err->fault));
}

int lathe_report_print_json(json_t *report)
{
    if (!report)
        return -1;
    int r = json_dumpf(report, stdout, JSON_INDENT(2));
    return r < 0 || fputc('\n', stdout) == EOF || fflush(stdout) == EOF ? -1 : 0;
}

/* "12 chunks left nvenc on 0 (all on the GPU) for software: hangs, ...": one line a reason. */
static void print_fallbacks(const json_t *list)
{
    static const char *const members[] = {"from", "to", "verdict"};
    size_t i, k;
    json_t *one, *other;
    json_array_foreach (list, i, one) {
        unsigned same = 0;
        bool is_first = true;
        json_array_foreach (list, k, other) {
            bool equal = true;
            for (size_t m = 0; equal && m < LATHE_COUNT(members); m++)
                equal = json_equal(json_object_get(one, members[m]),
                                   json_object_get(other, members[m]));
            is_first = is_first && !(equal && k < i);
            same += equal;
        }
        if (!is_first)
            continue;
        const json_t *from = json_object_get(one, "from"), *to = json_object_get(one, "to");
        lathe_log_warning("%u chunk%s left %s on %s (%s) for %s (%s): %s, %s", same,
                          same == 1 ? "" : "s", json_string_value(json_object_get(from, "encoder")),
                          json_string_value(json_object_get(from, "device")),
                          json_string_value(json_object_get(from, "step")),
                          json_string_value(json_object_get(to, "encoder")),
                          json_string_value(json_object_get(to, "step")),
                          json_string_value(json_object_get(one, "verdict")),
                          json_string_value(json_object_get(one, "reason")));
    }
}

int lathe_report_print_text(const json_t *report)
{
    double wall = json_number_value(json_object_get(report, "wall_seconds"));
    size_t i;
    json_t *output, *warning;
    json_array_foreach (json_object_get(report, "warnings"), i, warning)
        lathe_log_warning("%s", json_string_value(warning));
    print_fallbacks(json_object_get(report, "fallbacks"));
    const json_t *hardware = json_object_get(report, "hardware");
    const char *summary = json_string_value(json_object_get(hardware, "summary"));
    if (summary && summary[0] && json_array_size(json_object_get(hardware, "devices")) == 0)
        printf("encoded in software (%s)\n", summary);
    json_array_foreach (json_object_get(report, "outputs"), i, output) {
        char size[32], time[32], took[32];
        const json_t *path = json_object_get(output, "path"); /* a fleet's has none, only a key */
        double seconds = json_number_value(json_object_get(output, "duration"));
        lathe_size_text(size, sizeof size, json_number_value(json_object_get(output, "bytes")));
        lathe_time_text(time, sizeof time, seconds);
        lathe_time_text(took, sizeof took, wall);
        printf("%s: %lldx%lld, %lld frames, %s, %s, %.0f kbit/s, made in %s (%.1fx)\n",
               json_string_value(path ? path : json_object_get(output, "key")),
               (long long)json_integer_value(json_object_get(output, "width")),
               (long long)json_integer_value(json_object_get(output, "height")),
               (long long)json_integer_value(json_object_get(output, "frames")), time, size,
               json_number_value(json_object_get(output, "bitrate_kbps")), took,
               wall > 0 ? seconds / wall : 0);
    }
    return fflush(stdout) == EOF ? -1 : 0;
}
