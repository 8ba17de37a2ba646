#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Chunks as packets in an S3 store: workers die while they cut, the source goes away once it is cut,
and the result is always the bytes of `lathe run`.

usage: with.sh redis,kafka,seaweedfs cut_chunks.py --lathe LATHE --worker LATHE_WORKER
           --gen MEDIA_GEN --work FOLDER

The programs are built with fail points (cmake -DLATHE_FAIL_POINTS=ON). Needs the settings of
`scripts/cluster env`. Prints one line a check and the three sums.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "media"))
import recipes  # noqa: E402

SETTINGS = ["--rendition", "180p:300k", "--preset", "veryfast", "--chunk-seconds", "2",
            "--encoder", "software"]
CHUNKS = 10
END_SECONDS = 180  # against hangs


class Fleet:
    def __init__(self, options):
        self.options, self.workers = options, []
        self.port = urllib.parse.urlparse(os.environ["LATHE_STATE_LOCATION"]).port
        self.number = 0

    def worker(self, fail_at=None):
        self.number += 1
        folder = self.options.work / f"worker-{self.number}"
        folder.mkdir()
        environment = dict(os.environ, LATHE_LEASE_SECONDS="3")
        if fail_at:
            environment["LATHE_FAIL_AT"] = fail_at
        log = open(folder / "log", "w", encoding="utf-8")
        process = subprocess.Popen(
            [self.options.worker, "--config", os.devnull, "--state-dir", str(folder / "state"),
             "--metrics-listen", "", "--door", "none", "--slots", "1", "--gpu-enabled", "false"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.workers.append(process)
        return process

    def stop(self):
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.workers:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        self.workers = []

    def hash(self, job):
        lines = subprocess.run(["redis-cli", "-p", str(self.port), "HGETALL", f"job:{job}"],
                               text=True, check=True, capture_output=True).stdout.split("\n")
        return dict(zip(lines[::2], lines[1::2]))

    def lathe(self, *words):
        run = subprocess.run([self.options.lathe, *map(str, words)], text=True,
                             capture_output=True, check=False, timeout=END_SECONDS,
                             stdin=subprocess.DEVNULL)
        if run.returncode:
            raise RuntimeError(f"lathe {words[0]}: exit code {run.returncode}: {run.stderr[-500:]}")
        return run.stdout

    def submit(self, source):
        return json.loads(self.lathe("submit", source, *SETTINGS, "--json"))["job_id"]

    def wait(self, job, condition, what):
        end = time.monotonic() + END_SECONDS
        while time.monotonic() < end:
            now = self.hash(job)
            if now.get("status") == "failed":
                raise RuntimeError(f"the job failed: {now.get('error')}")
            if condition(now):
                return now
            time.sleep(0.1)
        raise RuntimeError(f"{what} did not happen: {self.hash(job)}")


def keys(prefix):
    """Of the store, through curl, as a stranger would list them."""
    store = urllib.parse.urlparse(os.environ["LATHE_STORE_LOCATION"])
    endpoint = urllib.parse.parse_qs(store.query)["endpoint"][0]
    return request("GET", f"{endpoint}/{store.netloc}?list-type=2&prefix="
                   + urllib.parse.quote(prefix, safe="")).split("<Key>")[1:]


def request(method, url):
    lines = pathlib.Path(os.environ["LATHE_S3_CREDENTIALS"]).read_text().split("\n")
    words = dict((part.strip() for part in line.split("=", 1)) for line in lines if "=" in line)
    run = subprocess.run(["curl", "-sS", "-f", "-X", method, "--aws-sigv4", "aws:amz:us-east-1:s3",
                          "--user", f"{words['aws_access_key_id']}:{words['aws_secret_access_key']}",
                          url], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{method} {url}: {run.stderr}")
    return run.stdout


def remove(key):
    store = urllib.parse.urlparse(os.environ["LATHE_STORE_LOCATION"])
    endpoint = urllib.parse.parse_qs(store.query)["endpoint"][0]
    request("DELETE", f"{endpoint}/{store.netloc}/{key}")


def finish(fleet, job, expected):
    """What speaks against the end of the job."""
    now = fleet.wait(job, lambda h: h.get("status") == "completed", "the end of the job")
    result = fleet.options.work / f"{job}.mp4"
    fleet.lathe("fetch", job, "-o", result)
    faults = []
    if result.read_bytes() != expected:
        faults.append("the result is not that of lathe run")
    if now.get("total_chunks") != str(CHUNKS):
        faults.append(f"{now.get('total_chunks')} chunks")
    end = time.monotonic() + 30  # the state says so before all is tidied up
    while keys(f"chunks/{job}/") and time.monotonic() < end:
        time.sleep(0.5)
    left = keys(f"chunks/{job}/")
    if left:
        faults.append(f"left behind: {left}")
    return faults


def dies(fleet, source, expected, fail_at):
    """A worker dies at this point, and another one goes on."""
    first = fleet.worker(fail_at)
    job = fleet.submit(source)
    try:
        code = first.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return ["it never came to that point: is it built with fail points?"]
    stored = len([k for k in keys(f"chunks/{job}/") if k.split("<")[0].endswith(".ts")])
    waiting = int(fleet.hash(job)["unstored_units"])
    fleet.worker()
    faults = [] if code == -signal.SIGKILL else [f"it ended with {code}"]
    if not stored or not waiting:
        faults.append(f"not in the middle: {stored} objects, {waiting} units waited")
    return faults + finish(fleet, job, expected)


def source_goes(fleet, source, expected):
    """Once all is cut, nobody needs the source any more."""
    fleet.worker()
    job = fleet.submit(source)
    fleet.wait(job, lambda h: int(h.get("total_units", 0)) and h.get("unstored_units") == "0",
               "the end of the cutting")
    remove(f"raw/{job}.mp4")
    fleet.worker()
    now = fleet.hash(job)
    faults = [] if now["status"] == "transcoding" else [f"too late: it is {now['status']} already"]
    return faults + finish(fleet, job, expected)


def main():
    parser = argparse.ArgumentParser()
    for name in ("lathe", "worker", "gen", "work"):
        parser.add_argument("--" + name, required=True, type=os.path.abspath)
    options = parser.parse_args()
    options.work = pathlib.Path(options.work)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    source, whole = options.work / "source.mp4", options.work / "run.mp4"
    made = recipes.run(recipes.av(50 * CHUNKS, seconds=2 * CHUNKS), options.gen, str(options.work),
                       source.name, capture_output=True, check=False)
    if made.returncode:
        raise RuntimeError(made.stderr[-500:])
    fleet = Fleet(options)
    fleet.lathe("run", source, "-o", whole, *SETTINGS)
    expected = whole.read_bytes()
    failed = 0
    checks = [("the source goes", lambda: source_goes(fleet, source, expected))]
    checks += [(f"a worker dies at {point}",
                lambda point=point: dies(fleet, source, expected, point))
               for point in ("cut:3", "released:9", "cut:12")]
    for name, check in checks:
        try:
            faults = check()
        except RuntimeError as problem:
            faults = [str(problem)]
        fleet.stop()
        failed += bool(faults)
        print(f"{'not ok' if faults else 'ok'} - cut chunks: {name}", flush=True)
        for fault in faults:
            print("# " + fault.replace("\n", "\n# "), flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
