# SPDX-License-Identifier: MIT
"""Every step of the ladder on both families, put together from hwaccel.h alone: all frames arrive,
look right, and cross between device and memory only where the step says so."""
import pathlib
import re
import subprocess
import sys

import emu

STAGES = pathlib.Path(sys.argv[1]).resolve() / "stages"
FRAMES = 50
RECIPES = {"in.mp4": ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=2", "-c:v", "libx264",
                      "-preset", "superfast", "-bf", "2", "-pix_fmt", "yuv420p"]}


def psnr(a, source):
    """Luma PSNR of an elementary stream against the scaled source, frame by frame."""
    text = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "info", "-i", a, "-i", source, "-filter_complex",
         "[0:v]settb=1/25,setpts=N[a];[1:v]scale=320:180,settb=1/25,setpts=N[b];[a][b]psnr",
         "-f", "null", "-"], check=True, capture_output=True, text=True).stderr
    return float(re.search(r"PSNR y:([0-9.]+)", text).group(1))


def step(family, profile, number):
    def test(box):
        out = box.path("out.264")
        options = ["--render", box.path("dri")]
        device = "0" if family == "nvenc" else box.path("dri") / "renderD128"
        run = box.run(profile, [STAGES, family, device, box.sources["in.mp4"], number, 320, 180,
                                out], options=options)
        assert run.code == 0 and f"frames={FRAMES} packets={FRAMES} failed_calls=0" in run.out, \
            f"{run} {run.out}"
        assert emu.count_frames(out) == FRAMES
        quality = psnr(out, box.sources["in.mp4"])
        assert quality > 28, f"luma PSNR {quality}"
        downloads = [e for e in run.events if "dtoh" in str(e) or e.name == "va.download"]
        assert bool(downloads) == (number == 4), f"step {number}: {downloads[:3]}"
        used = {"nvenc": {"decode": "cuvid.create", "encode": "nvenc.init"},
                "vaapi": {"decode": "va.context", "encode": "va.encode.open"}}[family]
        assert bool(run.all(used["encode"])) == (number <= 3), run.events[:5]
        if family == "nvenc":
            assert bool(run.all(used["decode"])) == (number in (1, 4)), run.events[:5]
        else:
            decoders = [e for e in run.all("va.context") if e["entry"].lower() in ("vld", "decode")]
            assert bool(decoders) == (number in (1, 4)), run.all("va.context")
    return f"{family} step {number}", test


TESTS = [step(family, profile, number)
         for family, profile in (("nvenc", "ada"), ("vaapi", "intel-nonfree"))
         for number in (1, 2, 3, 4)]

if __name__ == "__main__":
    emu.main(TESTS, RECIPES)
