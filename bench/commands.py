# SPDX-License-Identifier: MIT
"""The exact commands of every contender.

A and B are what a user would write, with nothing but flags that keep ffmpeg quiet. L says what the
machine could do at most without any of a job's duties: no sound, no joining, no checking.
"""

import dataclasses
import json
import os
import shlex
import subprocess

QUIET = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
ENCODERS = {"h264": "libx264", "hevc": "libx265"}


@dataclasses.dataclass
class Rendition:
    name: str
    height: int
    kbps: int

    @property
    def scale(self):
        return f"scale=-2:{self.height}"


SINGLE = [Rendition("720p", 720, 2500)]
LADDER = [Rendition("1080p", 1080, 5000), Rendition("720p", 720, 2500), Rendition("480p", 480, 1200)]


def probe(path, *arguments):
    done = subprocess.run(["ffprobe", "-v", "error", *arguments, "-of", "json", path],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def packets(path, fields="pts_time,flags"):
    """Of the video, in the order of the file."""
    return probe(path, "-select_streams", "v:0", "-show_packets", "-show_entries",
                 f"packet={fields}")["packets"]


def key_frames(path):
    """(number of the packet, time) of each."""
    return [(number, float(packet["pts_time"])) for number, packet in enumerate(packets(path))
            if "K" in packet["flags"] and "pts_time" in packet]


def shorten(source, seconds, target):
    """Copies the start of a file, up to the key frame nearest to `seconds`: a cut in the middle of a
    group would leave holes between reordered frames."""
    number, time = min(key_frames(source)[1:] or [(1 << 30, seconds)],
                       key=lambda key: abs(key[1] - seconds))
    subprocess.run([*QUIET, "-i", source, "-t", f"{time + 0.1:.3f}", "-map", "0:v:0", "-map", "0:a?",
                    "-frames:v", str(number), "-c", "copy", target], check=True)


class Setup:
    def __init__(self, source, work, lathe, arguments):
        self.source, self.work, self.lathe = source, work, lathe
        self.codec, self.options = arguments.codec, arguments.lathe_option
        self.mode = ("ladder" if arguments.ladder else
                     "two-scene" if arguments.two_scene else "single")
        self.renditions = LADDER if arguments.ladder else SINGLE
        stream = probe(source, "-select_streams", "v:0", "-show_entries",
                       "stream=width,height,avg_frame_rate,codec_name:format=duration,size")
        self.video, self.format = stream["streams"][0], stream["format"]
        self.duration = float(self.format["duration"])
        self.frames = len(packets(source))
        self.contenders = {
            "A": [[self.ffmpeg(self.renditions, self.folder("A"))]],
            "B": self.two_pass(self.renditions, self.folder("B")),
            "L": [self.limit()],
            "Lathe": [[[lathe, "run", source, "-o", self.lathe_target(), *self.lathe_options()]]],
        }

    def folder(self, name):
        return os.path.join(self.work, name)

    @staticmethod
    def file(folder, rendition):
        return os.path.join(folder, f"{rendition.name}.mp4")

    def lathe_target(self):
        """One output is a file, several are a folder."""
        folder = self.folder("Lathe")
        return os.path.join(folder, "out") if len(self.renditions) > 1 else \
            self.file(folder, self.renditions[0])

    def output(self, name, rendition):
        if name == "Lathe" and len(self.renditions) > 1:
            return os.path.join(self.lathe_target(), f"output_{rendition.name}.mp4")
        return self.file(self.folder(name), rendition)

    def lathe_options(self):
        options = []
        for rendition in self.renditions:
            options += ["--rendition", f"{rendition.name}:{rendition.kbps}k"]
        return options + ["--preset", "fast", "--codec", self.codec, "--json", *self.options]

    def rate(self, rendition, kbps=None):
        kbps = kbps or rendition.kbps
        return ["-c:v", ENCODERS[self.codec], "-preset", "fast", "-b:v", f"{kbps}k", "-maxrate",
                f"{2 * kbps}k", "-bufsize", f"{2 * kbps}k"]

    def ffmpeg(self, renditions, folder, kbps=None, extra=(), sink=None):
        """One command; several renditions share one decoder by a split."""
        command = [*QUIET, "-i", self.source]
        sound = ["-an"] if sink else ["-c:a", "aac"]
        if len(renditions) == 1:
            command += ["-vf", renditions[0].scale, *self.rate(renditions[0], kbps),
                        *self.named(extra, renditions[0]), *sound]
            return command + (sink or [self.file(folder, renditions[0])])
        command += ["-filter_complex", self.split(renditions)]
        for number, rendition in enumerate(renditions):
            command += ["-map", f"[v{number}]", *([] if sink else ["-map", "0:a?"]),
                        *self.rate(rendition, kbps), *self.named(extra, rendition), *sound]
            command += sink or [self.file(folder, rendition)]
        return command

    @staticmethod
    def named(words, rendition):
        return [word.replace("@", rendition.name) for word in words]

    @staticmethod
    def split(renditions):
        pads = "".join(f"[s{i}]" for i in range(len(renditions)))
        scaled = ";".join(f"[s{i}]{r.scale}[v{i}]" for i, r in enumerate(renditions))
        return f"[0:v]split={len(renditions)}{pads};{scaled}"

    def two_pass(self, renditions, folder, kbps=None):
        steps = []
        for number in ("1", "2"):
            if self.codec == "hevc":
                extra = ["-x265-params", f"pass={number}:stats=log-@"]
            elif len(renditions) == 1:
                extra = ["-pass", number, "-passlogfile", "log-@"]
            else:
                # ffmpeg numbers log files by streams, and the passes have different ones.
                extra = ["-pass", number, "-x264-params", "stats=log-@"]
            sink = ["-f", "null", "/dev/null"] if number == "1" else None
            steps.append([self.ffmpeg(renditions, folder, kbps, extra, sink)])
        return steps

    def limit(self):
        """One single-threaded command a core, cut at key frames so that no decoding is wasted."""
        count = len(os.sched_getaffinity(0))
        keys = [time for _, time in key_frames(self.source)]
        cuts = [0.0]
        for part in range(1, count):
            nearest = min(keys, key=lambda key: abs(key - self.duration * part / count))
            if nearest > cuts[-1]:
                cuts.append(nearest)
        commands = []
        for number, start in enumerate(cuts):
            command = [*QUIET, "-threads", "1", "-filter_threads", "1"]
            command += ["-filter_complex_threads", "1"] if len(self.renditions) > 1 else []
            command += ["-ss", f"{start:.6f}"] if start else []
            if number + 1 < len(cuts):
                command += ["-t", f"{cuts[number + 1] - start:.6f}"]
            command += ["-i", self.source]
            if len(self.renditions) == 1:
                command += ["-vf", self.renditions[0].scale]
            else:
                command += ["-filter_complex", self.split(self.renditions)]
            for index, rendition in enumerate(self.renditions):
                command += ["-map", f"[v{index}]"] if len(self.renditions) > 1 else []
                command += [*self.rate(rendition), "-threads", "1"]
                command += ["-x265-params", "pools=1:frame-threads=1"] if self.codec == "hevc" else []
                command += ["-an", f"{rendition.name}-{number}.mp4"]
            commands.append(command)
        return commands

    def describe_input(self):
        return {"name": os.path.basename(self.source), "seconds": self.duration, "frames": self.frames,
                "bytes": int(self.format["size"]), "codec": self.video["codec_name"],
                "width": self.video["width"], "height": self.video["height"],
                "rate": self.video["avg_frame_rate"]}

    def printable(self):
        """The commands as a shell takes them, with short names for the places."""
        def line(command):
            text = " ".join(shlex.quote(word) for word in command)
            for path, name in ((self.work, "WORK"), (self.source, "IN"), (self.lathe, "lathe")):
                text = text.replace(path, name)
            return text
        return {name: ["; ".join(line(command) for command in step) if len(step) == 1 else
                       " & ".join(line(command) for command in step) + " & wait" for step in steps]
                for name, steps in self.contenders.items()}
