# SPDX-License-Identifier: MIT
"""Pictures of an output against the scaled source, frame by frame.

Frames are matched by number, not by time: whether times are right is for the tests to say, and a
half tick of rounding must not pair a frame with its neighbour. A different number of frames is
reported and makes every comparison void.
"""

import math
import os
import subprocess

import commands
import process

JOIN_RADIUS = 5  # frames on each side
SURROUNDINGS = range(JOIN_RADIUS, 30)
EQUAL_SIZE = 0.01


def _fields(line):
    return dict(part.split(":", 1) for part in line.split() if ":" in part)


def compare(setup, path, rendition, folder):
    """SSIM (all planes) and mean squared error of every frame."""
    count = "settb=1/1000,setpts=N"
    graph = (f"[0:v:0]{count},split[a][b];[1:v:0]{rendition.scale},{count},split[c][d];"
             f"[a][c]ssim=stats_file=ssim.log[s];[b][d]psnr=stats_file=psnr.log[p]")
    null = ["-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-f", "null", "-"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", path, "-i", setup.source,
                    "-filter_complex", graph, "-map", "[s]", *null, "-map", "[p]", *null],
                   cwd=folder, check=True)
    with open(os.path.join(folder, "ssim.log"), encoding="ascii") as file:
        ssim = [float(_fields(line)["All"]) for line in file]
    with open(os.path.join(folder, "psnr.log"), encoding="ascii") as file:
        error = [float(_fields(line)["mse_avg"]) for line in file]
    return ssim, error


def assess_file(setup, path, rendition, folder):
    packets = commands.packets(path, "size,flags")
    video_bytes = sum(int(packet["size"]) for packet in packets)
    ssim, error = compare(setup, path, rendition, folder)
    worst = sorted(ssim)[:max(1, len(ssim) // 100)]
    mean_error = sum(error) / len(error)
    return {
        "bytes": os.path.getsize(path), "video_bytes": video_bytes,
        "video_kbps": video_bytes * 8 / 1000 / setup.duration, "frames": len(packets),
        "keys": [number for number, packet in enumerate(packets) if "K" in packet["flags"]],
        "ssim": sum(ssim) / len(ssim), "ssim_worst": sum(worst) / len(worst),
        "psnr": 10 * math.log10(255 * 255 / mean_error) if mean_error else 100.0,
        "ssim_frames": ssim,
    }


def assess(setup, name, rendition):
    path = setup.output(name, rendition)
    return assess_file(setup, path, rendition, setup.folder(name))


def equal_size(setup, rendition, outputs, always):
    """ffmpeg again at Lathe's size where they differ by more than 1 %: quality is compared at equal
    size only. Its bitrate is corrected up to three times."""
    goal = outputs["Lathe"]["video_bytes"]
    found = {}
    for name in ("A", "B"):
        size = outputs[name]["video_bytes"]
        if not always and abs(size / goal - 1) <= EQUAL_SIZE:
            continue
        folder = setup.folder(f"{name}-equal-{rendition.name}")
        kbps = rendition.kbps
        values = outputs[name]
        for _ in range(3):
            kbps = max(1, round(kbps * goal / values["video_bytes"]))
            steps = ([[setup.ffmpeg([rendition], folder, kbps)]] if name == "A" else
                     setup.two_pass([rendition], folder, kbps))
            process.run(steps, folder)
            values = assess_file(setup, setup.file(folder, rendition), rendition,
                                 folder)
            if abs(values["video_bytes"] / goal - 1) <= EQUAL_SIZE:
                break
        values["asked_kbps"] = kbps
        found[f"{name} at Lathe's size"] = values
    return found


def joins(lathe):
    """The first frame of every chunk but the first."""
    at, found = 0, []
    for chunk in sorted(lathe["chunks"], key=lambda chunk: chunk["index"]):
        found.append(at)
        at += chunk["frames"]
    return found[1:]


def _around(ssim, places, offsets):
    values = [ssim[place + offset] for place in places for offset in offsets
              if 0 <= place + offset < len(ssim)]
    return sum(values) / len(values) if values else None


def _dip(ssim, places):
    """How much lower the frames at these places are than those further off."""
    near = _around(ssim, places, range(-JOIN_RADIUS, JOIN_RADIUS))
    far = _around(ssim, places, [*SURROUNDINGS, *(-1 - offset for offset in SURROUNDINGS)])
    return far - near if near is not None and far is not None else None


def add_joins(outputs, places):
    """The same frames in every output, and each output's dip at its own key frames."""
    for values in outputs.values():
        ssim = values["ssim_frames"]
        values["ssim_joins"] = _around(ssim, places, range(-JOIN_RADIUS, JOIN_RADIUS))
        values["dip_joins"] = _dip(ssim, places)
        values["dip_keys"] = _dip(ssim, [key for key in values["keys"] if key])
