#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Proves that media-check can fail: each known fault must be reported, with the expected words.

usage: check_selftest.py MEDIA_GEN MEDIA_CHECK FOLDER
"""
import os
import shlex
import subprocess
import sys

gen, check, folder = map(os.path.abspath, sys.argv[1:4])
os.makedirs(folder, exist_ok=True)
RAW = "-f rawvideo -pix_fmt yuv444p -s 320x180 -r 25"
ENCODE = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -movflags +faststart"


def sh(command):
    subprocess.run(["sh", "-e", "-c", command], cwd=folder, check=True)


def ffmpeg(arguments):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y"] + shlex.split(arguments)
    subprocess.run(command, cwd=folder, check=True)


GEN = shlex.quote(gen)
sh(f"{GEN} video --frames 100 > v.yuv && {GEN} audio --seconds 4 > a.wav")
SOURCE_TAGS = "-aspect 4:3 -vf setparams=color_primaries=bt709 -metadata:s:a:0 language=eng"
ffmpeg(f"{RAW} -i v.yuv -i a.wav {ENCODE} {SOURCE_TAGS} source.mp4")
HALF = "-i source.mp4 -vf scale=160:-2"

# name, what must be said (None: must pass), how the output is made, further options
FAULTS = [
    ("right", None, f"{HALF} {ENCODE}"),
    ("untagged_source", "the source lacks the tag rotation", f"{HALF} {ENCODE}", "--expect-tags",
     "rotation"),
    ("dropped", "one is missing", "-i source.mp4 -vf select=not(eq(n\\\\,10)) -fps_mode passthrough"
     f" {ENCODE}"),
    ("dropped_last", "100 frames in the source, 99 in the output",
     f"-i source.mp4 -vf select=lt(n\\\\,99) -fps_mode passthrough {ENCODE}"),
    ("repeated", "a frame that came before",
     f"-i source.mp4 -vf loop=loop=1:size=1:start=20 {ENCODE}"),
    ("swapped", "out of order", f"-i source.mp4 -vf 'shuffleframes=0 2 1 3 4' {ENCODE}"),
    ("blurred", "unreadable", f"-i source.mp4 -vf avgblur=60 {ENCODE}"),
    ("one_tick", "off by 0.0000",
     "-i source.mp4 -c copy -bsf:v setts=pts=if(eq(N\\\\,10)\\\\,PTS+1\\\\,PTS) -movflags +faststart"),
    ("late_video", "frame 0", f"-i source.mp4 -itsoffset 0.04 -i source.mp4 -map 1:v -map 0:a"
     f" -fps_mode passthrough {ENCODE}"),
    ("late_audio", "later than in the source", "-i source.mp4 -itsoffset 0.03 -i source.mp4 -map 0:v -map 1:a"
     " -c copy -movflags +faststart"),
    ("drifting_audio", "than in the source", f"-i source.mp4 -af asetrate=48500,aresample=48000"
     f",apad=whole_dur=4 -t 4 {ENCODE}"),
    ("short_audio", "ends at", f"-i source.mp4 -af atrim=end=3.9 {ENCODE}"),
    ("dropout", "dropout", f"-i source.mp4 -af volume=0:enable=between(t\\\\,2.0\\\\,2.03) {ENCODE}"),
    ("click", "click or seam", "-i source.mp4 -filter_complex '[0:a]asplit[a][b];[a]atrim=end=2[c];"
     "[b]atrim=2.001:3.999,asetpts=PTS-STARTPTS,apad=pad_len=96[d];[c][d]concat=v=0:a=1[e]'"
     f" -map 0:v -map [e] {ENCODE}"),
    ("no_audio", "1 audio tracks in the source, 0", f"-i source.mp4 -an {ENCODE}"),
    ("wrong_language", "language eng", f"-i source.mp4 -metadata:s:a:0 language=deu {ENCODE}"),
    ("mono", "2 channels", f"-i source.mp4 -ac 1 {ENCODE}"),
    ("not_faststart", "not a faststart", f"{HALF} {ENCODE} -movflags -faststart"),
    ("square", "displayed shape", f"-i source.mp4 -vf setsar=1 {ENCODE}"),
    ("colour_tag", "colour primaries", f"-i source.mp4 -vf setparams=color_primaries=bt2020 {ENCODE}"),
    ("tinted", "chroma differs", f"-i source.mp4 -vf lutyuv=v=val+20 {ENCODE}"),
    ("short_last", "the last frame lasts", "-i source.mp4 -c copy -bsf:v"
     " setts=duration=if(eq(N\\\\,99)\\\\,DURATION/4\\\\,DURATION) -movflags +faststart"),
]


def rotate():
    """No option of ffmpeg does it in both FFmpeg 5 and 7."""
    ffmpeg("-i source.mp4 -c copy upright.mp4")
    mp4box = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools", "mp4box.py")
    sh(f"python3 {shlex.quote(mp4box)} rotate upright.mp4 turned.mp4 90")
    ffmpeg("-i turned.mp4 -c copy -movflags +faststart rotated.mp4")


def corrupt():
    """A decodable container around broken pictures."""
    good, bad = "right.mp4", "corrupt.mp4"
    with open(os.path.join(folder, good), "rb") as f:
        data = bytearray(f.read())
    at = data.index(b"mdat") + 3000
    data[at:at + 4000:50] = bytes(80)
    with open(os.path.join(folder, bad), "wb") as f:
        f.write(data)


def main():
    failed = 0
    jobs = [*FAULTS, ("rotated", "rotation", rotate), ("corrupt", "errors while decoding", corrupt)]
    for name, words, how, *more in jobs:
        if callable(how):
            how()
        else:
            ffmpeg(f"{how} {name}.mp4")
        run = subprocess.run([check, "source.mp4", f"{name}.mp4", *more], cwd=folder,
                             capture_output=True, text=True, check=False)
        good = run.returncode == 0 if words is None else (run.returncode == 1
                                                          and words in run.stdout)
        failed += not good
        print(f"{'ok' if good else 'not ok'} - checker: {name}")
        if not good:
            print(f"# expected {words!r}, got:\n# " + run.stdout.replace("\n", "\n# ") + run.stderr)
    print(f"{len(jobs) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
