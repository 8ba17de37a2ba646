#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints lathe.dashboard.json for Grafana (10 or later). The file is committed, so that nobody needs
this to use it; tests/monitoring.sh checks that it is what this prints.

usage: monitoring/make_dashboard.py >monitoring/lathe.dashboard.json
"""
import json

SELECT = 'instance=~"$instance"'

# Rows of panels: title, unit (Grafana's name), queries with their legends.
ROWS = [
    ("Jobs", [
        ("Jobs that have not ended", "short", [("max by (status) (lathe_jobs)", "{{status}}")]),
        ("Finished and failed an hour", "short", [
            ("sum(increase(lathe_jobs_finished_total[1h]))", "finished"),
            ("sum by (reason) (increase(lathe_jobs_failed_total[1h]))", "failed: {{reason}}")]),
        ("From submission to result", "s", [
            ("histogram_quantile(0.5, sum by (le) (rate(lathe_job_duration_seconds_bucket[1h])))", "half"),
            ("histogram_quantile(0.95, sum by (le) (rate(lathe_job_duration_seconds_bucket[1h])))", "95 %")]),
    ]),
    ("Queue", [
        ("Oldest job that waits", "s", [("max(lathe_queue_oldest_job_age_seconds)", "age")]),
        ("Wait before the first work", "s", [
            ("histogram_quantile(0.95, sum by (le) (rate(lathe_job_queue_wait_seconds_bucket[1h])))", "95 %")]),
        ("Kafka: records not done, and rebalances an hour", "short", [
            ("sum by (topic) (lathe_kafka_consumer_lag)", "{{topic}}"),
            (f"sum by (topic) (increase(lathe_kafka_rebalances_total{{{SELECT}}}[1h]))", "{{topic}}: rebalances")]),
        ("Tasks being worked on", "short", [
            (f"sum by (task) (lathe_tasks_running{{{SELECT}}})", "{{task}}"),
            (f"sum(lathe_worker_slots{{{SELECT}}})", "software slots")]),
    ]),
    ("Throughput", [
        ("Frames a second", "short", [
            (f"sum by (task) (rate(lathe_processed_frames_total{{{SELECT}}}[2m]))", "{{task}}")]),
        ("Encoded frames a second, by device", "short", [
            (f"sum by (device) (rate(lathe_encoded_frames_total{{{SELECT}}}[5m]))", "{{device}}")]),
        ("Time of a chunk", "s", [
            (f"histogram_quantile(0.95, sum by (le, task) (rate(lathe_task_duration_seconds_bucket{{{SELECT}}}[15m])))",
             "{{task}}, 95 %")]),
        ("Results", "Bps", [(f"sum(rate(lathe_output_bytes_total{{{SELECT}}}[15m]))", "bytes")]),
    ]),
    ("Devices", [
        ("Usable", "short", [(f"lathe_device_usable{{{SELECT}}}", "{{instance}} {{device}}")]),
        ("Lanes in use", "percentunit", [
            (f"lathe_device_lanes_busy{{{SELECT}}} / lathe_device_lanes{{{SELECT}}}", "{{instance}} {{device}}")]),
        ("Engines in use", "percentunit", [
            (f"lathe_device_engine_utilization_ratio{{{SELECT}}}", "{{instance}} {{device}} {{engine}}"),
            (f"rate(lathe_device_engine_busy_seconds_total{{{SELECT}}}[2m])", "{{instance}} {{device}} {{engine}}")]),
        ("Chunks that left a GPU, an hour", "short", [
            (f"sum by (device, verdict) (increase(lathe_hardware_fallbacks_total{{{SELECT}}}[1h]))",
             "{{device}}: {{verdict}}")]),
        ("Failures of devices, an hour", "short", [
            (f"sum by (device, verdict) (increase(lathe_device_failures_total{{{SELECT}}}[1h]))",
             "{{device}}: {{verdict}}")]),
        ("What works, when last tried", "short", [
            (f"sum by (instance, device) (lathe_device_trial_works{{{SELECT}}})", "{{instance}} {{device}}: trials that work"),
            (f"(time() - lathe_device_probe_timestamp_seconds{{{SELECT}}}) / 3600", "{{instance}}: hours ago")]),
    ]),
    ("Servers and disks", [
        ("Servers that answer", "short", [(f"lathe_backend_up{{{SELECT}}}", "{{instance}} {{backend}}")]),
        ("Time of calls, 95 %", "s", [
            (f"histogram_quantile(0.95, sum by (le, backend) (rate(lathe_backend_request_duration_seconds_bucket{{{SELECT}}}[5m])))",
             "{{backend}}")]),
        ("Objects read and written", "Bps", [
            (f"sum(rate(lathe_store_read_bytes_total{{{SELECT}}}[5m]))", "read"),
            (f"sum(rate(lathe_store_written_bytes_total{{{SELECT}}}[5m]))", "written")]),
        ("Scratch in use", "percentunit", [
            (f"lathe_scratch_used_bytes{{{SELECT}}} / lathe_scratch_limit_bytes{{{SELECT}}}", "{{instance}}")]),
    ]),
    ("Errors", [
        ("Attempts that failed, an hour", "short", [
            (f"sum by (task, reason) (increase(lathe_task_failures_total{{{SELECT}}}[1h]))", "{{task}}: {{reason}}")]),
        ("Failed calls, an hour", "short", [
            (f"sum by (backend, op) (increase(lathe_backend_request_failures_total{{{SELECT}}}[1h])) > 0",
             "{{backend}} {{op}}")]),
        ("Stuck processes, draining", "short", [
            (f"lathe_worker_slots_stuck{{{SELECT}}}", "{{instance}}: stuck"),
            (f"lathe_worker_draining{{{SELECT}}}", "{{instance}}: draining")]),
        ("Memory of workers", "bytes", [(f"process_resident_memory_bytes{{job=\"lathe\", {SELECT}}}", "{{instance}}")]),
    ]),
]

SOURCE = {"type": "prometheus", "uid": "${source}"}


def panel(number, x, y, width, title, unit, queries):
    return {
        "id": number, "type": "timeseries", "title": title, "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": 7},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
                    for i, (expr, legend) in enumerate(queries)],
    }


def main():
    panels, number, y = [], 1, 0
    for title, row in ROWS:
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        number, y = number + 1, y + 1
        for i, (name, unit, queries) in enumerate(row):
            panels.append(panel(number, i % 4 * 6, y + i // 4 * 7, 6, name, unit, queries))
            number += 1
        y += (len(row) + 3) // 4 * 7
    variables = [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {"name": "instance", "type": "query", "label": "Worker", "datasource": SOURCE, "multi": True,
         "includeAll": True, "refresh": 2, "query": "label_values(lathe_build_info, instance)",
         "current": {"text": "All", "value": "$__all"}},
    ]
    print(json.dumps({
        "uid": "lathe", "title": "Lathe", "tags": ["lathe"], "schemaVersion": 39, "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"}, "templating": {"list": variables}, "panels": panels,
    }, indent=1))


if __name__ == "__main__":
    main()
