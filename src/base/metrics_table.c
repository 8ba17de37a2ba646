/* SPDX-License-Identifier: MIT */
/*
 * Every metric there is. Names and labels are a promise to dashboards and alerts: see
 * docs/metrics.md, which is made from this table (tests/docs_metrics.sh).
 */
#include "lathe/base.h"
#include "lathe/metrics.h"

static const double task_seconds[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600, 1800};
static const double job_seconds[] = {5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600};
static const double wait_seconds[] = {0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200};
static const double request_seconds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 120};

#define COUNTER(m, text, unit_, help_, ...)                                                        \
    [LATHE_METRIC_##                                                                               \
        m] = {.name = (text), LATHE_METRIC_COUNTER, (unit_), {__VA_ARGS__}, NULL, 0, help_}
#define GAUGE(m, text, unit_, help_, ...)                                                          \
    [LATHE_METRIC_##                                                                               \
        m] = {.name = (text), LATHE_METRIC_GAUGE, (unit_), {__VA_ARGS__}, NULL, 0, help_}
#define HISTOGRAM(m, text, bounds_, help_, ...)                                                    \
    [LATHE_METRIC_##m] = {.name = (text),                                                          \
                          LATHE_METRIC_HISTOGRAM,                                                  \
                          "seconds",                                                               \
                          {__VA_ARGS__},                                                           \
                          (bounds_),                                                               \
                          LATHE_COUNT(bounds_),                                                    \
                          help_}

