# SPDX-License-Identifier: MIT
"""lathe doctor on real servers: each fault is made, found, and where the cure is a command that can
be run here, it is run and the finding is gone.

usage: doctor.py LATHE FAKE_SLOT    under with.sh redis,kafka,STORE
"""
import json
import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

LATHE, FAKE_SLOT = sys.argv[1:]
STATE = os.environ["LATHE_STATE_LOCATION"]
QUEUE = os.environ["LATHE_QUEUE_LOCATION"]
STORE = os.environ["LATHE_STORE_LOCATION"]
REDIS_PORT = STATE.rpartition(":")[2]
DIR = pathlib.Path(tempfile.mkdtemp(prefix="doctor-", dir=os.environ["LATHE_CLUSTER_DIR"]))
results = {"ok": 0, "not ok": 0, "skip": 0}


class Skip(Exception):
    """This machine cannot make the fault; the text is the reason."""


def say(word, text):
    results[word] += 1
    print(f"{word} - doctor: {text}", flush=True)


def doctor(*words, before=(), **variables):
    """The findings, each with group, id, severity, what and cure."""
    env = {**os.environ, "LATHE_STATE_DIR": str(DIR), "LATHE_HARDWARE_CACHE": "",
           "LATHE_GPU_ENABLED": "false", "TMPDIR": str(DIR),
           "LATHE_STATE_LOCATION": f"{STATE}?patience_ms=200", **variables}
    run = subprocess.run([*before, LATHE, "doctor", "--json", *words], env=env, text=True,
                         capture_output=True, timeout=120)
    assert run.returncode in (0, 1), f"exit code {run.returncode}: {run.stderr}"
    answer = json.loads(run.stdout)
    is_bad = any(finding["severity"] == "fault" for finding in answer["findings"])
    assert run.returncode == is_bad, f"exit code {run.returncode} and worst {answer['worst']}"
    return answer["findings"]


def find(findings, name, severity, *texts):
    """The finding of that id and severity that has all texts in `what` or `cure`."""
    for finding in findings:
        said = finding["what"] + " " + finding["cure"]
        if (finding["id"], finding["severity"]) == (name, severity) and all(t in said for t in texts):
            return finding
    there = [f for f in findings if f["id"].split(".")[0] == name.split(".")[0]]
    raise AssertionError(f"no {severity} {name} with {texts}: {json.dumps(there, indent=1)}")


def redis(*words):
    return subprocess.run(["redis-cli", "-p", REDIS_PORT, *map(str, words)], check=True, text=True,
                          capture_output=True).stdout.strip()


def run_cure(finding):
    """The command before four blanks; what follows them is for people."""
    command = finding["cure"].split("    ")[0]
    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=60)


# --- the cases ---

def healthy():
    findings = doctor()
    for name in ("queue.reachable", "queue.partitions", "state.reachable", "state.persistence",
                 "state.eviction", "state.leases", "state.clock", "store.reachable", "store.trial",
                 "store.clock", "host.slot", "host.encoder"):
        find(findings, name, "good")
    find(findings, "fleet.workers", "fault", "lathe-worker")
    assert not any(f["group"] == "production" for f in findings), "unasked"


def redis_without_aof():
    redis("config", "set", "appendonly", "no")
    finding = find(doctor(), "state.persistence", "fault", "append-only", "appendonly yes")
    run_cure(finding)
    find(doctor(), "state.persistence", "good")


def redis_that_evicts():
    redis("config", "set", "maxmemory-policy", "volatile-lru")
    finding = find(doctor(), "state.eviction", "warning", "volatile-lru", "noeviction")
    run_cure(finding)
    find(doctor(), "state.eviction", "good")


def redis_that_evicts_jobs():
    redis("config", "set", "maxmemory", "200mb")
    redis("config", "set", "maxmemory-policy", "allkeys-lru")
    try:
        find(doctor(), "state.reachable", "fault", "throw away", "noeviction")
    finally:
        redis("config", "set", "maxmemory-policy", "noeviction")
        redis("config", "set", "maxmemory", "0")


def redis_nearly_full():
    used = int([line for line in redis("info", "memory").split() if line.startswith("used_memory:")]
               [0].split(":")[1])
    redis("config", "set", "maxmemory", int(used * 1.1))
    try:
        find(doctor(), "state.memory", "warning", "80 %")
    finally:
        redis("config", "set", "maxmemory", "0")


def redis_replica():
    redis("replicaof", "127.0.0.1", "1")
    try:
        find(doctor(), "state.role", "fault", "primary")
    finally:
        redis("replicaof", "no", "one")


def redis_away():
    find(doctor(LATHE_STATE_LOCATION="redis://127.0.0.1:1?patience_ms=100"), "state.reachable",
         "fault", "cannot be reached")


def stale_leases():
    redis("zadd", "lathe:leases", int((time.time() - 120) * 1e6), "some-job/3")
    try:
        find(doctor(), "state.leases", "fault", "1 units", "lathe-worker")
    finally:
        redis("zrem", "lathe:leases", "some-job/3")


