# SPDX-License-Identifier: MIT
"""What the tests on emulated drivers share: running a command on them, reading their record,
made sources, and a list of tests that is run and counted."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import sources

HERE = pathlib.Path(__file__).resolve().parent
FFMPEG = ["ffmpeg", "-nostdin", "-v", "error", "-y"]


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


class Sources(dict):
    """Made sources by name; a test that asks for one that could not be made is skipped."""

    def __missing__(self, name):
        raise Skip(f"{name} cannot be made here: {self.reasons.get(name, 'there is no such one')}")

    reasons = {}


class Event(dict):
    """One line of the record."""

    @property
    def name(self):
        return self["event"]


class Run:
    """A finished command with what the drivers recorded meanwhile."""

    def __init__(self, code, out, err, events, seconds):
        self.code, self.out, self.err, self.events, self.seconds = code, out, err, events, seconds

    def all(self, name, **wanted):
        """Events of that name whose values are as wanted."""
        return [e for e in self.events if e.name == name
                and all(e.get(k) == str(v) for k, v in wanted.items())]

    def one(self, name, **wanted):
        found = self.all(name, **wanted)
        assert len(found) == 1, f"expected one {name} {wanted}, got {len(found)}: {self.events}"
        return found[0]

    def __str__(self):
        return f"exit {self.code} after {self.seconds:.1f} s, stderr: {self.err[-600:]}"


def read_record(path):
    events = []
    if path.exists():
        for line in path.read_text().splitlines():
            events.append(Event(word.split("=", 1) for word in line.split() if "=" in word))
    return events


class Box:
    """A folder of a test, and the emulated drivers it runs commands on."""

    def __init__(self, build, root, sources):
        self.build, self.root, self.sources = build, root, sources
        self.count = 0
        root.mkdir(parents=True)

    def path(self, name):
        return self.root / name

    def start(self, profile, command, plan="", options=(), env=None):
        """Starts a command without waiting; returns the process and the path of its record."""
        self.count += 1
        record, plan_file = self.path(f"record{self.count}"), self.path(f"plan{self.count}")
        plan_file.write_text(plan)
        process = subprocess.Popen(
            [HERE / "run", "--build", self.build, "--profile", profile, "--plan", plan_file,
             "--record", record, "--state", self.path("state"), *options, "--",
             *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **(env or {})})
        return process, record

    def run(self, profile, command, plan="", options=(), timeout=60, env=None):
        """Runs a command; one that takes too long is killed and gets the code None."""
        begin = time.monotonic()
        process, record = self.start(profile, command, plan, options, env)
        try:
            out, err = process.communicate(timeout=timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            code = None
        return Run(code, out, err, read_record(record), time.monotonic() - begin)


def software(command):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout


def hashes(text):
    """Time and hash of every frame of a framemd5 listing."""
    rows = [line.split(",") for line in text.splitlines() if line and line[0] != "#"]
    return [(int(row[2]), row[-1].strip()) for row in rows]


def frames_md5(path, *options, pix_fmt="nv12"):
    return hashes(software([*FFMPEG, "-i", path, *options, "-an", "-fps_mode", "passthrough",
                            "-pix_fmt", pix_fmt, "-f", "framemd5", "-"]))


def count_frames(path):
    return int(software(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v",
                         "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0",
                         path]).split()[0].strip(","))


def probe(path, *fields):
    text = software(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
                     "stream=" + ",".join(fields), "-of", "default=nw=1", path])
    return dict(line.split("=", 1) for line in text.splitlines())


def make_sources(recipes, folder):
    """recipes: file name -> ffmpeg options. What is optional is left out where it cannot be made
    or software cannot decode it without an error."""
    folder.mkdir(parents=True, exist_ok=True)
    optional = sources.OPTIONAL

    def make(item):
        path = folder / item[0]
        run = subprocess.run([*FFMPEG, *item[1], path], capture_output=True, text=True)
        if run.returncode == 0 and item[0] in optional:
            run = subprocess.run([*FFMPEG, "-i", path, "-f", "null", "-"], capture_output=True,
                                 text=True)
        good = run.returncode == 0 and not (item[0] in optional and run.stderr)
        assert good or item[0] in optional, f"{item[0]}: {run.stderr}"
        return (item[0], path) if good else None

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = Sources(filter(None, pool.map(make, recipes.items())))
    made.reasons = optional
    return made


def main(tests, recipes):
    """tests: (name, function of a Box). Arguments: the build folder, then names to run only."""
    build, only = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    root = pathlib.Path(tempfile.mkdtemp(prefix="lathe-emu-"))
    failed, skipped = [], []
    try:
        made = make_sources(recipes, root / "sources")
        chosen = [t for t in tests if not only or any(word in t[0] for word in only)]

        def run(test):
            begin = time.monotonic()
            try:
                test[1](Box(build, root / test[0].replace(" ", "_").replace("/", "_"), made))
                result = None
            except Skip as reason:
                result = reason
            except Exception:  # whatever it was, the test has failed
                result = traceback.format_exc()
            return test[0], result, time.monotonic() - begin

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for name, result, seconds in pool.map(run, chosen):
                if isinstance(result, Skip):
                    print(f"skip - {name}: {result}", flush=True)
                    skipped.append(name)
                    continue
                print(f"{'not ok' if result else 'ok'} - {name} ({seconds:.1f} s)", flush=True)
                if result:
                    print(result, flush=True)
                    failed.append(name)
        print(f"{len(chosen) - len(failed) - len(skipped)} passed, {len(failed)} failed, "
              f"{len(skipped)} skipped")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(1 if failed or not chosen else 0)
