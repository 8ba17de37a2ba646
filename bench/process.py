# SPDX-License-Identifier: MIT
"""Runs commands and measures them from outside, the same way for every contender.

Wall is from the start of the first to the end of the last process. CPU seconds come from wait4(),
which counts a child and all that it waited for; Lathe waits for its slots and ffmpeg has threads
only, so nothing escapes. Memory is sampled over the whole tree of processes.
"""

import os
import signal
import threading
import time

OUTPUT = "stdout"
SAMPLE_SECONDS = 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Failure(Exception):
    """A command did not do what was asked of it; the text says which and where its words are."""


def _children(pid):
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                yield from (int(child) for child in file.read().split())
    except OSError:
        return


def _tree(pids):
    found, queue = [], list(pids)
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(_children(pid))
    return found


def _memory(pids):
    """Own memory of each process, and once the largest shared part (program and libraries).

    statm costs the measured processes nothing; the exact share (smaps) would stop them while the
    kernel walks their pages, twenty times a second.
    """
    own, shared = 0, 0
    for pid in _tree(pids):
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                fields = file.read().split()
        except OSError:
            continue
        own += int(fields[1]) - int(fields[2])
        shared = max(shared, int(fields[2]))
    return (own + shared) * PAGE_BYTES


class _Sampler(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.pids, self.peak, self.ended = [], 0, threading.Event()

    def run(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, _memory(self.pids))


def _spawn(command, folder, log):
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        err = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for target, fd in enumerate((null, out, err)):
            os.dup2(fd, target)
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def _run_together(commands, folder, sampler, log):
    pids = []
    try:
        for command in commands:
            pids.append(_spawn(command, folder, log))
        sampler.pids = pids
        cpu = 0.0
        for pid, command in zip(list(pids), commands):
            _, status, usage = os.wait4(pid, 0)
            pids = [other for other in pids if other != pid]
            cpu += usage.ru_utime + usage.ru_stime
            if status:
                with open(log, encoding="utf-8", errors="replace") as file:
                    words = file.read().strip().splitlines()[-3:]
                raise Failure(f"{command[0]} failed ({status}): {' / '.join(words)}")
        return cpu
    finally:
        for pid in pids:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def run(steps, folder):
    """Runs one contender: steps one after the other, the commands of a step at once."""
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, "stderr")
    if os.path.exists(log):
        os.remove(log)
    sampler = _Sampler()
    sampler.start()
    start = time.monotonic()
    try:
        cpu = sum(_run_together(step, folder, sampler, log) for step in steps)
        wall = time.monotonic() - start
    finally:
        sampler.ended.set()
        sampler.join()
    return {"wall": wall, "cpu": cpu, "peak_bytes": sampler.peak}
