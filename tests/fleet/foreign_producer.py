#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A producer that knows nothing of Lathe drives a worker: it cuts a video itself, stores the chunks,
announces them in the job's hash, and sends one plain record a chunk.

usage: with.sh redis,kafka,seaweedfs foreign_producer.py --worker LATHE_WORKER --gen MEDIA_GEN
           --check MEDIA_CHECK --work FOLDER

Needs the settings of `scripts/cluster env`. Checks each result against the original, frame by frame,
with its sound, and what stands in the hash afterwards. Prints one line a check and the three sums.
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
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "media"))
import recipes  # noqa: E402

SECONDS = 10
END_SECONDS = 180  # against hangs


class Servers:
    """The three servers, through the tools that a stranger would use."""

    def __init__(self):
        self.redis = urllib.parse.urlparse(os.environ["LATHE_STATE_LOCATION"])
        store = urllib.parse.urlparse(os.environ["LATHE_STORE_LOCATION"])
        self.bucket = store.netloc
        self.endpoint = urllib.parse.parse_qs(store.query)["endpoint"][0]
        self.broker = os.environ["LATHE_QUEUE_LOCATION"].split("?")[0]
        keys = dict(line.split("=", 1) for line in
                    pathlib.Path(os.environ["LATHE_S3_CREDENTIALS"]).read_text().split("\n")
                    if "=" in line)
        keys = {name.strip(): value.strip() for name, value in keys.items()}
        self.user = f"{keys['aws_access_key_id']}:{keys['aws_secret_access_key']}"

    def redis_cli(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.redis.port), *words], text=True,
                              check=True, capture_output=True).stdout

    def hash(self, job):
        lines = self.redis_cli("HGETALL", f"job:{job}").split("\n")
        return dict(zip(lines[::2], lines[1::2]))

    def curl(self, key, *words):
        return subprocess.run(["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
                               self.user, *words, f"{self.endpoint}/{self.bucket}/{key}"],
                              capture_output=True, check=False)

    def put(self, key, path):
        answer = self.curl(key, "-f", "-T", str(path), "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD")
        if answer.returncode:
            raise RuntimeError(f"cannot store {key}: {answer.stderr.decode()}")

    def get(self, key, path):
        return self.curl(key, "-f", "-o", str(path)).returncode == 0

    def exists(self, key):
        return self.curl(key, "-f", "-I", "-o", os.devnull).returncode == 0

    def java(self, tool, *words, **options):
        script = ('. "$1/cluster.sh"; kafka_set_java "$2"; shift 2; exec "${kafka_java[@]}" "$@"')
        return subprocess.run(["bash", "-c", script, "kafka", HERE.parents[1] / "scripts/cluster.d",
                               os.environ["LATHE_CLUSTER_DIR"] + "/kafka", tool, *words],
                              text=True, capture_output=True, check=False, **options)

    def send(self, records):
        lines = "".join(f"{key}|{value}\n" for key, value in records)
        sent = self.java("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", self.broker, "--topic",
                         "video-chunks", "--property", "parse.key=true", "--property",
                         "key.separator=|", input=lines)
        if sent.returncode:
            raise RuntimeError(sent.stderr[-500:])

    def dead_letters(self):
        seen = self.java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", self.broker, "--topic",
                         "video-chunks.dlq", "--from-beginning", "--timeout-ms", "5000")
        return seen.stdout


def make_source(options, path):
    recipe = recipes.av(25 * SECONDS, seconds=SECONDS, video=recipes.x264("keyint=50:scenecut=0"))
    run = recipes.run(recipe, options.gen, str(path.parent), path.name, capture_output=True,
                      check=False)
    if run.returncode:
        raise RuntimeError(run.stderr[-500:])


def cut(source, folder, streams, resets):
    """As such a producer does: the segment muxer, without a look at what comes out."""
    folder.mkdir()
    subprocess.run([*recipes.FF.split(), "-i", str(source), *streams, "-c", "copy", "-f", "segment",
                    "-segment_time", "2", "-reset_timestamps", "1" if resets else "0",
                    "-segment_format", "mpegts", str(folder / "chunk_%03d.ts")], check=True)
    return sorted(folder.glob("chunk_*.ts"))


