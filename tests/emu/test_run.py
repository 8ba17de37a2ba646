# SPDX-License-Identifier: MIT
"""lathe run --encoder auto on emulated GPUs: each full pipeline, 8 and 10 bit, one rendition and
ladders, by bitrate and by quality. Every picture is the right one at its time; the drivers' record
says what was asked for, and that no picture crossed to system memory but the few that are checked."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import emu
import sources

BUILD = pathlib.Path(sys.argv[1]).resolve().parent.parent
CHECK, GEN = BUILD / "tests/media/media-check", BUILD / "tests/media/media-gen"
SIZE, FRAMES, CHUNKS = "960x544", 200, 4
ALL_GPU = "all on the GPU"
FAMILIES = {"ada": "nvenc", "intel-nonfree": "vaapi"}
LANES = 2  # of a device of which nothing else is known
locks = {profile: threading.Lock() for profile in FAMILIES}


def run(box, profile, source, *words, renditions=("272p",), plan="", code=0):
    """A job, and its report. Each profile is probed by its first one only."""
    out = box.path("out.mp4" if len(renditions) == 1 else "out")
    shared = box.root.parent / profile
    wanted = [word for name in renditions for word in ("-r", name)]
    lathe, cache = BUILD / "src/cli/lathe", pathlib.Path(f"{shared}.json")
    how = {"options": ["--render", shared], "timeout": 240,
           "env": {"LATHE_HARDWARE_CACHE": str(cache), "LATHE_STALL_SECONDS": "30"}}
    with locks[profile]:
        if not cache.exists():
            assert box.run(profile, [lathe, "probe"], **how).code == 0
    done = box.run(profile, [lathe, "run", source, "-o", out, *wanted, "--json", *words], plan=plan,
                   **how)
    assert done.code == code, str(done)
    return done, json.loads(done.out)


def check(source, report, codec="h264", *more):
    for output in report["outputs"]:
        seen = subprocess.run([CHECK, source, output["path"], "--no-tags", "--codec", codec, *more],
                              capture_output=True, text=True)
        assert seen.returncode == 0, seen.stdout + seen.stderr


def downloads(done, family):
    if family == "vaapi":
        return len(done.all("va.download"))
    return len(done.all("cuda.copy", direction="dtoh")) / 2  # luma and chroma


def full_pipeline(profile, codec, bits, renditions, words=()):
    def test(box):
        family = FAMILIES[profile]
        source = box.sources[f"{codec}{bits}.mp4"]
        done, report = run(box, profile, source, "--codec", codec, "--chunk-seconds", "2", *words,
                           renditions=renditions)
        check(source, report, codec, *(("--min-depth", "10") if bits == 10 else ()))
        assert {c["step"] for c in report["chunks"]} == {ALL_GPU}, report["chunks"]
        assert not report["fallbacks"] and len(report["chunks"]) == CHUNKS, report["fallbacks"]
        assert all(family in c["encoder"] for c in report["chunks"]), report["chunks"]
        assert downloads(done, family) <= checked_pictures(), downloads(done, family)
        uploads = done.all("cuda.copy", direction="htod") + done.all("va.upload") + \
            done.all("nvenc.upload")
        assert not uploads, uploads[:3]
        opened = done.all("cuda.context" if family == "nvenc" else "va.init")
        assert len(opened) <= LANES, f"{len(opened)} openings of the device"
        asked = done.all("nvenc.init" if family == "nvenc" else "va.encode.open")
        assert len(asked) == CHUNKS * len(renditions), len(asked)
        for event in asked:
            ask(event, family, "--quality" in words, renditions)
    name = f"{profile} {codec} {bits} bit {len(renditions)} renditions {' '.join(words)}"
    return name.strip(), test


def checked_pictures():
    """Of each chunk: every 16th, the last, the two that prove the join, four key frames a second
    and the one behind; at the end of the source every 16th picture once more."""
    length = FRAMES // CHUNKS
    return CHUNKS * (length // 16 + 2 + 2 + 4 * length // 25 + 1) + 3


def ask(event, family, quality, renditions):
    """The default preset (fast) and rate control, as the driver heard it."""
    height = event["height"] if family == "vaapi" else event["size"].split("x")[1]
    side = f"{height}p"
    kbps = {n.split(":")[0]: int(n.split(":")[1][:-1]) for n in renditions}[side]
    if family == "nvenc":
        assert (event["preset"], event["tune"], event["rc"], event["b_frames"], event["b_ref"],
                event["lookahead"], event["spatial_aq"], event["temporal_aq"],
                event["multipass"]) == ("p3", "hq", "vbr", "3", "disabled", "0", "1", "0",
                                        "disabled"), event
    else:
        assert event["rc"] == ("qvbr" if quality else "vbr"), event
    peak = int(event["max_bps"] if family == "nvenc" else event["maxrate"])
    buffer = int(event["vbv_bits"] if family == "nvenc" else event["hrd_bits"])
    average = int(event["average_bps"] if family == "nvenc" else event["bitrate"])
    assert peak == 2000 * kbps, event
    if quality:  # 26 to x264; NVENC has no buffer then
        assert event.get("cq", event.get("quality")) in ("31.00", "29"), event
    else:  # which chunk gets how much of the average is the source's business
        assert buffer == peak and 0.3 * kbps < average / 1000 <= 2 * kbps, event


def bitrate(profile, codec, kbps):
    """Held over all chunks together: the hardware's counterpart of the job-wide rate factor."""
    def test(box):
        source = box.sources["long.mp4"]
        _, report = run(box, profile, source, "--codec", codec, "--chunk-seconds", "4",
                        renditions=(f"272p:{kbps}k",))
        assert {c["step"] for c in report["chunks"]} == {ALL_GPU}, report["chunks"]
        got = report["outputs"][0]["bitrate_kbps"]
        assert abs(got / kbps - 1) < 0.05, f"{got} kbit/s instead of {kbps}"
        check(source, report, codec)
    return f"{profile} {codec} holds {kbps} kbit/s", test


