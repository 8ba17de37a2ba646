# SPDX-License-Identifier: MIT
"""A fleet for one check: real workers on the real servers of with.sh, in a Redis database, a set of
topics and a part of the bucket that no other check uses."""
import itertools
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import time
import urllib.parse

DEADLINE_S = 180  # of anything: only what hangs reaches it
ENDED = ("completed", "failed", "cancelled")
numbers = itertools.count(1)
databases = queue.Queue()  # of Redis, each for one check at a time
for number in range(1, 16):
    databases.put(number)


class Skip(Exception):
    """Raised by a check that this machine cannot run; the text is the reason."""


class Programs:
    """What is tested, and where it may write."""

    def __init__(self, lathe, worker, fake_slot, work):
        self.lathe, self.worker, self.fake_slot = lathe, worker, fake_slot
        self.has_kafka = "LATHE_QUEUE_LOCATION" in os.environ
        self.work = pathlib.Path(work)


def server(verb, name):
    """Kills, stops, continues or starts a server of with.sh."""
    subprocess.run([os.environ["LATHE_SERVER"], verb, name], check=True, timeout=DEADLINE_S,
                   stdout=subprocess.DEVNULL)


def until(what, condition, seconds=DEADLINE_S):
    """Waits for something to become true; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Worker:
    """A running lathe-worker."""

    def __init__(self, fleet, name, command, variables):
        self.log_path = fleet.dir / f"{name}.log"
        self.log_file = self.log_path.open("w", encoding="utf-8")
        self.process = subprocess.Popen(command, stderr=self.log_file,
                                        stdin=subprocess.DEVNULL, env=fleet.environment(variables))
        self.pid = self.process.pid

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, pattern, seconds=DEADLINE_S):
        def look():
            if self.process.poll() is not None and not re.search(pattern, self.log()):
                raise AssertionError(f"the worker ended ({self.process.returncode}) before it said "
                                     f"{pattern!r}: {self.log()[-1500:]}")
            return re.search(pattern, self.log())
        return until(f"{pattern!r} in {self.log_path.name}", look, seconds)

    def wait_end(self, seconds=DEADLINE_S):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not end: {self.log()[-1500:]}") from None

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait_end()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log_file.close()


class Fleet:
    """Where the servers are for one check, its workers, and its jobs."""

    def __init__(self, programs, name, queue_options="", fake=True):
        self.programs = programs
        self.number = next(numbers)
        self.dir = programs.work / f"{self.number}-{name}"
        self.dir.mkdir(parents=True)
        self.fake = fake
        self.workers = []
        port = os.environ["LATHE_STATE_LOCATION"].rsplit(":", 1)[1]
        self.database = databases.get()
        self.redis_words = ["redis-cli", "-p", port, "-n", str(self.database)]
        self.redis("FLUSHDB")
        self.store = os.environ["LATHE_STORE_LOCATION"]
        bucket, _, options = self.store.partition("?")
        self.prefix = f"f{self.number}"
        self.locations = {
            "LATHE_STATE_LOCATION": f"redis://127.0.0.1:{port}/{self.database}?patience_ms=500",
            "LATHE_STORE_LOCATION": f"{bucket}/{self.prefix}?{options}",
        }
        if programs.has_kafka:
            self.locations["LATHE_QUEUE_LOCATION"] = (
                f"{os.environ['LATHE_QUEUE_LOCATION']}?prefix={self.prefix}-&create=4{queue_options}")
        else:
            self.locations.update(LATHE_QUEUE_DRIVER="sqlite",
                                  LATHE_QUEUE_LOCATION=str(self.dir / "queue.db"))
        self.log = self.dir / "log"  # of orders, by the fake slot

    def need_kafka(self):
        if not self.programs.has_kafka:
            raise Skip("there is no Kafka here")

    def environment(self, variables=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("LATHE_SLOT")}
        env.update(self.locations)
        env.update({"LATHE_STATE_DIR": str(self.dir / "state"), "TMPDIR": str(self.dir),
                    "LATHE_SCRATCH": str(self.dir), "LATHE_HARDWARE_CACHE": "",
                    "LATHE_GPU_ENABLED": "false", "LATHE_DOOR": "none", "LATHE_LEASE_SECONDS": "3",
                    "LATHE_METRICS_LISTEN": "", "LATHE_SLOTS": "2", "LATHE_LOG": "debug"})
        if self.fake:
            env.update({"LATHE_SLOT": self.programs.fake_slot,
                        "LATHE_SLOT_FAKE_DIR": str(self.dir)})
        env.update(variables or {})
        return env

    def worker(self, *words, name=None, under=(), **variables):
        """`under`: a command that runs the worker."""
        name = name or f"worker-{len(self.workers) + 1}"
        self.workers.append(Worker(self, name, [*under, self.programs.worker, *words], variables))
        return self.workers[-1]

    def lathe(self, *words, check=True):
        run = subprocess.run([self.programs.lathe, *map(str, words)], text=True,
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S,
                             env=self.environment({"LATHE_LOG": "warning"}))
        if check and run.returncode:
            raise AssertionError(f"lathe {words[0]}: exit code {run.returncode}: {run.stderr}")
        return run

    def submit(self, source=None, *words):
        """Returns the job's id. Without a source: a file that only the fake slot can read."""
        if source is None:
            source = self.dir / "source.mp4"
            source.write_text("a source for the fake slot\n" * 10, encoding="utf-8")
            words = ("-r", "240p", *words)
        return self.lathe("submit", source, *words).stdout.split()[0]

    def status(self, job):
        return json.loads(self.lathe("status", job, "--all", "--json").stdout)

    def wait(self, job, expected="completed"):
        def ended():
            run = self.lathe("status", job, "--json", check=False)
            state = json.loads(run.stdout) if run.returncode == 0 else {}
            return state if state.get("status") in ENDED else None
        state = until(f"the end of job {job}", ended)
        assert state["status"] == expected, f"the job is {state['status']}: {state.get('error')}"
        return state

    def wait_published(self, job, *names):
        """A job is complete a moment before its results have their names, and until then what served
        to make them is there."""
        wanted = sorted(f"transcoded/{job}/{name}" for name in names)

        def look():
            keys = [k for k in self.objects() if job in k and not k.startswith(("raw/", "jobs/"))]
            return keys == wanted
        try:
            until("the publication", look, 60)
        except AssertionError:
            raise AssertionError(f"the store has {self.objects()}") from None

    def fetch(self, job):
        path = self.dir / f"{job}.mp4"
        self.lathe("fetch", job, "-o", path)
        return path.read_bytes()

    def redis(self, *words):
        return subprocess.run([*self.redis_words, *words], check=True, text=True, timeout=60,
                              capture_output=True).stdout

    def objects(self):
        """Keys of this fleet in the store."""
        if self.locations.get("LATHE_STORE_DRIVER") == "dir":
            folder = pathlib.Path(self.locations["LATHE_STORE_LOCATION"])
            keys = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
            return sorted(key for key in keys if not key.startswith("."))
        url = urllib.parse.urlparse(self.store)
        options = urllib.parse.parse_qs(url.query)
        keys = dict(re.findall(r"(aws_\w+) *= *(\S+)", pathlib.Path(
            os.environ["LATHE_S3_CREDENTIALS"]).read_text(encoding="utf-8")))
        query = urllib.parse.urlencode({"list-type": 2, "prefix": f"{self.prefix}/"})
        answer = subprocess.run(
            ["curl", "-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
             f"{keys['aws_access_key_id']}:{keys['aws_secret_access_key']}",
             f"{options['endpoint'][0]}/{url.netloc}?{query}"],
            check=True, capture_output=True, text=True, timeout=60).stdout
        return sorted(k[len(self.prefix) + 1:] for k in re.findall("<Key>([^<]*)</Key>", answer))

    def orders(self, verb):
        """How many orders of that verb slots were given."""
        if not self.log.exists():
            return 0
        return sum(line.startswith(verb + " ") for line in self.log.read_text().split("\n"))

    def close(self):
        for worker in self.workers:
            worker.kill()
        databases.put(self.database)
