/* SPDX-License-Identifier: MIT */
/*
 * What a worker does, in its log. Levels by consequence: what is tried again is a warning, what
 * ends a job an error; milestones of a job are info, as are its chunks.
 */
#include <string.h>

#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/log.h"

static struct lathe_log_fields fields_of(const struct lathe_flow_work *work)
{
    bool numbered = work->task == LATHE_TASK_CHUNK || work->task == LATHE_TASK_PILOT;
    return (struct lathe_log_fields){.job = work->job_id,
                                     .task = lathe_task_name(work->task),
                                     .chunk = numbered ? (long long)work->index : -1,
                                     .attempt = work->attempt ? (long long)work->attempt : -1};
}

static double seconds_of(const struct lathe_flow_work *work)
{
    return (double)(lathe_clock_monotonic_us() - work->began_us) / 1e6;
}

static void log_fallbacks(struct lathe_log_fields fields, const json_t *result)
{
    size_t i;
    const json_t *one;
    json_array_foreach (json_object_get(result, "fallbacks"), i, one) {
        const json_t *from = json_object_get(one, "from");
        const char *encoder = json_string_value(json_object_get(from, "encoder"));
        const char *verdict = json_string_value(json_object_get(one, "verdict"));
        const char *reason = json_string_value(json_object_get(one, "reason"));
        fields.device = json_string_value(json_object_get(from, "device"));
        lathe_log_event(LATHE_LOG_WARNING, &fields, "left %s %s: %s, %s", encoder ? encoder : "?",
                        fields.device ? fields.device : "", verdict ? verdict : "?",
                        reason ? reason : "no reason is known");
    }
}

static void log_done(const struct lathe_flow_work *work, const json_t *result)
{
    struct lathe_log_fields fields = fields_of(work);
    if (work->task != LATHE_TASK_CHUNK) {
        lathe_log_event(work->task == LATHE_TASK_PILOT ? LATHE_LOG_DEBUG : LATHE_LOG_INFO, &fields,
                        work->task == LATHE_TASK_MERGE ? "the job is completed; %.1f s"
                                                       : "done; %.1f s",
                        seconds_of(work));
        return;
    }
    log_fallbacks(fields, result);
    const char *encoder = json_string_value(json_object_get(result, "encoder"));
    fields.device = json_string_value(json_object_get(result, "device"));
    lathe_log_event(LATHE_LOG_INFO, &fields, "done; %lld frames by %s in %.1f s",
                    (long long)json_integer_value(json_object_get(result, "frames")),
                    encoder ? encoder : "?", seconds_of(work));
}

static void begun(void *opaque, const struct lathe_flow_work *work)
{
    (void)opaque;
    struct lathe_log_fields fields = fields_of(work);
    lathe_log_event(LATHE_LOG_DEBUG, &fields, "begins");
}

static void ended(void *opaque, const struct lathe_flow_work *work, const json_t *result,
                  const struct lathe_error *why, enum lathe_verdict verdict)
{
    (void)opaque;
    struct lathe_log_fields fields = fields_of(work);
    if (!why)
        log_done(work, result);
    else if (verdict == LATHE_EXHAUSTED)
        lathe_log_event(LATHE_LOG_ERROR, &fields, "the job fails: %s", why->what);
    else if (verdict == LATHE_RETRY)
        lathe_log_event(LATHE_LOG_WARNING, &fields, "to be tried again: %s", why->what);
    else /* somebody else has done it, or the job has ended */
        lathe_log_event(LATHE_LOG_INFO, &fields, "failed, which no longer matters: %s", why->what);
}

void lathe_agent_log_events(struct lathe_flow_sink *sink)
{
    sink->begun = begun;
    sink->ended = ended;
}
