# SPDX-License-Identifier: MIT
"""lathe run --encoder auto on emulated GPUs: which step is taken, and what a fault costs: a change
of place with its reason, never a frame."""
import json
import pathlib
import sys

import emu

LATHE = pathlib.Path(sys.argv[1]).resolve() / "../../src/cli/lathe"
RECIPES = {"in.mp4": ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=4", "-c:v", "libx264", "-g",
                      "25", "-preset", "ultrafast"]}
FRAMES = 100
FAMILIES = {"ada": ("nvenc", "nvenc.encode"), "intel-nonfree": ("vaapi", "va.encode")}


def run(box, profile, plan="", renditions=("180p",), more=()):
    """A job whose device was probed before anything failed."""
    out = box.path("out.mp4" if len(renditions) == 1 else "out")
    words = [word for name in renditions for word in ("-r", name)]
    env = {"LATHE_HARDWARE_CACHE": str(box.path("cache.json")), "LATHE_STALL_SECONDS": "5"}
    render = ["--render", box.path("dri")]
    probed = box.run(profile, [LATHE, "probe", "--json"], options=render, timeout=120, env=env)
    assert probed.code == 0, str(probed)
    done = box.run(profile, [LATHE, "run", box.sources["in.mp4"], "-o", out, *words,
                             "--chunk-seconds", "1", "--json", *more], plan=plan, options=render,
                   timeout=120, env=env)
    assert done.code == 0, str(done)
    report = json.loads(done.out)
    for output in report["outputs"]:
        assert output["frames"] == FRAMES == emu.count_frames(output["path"]), output
    return report, done


def everything_on_the_gpu(profile):
    def test(box):
        report, done = run(box, profile, renditions=("270p", "180p"))
        assert {c["step"] for c in report["chunks"]} == {"all on the GPU"}, report["chunks"]
        assert not report["fallbacks"], report["fallbacks"]
        family = FAMILIES[profile][0]
        assert all(family in c["encoder"] for c in report["chunks"]), report["chunks"]
        assert done.all("nvenc.init" if family == "nvenc" else "va.encode.open"), "not used"
    return test


def fault(profile, what, verdict):
    def test(box):
        report, _ = run(box, profile, f"fault {FAMILIES[profile][1]} at=12 {what}")
        found = report["fallbacks"]
        assert found and {f["verdict"] for f in found} == {verdict}, found
        assert all(f["reason"] and f["from"]["encoder"] == FAMILIES[profile][0] for f in found)
        assert {c["index"] for c in report["chunks"]} == {f["chunk"] for f in found}, found
    return test


TESTS = [(f"everything on {p}", everything_on_the_gpu(p)) for p in FAMILIES]
TESTS += [(f"{what} on {p}", fault(p, f"do={what}", verdict)) for p in FAMILIES
          for what, verdict in (("hang", "hangs"), ("crash", "crashes"), ("lost", "lost"))]

if __name__ == "__main__":
    emu.main(TESTS, RECIPES)
