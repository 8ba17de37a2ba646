# SPDX-License-Identifier: MIT
"""Every row of the table of faults in docs/hardware.md: the job completes, frame-exact, with what
the table says; the reason is in --json and in the log; the drivers' record shows that the fault
happened and that the device was used. With the option --write the table gets what happened."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

import emu
import matrix
import sources

BUILD = pathlib.Path(sys.argv[1]).resolve().parent.parent
FRAMES, SIZE = 100, "512x288"
STEPS = ("not possible", "all on the GPU", "software decodes; the GPU scales and encodes",
         "software decodes and scales; the GPU encodes",
         "the GPU decodes and scales; software encodes", "all in software")
USED = {"nvenc": "cuda.context", "vaapi": "va.context"}
STALL_SECONDS = "8"  # long enough for a loaded machine
outcomes = {}
healthy = {}  # family: the hardware that a probe finds where nothing is wrong, and the file of it
lock = threading.Lock()


def lathe(box, case, words, plan, cache):
    """Cases of a family share the folder of their devices, and so what is known of these."""
    folder = box.root / "own" if case.options else box.root.parent / case.family
    run = box.run(matrix.PROFILES[case.family], [BUILD / "src/cli/lathe", *words, "--json"],
                  plan=plan, options=["--render", folder, *case.options], timeout=240,
                  env={"LATHE_HARDWARE_CACHE": str(cache), "LATHE_STALL_SECONDS": STALL_SECONDS,
                       "LATHE_GPU_LANES": "1", "LATHE_LOG": "info"})
    assert run.code == 0, str(run)
    return run, json.loads(run.out)


def healthy_device(box, family):
    with lock:
        if family not in healthy:
            path = box.root.parent / f"healthy-{family}.json"
            _, report = lathe(box, matrix.Case("", "", family, ""), ["probe"], "", path)
            healthy[family] = report["hardware"], path
    return healthy[family]


def transcode(box, case, plan, cache):
    """The run and its report; every picture is the right one, at its time."""
    source, out = box.sources[f"{case.source}.mkv"], box.path("out")
    shutil.rmtree(out, ignore_errors=True)
    if "-r" in case.wants:
        out.mkdir()
    target = out if "-r" in case.wants else out.with_suffix(".mp4")
    run, report = lathe(box, case, ["run", source, "-o", target, "--chunk-seconds", "1", "--slots",
                                    "1", "-r", "216p", *case.wants], plan, cache)
    for output in report["outputs"]:
        check = subprocess.run([BUILD / "tests/media/media-check", source, output["path"],
                                "--no-tags", "--expect-frames", str(FRAMES), "--codec",
                                "hevc" if "hevc" in case.wants else "h264"],
                               capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr
    return run, report


def trials(hardware):
    return {(t["kind"], t.get("codec"), t.get("bits")): t for t in hardware["devices"][0]["trials"]}


def found_by_probe(hardware, usual):
    """What a device did otherwise than a healthy one, each with its reason: "wrong: encode"."""
    if not hardware["devices"]:
        assert hardware["summary"].startswith("no GPU: "), hardware["summary"]
        return "no device"
    here, usual = trials(hardware), trials(usual)
    odd = {k: t for k, t in here.items() if t["verdict"] not in (usual[k]["verdict"], "untried")}
    assert all(t["reason"] for t in odd.values()), odd
    words = set()
    for (kind, _, bits), t in odd.items():
        # Only what fails in 10 bit alone is called so.
        plain = any(k[0] == kind and k[2] != 10 for k in odd)
        words.add(f"{t['verdict']}: {kind}{' 10 bit' if bits == 10 and not plain else ''}")
    lacks = {f for k, t in usual.items() if k[0] == "encode"
             for f in set(t.get("features", ())) - set(here[k].get("features", ()))}
    if not odd and lacks:
        return "works without " + ", ".join(sorted(lacks))
    return ", ".join(sorted(words)) or "works"


def outcome(case, report, found):
    """In the table's words."""
    fallbacks, devices = report["fallbacks"], report["hardware"]["devices"]
    steps = sorted({STEPS.index(c["step"]) for c in report["chunks"]})
    made = f"step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}"
    left = len({f["chunk"] for f in fallbacks})
    if case.when == "probe":
        assert not left, fallbacks
        return f"{found}; {made}"
    verdicts = ", ".join(sorted({f["verdict"] for f in fallbacks}))
    leave = f"{verdicts}; {left} leave{'s' if left == 1 else ''}" if left else "none leaves"
    return f"{leave}; {made}; {devices[0]['state']}"


