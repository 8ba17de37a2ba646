# SPDX-License-Identifier: MIT
"""The command line itself: usage errors, help, dry verbs, JSON, interruption."""
import json
import signal
import time

from harness import slots_of, alive


def wrong(context, box, words):
    words = [str(context.clip(2)) if word == "CLIP" else word for word in words]
    words = [str(box.out()) if word == "OUT" else word for word in words]
    run = box.lathe(*words)
    assert run.code == 2, f"expected exit code 2: {run}"
    assert 1 <= len(run.lines()) <= 3, f"expected a line or two on stderr: {run.err!r}"
    assert run.seconds < 5 * context.slow, str(run)
    assert not box.leftovers(), box.leftovers()


def helps(_, box, words, expected):
    run = box.lathe(*words)
    assert run.code == 0 and expected in run.out, f"{run} stdout: {run.out[:200]!r}"


def plan(context, box):
    run = box.lathe("plan", context.clip(6), "--rendition", "90p:200k", "--chunk-seconds", "1",
                    "--json")
    assert run.code == 0, str(run)
    assert json.loads(run.out), "an empty plan"
    human = box.lathe("plan", context.clip(6), "--rendition", "90p:200k", "--chunk-seconds", "1")
    assert human.code == 0 and "chunk" in human.out, str(human)
    assert not box.leftovers(), box.leftovers()


def probe(context, box):
    run = box.lathe("probe", context.clip(2), "--json")
    assert run.code == 0, str(run)
    json.loads(run.out)
    human = box.lathe("probe", context.clip(2))
    assert human.code == 0 and "h264" in human.out, f"{human} stdout: {human.out[:300]!r}"
    presets = box.lathe("probe", "--presets")
    assert presets.code == 0 and "veryfast" in presets.out, str(presets)
    assert not box.leftovers(), box.leftovers()


def report(context, box):
    source = context.clip(6)
    run = box.lathe("run", source, "-o", box.out(), "--rendition", "90p:200k", "--chunk-seconds",
                    "1", "--json")
    assert run.code == 0, str(run)
    result = json.loads(run.out)
    assert result["status"] == "completed", result["status"]
    output = result["outputs"][0]
    assert output["frames"] == 150, output
    assert output["bytes"] == box.out().stat().st_size, output
    assert abs(output["duration"] - 6) < 0.1, output
    assert len(result["chunks"]) > 1, "one chunk only"
    assert sum(chunk["frames"] for chunk in result["chunks"]) == 150, result["chunks"]
    assert all(chunk["encoder"] and chunk["scaler"] for chunk in result["chunks"]), result["chunks"]
    for name in ("fallbacks", "warnings"):
        assert result[name] == [], result[name]
    assert not box.leftovers(box.out()), box.leftovers(box.out())
    assert "\x1b" not in run.err, "escape sequences without a terminal"


def ladder(context, box):
    source = context.clip(4, size="640x360")
    folder = box.root / "out" / "films"
    run = box.lathe("run", source, "-o", folder, "--rendition", "360p:800k", "--rendition",
                    "180p:300k", "--chunk-seconds", "1")
    assert run.code == 0, str(run)
    wanted = [folder / "output_360p.mp4", folder / "output_180p.mp4"]
    for path in wanted:
        context.is_right(source, path)
    assert not box.leftovers(folder, *wanted), box.leftovers(folder, *wanted)


def interrupted(context, box, number, after):
    source = context.clip(30, size="640x360")
    begin = time.monotonic()
    process = box.start(["run", source, "-o", box.out(), "--rendition", "360p:800k",
                         "--chunk-seconds", "2", "--preset", "slow"], start_new_session=True)
    slots = slots_of(process)
    time.sleep(after)
    slots = slots_of(process) or slots
    process.send_signal(number)
    run = box.wait(process, begin, timeout=20)
    assert run.code == 130, f"expected exit code 130: {run}"
    assert not box.leftovers(), f"left behind: {box.leftovers()}"
    time.sleep(0.2)
    assert not [pid for pid in slots if alive(pid)], "a slot lives on"


def run(context):
    good = ["run", "CLIP", "-o", "OUT"]
    for words in ([], ["frobnicate"], ["run"], ["run", "CLIP"], ["run", "-o", "OUT"],
                  ["run", "CLIP", "CLIP", "-o", "OUT"], ["plan"],
                  good + ["--frobnicate"], good + ["--rendition", "720x"],
                  good + ["--rendition", "720p:fast"], good + ["--rendition", "0p"],
                  good + ["--rendition"], good + ["--rendition", "90p", "--rendition", "90p"],
                  good + ["--preset", "warp"], good + ["--codec", "vp9"],
                  good + ["--encoder", "magic"], good + ["--chunk-seconds", "0"],
                  good + ["--chunk-seconds", "-1"], good + ["--chunk-seconds", "nan"],
                  good + ["--chunk-seconds", "1x"], good + ["--gop-seconds", "-2"],
                  good + ["--slots", "0"], good + ["--slots", "many"], good + ["--quality", "99"],
                  good + ["--passes", "3"], good + ["--damaged", "ignore"]):
        context.test("usage: lathe " + " ".join(words), wrong, words)
    context.test("--help", helps, ["--help"], "run")
    context.test("run --help", helps, ["run", "--help"], "--rendition")
    context.test("--version", helps, ["--version"], "lathe")
    context.test("plan", plan)
    context.test("probe", probe)
    context.test("json report", report)
    context.test("several renditions into a folder", ladder)
    for after in (0, 0.1, 1.5):
        context.test(f"Ctrl-C after {after} s", interrupted, signal.SIGINT, after)
    context.test("SIGTERM", interrupted, signal.SIGTERM, 1)