def resolution_change(profile):
    """Two recordings glued together: decoder, scalers and encoders go on at the other size."""
    def test(box):
        source = box.path("change.ts")
        source.write_bytes(b"".join(box.sources[f"part{i}.ts"].read_bytes() for i in (1, 2)))
        done, report = run(box, profile, source, "--chunk-seconds", "100",
                           renditions=("272p", "180p"))
        check(source, report, "h264", "--expect-frames", "150")
        assert {c["step"] for c in report["chunks"]} == {ALL_GPU}, report["chunks"]
        decoders = done.all("cuvid.create") if profile == "ada" else \
            done.all("va.context", entry="decode")
        assert len(decoders) >= 2, "the decoder was not opened anew"
    return f"{profile} resolution change", test


def required(profile, point):
    """Nothing but a GPU will do, and each encoder fails to open: the device gets the time to come
    back, is tried anew, and the failure says what was tried and what that found."""
    def test(box):
        family = FAMILIES[profile]
        _, report = run(box, profile, box.sources["h2648.mp4"], "--encoder", family,
                        plan=f"fault {point} do=fail code=20", code=78)
        assert report["status"] == "failed", report
        assert f"{family} is required to encode: encoding of h264" in report["error"]["what"], report
        found = report["fallbacks"]
        assert len(found) >= 2 and all(f["reason"] and f["verdict"] for f in found), found
        assert {f["to"]["encoder"] for f in found} == {family}, "software was not allowed"
    return f"{profile} required and failing", test


def required_back(profile, point):
    """The device is lost in the middle of a job that no other can do, and comes back."""
    def test(box):
        family = FAMILIES[profile]
        gone, back = box.path("gone"), box.path("back")
        plan = (f"fault {point} from=30 times=1 do=lost touch={gone}\n"
                f"fault device.open do=lost when={gone} until={back}")

        def come_back():
            while not gone.exists():
                time.sleep(0.2)
            time.sleep(3)
            back.touch()

        threading.Thread(target=come_back, daemon=True).start()
        source = box.sources["h2648.mp4"]
        _, report = run(box, profile, source, "--encoder", family, plan=plan)
        check(source, report)
        assert {c["encoder"] for c in report["chunks"]} == {f"h264_{family}"}, report["chunks"]
        assert report["hardware"]["devices"][0]["failures"] > 0, "it was not lost"
    return f"{profile} required, lost and back", test


RATED, LADDER = ("272p:600k",), ("272p:600k", "180p:400k", "144p:300k")
TESTS = [full_pipeline(profile, codec, bits, renditions)
         for codec, bits in (("h264", 8), ("hevc", 8), ("hevc", 10))
         for renditions in (RATED, LADDER) for profile in FAMILIES]
TESTS += [full_pipeline(profile, codec, bits, renditions, ("--quality", "26"))
          for codec, bits, renditions in (("h264", 8, LADDER[:2]), ("hevc", 10, RATED))
          for profile in FAMILIES]
TESTS += [bitrate(profile, codec, kbps) for codec, kbps in (("h264", 700), ("hevc", 500))
          for profile in FAMILIES]
TESTS += [resolution_change(profile) for profile in FAMILIES]
TESTS += [required("ada", "nvenc.open"), required("intel-nonfree", "va.encode"),
          required_back("ada", "nvenc.encode"), required_back("intel-nonfree", "va.encode")]


def generate(folder):
    base = sources.numbered(GEN, folder, FRAMES, SIZE)
    long = sources.numbered(GEN, folder, 600, SIZE, "long")
    parts = [sources.numbered(GEN, folder, 75, "960x544", "part1"),
             sources.numbered(GEN, folder, 75, "640x360", "part2", start=75)]
    x264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-x264-params",
            "keyint=25:bframes=2"]
    x265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
            "log-level=none:keyint=25:bframes=2"]
    return {
        "h2648.mp4": [*base, *x264],
        "hevc8.mp4": [*base, *x265, "-pix_fmt", "yuv420p"],
        "hevc10.mp4": [*base, *x265, "-pix_fmt", "yuv420p10le"],
        "long.mp4": [*long, *x264],
        "part1.ts": [*parts[0], *x264, "-output_ts_offset", "10"],
        "part2.ts": [*parts[1], *x264, "-output_ts_offset", "13"],
    }


if __name__ == "__main__":
    work = pathlib.Path(tempfile.mkdtemp(prefix="lathe-run-"))
    try:
        emu.main(TESTS, generate(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