def is_told(case, run, report):
    """Whoever looks finds out why."""
    for f in report["fallbacks"]:
        assert f["reason"] and f["from"]["encoder"] and f["to"]["encoder"], f
        assert f["reason"] in run.err, f"not in the log: {f['reason']}\n{run.err}"
    if "-r" in case.wants:  # the second rendition finds no session; later chunks do not even try
        assert report["fallbacks"][0]["rendition"] == "180p", report["fallbacks"][0]
    if report["hardware"]["devices"]:
        assert report["hardware"]["devices"][0]["driver"], report["hardware"]
    assert report["hardware"]["summary"] in run.err, "the log does not say what was found"
    if "fault " in case.plan and case.when != "probe":
        assert run.all("fault"), "the fault did not happen"
    on_gpu = [c for c in report["chunks"] if c["step"] != STEPS[5]]
    assert not on_gpu or run.all(USED[case.family]), "the device was not used"


def test(case, expected):
    def run_case(box):
        plan, cache, found = case.plan.replace("{box}", str(box.root)), box.path("cache.json"), ""
        usual, known = healthy_device(box, case.family)
        if case.when == "probe":
            probed, report = lathe(box, case, ["probe"], plan, cache)
            assert "fault " not in plan or probed.all("fault"), "the fault did not happen"
            found = found_by_probe(report["hardware"], usual)
            plan = "\n".join(line for line in plan.splitlines() if line.startswith("set "))
        else:
            shutil.copy(known, cache)
        run, report = transcode(box, case, plan, cache)
        got = outcome(case, report, found)
        outcomes[case.fault, case.when, case.family] = got
        is_told(case, run, report)
        if case.comes_back:
            box.path("back").touch()
            if case.when == "probe":
                cache.unlink()  # as after the minute for which a failure that may pass is kept
            _, again = transcode(box, case, case.plan.replace("{box}", str(box.root)), cache)
            assert {c["step"] for c in again["chunks"]} == {STEPS[1]}, "it did not come back"
        assert WRITE or got == expected, f"the table says: {expected}\nit was: {got}"
    return case.name, run_case


def table_is_whole(table):
    def check(_):
        cases = {(c.fault, c.when, c.family) for c in matrix.CASES}
        assert cases == set(table), f"not in both: {sorted(cases ^ set(table))}"
    return "the table has every case", check


def numbered_sources(folder):
    base = sources.numbered(BUILD / "tests/media/media-gen", folder, FRAMES, SIZE)
    return {
        "h264.mkv": [*base, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p",
                     "-x264-params", "keyint=25:bframes=2:scenecut=0"],
        "hevc10.mkv": [*base, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt",
                       "yuv420p10le", "-x265-params", "log-level=none:keyint=25:bframes=2"],
        "mpeg2.mkv": [*base, "-c:v", "mpeg2video", "-pix_fmt", "yuv420p", "-g", "25", "-b:v",
                      "4M"],
    }


WRITE = "--write" in sys.argv
if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if word != "--write"]
    TABLE = matrix.read_table()
    tests = [test(c, TABLE.get((c.fault, c.when, c.family), "nothing")) for c in matrix.CASES]
    work = pathlib.Path(tempfile.mkdtemp(prefix="lathe-matrix-"))
    try:
        emu.main([*([] if WRITE else [table_is_whole(TABLE)]), *tests], numbered_sources(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if WRITE:
            matrix.write_table(outcomes)