def fake_worker(number, host="h1", version="0.1"):
    redis("zadd", "lathe:workers", int((time.time() + 60) * 1e6), f"w{number}")
    redis("hset", f"lathe:worker:w{number}", "host", host, "record",
          json.dumps({"version": version, "slots": 1}), "seen_us", int(time.time() * 1e6))


def partitions_for_workers():
    try:
        for number in range(9):
            fake_worker(number, version="0.1" if number else "0.2")
        findings = doctor()
        find(findings, "queue.partitions", "warning", "8 partitions for 9 workers",
             "--partitions 9")
        find(findings, "fleet.workers", "good", "9 workers")
        find(findings, "fleet.versions", "warning", "same version")
        find(doctor("--production"), "production.hosts", "warning", "1 host")
        fake_worker(0, host="h2")
        findings = doctor("--production")
        find(findings, "production.hosts", "good", "2 hosts")
        find(findings, "production.capacity", "good", "9 slots")
    finally:
        redis("del", "lathe:workers", *[f"lathe:worker:w{n}" for n in range(9)])


def failed_job():
    """A job that nobody works on, ended as failed by hand."""
    source = DIR / "poison.mkv"
    source.write_text("not a video")
    run = subprocess.run([LATHE, "submit", source, "-r", "240p"], text=True, capture_output=True,
                         env={**os.environ, "TMPDIR": str(DIR)}, timeout=60)
    assert run.returncode == 0, run.stderr
    job = run.stdout.strip()
    find(doctor("--production"), "production.capacity", "good")
    redis("hset", f"job:{job}", "created_us", int((time.time() - 1000) * 1e6))
    find(doctor("--production"), "production.capacity", "warning", "1 jobs have waited",
         "enable --now lathe-worker")
    serial = redis("zscore", "lathe:open_by_age", job)
    redis("hset", f"job:{job}", "status", "failed", "error", "chunk 7 failed 3 times")
    redis("zrem", "lathe:open_by_age", job)
    redis("zadd", "lathe:ended_by_age", serial, job)
    finding = find(doctor(), "fleet.failed-jobs", "warning", "chunk 7 failed", f"lathe status {job}")
    assert f"lathe retry {job}" in finding["cure"], finding
    subprocess.run([LATHE, "rm", job, "--quiet"], check=True, timeout=60,
                   env={**os.environ, "TMPDIR": str(DIR)})
    find(doctor(), "fleet.failed-jobs", "good")


def dead_letters():
    libs = next(pathlib.Path(os.environ.get("LATHE_CLUSTER_CACHE") or pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lathe").glob(
            "kafka-*")) / "libs"
    find(doctor(), "queue.dead-letters", "good")
    subprocess.run(["java", "-Xmx128m", "-cp", f"{libs}/*", "org.apache.kafka.tools.ConsoleProducer",
                    "--bootstrap-server", QUEUE, "--topic", "video-chunks.dlq"], text=True,
                   input='{"v":1,"job_id":"a","unit":3,"reason":"poison"}\n', check=True,
                   capture_output=True, timeout=120)
    find(doctor(), "queue.dead-letters", "note", "1 units were given up")


def one_copy_only():
    find(doctor(), "queue.replication", "warning", "video-chunks", "replication factor 1")


def topic_missing():
    find(doctor(LATHE_QUEUE_LOCATION=f"{QUEUE}?prefix=other-"), "queue.reachable", "fault",
         "other-video-jobs", "kafka-topics.sh", "--create")


def broker_away():
    find(doctor(LATHE_QUEUE_LOCATION="127.0.0.1:1"), "queue.reachable", "fault",
         "cannot be reached")


def bucket_missing():
    find(doctor(LATHE_STORE_LOCATION=STORE.replace("s3://videos", "s3://no-such-bucket")),
         "store.reachable", "fault", "no-such-bucket", "is not there")


def wrong_keys():
    keys = DIR / "wrong"
    keys.touch(0o600)
    for access, secret, words in (("lathe", "guessed", "secret key"),
                                  ("nobody", "guessed", "access key")):
        keys.write_text(f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n")
        find(doctor(LATHE_S3_CREDENTIALS=str(keys)), "store.reachable", "fault", words)
    keys.chmod(0o644)
    finding = find(doctor(LATHE_S3_CREDENTIALS=str(keys)), "store.reachable", "fault",
                   "can be read by everybody")
    run_cure(finding)
    assert keys.stat().st_mode & 7 == 0, "the cure did not cure"


def store_away():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    find(doctor(LATHE_STORE_LOCATION=f"s3://videos?endpoint=http://127.0.0.1:{port}&attempts=1"),
         "store.reachable", "fault", "server runs")


def clocks():
    if not shutil.which("faketime"):
        raise Skip("there is no faketime")
    findings = doctor(before=["faketime", "-f", "+30s"], DONT_FAKE_MONOTONIC="1")
    find(findings, "state.clock", "warning", "30 s ahead", "timedatectl set-ntp true")
    find(findings, "store.clock", "warning", "ahead")
    findings = doctor(before=["faketime", "-f", "-30m"], DONT_FAKE_MONOTONIC="1")
    find(findings, "state.clock", "fault", "1800 s behind")
    find(findings, "store.reachable", "fault", "behind", "timedatectl")


def full_disk():
    small = DIR / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", small],
                      capture_output=True).returncode:
        raise Skip("a small file system cannot be mounted")
    try:
        find(doctor(LATHE_SCRATCH=str(small / "not" / "made")), "host.scratch", "fault", "df -h")
        find(doctor(LATHE_STORE_DRIVER="dir", LATHE_STORE_LOCATION=str(small / "store")),
             "store.space", "fault", "df -h")
    finally:
        subprocess.run(["umount", small], check=True)


