# SPDX-License-Identifier: MIT
"""The trust table: who links what, and that the memory of the parent does not grow with the
source."""
import os
import pathlib
import re
import subprocess
import time

from harness import FF, Skip

FORBIDDEN = {
    "lathe": r"libav(codec|format|filter|util|device)|libsw(scale|resample)|libx26[45]|libva|libcuda",
    "slot": r"libcurl|librdkafka|libhiredis|libsqlite3|libssl|libgnutls",
}


def links(context, _, which):
    """Direct needs of the program: what its libraries need in turn is theirs."""
    program = context.lathe if which == "lathe" else context.slot
    dump = subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True)
    needed = re.findall(r"NEEDED\s+(\S+)", dump.stdout)
    assert needed, "no dynamic libraries at all: is this the right file?"
    bad = [name for name in needed if re.search(FORBIDDEN[which], name)]
    assert not bad, f"{program} links {bad}"
    if which == "lathe":  # here nothing may come in through the back door either
        loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        bad = re.findall(FORBIDDEN[which], loaded)
        assert not bad, f"{program} loads {sorted(set(map(str, bad)))}"


def peak_kib(process):
    try:
        status = pathlib.Path("/proc", str(process.pid), "status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) if found else 0


def parent_peak_kib(context, box, minutes):
    frames = minutes * 60 * 25
    source = context.source(f"long{minutes}.mp4", (
        f"$GEN video --frames 250 --size 64x64 > $TMP/v.yuv\n"
        f"{FF} -stream_loop {frames // 250 - 1} -f rawvideo -pix_fmt yuv444p -s 64x64 -r 25"
        " -i $TMP/v.yuv -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 100 $OUT\n"))
    process = box.start(["run", source, "-o", box.out(f"{minutes}.mp4"), "--rendition", "64p:100k",
                         "--preset", "ultrafast", "--chunk-seconds", "4"])
    begin, peak = time.monotonic(), 0
    while process.poll() is None:
        peak = max(peak, peak_kib(process))
        time.sleep(0.02)
    run = box.wait(process, begin)
    assert run.code == 0, str(run)
    return peak


def flat_memory(context, box):
    if "ASAN_OPTIONS" in os.environ:
        raise Skip("a sanitizer holds on to freed memory, so its peak says nothing")
    short = parent_peak_kib(context, box, 1)
    long = parent_peak_kib(context, box, 30)
    if not short:
        raise Skip("no peak memory in /proc")
    # The plan itself grows by a line a chunk; frames and packets must not show.
    assert long < short + 12 * 1024, f"{short} KiB for a minute, {long} KiB for half an hour"


def run(context):
    context.test("what lathe links", links, "lathe")
    context.test("what lathe-slot links", links, "slot")
    context.test("memory of the command over a long source", flat_memory)
