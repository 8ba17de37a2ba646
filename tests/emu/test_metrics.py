# SPDX-License-Identifier: MIT
"""Every row of the table of faults in docs/hardware.md, each on a lathe-worker with embedded drivers
of its own: a submitted job completes, and the worker's metrics say what the table says: what the
probe found, why chunks left the GPU, and the state of the device."""
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import emu
import matrix
import test_matrix

BUILD = test_matrix.BUILD
LATHE, WORKER = BUILD / "src/cli/lathe", BUILD / "src/worker/lathe-worker"
DEADLINE_S = 300  # of anything: only what hangs reaches it
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Figures:
    """One scrape."""

    def __init__(self, text):
        self.samples = []
        for name, labels, value in SAMPLE.findall(text):
            self.samples.append((name, dict(LABEL.findall(labels)), float(value)))

    def by(self, name, *labels):
        """Values that are not 0, by these labels."""
        found = collections.Counter()
        for n, has, value in self.samples:
            if n == name and value:
                found[tuple(has[label] for label in labels)] += value
        return found

    def state(self, device):
        """The state of the device, None where it is not known; all gauges of it agree."""
        states = [s for d, s in self.by("lathe_device_state", "device", "state") if d == device]
        if not self.by("lathe_device_info", "device")[device,]:
            assert not states, states
            return None
        assert len(states) == 1, states
        usable = self.by("lathe_device_usable", "device")[device,]
        assert usable == (states[0] in ("in service", "busy")), (usable, states)
        return states[0]


