# SPDX-License-Identifier: MIT
"""The verb chunk on every step of the ladder, ordered from lathe-slot directly: numbered frames
arrive at their times, what software and GPUs made joins, and what a driver gets wrong is refused."""
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading

import emu
import sources

BUILD = pathlib.Path(sys.argv[1]).resolve().parent.parent
SLOT, LATHE = BUILD / "src/slot/lathe-slot", BUILD / "src/cli/lathe"
GEN, CHECK = BUILD / "tests/media/media-gen", BUILD / "tests/media/media-check"
FRAMES = 60
SIZE = "512x288"  # above the smallest of every profile here
ALL = 4095
PROFILES = {"nvenc": "ada", "vaapi": "intel-nonfree"}


def order(slot_command, order, env):
    """One order to one slot: the body, or the error."""
    ours, theirs = socket.socketpair()

    def child():
        os.dup2(theirs.fileno(), 3)

    process = subprocess.Popen(slot_command, pass_fds=(3,), preexec_fn=child, env=env,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    theirs.close()
    text = json.dumps(dict(order, type="order")).encode()
    ours.sendall(struct.pack("<I", len(text)) + text)
    stream = ours.makefile("rb")
    try:
        while True:
            head = stream.read(4)
            assert len(head) == 4, f"the slot ended: {process.communicate()[1][-600:]}"
            message = json.loads(stream.read(struct.unpack("<I", head)[0]))
            if message["type"] == "report":
                return message
    finally:
        stream.close()
        ours.close()
        process.wait(30)
        process.stderr.close()


class Job:
    """A source with its plan and index, and slots that work on it."""

    def __init__(self, box, codec, bits, renditions, quality=None, frames=FRAMES, shapes=None):
        self.box, self.codec = box, codec
        self.source = box.sources[f"{codec}{bits}.mp4"]
        self.plan_path, self.index = box.path("plan.json"), box.path("index.bin")
        job = {"v": 1, "job_id": "emu-job", "source_key": str(self.source), "source_is_local": True,
               "renditions": renditions, "codec": codec, "encoder": "auto", "preset": "fast",
               "chunk_seconds": 1, "gop_seconds": 0.5}
        if quality is not None:
            job["quality"] = quality
        report = self.order("ada", {"verb": "split", "job": job})[0]
        assert report["ok"], report
        self.plan = report["body"]["plan"]
        self.audio = None

    def order(self, profile, what, plan=""):
        """The report and the drivers' record."""
        base = {"source_path": str(self.source), "plan_path": str(self.plan_path),
                "index_path": str(self.index)}
        self.box.count += 1
        record = self.box.path(f"record{self.box.count}")
        plan_file = self.box.path(f"plan{self.box.count}")
        plan_file.write_text(plan)
        command = [emu.HERE / "run", "--build", self.box.build, "--profile", profile, "--plan",
                   plan_file, "--record", record, "--state", self.box.path("state"), "--render",
                   self.box.path("dri"), "--", SLOT]
        report = order([str(c) for c in command], dict(base, **what), dict(os.environ))
        return report, emu.Run(0, "", "", emu.read_record(record), 0)

    def chunk(self, number, family=None, step=5, plan="", expected=None, name="", features=ALL):
        n = len(self.plan["renditions"])
        outs = [str(self.box.path(f"c{number}_{i}_{family}_{step}{name}.mp4")) for i in range(n)]
        for out in outs:
            pathlib.Path(out).unlink(missing_ok=True)
        chunk = self.plan["chunks"][number]
        if expected is None:
            expected = [r["bitrate_kbps"] * 125 * chunk[2] // 25
                        for r in self.plan["renditions"]]
        what = {"verb": "chunk", "index": number, "out_paths": outs,
                "rates": [{"quality": 24, "budget_bytes": 0, "expected_bytes": e}
                          for e in expected]}
        if family:
            device = "0" if family == "nvenc" else str(self.box.path("dri") / "renderD128")
            what.update(gpu_family=family, gpu_path=device, gpu_step=step, gpu_features=features)
        report, run = self.order(PROFILES.get(family, "ada"), what, plan)
        return report, run, outs

    def merge(self, rendition, chunks):
        """chunks: (report, outs) in order. The path of the result."""
        out = str(self.box.path(f"merged{rendition}.mp4"))
        pathlib.Path(out).unlink(missing_ok=True)
        inputs = []
        for report, outs in chunks:
            body = report["body"]
            inputs.append([outs[rendition], body["renditions"][rendition]["sha256"],
                           body["frames"], body["first_time"]])
        report, _ = self.order("ada", {"verb": "merge", "index": rendition, "out_paths": [out],
                                       "inputs": inputs})
        assert report["ok"], report
        return out


def good(report):
    assert report["ok"], report
    return report["body"]


def check(job, out, codec):
    run = subprocess.run([str(CHECK), str(job.source), out, "--codec", codec, "--no-tags"],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def picture_md5(path):
    """Of all pictures; the edit lists of chunks are about their decoding times."""
    text = emu.software([*emu.FFMPEG, "-ignore_editlist", "1", "-i", path, "-an", "-fps_mode",
                         "passthrough", "-copyts", "-pix_fmt", "yuv420p10le", "-f", "framemd5",
                         "-"])
    return [h for _, h in emu.hashes(text)]


def no_decode_error(path):
    run = subprocess.run([*emu.FFMPEG, "-xerror", "-err_detect", "explode", "-i", path, "-f",
                          "null", "-"], capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr, run.stderr


def rendition(side, kbps):
    return {"name": f"{side}p", "short_side": side, "bitrate_kbps": kbps}


LADDER = [rendition(288, 900), rendition(216, 500)]


def seams(reports):
    for a, b in zip(reports, reports[1:]):
        assert a["body"]["tail_hash"] == b["body"]["head_hash"], "chunks do not join"


def step_test(family, codec, bits, step):
    def test(box):
        job = Job(box, codec, bits, LADDER)
        chunks = []
        for number in range(len(job.plan["chunks"])):
            # Chunks of software between those of the GPU, so that every join is of two kinds.
            mixed = number % 2 == 1
            report, run, outs = job.chunk(number, *(() if mixed else (family, step)))
            body = good(report)
            chunks.append((report, outs))
            if mixed:
                continue
            assert body["gpu_checked"] >= (1 if step == 4 else len(LADDER)), body
            assert family in body["encoder"] or step == 4, body["encoder"]
            assert body["device"], body
            look(run, family, step, job.plan["chunks"][number][2], body)
        seams([c[0] for c in chunks])
        for i in range(len(LADDER)):
            out = job.merge(i, chunks)
            check(job, out, codec)
            no_decode_error(out)
            parts = [h for _, outs in chunks for h in picture_md5(outs[i])]
            assert picture_md5(out) == parts, "the joined pictures are not the chunks'"
            is_tagged(out, codec)
            if codec == "h264":
                all_sets_in_front(out, [outs[i] for _, outs in chunks])
    return f"{family} {codec} {bits} bit step {step}", test


def width(event):
    return int(event["width"] if "width" in event else event["size"].split("x")[0])


def look(run, family, step, frames, body):
    """What the drivers were asked for."""
    down = [e for e in run.events if e.name == "va.download" or e.get("direction") == "dtoh"]
    # NV12 crosses in two copies.
    pictures = len(down) / (2 if family == "nvenc" else 1)
    if step == 1:
        keys = 4 + frames // 12
        assert pictures <= 2 + keys + len(LADDER) * (frames // 16 + 1), len(down)
    elif step in (2, 3):
        assert not down, down[:3]
    if step == 4:
        return
    name = "nvenc.init" if family == "nvenc" else "va.encode.open"
    opened = run.all(name)
    assert len(opened) == len(LADDER), opened
    for e, wanted in zip(sorted(opened, key=width, reverse=True), LADDER):
        kbps = wanted["bitrate_kbps"]
        if family == "nvenc":
            assert abs(int(e["average_bps"]) / 1000 - kbps) < 0.1 * kbps, e
            assert int(e["max_bps"]) == 2000 * kbps and int(e["vbv_bits"]) == 2000 * kbps, e
            assert e["b_frames"] == "3" and e["preset"].lower() == "p3", e
            assert "vbr" in e["rc"].lower() and int(e["gop"]) > 1000, e
        else:
            assert e["rc"].upper() == "VBR", e
            assert int(e["maxrate"]) == 2000 * kbps, e


def wrong(family, step, plan, name):
    def test(box):
        # Smaller than the source, which FFmpeg 7 would pass by the scaler.
        job = Job(box, "h264", 8, LADDER[1:])
        report, _, _ = job.chunk(0, family, step, plan=plan)
        assert not report["ok"], "a wrong picture passed"
        error = report["error"]
        assert error.get("gpu_verdict") == "wrong", error
    return f"{family} step {step} {name}", test


def find_box(data, name):
    """The content of the only box of that name that this file has."""
    found = [m.start() for m in re.finditer(re.escape(name), data)]
    assert len(found) == 1, f"{len(found)} boxes {name}"
    at = found[0]
    return data[at + 4:at - 4 + int.from_bytes(data[at - 4:at], "big")]


def sets_of(path, codec):
    """The parameter sets in front of the pictures: avcC or hvcC, read without libav."""
    data = pathlib.Path(path).read_bytes()
    box, units = find_box(data, b"avcC" if codec == "h264" else b"hvcC"), []

    def take(at, count):
        for _ in range(count):
            size = int.from_bytes(box[at:at + 2], "big")
            units.append(box[at + 2:at + 2 + size])
            at += 2 + size
        return at

    if codec == "h264":
        at = take(6, box[5] & 31)
        take(at + 1, box[at])
        return units
    at = 23
    for _ in range(box[22]):
        at = take(at + 3, int.from_bytes(box[at + 1:at + 3], "big"))
    return units


def in_band_sets(path, codec):
    kinds = "7-8" if codec == "h264" else "32-34"
    return subprocess.run([*emu.FFMPEG, "-i", str(path), "-c", "copy", "-bsf:v",
                           f"filter_units=pass_types={kinds}", "-f", "rawvideo", "-"], check=True,
                          capture_output=True).stdout


def is_tagged(path, codec):
    tag = emu.probe(path, "codec_tag_string")["codec_tag_string"]
    assert tag == ("avc1" if codec == "h264" else "hvc1"), tag


def all_sets_in_front(path, chunks):
    """x264's sets have an id of their own, so that every player finds both at the start."""
    sets = sets_of(path, "h264")
    assert {s[0] & 31 for s in sets} == {7, 8}, sets
    for chunk in chunks:
        assert set(sets_of(chunk, "h264")) <= set(sets), "a chunk's sets are not in front"
    assert not in_band_sets(path, "h264"), "parameter sets between the pictures"


def mixed_file(box, codec, places):
    """Chunks of several encoders in turn, in one file. (job, chunks, path)"""
    job = Job(box, codec, 8, LADDER[:1])
    chunks = []
    for number in range(len(job.plan["chunks"])):
        report, _, outs = job.chunk(number, *places[number % len(places)])
        good(report)
        chunks.append((report, outs))
    seams([c[0] for c in chunks])
    return job, chunks, job.merge(0, chunks)


def three_encoders(codec):
    """NVENC, VA-API and x264 or x265."""
    def test(box):
        job, chunks, out = mixed_file(box, codec, (("nvenc", 1), ("vaapi", 1), ()))
        assert len({c[0]["body"]["encoder"] for c in chunks}) == 3, "not three encoders"
        check(job, out, codec)
        no_decode_error(out)
        assert picture_md5(out) == [h for _, outs in chunks for h in picture_md5(outs[0])]
        is_tagged(out, codec)
        # The GPUs' sets have the same ids, which nobody can choose, so the sets are in front of the
        # key frames as well.
        first, all_sets = sets_of(chunks[0][1][0], codec), in_band_sets(out, codec)
        assert set(first) <= set(sets_of(out, codec)), "the first chunk's sets are not in front"
        for _, outs in chunks:
            for one in sets_of(outs[0], codec):
                assert one in all_sets, "a chunk's sets are nowhere"
    return f"three encoders {codec}", test


FAULTS = [("nvenc", 1, "nvenc.encode", "green"), ("nvenc", 1, "cuvid.decode", "green"),
          ("nvenc", 3, "nvenc.encode", "stale"), ("vaapi", 1, "va.encode", "green"),
          ("vaapi", 1, "va.decode", "green"), ("vaapi", 2, "va.process", "green"),
          ("vaapi", 2, "va.encode", "stale")]
TESTS = [step_test(family, codec, bits, step)
         for family in PROFILES for codec, bits in (("h264", 8), ("hevc", 8), ("hevc", 10))
         for step in (1, 2, 3, 4)]
TESTS += [three_encoders(codec) for codec in ("h264", "hevc")]
TESTS += [wrong(family, step, f"fault {place} from=5 do={do}\n", f"{place} {do}")
          for family, step, place, do in FAULTS]


def generate(folder):
    base = sources.numbered(GEN, folder, FRAMES, SIZE)
    return {
        "h2648.mp4": [*base, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p",
                      "-x264-params", "keyint=12:bframes=2"],
        "hevc8.mp4": [*base, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
                      "-x265-params", "log-level=none:keyint=12:bframes=2"],
        "hevc10.mp4": [*base, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt",
                       "yuv420p10le", "-x265-params", "log-level=none:keyint=12:bframes=2"],
    }


if __name__ == "__main__":
    import shutil
    import tempfile
    work = pathlib.Path(tempfile.mkdtemp(prefix="lathe-chunks-"))
    try:
        emu.main(TESTS, generate(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