const struct lathe_metric_family lathe_metric_families[LATHE_METRIC_COUNT] = {
    GAUGE(BUILD_INFO, "lathe_build_info", "", "Always 1; the version is in the label.", "version"),

    GAUGE(JOBS, "lathe_jobs", "",
          "Jobs that have not ended, by status; each worker reports the same, so take the maximum.",
          "status"),
    COUNTER(JOBS_SUBMITTED, "lathe_jobs_submitted_total", "",
            "Jobs accepted by this worker's door.", NULL),
    COUNTER(JOBS_FINISHED, "lathe_jobs_finished_total", "",
            "Jobs completed, counted by the worker that committed the result.", NULL),
    COUNTER(JOBS_FAILED, "lathe_jobs_failed_total", "",
            "Jobs that failed, by whose fault, counted by the worker that saw the last attempt.",
            "reason"),
    HISTOGRAM(JOB_DURATION, "lathe_job_duration_seconds", job_seconds,
              "From submission to the committed result.", NULL),
    HISTOGRAM(JOB_QUEUE_WAIT, "lathe_job_queue_wait_seconds", wait_seconds,
              "From submission to the begin of the first work.", NULL),
    GAUGE(JOB_LAST_SUCCESS, "lathe_last_job_success_timestamp_seconds", "seconds",
          "When this worker last completed a job, seconds since 1970.", NULL),
    GAUGE(QUEUE_OLDEST_AGE, "lathe_queue_oldest_job_age_seconds", "seconds",
          "Age of the oldest job that nobody has begun; 0 when there is none.", NULL),

    COUNTER(TASKS_STARTED, "lathe_tasks_started_total", "", "Tasks begun.", "task"),
    COUNTER(TASKS_FINISHED, "lathe_tasks_finished_total", "", "Tasks done.", "task"),
    GAUGE(TASKS_RUNNING, "lathe_tasks_running", "", "Tasks being worked on.", "task"),
    COUNTER(TASK_FAILURES, "lathe_task_failures_total", "", "Attempts that failed, by whose fault.",
            "task", "reason"),
    COUNTER(TASK_RETRIES, "lathe_task_retries_total", "",
            "Attempts that failed and are tried again.", "task"),
    COUNTER(TASKS_REOPENED, "lathe_tasks_reopened_total", "",
            "Finished tasks that turned out to be unusable and are done again.", NULL),
    HISTOGRAM(TASK_DURATION, "lathe_task_duration_seconds", task_seconds,
              "From the claim of a task to its completion.", "task"),
    GAUGE(TASK_LAST_FINISHED, "lathe_task_last_finished_timestamp_seconds", "seconds",
          "When a task was last done, seconds since 1970.", "task"),

    GAUGE(WORKER_SLOTS, "lathe_worker_slots", "", "Processes that may work at once in software.",
          NULL),
    GAUGE(WORKER_SLOTS_STUCK, "lathe_worker_slots_stuck", "",
          "Processes that were killed and do not end: stuck in the kernel.", NULL),
    GAUGE(WORKER_DRAINING, "lathe_worker_draining", "",
          "1 while the worker takes no more work because it was told to stop.", NULL),
    GAUGE(CONTROL_LOOP_AGE, "lathe_control_loop_age_seconds", "seconds",
          "Time since the control loop last went round; the watchdog looks at the same.", NULL),
    COUNTER(SLOT_CPU, "lathe_slot_cpu_seconds_total", "seconds",
            "Processor time of ended lathe-slot processes.", NULL),
    GAUGE(SCRATCH_USED, "lathe_scratch_used_bytes", "bytes", "Used of the scratch folder.", NULL),
    GAUGE(SCRATCH_LIMIT, "lathe_scratch_limit_bytes", "bytes",
          "What the scratch folder may hold; without a quota, what its file system has room for.",
          NULL),

    COUNTER(PROCESSED_FRAMES, "lathe_processed_frames_total", "frames",
            "Frames that slots went through, as they go; its rate is frames a second.", "task"),
    COUNTER(ENCODED_FRAMES, "lathe_encoded_frames_total", "frames",
            "Frames of finished chunks, each once whatever the renditions, by where they were "
            "encoded.",
            "device"),
    COUNTER(ENCODED_BYTES, "lathe_encoded_bytes_total", "bytes",
            "Bytes of finished chunks, all renditions.", "device"),
    COUNTER(OUTPUT_BYTES, "lathe_output_bytes_total", "bytes",
            "Bytes of results that this worker committed.", NULL),

    GAUGE(DEVICE_INFO, "lathe_device_info", "",
          "Always 1: a GPU and what it is; id is its PCI address where there is one.", "device",
          "id", "name", "driver"),
    GAUGE(DEVICE_USABLE, "lathe_device_usable", "",
          "1 while a GPU gets work, 0 while it is left alone because it misbehaved.", "device"),
    GAUGE(DEVICE_STATE, "lathe_device_state", "",
          "1 for the state that a GPU is in, 0 for the others.", "device", "state"),
    GAUGE(DEVICE_TRIAL, "lathe_device_trial_works", "",
          "What was tried on a GPU: 1 when pictures came out right.", "device", "kind", "codec",
          "bits"),
    GAUGE(DEVICE_TRIALS, "lathe_device_trials", "", "Trials of the last probe, by what was found.",
          "device", "kind", "verdict"),
    GAUGE(DEVICE_PROBED, "lathe_device_probe_timestamp_seconds", "seconds",
          "When the GPUs were last tried, seconds since 1970.", NULL),
    GAUGE(DEVICE_LANES, "lathe_device_lanes", "", "Chunks that a GPU may have at once.", "device"),
    GAUGE(DEVICE_LANES_BUSY, "lathe_device_lanes_busy", "", "Chunks that a GPU has now.", "device"),
    GAUGE(DEVICE_ENGINE_USE, "lathe_device_engine_utilization_ratio", "",
          "How busy an engine of a GPU was at the end of the newest chunk there (NVML).", "device",
          "engine"),
    COUNTER(DEVICE_ENGINE_BUSY, "lathe_device_engine_busy_seconds_total", "seconds",
            "How long an engine of a GPU has worked for chunks (DRM fdinfo).", "device", "engine"),
    GAUGE(DEVICE_MEMORY_USED, "lathe_device_memory_used_bytes", "bytes",
          "Memory of a GPU in use at the end of the newest chunk there, by all processes (NVML).",
          "device"),
    GAUGE(DEVICE_SESSIONS, "lathe_device_encoder_sessions", "",
          "Sessions of a GPU's encoder at the end of the newest chunk there, of all processes "
          "(NVML).",
          "device"),
    COUNTER(DEVICE_FAILURES, "lathe_device_failures_total", "",
            "Failures of a GPU with a chunk, by what happened.", "device", "verdict"),
    COUNTER(FALLBACKS, "lathe_hardware_fallbacks_total", "",
            "Chunks that left a GPU, or could not go there, by what happened.", "device",
            "verdict"),

    GAUGE(BACKEND_UP, "lathe_backend_up", "",
          "0 when the last call of a driver could not reach its server.", "backend"),
    COUNTER(BACKEND_REQUESTS, "lathe_backend_requests_total", "",
            "Calls of queue, state and store.", "backend", "op"),
    COUNTER(BACKEND_FAILURES, "lathe_backend_request_failures_total", "",
            "Those that failed; what is asked for and not there is no failure.", "backend", "op"),
    HISTOGRAM(BACKEND_DURATION, "lathe_backend_request_duration_seconds", request_seconds,
              "Their time.", "backend"),
    GAUGE(KAFKA_LAG, "lathe_kafka_consumer_lag", "",
          "Records not done in the partitions that this worker has: waiting or in work.", "topic"),
    COUNTER(KAFKA_REBALANCES, "lathe_kafka_rebalances_total", "",
            "Times that this worker was given its share of a topic's partitions.", "topic"),
    COUNTER(STORE_READ, "lathe_store_read_bytes_total", "bytes",
            "Bytes of objects that were fetched.", NULL),
    COUNTER(STORE_WRITTEN, "lathe_store_written_bytes_total", "bytes",
            "Bytes of objects that were stored.", NULL),
    COUNTER(HTTP_REQUESTS, "lathe_http_requests_total", "", "Requests to this page.", "route",
            "code"),

    COUNTER(PROCESS_CPU, "process_cpu_seconds_total", "seconds",
            "Processor time of this process, without lathe-slot.", NULL),
    GAUGE(PROCESS_RESIDENT, "process_resident_memory_bytes", "bytes",
          "Resident memory of this process.", NULL),
    GAUGE(PROCESS_START, "process_start_time_seconds", "seconds",
          "When this process began, seconds since 1970.", NULL),
    GAUGE(PROCESS_FDS, "process_open_fds", "", "Open file descriptors.", NULL),
    GAUGE(PROCESS_FDS_MAX, "process_max_fds", "", "Most file descriptors that may be open.", NULL),
};
