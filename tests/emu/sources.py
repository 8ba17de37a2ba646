# SPDX-License-Identifier: MIT
"""Made sources: what a decoder behind VAAPI or NVDEC can get wrong, and numbered pictures."""
import subprocess


def lavfi(codec, *options, size="352x288", seconds=1.6, filters=None):
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}",
            *(["-vf", filters] if filters else []), "-c:v", codec, *options]


def x264(params, *options, **how):
    return lavfi("libx264", "-x264-params", params, *options, **how)


def x265(params, *options, **how):
    return lavfi("libx265", "-x265-params", "log-level=none:" + params, *options, **how)


FADE = "fade=out:0:40"

DECODE = {
    "h264_baseline.mp4": x264("scenecut=0", "-profile:v", "baseline"),
    "h264_cavlc_16.mp4": x264("b-adapt=0:b-pyramid=normal:ref=16:bframes=16:cabac=0"),
    "h264_pyramid.mp4": x264("b-adapt=0:b-pyramid=normal:ref=5:bframes=5"),
    "h264_opengop.ts": x264("open-gop=1:keyint=12:b-adapt=0:scenecut=0:bframes=3"),
    "h264_mbaff.ts": x264("tff=1:bframes=3", "-flags", "+ilme+ildct"),
    "h264_slices.mp4": x264("slices=4:bframes=2"),
    "h264_weighted.mp4": x264("weightp=2:weightb=1:bframes=3", filters=FADE),
    "h264_jvt_lists.mp4": x264("cqm=jvt:8x8dct=1"),
    "h264_own_lists.mp4": x264("8x8dct=1:cqm4i=6,13,20,28,13,20,28,32,20,28,32,37,28,32,37,42"),
    "h264_temporal.mp4": x264("direct=temporal:bframes=3"),
    "h264_refresh.mp4": x264("intra-refresh=1"),
    "h264_odd_size.mp4": x264("bframes=2", size="350x270"),
    "hevc_8.mp4": x265("bframes=3"),
    "hevc_10.mp4": x265("b-pyramid=1:bframes=4", "-pix_fmt", "yuv420p10le"),
    "hevc_opengop.ts": x265("open-gop=1:keyint=12:min-keyint=12:scenecut=0"),
    "hevc_slices.mp4": x265("slices=3:wpp=1"),
    "hevc_lists.mp4": x265("scaling-list=default:tskip=1"),
    "hevc_weighted.mp4": x265("weightp=1:weightb=1", filters=FADE),
    "hevc_lossless.mp4": x265("lossless=1", seconds=0.8),
    "hevc_layers.mp4": x265("temporal-layers=2"),
    "hevc_tools.mp4": x265("amp=1:rect=1:limit-modes=0:ref=5:qg-size=16"),
    "hevc_odd_size.mp4": x265("bframes=2", size="350x270"),
    "vp9.webm": lavfi("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "6", "-auto-alt-ref",
                      "1", "-lag-in-frames", "16"),
}

OTHERS = {
    "plain.mp4": x264("bframes=2:keyint=25", size="640x360", seconds=2),
    "hd.mp4": x264("bframes=2", size="1920x1080", seconds=0.4),
    "ten_bit.mp4": x265("bframes=2", "-pix_fmt", "yuv420p10le", size="640x360", seconds=1.2),
    "long.mp4": lavfi("libx264", "-preset", "ultrafast", "-crf", "18", size="320x180", seconds=12,
                      filters="noise=alls=12:allf=t"),
}


# What not every machine can make, and why.
OPTIONAL = {"hevc_slices.mp4": "x265 4.1 crashes on slices, or writes some that nobody can decode"}


def pix_fmt(name):
    return "p010le" if name.startswith("hevc_10") else "nv12"


def numbered(gen, folder, frames, size, name="frames", start=0):
    """ffmpeg's options for an input of numbered pictures, which media-check reads."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / f"{name}.yuv"
    with raw.open("wb") as out:
        subprocess.run([gen, "video", "--size", size, "--frames", str(frames),
                        "--start", str(start)], stdout=out, check=True)
    return ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", size, "-r", "25", "-i", str(raw)]
