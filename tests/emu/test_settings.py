# SPDX-License-Identifier: MIT
"""What the drivers are asked for by each preset and each way to control the rate, from their own
record: preset, tune, modes, rates, buffers, GOP, B-frames, lookahead, adaptive quantisation."""
import pathlib
import sys

import emu

SETTINGS = pathlib.Path(sys.argv[1]).resolve() / "settings"
B_FRAMES, B_REF, SPATIAL, TEMPORAL, LOOKAHEAD, MULTIPASS = (1 << i for i in range(6))
VBR, CBR, CQ, ICQ, QVBR, CQP = (1 << i for i in range(6, 12))
ALL = 4095
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
           "veryslow")
# name: preset, multipass, lookahead, B-frames, B-frames as references, spatial AQ, temporal AQ
NVENC = {
    "ultrafast": ("p1", "disabled", 0, 0, 0, 0, 0),
    "superfast": ("p1", "disabled", 0, 1, 0, 0, 0),
    "veryfast": ("p1", "disabled", 0, 2, 0, 0, 0),
    "faster": ("p2", "disabled", 0, 2, 0, 1, 0),
    "fast": ("p3", "disabled", 0, 3, 0, 1, 0),
    "medium": ("p4", "qres", 12, 3, 0, 1, 0),
    "slow": ("p5", "qres", 20, 3, 1, 1, 0),
    "slower": ("p6", "fullres", 32, 3, 1, 1, 1),
    "veryslow": ("p7", "fullres", 32, 4, 1, 1, 1),
}
# libav cannot turn off what NVENC's own presets (here the emulated ones) turn on: lookahead, and
# temporal AQ where the chip has it.
OWN = {"p5": (4, 0), "p6": (8, 1), "p7": (16, 1)}
IHD_LEVEL = dict(zip(PRESETS, (7, 7, 7, 6, 5, 4, 3, 2, 1)))
# What settings.c asks for: average, maximum and buffer in kbit (NVENC fills a buffer of its own
# choice in where none is given); quality 23 is 28 to NVENC, 26 to VA-API.
RATES = {"quality": (0, 0, 0), "capped-quality": (0, 3000, 3500), "vbr": (1000, 2500, 3000),
         "vbr-default-cap": (1000, 2000, 2000), "cbr": (1000, 1000, 1000)}


def settings(box, profile, family, features):
    """(codec, bits, preset, mode, what libav was given, what the driver got) of each encoder."""
    dri = box.path("dri")
    device = "0" if family == "nvenc" else dri / "renderD128"
    run = box.run(profile, [SETTINGS, family, device, features], options=["--render", dri])
    assert run.code == 0, str(run)
    lines = run.out.splitlines()
    events = run.all("nvenc.init" if family == "nvenc" else "va.encode.open")
    assert len(lines) == len(events) == 3 * len(PRESETS) * len(RATES), (len(lines), len(events))
    for line, event in zip(lines, events):
        words, options = line.split(" | ")
        codec, bits, preset, mode = words.split()
        assert event["codec"] == codec and event["bits"] == bits, (line, event)
        yield codec, int(bits), preset, mode, options, event


def is_(event, **wanted):
    for key, value in wanted.items():
        assert str(event[key]).lower() == str(value).lower(), f"{key} is not {value}: {event}"


def gop(preset):
    """settings.c lets every other encoder place key frames itself."""
    return 50 if PRESETS.index(preset) % 2 else 1 << 20


def nvenc(profile, features):
    def test(box):
        def has(bit, value, otherwise=0):
            return value if features & bit else otherwise
        for codec, bits, preset, mode, _, event in settings(box, profile, "nvenc", features):
            name, multipass, lookahead, b_frames, b_ref, spatial, temporal = NVENC[preset]
            average, maximum, buffer = RATES[mode]
            own_lookahead, own_temporal = OWN.get(name, (0, 0))
            if profile == "pascal" and codec == "hevc":
                own_temporal = 0
            is_(event, preset=name, tune="hq", gop=gop(preset),
                multipass=has(MULTIPASS, multipass, "disabled"),
                lookahead=has(LOOKAHEAD, lookahead, own_lookahead), b_frames=has(B_FRAMES, b_frames),
                b_ref="middle" if b_ref and features & B_REF and features & B_FRAMES
                else "disabled",
                spatial_aq=has(SPATIAL, spatial), temporal_aq=has(TEMPORAL, temporal, own_temporal),
                rc="cbr" if mode == "cbr" else "vbr", average_bps=average * 1000,
                max_bps=maximum * 1000, size="640x360", rate="25/1", sar="1/1",
                profile="high" if codec == "h264" else "main10" if bits == 10 else "main")
            if mode.endswith("quality"):  # libav drops the buffer with a quality
                is_(event, cq="28.00", vbv_bits=0)
            else:
                is_(event, cq="0.00", vbv_bits=buffer * 1000)
    return f"presets of nvenc on {profile} with features {features}", test


def vaapi(profile, features, quality_mode, capped_mode, levels):
    def test(box):
        for codec, _, preset, mode, _, event in settings(box, profile, "vaapi", features):
            average, maximum, buffer = RATES[mode]
            if mode == "quality":
                is_(event, rc=quality_mode, maxrate=0)
                is_(event, **({"qp": 26} if quality_mode == "cqp" else {"quality": 26}))
            elif mode == "capped-quality":
                is_(event, rc=capped_mode, maxrate=maximum * 1000, hrd_bits=buffer * 1000)
                assert capped_mode != "qvbr" or event["quality"] == "26", event
            else:
                is_(event, rc="cbr" if mode == "cbr" else "vbr", bitrate=average * 1000,
                    maxrate=maximum * 1000, hrd_bits=buffer * 1000,
                    percent=100 * average // maximum)
            is_(event, gop=gop(preset), ip_period=1, width=640, height=360, fps="25/1",
                quality_level=IHD_LEVEL[preset] if levels else 0, entry="slice",
                profile={"h264": "h264-high"}.get(codec, event["profile"]))
    return f"presets of vaapi on {profile}", test


TESTS = [
    nvenc("ada", ALL),
    nvenc("turing", ALL & ~TEMPORAL & ~LOOKAHEAD & ~MULTIPASS),
    nvenc("pascal", VBR | CBR | CQ | SPATIAL),
    vaapi("intel-nonfree", VBR | CBR | ICQ | QVBR | CQP, "icq", "qvbr", True),
    vaapi("amd-old", VBR | CBR | CQP, "cqp", "vbr", False),
    vaapi("amd-new", VBR | CBR | QVBR | CQP, "cqp", "qvbr", False),
]

if __name__ == "__main__":
    emu.main(TESTS, {})