def encoder_missing():
    findings = doctor(LATHE_SLOT=FAKE_SLOT, LATHE_SLOT_FAKE="encoders:*:absent",
                      LATHE_SLOT_FAKE_DIR=str(DIR))
    find(findings, "host.encoder", "fault", "no libx264", "install")
    find(doctor(LATHE_SLOT=FAKE_SLOT, LATHE_SLOT_FAKE="", LATHE_SLOT_FAKE_DIR=str(DIR)),
         "host.encoder", "good")
    find(doctor(LATHE_SLOT=str(DIR / "no-slot")), "host.slot", "fault", "no-slot")


def device_forbidden():
    if os.geteuid() != 0:
        raise Skip("only root can make a device of somebody else")
    dri = pathlib.Path(tempfile.mkdtemp(prefix="lathe-dri-"))
    other = pathlib.Path(tempfile.mkdtemp(prefix="lathe-nobody-"))
    try:
        node = dri / "renderD128"
        node.touch()
        node.chmod(0o660)
        shutil.chown(node, 0, "video")
        dri.chmod(0o755)
        shutil.chown(other, "nobody")
        # Of all servers only this host is asked: nobody reads the keys.
        findings = doctor(before=["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"],
                          LATHE_SLOT_DRI_DIR=str(dri), TMPDIR=str(other),
                          LATHE_STATE_DIR=str(other))
        find(findings, "host.device", "fault", "renderD128", "usermod -aG video nobody")
        findings = doctor(before=["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=video"],
                          LATHE_SLOT_DRI_DIR=str(dri), TMPDIR=str(other),
                          LATHE_STATE_DIR=str(other))
        find(findings, "host.device", "good", "can be used")
    finally:
        shutil.rmtree(dri)
        shutil.rmtree(other)


def production():
    findings = doctor("--production")
    find(findings, "store.versioning", "warning", "put-bucket-versioning")
    find(findings, "state.replicas", "warning", "no replica")
    find(findings, "production.hosts", "warning", "0 hosts")
    find(findings, "production.tried", "warning", "lathe submit")
    find(findings, "production.metrics", "good")
    find(findings, "production.capacity", "good", "0 slots")
    for name in ("alerts", "failures", "scaling", "recovery"):
        find(findings, f"production.{name}", "note")
    find(doctor("--production", LATHE_METRICS_LISTEN=""), "production.metrics", "warning",
         "metrics.listen")
    embedded = doctor("--production", LATHE_QUEUE_DRIVER="sqlite", LATHE_QUEUE_LOCATION="",
                      LATHE_STATE_DRIVER="sqlite", LATHE_STATE_LOCATION="",
                      LATHE_STORE_DRIVER="dir", LATHE_STORE_LOCATION="")
    for port in ("queue", "state", "store"):
        find(embedded, f"{port}.one-host", "warning", f"{port}.driver")


def for_people():
    run = subprocess.run([LATHE, "doctor"], text=True, capture_output=True, timeout=120,
                         env={**os.environ, "LATHE_STATE_DIR": str(DIR),
                              "LATHE_GPU_ENABLED": "false"})
    assert run.returncode == 1, run
    groups = [line for line in run.stdout.splitlines() if not line.startswith(" ")]
    assert groups == ["this host: good", "queue: warning", "state: good", "store: good",
                      "fleet: fault"], groups
    assert "cure: systemctl enable --now lathe-worker" in run.stdout, run.stdout


def main():
    for case in (healthy, for_people, redis_without_aof, redis_that_evicts, redis_that_evicts_jobs,
                 redis_nearly_full, redis_replica, redis_away, stale_leases, partitions_for_workers,
                 failed_job, one_copy_only, topic_missing, broker_away, bucket_missing, wrong_keys,
                 store_away, clocks, full_disk, encoder_missing, device_forbidden, production,
                 dead_letters):
        try:
            case()
            say("ok", case.__name__)
        except Skip as why:
            say("skip", f"{case.__name__}: {why}")
        except (AssertionError, subprocess.SubprocessError, OSError) as why:
            say("not ok", f"{case.__name__}: {why} {getattr(why, 'stderr', '') or ''}")
    shutil.rmtree(DIR)
    print(", ".join(f"{results[word]} {name}" for word, name in
                    (("ok", "passed"), ("not ok", "failed"), ("skip", "skipped"))))
    return results["not ok"] != 0


sys.exit(main())