class Case:
    def __init__(self, name, servers, source, chunks, has_raw):
        self.name, self.servers, self.source = name, servers, source
        self.chunks, self.has_raw = chunks, has_raw
        self.reference = source
        if not has_raw:  # MPEG-TS does not say what an AAC encoder put in front of the sound
            self.reference = source.with_suffix(".ts")
            self.reference.write_bytes(b"".join(chunk.read_bytes() for chunk in chunks))
        self.job = str(uuid.uuid4())

    def records(self):
        for i in range(len(self.chunks)):
            yield f"{self.job}", json.dumps(
                {"job_id": self.job, "chunk_index": i, "resolution": "1080p", "bitrate": 5000,
                 "s3_key": f"chunks/{self.job}/chunk_{i:03d}.ts"})

    def produce(self):
        s = self.servers
        if self.has_raw:
            s.put(f"raw/{self.job}.mp4", self.source)
        s.redis_cli("HSET", f"job:{self.job}", "status", "processing", "filename", "holiday.mp4")
        for i, chunk in enumerate(self.chunks):
            s.put(f"chunks/{self.job}/chunk_{i:03d}.ts", chunk)

    def announce(self):
        self.servers.redis_cli("HSET", f"job:{self.job}", "total_chunks", str(len(self.chunks)),
                               "completed_chunks", "0")

    def wait(self):
        end = time.monotonic() + END_SECONDS
        while time.monotonic() < end:
            now = self.servers.hash(self.job)
            if now.get("status") in ("completed", "failed", "cancelled"):
                return now
            time.sleep(0.5)
        return self.servers.hash(self.job)

    def faults(self, options):
        now, faults = self.wait(), []
        if now.get("status") != "completed":
            return [f"the job is {now.get('status')}: {now.get('error', 'no reason')}"]
        expected = {"total_chunks": str(len(self.chunks)), "completed_chunks": str(len(self.chunks)),
                    "filename": "holiday.mp4"}
        faults += [f"{key} is {now.get(key)}, not {value}" for key, value in expected.items()
                   if now.get(key) != value]
        result = options.work / f"{self.name}.mp4"
        end = time.monotonic() + 30  # the state says so before the name is there
        while not self.servers.get(f"transcoded/{self.job}/output_1080p.mp4", result):
            if time.monotonic() > end:
                return faults + ["there is no output_1080p.mp4"]
            time.sleep(0.5)
        check = subprocess.run([options.check, self.reference, result, "--expect-frames",
                                str(25 * SECONDS), "--expect-tracks", "1"], text=True,
                               capture_output=True, check=False)
        if check.returncode:
            faults.append((check.stdout + check.stderr).strip())
        if not self.servers.exists(f"chunks/{self.job}/chunk_000.ts"):
            faults.append("the producer's own chunks are gone")
        if self.servers.exists(f"chunks/{self.job}/plan.json"):
            faults.append("Lathe's own plan was left behind")
        return faults


def refusals(servers):
    """Records that nobody can serve end among the dead letters, with the reason."""
    good = str(uuid.uuid4())
    servers.redis_cli("HSET", f"job:{good}", "status", "processing", "total_chunks", "1")
    servers.send([(good, json.dumps({"job_id": good, "chunk_index": 0, "resolution": "1080p",
                                     "bitrate": 5000, "s3_key": "raw/secrets.mp4"})),
                  (good, json.dumps({"job_id": good, "chunk_index": 0, "resolution": "huge",
                                     "s3_key": f"chunks/{good}/chunk_000.ts"}))])
    end = time.monotonic() + 60
    letters = ""
    while time.monotonic() < end:
        letters = servers.dead_letters()
        if letters.count(good) >= 2:
            break
    faults = [f"no dead letter says {word}" for word in ("s3_key", "huge") if word not in letters]
    servers.redis_cli("DEL", f"job:{good}")
    return faults


def main():
    parser = argparse.ArgumentParser()
    for name in ("worker", "gen", "check", "work"):
        parser.add_argument("--" + name, required=True, type=os.path.abspath)
    options = parser.parse_args()
    options.work = pathlib.Path(options.work)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    servers = Servers()
    source = options.work / "source.mp4"
    make_source(options, source)
    pictures, both = ["-map", "0:v"], ["-map", "0:v", "-map", "0:a"]
    cases = [Case("pictures_only", servers, source,
                  cut(source, options.work / "a", pictures, True), True),
             Case("continuous", servers, source, cut(source, options.work / "b", both, False), True),
             Case("no_original", servers, source, cut(source, options.work / "c", both, False),
                  False)]
    log = open(options.work / "worker.log", "w", encoding="utf-8")
    worker = subprocess.Popen([options.worker, "--config", os.devnull, "--state-dir",
                               str(options.work / "state"), "--metrics-listen", "", "--door", "none",
                               "--slots", "2", "--gpu-enabled", "false"], stdin=subprocess.DEVNULL,
                              stdout=log, stderr=log)
    failed = 0

    def say(name, faults):
        nonlocal failed
        failed += bool(faults)
        print(f"{'not ok' if faults else 'ok'} - foreign producer: {name}", flush=True)
        for fault in faults:
            print("# " + fault.replace("\n", "\n# "), flush=True)

    try:
        for case in cases:
            case.produce()
        # The first record comes before the number of chunks is known, as it may.
        servers.send([next(cases[0].records())])
        for case in cases:
            case.announce()
        servers.send([r for case in cases for r in case.records()])
        for case in cases:
            say(case.name, case.faults(options))
        say("refusals", refusals(servers))
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(60)
        except subprocess.TimeoutExpired:
            worker.kill()
    print(f"{len(cases) + 1 - failed} passed, {failed} failed, 0 skipped")
    if failed:
        print((options.work / "worker.log").read_text()[-3000:])
    return 1 if failed else 0


sys.exit(main())
