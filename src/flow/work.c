/* SPDX-License-Identifier: MIT */
/*
 * What the steps do, counted for Prometheus and told to whoever watches.
 */
#include "flow.h"

#include <string.h>

#include "lathe/metrics.h"

const char *lathe_task_name(enum lathe_task task)
{
    static const char *const names[] = {"split", "pilot", "audio", "chunk", "merge"};
    return (size_t)task < LATHE_COUNT(names) ? names[task] : "unknown";
}

static double seconds_since(int64_t wall_us)
{
    double seconds = (double)(lathe_clock_wall_us() - wall_us) / 1e6;
    return wall_us > 0 && seconds > 0 ? seconds : 0;
}

void lathe_flow_begin(struct lathe_flow *flow, struct lathe_flow_work *work)
{
    const char *const labels[] = {lathe_task_name(work->task)};
    work->began_us = lathe_clock_monotonic_us();
    lathe_metrics_add(LATHE_METRIC_TASKS_STARTED, labels, 1);
    lathe_metrics_add(LATHE_METRIC_TASKS_RUNNING, labels, 1);
    if (flow->sink.started)
        flow->sink.started(flow->sink.opaque, work->job_id, work->unit);
    if (flow->sink.begun)
        flow->sink.begun(flow->sink.opaque, work);
}

void lathe_flow_leave(const struct lathe_flow_work *work)
{
    lathe_metrics_add(LATHE_METRIC_TASKS_RUNNING, LATHE_LABELS(lathe_task_name(work->task)), -1);
}

/* As lathe_device_info calls it. The encoder's family is the device's, unless software encodes what
 * a GPU decoded: CUDA has numbers, VA-API has paths. */
static void name_device(const json_t *encoder, const json_t *path, char ret[160])
{
    const char *family = json_string_value(encoder), *text = json_string_value(path);
    const char *software = lathe_encoder_name(LATHE_ENCODER_SOFTWARE);
    if (!text)
        snprintf(ret, 160, "%s", software);
    else if (family && strcmp(family, software) != 0)
        snprintf(ret, 160, "%s:%s", family, text);
    else
        snprintf(ret, 160, "%s:%s", text[0] == '/' ? "vaapi" : "nvenc", text);
}

static void count_chunk(const json_t *result)
{
    char device[160];
    const json_t *family = json_object_get(result, "family");
    const char *name = json_string_value(family);
    bool on_gpu = name && strcmp(name, lathe_encoder_name(LATHE_ENCODER_SOFTWARE)) != 0;
    name_device(family, on_gpu ? json_object_get(result, "device") : NULL, device);
    double bytes = 0;
    size_t i;
    const json_t *rendition;
    json_array_foreach (json_object_get(result, "renditions"), i, rendition)
        bytes += json_number_value(json_object_get(rendition, "bytes"));
    lathe_metrics_add(LATHE_METRIC_ENCODED_FRAMES, LATHE_LABELS(device),
                      json_number_value(json_object_get(result, "frames")));
    lathe_metrics_add(LATHE_METRIC_ENCODED_BYTES, LATHE_LABELS(device), bytes);
}

void lathe_flow_done(struct lathe_flow *flow, const struct lathe_flow_work *work,
                     const json_t *result)
{
    const char *const labels[] = {lathe_task_name(work->task)};
    lathe_metrics_add(LATHE_METRIC_TASKS_FINISHED, labels, 1);
    lathe_metrics_observe(LATHE_METRIC_TASK_DURATION, labels,
                          (double)(lathe_clock_monotonic_us() - work->began_us) / 1e6);
    lathe_metrics_set(LATHE_METRIC_TASK_LAST_FINISHED, labels, (double)lathe_clock_wall_us() / 1e6);
    if (work->task == LATHE_TASK_CHUNK)
        count_chunk(result);
    if (flow->sink.done)
        flow->sink.done(flow->sink.opaque, work->job_id, work->unit);
    if (flow->sink.ended)
        flow->sink.ended(flow->sink.opaque, work, result, NULL, LATHE_DONE);
}

void lathe_flow_failed(struct lathe_flow *flow, const struct lathe_flow_work *work,
                       const struct lathe_error *why, enum lathe_verdict verdict)
{
    const char *const labels[] = {lathe_task_name(work->task), lathe_fault_name(why->fault)};
    lathe_metrics_add(LATHE_METRIC_TASK_FAILURES, labels, 1);
    if (verdict == LATHE_RETRY)
        lathe_metrics_add(LATHE_METRIC_TASK_RETRIES, labels, 1);
    else if (verdict == LATHE_EXHAUSTED)
        lathe_metrics_add(LATHE_METRIC_JOBS_FAILED, LATHE_LABELS(labels[1]), 1);
    if (flow->sink.failed)
        flow->sink.failed(flow->sink.opaque, work->job_id, work->unit, why, verdict);
    if (flow->sink.ended)
        flow->sink.ended(flow->sink.opaque, work, NULL, why, verdict);
}

void lathe_flow_count_wait(const struct lathe_flow_job *fj)
{
    lathe_metrics_observe(LATHE_METRIC_JOB_QUEUE_WAIT, NULL, seconds_since(fj->created_us));
}

void lathe_flow_count_job(const struct lathe_flow_job *fj, const json_t *summary)
{
    double bytes = 0;
    size_t i;
    const json_t *output;
    json_array_foreach (json_object_get(summary, "outputs"), i, output)
        bytes += json_number_value(json_object_get(output, "bytes"));
    lathe_metrics_add(LATHE_METRIC_OUTPUT_BYTES, NULL, bytes);
    lathe_metrics_add(LATHE_METRIC_JOBS_FINISHED, NULL, 1);
    lathe_metrics_observe(LATHE_METRIC_JOB_DURATION, NULL, seconds_since(fj->created_us));
    lathe_metrics_set(LATHE_METRIC_JOB_LAST_SUCCESS, NULL, (double)lathe_clock_wall_us() / 1e6);
}

void lathe_flow_count_fallback(const json_t *fallback)
{
    const json_t *from = json_object_get(fallback, "from");
    const char *verdict = json_string_value(json_object_get(fallback, "verdict"));
    char device[160];
    name_device(json_object_get(from, "encoder"), json_object_get(from, "device"), device);
    lathe_metrics_add(LATHE_METRIC_FALLBACKS, LATHE_LABELS(device, verdict ? verdict : "unknown"),
                      1);
}

/* A slot's count begins anew with each order. */
int lathe_flow_meter_tick(void *opaque, const struct lathe_progress *progress)
{
    struct lathe_flow_meter *meter = opaque;
    const struct lathe_flow_sink *sink = &meter->flow->sink;
    if (progress->frames > meter->frames)
        lathe_metrics_add(LATHE_METRIC_PROCESSED_FRAMES, LATHE_LABELS(lathe_task_name(meter->task)),
                          (double)(progress->frames - meter->frames));
    meter->frames = progress->frames;
    if (sink->progress)
        sink->progress(sink->opaque, meter->job_id, meter->unit, progress);
    return 0;
}
