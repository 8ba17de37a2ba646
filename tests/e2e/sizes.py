# SPDX-License-Identifier: MIT
"""Long and large sources: the memory of the command does not grow with the first, and its disk not
with the second. And a disk that is too small for the work, at each of its steps."""
import os
import pathlib
import re
import shutil
import struct
import subprocess
import time

from harness import FF, Skip, slots_of

LARGE_BYTES = 20 << 30
SCRATCH_BYTES = 64 << 20  # far more than the clip needs, far less than the large source has
PARENT_KIB = 8 << 10  # what two hours may take more than two minutes: a plan of 120 chunks
RATE = 2  # pictures a second: two hours are not to take two hours


def peak_kib(process):
    try:
        status = pathlib.Path("/proc", str(process.pid), "status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) if found else 0


def parent_peak_kib(context, box, minutes):
    loops = minutes * 60 * RATE // 100
    source = context.source(f"hours{minutes}.mp4", (
        f"$GEN video --frames 100 --size 64x36 > $TMP/v.yuv\n"
        f"{FF} -stream_loop {loops - 1} -f rawvideo -pix_fmt yuv444p -s 64x36 -r {RATE}"
        " -i $TMP/v.yuv -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 $OUT\n"))
    begin, peak = time.monotonic(), 0
    process = box.start(["run", source, "-o", box.out(f"{minutes}.mp4"), "--rendition", "36p:50k",
                         "--preset", "ultrafast", "--chunk-seconds", "60"])
    while process.poll() is None:
        peak = max(peak, peak_kib(process))
        time.sleep(0.02)
    run = box.wait(process, begin)
    assert run.code == 0, str(run)
    return peak


def two_hours(context, box):
    if "ASAN_OPTIONS" in os.environ:
        raise Skip("a sanitizer holds on to freed memory, so its peak says nothing")
    short = parent_peak_kib(context, box, 2)
    if not short:
        raise Skip("no peak memory in /proc")
    long = parent_peak_kib(context, box, 120)
    print(f"# {short} KiB for two minutes, {long} KiB for two hours", flush=True)
    assert long < short + PARENT_KIB, f"{short} KiB for two minutes, {long} KiB for two hours"


def insert_hole(path, clip):
    """A fragmented MP4 with 20 GiB of nothing between its header and its pictures. Fragments count
    from their own place, so that they need not know."""
    data = clip.read_bytes()
    at = 0
    while data[at + 4:at + 8] != b"moov":
        at += struct.unpack(">I", data[at:at + 4])[0]
    at += struct.unpack(">I", data[at:at + 4])[0]
    with open(path, "wb") as file:
        file.write(data[:at])
        file.write(struct.pack(">I4sQ", 1, b"free", LARGE_BYTES))
        file.seek(at + LARGE_BYTES)
        file.write(data[at:])


def bytes_in(*folders):
    """Sizes as files say them: a copy that keeps the hole counts in full."""
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                pass  # removed meanwhile
    return total


def twenty_gigabytes(context, box, *more):
    clip = context.clip(4, mux="-movflags frag_keyframe+empty_moov+default_base_moof+skip_trailer")
    source = box.root / "in" / "large.mp4"
    try:
        insert_hole(source, clip)
    except OSError as fault:
        raise Skip(f"this file system has no files of 20 GiB: {fault}") from None
    begin, peak = time.monotonic(), 0
    process = box.start(["run", source, "-o", box.out(), "--rendition", "90p:200k", *more])
    while process.poll() is None:
        peak = max(peak, bytes_in(box.root / "tmp", box.root / "out", box.root / "home"))
        time.sleep(0.02)
    run = box.wait(process, begin)
    assert run.code == 0, str(run)
    context.is_right(clip, box.out())
    assert 0 < peak < SCRATCH_BYTES, f"{peak} bytes of scratch"


def memory_limit(context, box):
    """A slot cannot take more memory than its share of the host."""
    if "ASAN_OPTIONS" in os.environ:
        raise Skip("a sanitizer needs the address space")
    process = box.start(["run", context.clip(20), "-o", box.out(), "--rendition", "90p:200k"],
                        {"LATHE_SLOT_MEMORY_BYTES": str(3 << 30)})
    limits, end = set(), time.monotonic() + 20 * context.slow
    while process.poll() is None and time.monotonic() < end:
        for pid in slots_of(process):
            try:
                text = pathlib.Path("/proc", str(pid), "limits").read_text(encoding="utf-8")
            except OSError:
                continue
            limits.add(re.search(r"Max address space\s+(\S+)", text).group(1))
    run = box.wait(process, time.monotonic())
    assert run.code == 0, str(run)
    assert str(3 << 30) in limits, f"limits seen: {limits}"


def full_disk_at(context, box, share, step):
    """Room for `share` of what the work needs; it must run out in `step`."""
    small = box.root / "tmp"
    words = ["run", context.clip(20, size="640x360"), "--rendition", "360p:2000k",
             "--chunk-seconds", "2", "--preset", "ultrafast", "-o"]
    run = box.lathe(*words, box.out("whole.mp4"))
    assert run.code == 0, str(run)
    result = box.out("whole.mp4").stat().st_size
    box.out("whole.mp4").unlink()
    shutil.rmtree(small)
    small.mkdir()
    size = int(result * share) + (600 << 10)  # the state, the queue and the plan need the rest
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", small],
                           capture_output=True, text=True, check=False)
    if mount.returncode:
        raise Skip("mounting a small file system needs root")
    try:
        run = box.lathe(*words, box.out())
        assert run.code == 1 and len(run.lines()) == 1, str(run)
        assert "space" in run.err and step in run.err, f"not said: full disk, {step}: {run.err!r}"
        assert not box.leftovers(), f"left behind: {box.leftovers()}"
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def run(context):
    context.test("memory of the command over two hours", two_hours)
    context.test("20 GB without a copy", twenty_gigabytes)
    context.test("20 GB without a copy, --work", twenty_gigabytes, "--work", "out/work")
    context.test("memory limit of slots", memory_limit)
    context.test("full disk at a chunk", full_disk_at, 0.5, "chunk")
    context.test("full disk at the merge", full_disk_at, 1.5, "merge")
