# SPDX-License-Identifier: MIT
"""The commands of a fleet from outside, with a real lathe-worker: on the embedded drivers, or on the
servers of tests/servers/with.sh when their variables are set.

usage: commands.py LATHE LATHE_WORKER
"""
import configparser
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LATHE, WORKER = map(os.path.abspath, sys.argv[1:])
DIR = pathlib.Path(tempfile.mkdtemp(prefix="lathe-commands-"))
HAS_SERVERS = "LATHE_STATE_LOCATION" in os.environ
COMMANDS = ("submit", "list", "status", "top", "cancel", "retry", "fetch", "rm", "drain", "doctor")
ENV = {**{k: v for k, v in os.environ.items() if HAS_SERVERS or not k.startswith("LATHE_")},
       "LATHE_STATE_DIR": str(DIR / "state"), "LATHE_GPU_ENABLED": "false", "LATHE_SLOTS": "2",
       "LATHE_METRICS_LISTEN": "", "LATHE_DOOR": "none", "TMPDIR": str(DIR / "tmp"),
       "HOME": str(DIR / "home")}
OPTIONS = ["-r", "90p:200k", "--chunk-seconds", "1", "--preset", "veryfast"]
results = {"ok": 0, "not ok": 0}
jobs = {}


def listen_to_keyboard():
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*words, program=LATHE, extra=None):
    return subprocess.Popen([program, *map(str, words)], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**ENV, **(extra or {})}, cwd=DIR,
                            preexec_fn=listen_to_keyboard)


def lathe(*words, code=0, extra=None, timeout=180):
    """What the command prints on stdout; its exit code must be `code`."""
    process = start(*words, extra=extra)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"{words}: no end after {timeout} s") from None
    assert process.returncode == code, f"{words}: exit code {process.returncode}: {err}{out}"
    assert code == 0 or "lathe: " in err, f"{words}: no word about it: {err!r}"
    return out if code == 0 or "--json" in words else err


def asked(*words, **options):
    return json.loads(lathe(*words, "--json", **options))


def clip(name, seconds, size="320x180"):
    path = DIR / name
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i",
                    f"testsrc2=size={size}:rate=25:duration={seconds}", "-f", "lavfi", "-i",
                    f"sine=duration={seconds}", "-c:v", "libx264", "-preset", "ultrafast", "-g",
                    "25", "-c:a", "aac", path], check=True, timeout=120)
    return path


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def put(key, path):
    """Writes an object of the store past Lathe, as a producer would."""
    if not HAS_SERVERS:
        to = DIR / "state" / "store" / key
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
        return
    keys = configparser.ConfigParser()
    keys.read(os.environ["LATHE_S3_CREDENTIALS"])
    location = os.environ["LATHE_STORE_LOCATION"]
    bucket = location.split("/")[2].split("?")[0]
    endpoint = location.split("endpoint=")[1].split("&")[0]
    subprocess.run(["curl", "-sf", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
                    f"{keys['default']['aws_access_key_id']}:"
                    f"{keys['default']['aws_secret_access_key']}", "-T", path,
                    f"{endpoint}/{bucket}/{key}"], check=True, timeout=60)


