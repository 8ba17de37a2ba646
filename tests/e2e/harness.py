# SPDX-License-Identifier: MIT
"""What every end-to-end suite needs: a box to run in, a source, and one line a check.

A box is a set of fresh folders that stand for all places a program may write to. After a run,
whatever is in them beyond the output was left behind.
"""
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "media"))
import recipes  # noqa: E402

FF = "ffmpeg -nostdin -v error -y"


def listen_to_keyboard():
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Skip(Exception):
    """Raised by a check that this machine cannot run; the text is the reason."""


class Run:
    """How a command ended."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def lines(self):
        return [line for line in self.err.split("\n") if line.strip()]

    def __str__(self):
        return f"exit code {self.code} after {self.seconds:.1f} s, stderr: {self.err.strip()[-500:]}"


class Box:
    """Fresh folders: input, output, and every place for temporary files."""

    def __init__(self, context, name):
        self.context = context
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=context.work))
        for folder in ("in", "out", "tmp", "home"):
            (self.root / folder).mkdir()

    def environment(self, extra=None):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "LATHE_"))}
        return dict(keep, TMPDIR=str(self.root / "tmp"), HOME=str(self.root / "home"),
                    **(extra or {}))

    def start(self, words, extra=None, **options):
        return subprocess.Popen([self.context.lathe, *map(str, words)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment(extra), cwd=self.root,
                                preexec_fn=listen_to_keyboard, **options)

    def wait(self, process, begin, timeout=180):
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError(f"no end after {timeout} s") from None
        return Run(process.returncode, out, err, time.monotonic() - begin)

    def lathe(self, *words, extra=None, timeout=180, **options):
        begin = time.monotonic()
        return self.wait(self.start(words, extra, **options), begin, timeout)

    def out(self, name="out.mp4"):
        return self.root / "out" / name

    def leftovers(self, *expected):
        """Every file and folder in the box's writable places but the expected ones. The empty
        scratch folder and its lock may stay: removing them would race with another start."""
        scratch = self.root / "tmp" / f"lathe-{os.geteuid()}"
        expected += (scratch, scratch / "lathe.lock")
        found = []
        for folder in ("out", "tmp", "home"):
            for path in (self.root / folder).rglob("*"):
                if path not in expected:
                    found.append(str(path.relative_to(self.root)))
        return sorted(found)

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def children(pid):
    """Process ids of the living direct children."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text(encoding="utf-8")
            except OSError:
                continue
            state, parent = stat.rsplit(")", 1)[1].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(entry))
    return found


def name_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def command_line(pid):
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


def named_children(process, name, at_least=1, timeout=20):
    """Children of a running command by name, once there are some. Not every child is a slot: a leak
    check at the end of a sanitized command runs in a child too, and waits for ever if that is
    killed."""
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        found = [pid for pid in children(process.pid) if name_of(pid) == name]
        if len(found) >= at_least:
            return found
        time.sleep(0.005)
    return []


def slots_of(process, at_least=1, timeout=20):
    return named_children(process, "lathe-slot", at_least, timeout)


def template_of(process, timeout=20):
    """What its slots are copied from, or None when there was none in that time."""
    return next(iter(named_children(process, "lathe-template", 1, timeout)), None)


def alive(pid):
    try:
        state = pathlib.Path("/proc", str(pid), "stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return state.rsplit(")", 1)[1].split()[0] != "Z"


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Context:
    """Programs, a work folder with cached sources, and the tally."""

    def __init__(self, lathe, slot, gen, check, work, slow=1):
        self.lathe, self.slot, self.gen, self.check = lathe, slot, gen, check
        self.work = pathlib.Path(work).absolute()
        self.sources = self.work / "sources"
        self.sources.mkdir(parents=True, exist_ok=True)
        self.slow = slow
        self.passed = self.failed = self.skipped = 0

    def source(self, name, script):
        """A cached file made by a shell script that writes $OUT."""
        key = hashlib.sha256(script.encode() + pathlib.Path(self.gen).read_bytes()).hexdigest()[:12]
        stem, ext = name.rsplit(".", 1)
        path = self.sources / f"{stem}-{key}.{ext}"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=self.sources) as tmp:
                recipes.run(script, self.gen, tmp, "made." + ext, check=True)
                os.rename(os.path.join(tmp, "made." + ext), path)
        return path

    def clip(self, seconds, size="320x180", ext="mp4", mux=""):
        """Numbered pictures and sound: the plain good source."""
        count = seconds * 25
        return self.source(f"clip{seconds}_{size}.{ext}", (
            f"$GEN audio --seconds {seconds} > $TMP/a.wav\n"
            f"$GEN video --frames {count} --size {size} | {FF} -f rawvideo -pix_fmt yuv444p"
            f" -s {size} -r 25 -i - -i $TMP/a.wav -c:v libx264 -preset veryfast -pix_fmt yuv420p"
            f" -g 50 -c:a aac -b:a 128k {mux} $OUT\n"))

    def is_right(self, source, output, *options):
        run = subprocess.run([self.check, str(source), str(output), *options], text=True,
                             capture_output=True, check=False)
        assert run.returncode == 0, run.stdout.strip()[-600:] or f"media-check: {run.returncode}"

    def test(self, name, function, *arguments):
        """Runs one check in its own box and prints its line."""
        box = Box(self, name.replace(" ", "_").replace("/", "_")[:40])
        begin = time.monotonic()
        try:
            function(self, box, *arguments)
        except Skip as reason:
            self.skipped += 1
            print(f"skip - e2e: {name}: {reason}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as fault:
            self.failed += 1
            print(f"not ok - e2e: {name} ({time.monotonic() - begin:.1f} s)\n# "
                  + f"{type(fault).__name__}: {fault}".replace("\n", "\n# "), flush=True)
        else:
            self.passed += 1
            print(f"ok - e2e: {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        finally:
            box.close()
