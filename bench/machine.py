# SPDX-License-Identifier: MIT
"""What the numbers were measured on: without it they mean little."""

import os
import platform
import subprocess


def _first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


def _processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError, AttributeError):
        return platform.system()


def describe(lathe):
    return {
        "processor": _processor(), "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": _system(), "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "ffmpeg": _first_line(["ffmpeg", "-version"]).split(" Copyright")[0],
        "lathe": _first_line([lathe, "--version"]),
    }