def wait_for(what, condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"{what}: not within {seconds} s"
        time.sleep(0.2)


# --- without a worker ---

def help_fits_a_screen():
    for command in COMMANDS:
        text = lathe(command, "--help").splitlines()
        assert len(text) <= 24, f"{command}: {len(text)} lines"
        assert max(map(len, text)) <= 80, f"{command}: {max(map(len, text))} columns"
        assert "Examples:" in text, f"{command}: no examples"


def wrong_use():
    for words in (["submit"], ["status"], ["fetch", "some-job"], ["cancel"], ["drain"], ["rm"],
                  ["retry"], ["list", "one"], ["list", "--filter", "odd"], ["list", "--from", "x"],
                  ["list", "-n", "0"], ["top", "--frobnicate"], ["submit", "a", "b"],
                  ["submit", DIR / "clip.mkv", "-r", "huge"], ["submit", "a", "--priority", "x"]):
        lathe(*words, code=2)


def unknown_jobs():
    for words in (["status", "no-such-job"], ["cancel", "no-such-job"], ["retry", "no-such-job"],
                  ["rm", "no-such-job"], ["fetch", "no-such-job", "-o", DIR / "x.mp4"],
                  ["status", "../etc"], ["drain", "no-such-host"], ["submit", DIR / "no-file"]):
        lathe(*words, code=1)
    answer = asked("cancel", "no-such-job", code=1)
    assert answer["status"] == "failed" and "no-such-job" in answer["error"]["what"], answer


def servers_away():
    redis = {"LATHE_STATE_DRIVER": "redis",
             "LATHE_STATE_LOCATION": "redis://127.0.0.1:1?patience_ms=100"}
    text = lathe("list", code=69, extra=redis)
    assert "state.location (LATHE_STATE_LOCATION)" in text and "cannot be reached" in text, text
    text = lathe("list", code=78, extra={"LATHE_STATE_DRIVER": "oracle",
                                         "LATHE_STATE_LOCATION": "x"})
    assert "oracle" in text, text
    lathe("list", "--config", DIR / "no-such.conf", code=78)


def submit_and_list():
    job = lathe("submit", DIR / "clip.mkv", *OPTIONS, "--priority", "7").strip()
    assert len(job) == 36 and "\n" not in job, job
    jobs["first"] = job
    shown = [one for one in asked("list")["jobs"] if one["job_id"] == job][0]
    assert shown["status"] == "queued" and shown["priority"] == 7, shown
    assert shown["request"]["source_key"] == f"raw/{job}.mkv", shown
    assert shown["request"]["source_name"] == "clip.mkv" and "clip.mkv" in lathe("list"), shown
    assert job in lathe("list", "--filter", "open") and job not in lathe("list", "--filter", "ended")
    status = asked("status", job)
    assert [unit["kind"] for unit in status["units"]] in (["split", "merge"], ["merge", "split"])
    assert status["created"] and not status["finished"] and status["error"] is None, status
    assert "90p 200 kbit/s" in lathe("status", job)


def pages():
    made = [asked("submit", DIR / "clip.mkv", *OPTIONS)["job_id"] for _ in range(3)]
    first = asked("list", "-n", "2")
    assert [job["job_id"] for job in first["jobs"]] == made[:0:-1], first
    second = asked("list", "-n", "2", "--from", first["next"])
    assert [job["job_id"] for job in second["jobs"]][0] == made[0], second
    assert f"lathe list --from {first['next']}" in lathe("list", "-n", "2")
    for job in made:
        assert asked("cancel", job) == {"job_id": job, "status": "cancelled"}
        lathe("rm", job)


def waiting_is_interrupted():
    process = start("submit", DIR / "clip.mkv", *OPTIONS, "--wait")
    wait_for("the job", lambda: len(asked("list", "--filter", "open")["jobs"]) > 1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, (process.returncode, err)
    job = asked("list", "-n", "1")["jobs"][0]["job_id"]
    assert f"lathe status {job}" in err and "goes on" in err, err
    assert asked("status", job)["status"] == "queued"
    lathe("cancel", job)
    assert asked("status", job)["status"] == "cancelled"
    assert "next: lathe retry" in lathe("status", job)
    lathe("cancel", job)  # a repeat is no error
    jobs["cancelled"] = job


def objects_are_used_in_place():
    put("films/clip.mkv", DIR / "clip.mkv")
    lathe("submit", "films/clip.mkv", code=2)  # nobody knows its size
    job = lathe("submit", "films/clip.mkv", *OPTIONS).strip()
    assert asked("status", job)["request"]["source_key"] == "films/clip.mkv"
    jobs["in place"] = job


def top_without_workers():
    top = asked("top")
    assert top["workers"] == [] and len(top["jobs"]) >= 2, top
    assert "0 workers" in lathe("top").splitlines()[0]
    lathe("top", extra={"TERM": "xterm"})  # no terminal: one look


# --- with one ---

def worker_is_seen():
    wait_for("the worker", lambda: asked("top")["workers"])
    worker = asked("top")["workers"][0]
    assert worker["record"]["slots"] == 2 and not worker["draining"], worker
    assert worker["host"] in lathe("top"), "no host"
    findings = {f["id"]: f["severity"] for f in asked("doctor")["findings"]}
    assert findings["fleet.workers"] == "good", findings


def same_bytes_as_run():
    lathe("run", DIR / "clip.mkv", "-o", DIR / "run.mp4", *OPTIONS)
    for name in ("first", "in place"):
        job = jobs[name]
        wait_for(name, lambda j=job: asked("status", j)["status"] not in
                 ("queued", "splitting", "transcoding", "merging"), 180)
        status = asked("status", job)
        assert status["status"] == "completed", status
        to = DIR / f"{name}.mp4"
        answer = asked("fetch", job, "-o", to) if name == "first" else lathe("fetch", job, "-o", to)
        assert str(to) in json.dumps(answer), answer
        assert digest(to) == digest(DIR / "run.mp4"), f"{name}: other bytes than lathe run"


def result_is_waited_for():
    """A job is complete a moment before its result has its name."""
    job = asked("submit", DIR / "clip.mkv", *OPTIONS, "--wait")["job_id"]
    lathe("fetch", job, "-o", DIR / "published.mp4")
    here, away = DIR / "state" / "store" / "transcoded" / job / "output_90p.mp4", DIR / "away.mp4"
    here.rename(away)
    process = start("fetch", job, "-o", DIR / "late.mp4")
    try:
        process.wait(1.5)
    except subprocess.TimeoutExpired:
        away.rename(here)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert digest(DIR / "late.mp4") == digest(DIR / "published.mp4")


def status_tells_of_chunks():
    status = asked("status", jobs["first"])
    chunks = [unit for unit in status["units"] if unit["kind"] == "chunk"]
    assert len(chunks) == status["total_chunks"] == status["completed_chunks"] > 1, status
    for unit in status["units"]:
        assert unit["state"] == "done" and unit["failures"] == 0, unit
    for chunk in chunks:
        assert chunk["result"]["encoder"] == "libx264", chunk
    text = lathe("status", jobs["first"])
    assert text.count("libx264") == len(chunks), text
    assert f"next: lathe fetch {jobs['first']}" in text, text


def wait_and_ladder():
    report = asked("submit", DIR / "clip.mkv", "-r", "90p:200k", "-r", "60p:100k", "--wait",
                   "--chunk-seconds", "2")
    assert report["status"] == "completed" and len(report["outputs"]) == 2, report
    assert report["outputs"][0]["frames"] == 100, report
    job = report["job_id"]
    assert report["outputs"][1]["key"] == f"transcoded/{job}/output_60p.mp4", report
    lathe("fetch", job, "-o", DIR / "ladder")
    sizes = {path.name: path.stat().st_size for path in (DIR / "ladder").iterdir()}
    assert set(sizes) == {"output_90p.mp4", "output_60p.mp4"}, sizes
    lathe("fetch", job, "-o", DIR / "one.mp4", "-r", "60p")
    assert digest(DIR / "one.mp4") == digest(DIR / "ladder" / "output_60p.mp4")
    lathe("fetch", job, "-o", DIR / "two.mp4", "-r", "720p", code=2)
    lathe("cancel", job, code=1)  # too late
    lathe("retry", job, code=1)
    text = lathe("submit", DIR / "clip.mkv", *OPTIONS, "--wait")
    assert "320x180" not in text and "100 frames" in text and "next: lathe fetch" in text, text


def poison_fails_and_is_retried():
    (DIR / "poison.mkv").write_bytes(b"this is no video" * 1000)
    text = lathe("submit", DIR / "poison.mkv", *OPTIONS, "--wait", code=1)
    job = asked("list", "-n", "1")["jobs"][0]["job_id"]
    assert job in text and "failed" in text, text
    status = asked("status", job)
    assert status["status"] == "failed" and status["error"], status
    assert status["error"].splitlines()[0] in lathe("status", job)
    assert "poison.mkv" in status["error"] and "/" not in status["error"], status["error"]
    assert any(unit["error"] for unit in status["units"]), status
    findings = asked("doctor", code=0)["findings"]
    assert any(f["id"] == "fleet.failed-jobs" and job in f["cure"] for f in findings), findings
    put(status["request"]["source_key"], DIR / "clip.mkv")  # the cure
    assert asked("retry", job)["status"] == "queued"
    wait_for("the retry", lambda: asked("status", job)["status"] == "completed", 120)
    lathe("fetch", job, "-o", DIR / "cured.mp4")
    assert digest(DIR / "cured.mp4") == digest(DIR / "run.mp4")


def cancelled_job_is_retried():
    lathe("retry", jobs["cancelled"])
    wait_for("the retry", lambda: asked("status", jobs["cancelled"])["status"] == "completed", 120)


def cancel_at_work():
    job = lathe("submit", DIR / "long.mkv", "-r", "180p", "--preset", "veryslow", "--chunk-seconds",
                "2").strip()
    wait_for("work on it", lambda: any(unit["state"] == "leased" and unit["worker"]
                                       for unit in asked("status", job)["units"]))
    lathe("rm", job, code=1)  # first it is cancelled
    lathe("cancel", job)
    status = asked("status", job)
    assert status["status"] == "cancelled", status
    assert all(unit["state"] != "leased" for unit in status["units"]), status
    wait_for("an idle worker", lambda: not asked("top")["workers"][0]["record"]["work"])
    lathe("rm", job)
    lathe("status", job, code=1)


def removed_jobs_are_gone():
    job = jobs["first"]
    lathe("rm", job)
    lathe("fetch", job, "-o", DIR / "gone.mp4", code=1)
    assert not (DIR / "gone.mp4").exists()
    assert job not in lathe("list", "-n", "1000")
    lathe("rm", job, code=1)
    lathe("rm", jobs["in place"])
    job = lathe("submit", "films/clip.mkv", *OPTIONS).strip()  # what was not uploaded stays
    wait_for("it", lambda: asked("status", job)["status"] == "completed", 120)


def ended_jobs_leave_no_scratch():
    def folders():
        return [path.name for path in (DIR / "state").glob("scratch/*/*") if len(path.name) == 36]
    wait_for("an empty scratch folder", lambda: not folders(), 30)


def drained_host_takes_nothing():
    host = asked("top")["workers"][0]["host"]
    assert asked("drain", host) == {"host": host, "workers": 1}
    assert asked("top")["workers"][0]["draining"]
    assert "drain" in lathe("top")
    time.sleep(6)  # a beat, after which it knows
    job = lathe("submit", DIR / "clip.mkv", *OPTIONS).strip()
    time.sleep(3)
    assert asked("status", job)["status"] == "queued"


WITHOUT_WORKER = (help_fits_a_screen, wrong_use, unknown_jobs, servers_away, submit_and_list, pages,
                  waiting_is_interrupted, objects_are_used_in_place, top_without_workers)
WITH_WORKER = (worker_is_seen, same_bytes_as_run, status_tells_of_chunks, wait_and_ladder,
               poison_fails_and_is_retried, cancelled_job_is_retried, cancel_at_work,
               removed_jobs_are_gone, ended_jobs_leave_no_scratch,
               *(() if HAS_SERVERS else (result_is_waited_for,)), drained_host_takes_nothing)


def run(cases):
    for case in cases:
        begin = time.monotonic()
        try:
            case()
            results["ok"] += 1
            print(f"ok - commands: {case.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError, KeyError, IndexError) as why:
            results["not ok"] += 1
            print(f"not ok - commands: {case.__name__}: {type(why).__name__}: {why}", flush=True)


def main():
    for folder in ("tmp", "home"):
        (DIR / folder).mkdir()
    clip("clip.mkv", 4)
    clip("long.mkv", 40, "640x360")
    run(WITHOUT_WORKER)
    with open(DIR / "worker.log", "w", encoding="utf-8") as log:
        worker = subprocess.Popen([WORKER], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  env=ENV)
    try:
        run(WITH_WORKER)
    finally:
        worker.terminate()
        try:
            code = worker.wait(60)
        except subprocess.TimeoutExpired:
            worker.kill()
            code = worker.wait()
    if results["not ok"] or code:
        print(f"the worker's exit code is {code}, its last words:",
              *(DIR / "worker.log").read_text().splitlines()[-20:], sep="\n  ")
    shutil.rmtree(DIR)
    print(f"{results['ok']} passed, {results['not ok']} failed, 0 skipped")
    return 1 if results["not ok"] or code else 0


sys.exit(main())
