#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Transcodes every source of recipes.py and compares each result with its source.

usage: run_matrix.py --gen MEDIA_GEN --check MEDIA_CHECK --lathe LATHE --work FOLDER
                     [--slot LATHE_SLOT] [--jobs N] [--only WORD|=NAME]... [--keep]
                     [--plain-ffmpeg] [--slots N] [--chunks objects] [--sample]

Prints one line a case and "N passed, N failed, N skipped". --plain-ffmpeg puts an ffmpeg command
in Lathe's place: what it gets wrong shows which cases are hard, and tries the harness itself.
--chunks objects has the source cut into packets and works from these; each result must be the same,
byte for byte, as that of a second run which reads the source. --sample takes the cases of
recipes.SAMPLE only.
"""
import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import recipes

HERE = pathlib.Path(__file__).resolve().parent


def tool_digest(options):
    digest = hashlib.sha256(pathlib.Path(options.gen).read_bytes())
    for path in sorted((HERE / "tools").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_source(case, options):
    """The cached file, or (None, what went wrong)."""
    key = hashlib.sha256((case.script + options.digest).encode()).hexdigest()[:12]
    path = options.work / "sources" / f"{case.name}-{key}.{case.ext}"
    if path.exists():
        return path, ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as tmp:
        out = os.path.join(tmp, "out." + case.ext)
        run = recipes.run(case.script, options.gen, tmp, os.path.basename(out),
                          capture_output=True, check=False)
        if run.returncode or not os.path.exists(out):
            return None, "the recipe failed: " + run.stderr.strip()[-400:]
        os.rename(out, path)
    return path, ""


def command(case, source, output, options):
    if options.plain_ffmpeg:
        side = case.renditions[0].split("p")[0]
        codec = ["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=none"] \
            if "hevc" in case.lathe else ["-c:v", "libx264"]
        return ["ffmpeg", "-nostdin", "-v", "error", "-y", "-noautorotate", "-i", source, "-map",
                "0:V:0", "-map", "0:a?", "-vf", f"scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)'",
                *codec, "-preset", "veryfast", "-crf", "26", "-c:a", "aac", "-enc_time_base",
                "1:90000", "-video_track_timescale", "90000", "-movie_timescale", "90000",
                "-movflags", "+faststart", "-fps_mode", "passthrough", output], output
    target = output if len(case.renditions) == 1 else output[:-4]
    words = [options.lathe, "run", source, "-o", target, "--preset", "veryfast",
             "--chunk-seconds", case.chunk_seconds, "--slots", str(options.slots)]
    for rendition in case.renditions:
        words += ["--rendition", rendition]
    return words + case.lathe, target


def outputs(case, target):
    if len(case.renditions) == 1:
        return [target]
    return [os.path.join(target, f"output_{r.split(':')[0]}.mp4") for r in case.renditions]


def run_lathe(words, options, **more):
    environment = dict(os.environ, **more)
    if options.slot:
        environment["LATHE_SLOT"] = options.slot
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300,
                          stdin=subprocess.DEVNULL, env=environment)


def same_as_virtual(case, source, folder, options):
    """What speaks against it that the result in `folder` was made from packets, and is the same as
    one that was not."""
    faults = []
    packets = [p.name for p in (folder / "work").rglob("chunks/*/*") if p.suffix in (".ts", ".nut")
               and p.name.startswith("chunk_")]
    if not packets and case.name not in recipes.NOT_CUT:
        faults.append("no packets were cut")
    if packets and case.name in recipes.NOT_CUT:
        faults.append("packets were cut where none were expected")
    words, target = command(case, source, str(folder / "virtual.mp4"), options)
    run = run_lathe(words, options, LATHE_CHUNKS="virtual")
    if run.returncode:
        return faults + [f"exit code {run.returncode} from the source: {run.stderr.strip()[-600:]}"]
    for ours, virtual in zip(outputs(case, target.replace("virtual", "out")),
                             outputs(case, target)):
        if pathlib.Path(ours).read_bytes() != pathlib.Path(virtual).read_bytes():
            faults.append(f"{os.path.basename(ours)} differs from what the source itself gives")
    return faults


def run_case(case, options):
    """(seconds, faults, summary)"""
    begin = time.monotonic()
    source, why = make_source(case, options)
    if not source:
        return 0, [why], ""
    folder = options.work / "outputs" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words, target = command(case, str(source), str(folder / "out.mp4"), options)
    if options.chunks == "objects":
        words += ["--work", str(folder / "work"), "--keep"]
    try:
        run = run_lathe(words, options, LATHE_CHUNKS=options.chunks)
    except subprocess.TimeoutExpired:
        return time.monotonic() - begin, ["no end after 300 s: " + " ".join(words)], ""
    faults, summary = [], ""
    if run.returncode:
        faults.append(f"exit code {run.returncode}: {run.stderr.strip()[-600:]}")
    else:
        paths = [target] if options.plain_ffmpeg else outputs(case, target)
        for path in paths:
            check = subprocess.run([options.check, source, path, *case.check], text=True,
                                   capture_output=True, check=False)
            if check.returncode:
                faults += [line for line in (check.stdout + check.stderr).split("\n") if line]
                if not faults:
                    faults.append(f"media-check ended with {check.returncode}")
            if options.plain_ffmpeg:  # a fault of ffmpeg 5.1 with a given encoder time base
                faults = [f for f in faults if "the last frame lasts" not in f]
            summary = check.stdout.strip().split("\n")[0]
        if options.chunks == "objects":
            faults += same_as_virtual(case, str(source), folder, options)
    if not faults and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    if faults:
        faults.append("command: " + " ".join(words))
    return time.monotonic() - begin, faults, summary


def main():
    parser = argparse.ArgumentParser()
    for name in ("gen", "check", "work"):
        parser.add_argument("--" + name, required=True, type=os.path.abspath)
    parser.add_argument("--lathe", default="lathe")
    parser.add_argument("--slot", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--plain-ffmpeg", action="store_true")
    parser.add_argument("--chunks", default="auto", choices=("auto", "virtual", "objects"))
    parser.add_argument("--sample", action="store_true")
    options = parser.parse_args()
    options.work = pathlib.Path(options.work)
    options.digest = tool_digest(options)
    cases = [c for c in recipes.CASES
             if (not options.sample or c.name in recipes.SAMPLE)
             and (not options.only or any(word in c.name or word == "=" + c.name
                                         for word in options.only))]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda case: (case, run_case(case, options)), cases)
        for case, (seconds, faults, summary) in results:
            failed += bool(faults)
            print(f"{'not ok' if faults else 'ok'} - media: {case.name} ({seconds:.1f} s)"
                  + (f" {summary}" if not faults else ""), flush=True)
            for fault in faults:
                print("# " + fault.replace("\n", "\n# "), flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not cases else 0


sys.exit(main())
