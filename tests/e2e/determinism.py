# SPDX-License-Identifier: MIT
"""Same input, same settings, same bytes: whatever the number of slots, twice, and under load."""
import subprocess
import sys

from harness import sha256

SETTINGS = {
    "h264": ["--rendition", "360p:800k"],
    "hevc": ["--rendition", "180p:400k", "--codec", "hevc", "--preset", "ultrafast"],
    "quality": ["--rendition", "360p", "--quality", "28"],
    "two passes": ["--rendition", "360p:800k", "--passes", "2"],
}


def one(box, source, name, slots, settings):
    output = box.out(name + ".mp4")
    run = box.lathe("run", source, "-o", output, "--chunk-seconds", "1", "--slots", slots,
                    *settings)
    assert run.code == 0, str(run)
    return sha256(output)


def same_bytes(context, box, settings):
    source = context.clip(12, size="640x360")
    sums = {f"{slots} slots": one(box, source, f"s{slots}", slots, settings)
            for slots in (1, 2, 3)}
    sums["again"] = one(box, source, "again", 2, settings)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        sums["under load"] = one(box, source, "load", 3, settings)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert len(set(sums.values())) == 1, f"different bytes: {sums}"


def another_path(context, box):
    """Neither the name of the source nor that of the output is in the bytes."""
    source = context.clip(4)
    copy = box.root / "in" / "another name.mp4"
    copy.write_bytes(source.read_bytes())
    settings = ["--rendition", "90p:200k"]
    assert one(box, source, "a", 2, settings) == one(box, copy, "b", 2, settings)


def run(context):
    for name, settings in SETTINGS.items():
        context.test(f"same bytes: {name}", same_bytes, settings)
    context.test("same bytes from another path", another_path)