class Worker:
    """A running lathe-worker on emulated drivers, with everything in the test's box."""

    def __init__(self, box, case, plan, cache):
        self.box, self.log_path = box, box.path("worker.log")
        self.env = {"LATHE_STATE_DIR": str(box.path("lathe")), "LATHE_DOOR": "none",
                    "LATHE_HARDWARE_CACHE": str(cache), "LATHE_GPU_LANES": "1",
                    "LATHE_STALL_SECONDS": test_matrix.STALL_SECONDS, "LATHE_LOG": "info"}
        folder = box.root / "own" if case.options else box.root.parent / case.family
        self.process, self.record = box.start(
            matrix.PROFILES[case.family],
            ["sh", "-c", 'exec "$@" >"$0" 2>&1', self.log_path, WORKER, "--slots", "1",
             "--metrics-listen", "127.0.0.1:0"], plan,
            ["--render", folder, *case.options], self.env)
        self.plan = box.path(f"plan{box.count}")

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def until(self, what, look):
        end = time.monotonic() + DEADLINE_S
        while not (found := look()):
            assert self.process.poll() is None, f"the worker ended: {self.log()[-2000:]}"
            assert time.monotonic() < end, f"no {what}: {self.log()[-2000:]}"
            time.sleep(0.1)
        return found

    def scrape(self):
        port = self.until("port", lambda: re.search(r"figures on port (\d+)", self.log()))[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as page:
            return Figures(page.read().decode())

    def probed(self):
        def look():
            figures = self.scrape()
            return figures if figures.by("lathe_device_probe_timestamp_seconds") else None
        return self.until("probe", look)

    def told(self, *words):
        run = subprocess.run([LATHE, *map(str, words), "--json"], stdin=subprocess.DEVNULL,
                             env={**os.environ, **self.env}, capture_output=True, text=True,
                             timeout=DEADLINE_S)
        assert run.returncode == 0, f"exit {run.returncode}: {run.stderr}"
        return json.loads(run.stdout)

    def end(self):
        self.process.terminate()
        try:
            self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise


def transcode(box, case, worker):
    """The job as `lathe status` shows it, and all scrapes meanwhile and after."""
    source, out = box.sources[f"{case.source}.mkv"], box.path("out")
    if "-r" in case.wants:
        out.mkdir()
    target = out if "-r" in case.wants else out.with_suffix(".mp4")
    answer, scrapes = [], []

    def submit():
        try:
            answer.append(worker.told("submit", source, "--wait", "-o", target, "--chunk-seconds",
                                      "1", "-r", "216p", *case.wants))
        except Exception as error:  # raised below, in the test's own thread
            answer.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    while thread.is_alive():
        scrapes.append(worker.scrape())
        thread.join(0.1)
    if isinstance(answer[0], Exception):
        raise answer[0]

    def counted():  # which is after the job says that it is completed
        scrapes.append(worker.scrape())
        return scrapes[-1].by("lathe_jobs_finished_total")[()] == 1

    worker.until("counted job", counted)
    for path in answer[0]["paths"]:
        check = subprocess.run([BUILD / "tests/media/media-check", source, path, "--no-tags",
                                "--expect-frames", str(test_matrix.FRAMES), "--codec",
                                "hevc" if "hevc" in case.wants else "h264"],
                               capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr
    return worker.told("status", answer[0]["job_id"]), scrapes


def is_metric(found):
    """The table's words without what no metric tells: bits, and features of an encoder that works."""
    words = found.replace(" 10 bit", "").split(", ")
    return ", ".join(dict.fromkeys(w for w in words if w != "no device" and ": " in w))


def found_by_probe(figures, usual):
    """In the table's words, as test_matrix.py finds it in --json."""
    odd = figures.by("lathe_device_trials", "kind", "verdict")
    if not odd:
        assert not figures.by("lathe_device_info", "device"), figures.samples
        return ""
    works = figures.by("lathe_device_trial_works", "kind")
    for (kind, verdict), count in odd.items():
        assert verdict != "works" or works[kind,] == count, (kind, works, odd)
    odd.subtract((t["kind"], t["verdict"]) for t in usual["devices"][0]["trials"])
    return ", ".join(sorted({f"{verdict}: {kind}" for (kind, verdict), count in odd.items()
                             if count > 0 and verdict not in ("works", "untried")}))


def frames_agree(figures, steps):
    frames = figures.by("lathe_encoded_frames_total", "device")
    assert sum(frames.values()) == test_matrix.FRAMES, frames
    by_gpu, by_software = set(frames) - {("software",)}, frames["software",]
    assert bool(by_software) == bool(steps & {"4", "5"}), f"steps {steps}: {frames}"
    assert bool(by_gpu) == bool(steps & {"1", "2", "3"}), f"steps {steps}: {frames}"


def load_agrees(case, figures, steps):
    """What the emulated NVML says of a device that worked a moment ago; a VA driver has no kernel
    beneath it that would."""
    name = "lathe_device_engine_utilization_ratio"
    engines = {engine for _, engine in figures.by(name, "device", "engine")}
    told = [value for n, _, value in figures.samples if n == name]
    if case.family == "vaapi" or not steps & {"1", "2", "3"}:
        assert not told, figures.samples
        return
    assert engines <= {"encoder", "decoder", "gpu"} and len(told) == 3, figures.samples
    assert all(0 <= value <= 1 for value in told), told
    assert sum(figures.by("lathe_device_memory_used_bytes", "device").values()) > 1 << 20
    assert len([n for n, _, _ in figures.samples if n == "lathe_device_encoder_sessions"]) == 1


def left_agree(figures, job, verdicts):
    """Counted by reason, as often as the chunks' own results say it."""
    told = collections.Counter(
        (f"{f['from']['encoder']}:{f['from']['device']}", f["verdict"])
        for unit in job["units"] if unit["kind"] == "chunk"
        for f in unit["result"].get("fallbacks", ()))
    counted = figures.by("lathe_hardware_fallbacks_total", "device", "verdict")
    assert counted == told, f"metrics: {counted}, chunks: {told}"
    assert {v for _, v in counted} == verdicts, f"the table says {verdicts}: {counted}"
    failures = figures.by("lathe_device_failures_total", "device", "verdict")
    assert {v for _, v in failures} == verdicts, f"the table says {verdicts}: {failures}"


def say_what_the_table_says(box, case, expected, worker, usual):
    said = expected.split("; ")
    steps = set(re.findall(r"\d", next(s for s in said if s.startswith("step"))))
    device, at_probe = f"{case.family}:{usual['devices'][0]['path']}", case.when == "probe"
    figures = worker.probed()
    found = is_metric(said[0]) if at_probe else ""
    usually = None if said[0] == "no device" else "in service"
    assert found_by_probe(figures, usual) == found, f"not {found}: {figures.samples}"
    assert figures.state(device) == usually, figures.state(device)
    if at_probe:  # from now on the device only lacks what it lacks
        lines = worker.plan.read_text().splitlines()
        worker.plan.write_text("\n".join(line for line in lines if line.startswith("set ")))
    job, scrapes = transcode(box, case, worker)
    assert "fault " not in case.plan or any(
        e.name == "fault" for e in emu.read_record(worker.record)), "the fault did not happen"
    # On a slow machine a device that lacks nothing any more may have been tried anew by now.
    if all(found_by_probe(s, usual) == found for s in scrapes) or not at_probe:
        frames_agree(scrapes[-1], steps)
        if said[-1] == "in service":
            load_agrees(case, scrapes[-1], steps)
    leave = not at_probe and said[0] != "none leaves"
    left_agree(scrapes[-1], job, set(said[0].split(", ")) if leave else set())
    states, state = {s.state(device) for s in scrapes}, usually if at_probe else said[-1]
    assert state in states and states <= {state, usually}, f"not {state}: {states}"


def test(case, expected):
    def run_case(box):
        usual, known = test_matrix.healthy_device(box, case.family)
        cache = box.path("cache.json")
        if case.when != "probe":
            shutil.copy(known, cache)
        worker = Worker(box, case, case.plan.replace("{box}", str(box.root)), cache)
        try:
            say_what_the_table_says(box, case, expected, worker, usual)
        except Exception:
            print(worker.log()[-3000:], flush=True)
            raise
        finally:
            worker.end()
    return case.name, run_case


if __name__ == "__main__":
    TABLE = matrix.read_table()
    work = pathlib.Path(tempfile.mkdtemp(prefix="lathe-metrics-"))
    try:
        emu.main([test(c, TABLE[c.fault, c.when, c.family]) for c in matrix.CASES],
                 test_matrix.numbered_sources(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
