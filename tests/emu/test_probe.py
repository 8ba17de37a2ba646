# SPDX-License-Identifier: MIT
"""lathe probe on emulated GPUs: what it finds on each profile, and what each fault makes of it. A
device that hangs, crashes or lies is a result; busy is not absent; what is lost comes back."""
import json
import os
import pathlib
import subprocess
import sys

import emu

LATHE = pathlib.Path(sys.argv[1]).resolve() / "../../src/cli/lathe"
# Long enough for a loaded machine to show some sign of life, short enough to wait for twice.
STALL_SECONDS = "6"


class Found:
    """What a probe said, and what the drivers recorded meanwhile."""

    def __init__(self, run):
        assert run.code == 0, str(run)
        self.run = run
        self.hardware = json.loads(run.out)["hardware"]
        self.summary = self.hardware["summary"]
        self.devices = self.hardware["devices"]

    def trial(self, kind, codec=None, bits=None, device=0):
        found = [t for t in self.devices[device]["trials"] if t["kind"] == kind
                 and t.get("codec") == codec and t.get("bits") == bits]
        assert len(found) == 1, f"{kind} {codec} {bits}: {found}"
        return found[0]

    def is_(self, verdict, kind, codec=None, bits=None, reason="", device=0):
        t = self.trial(kind, codec, bits, device)
        assert t["verdict"] == verdict and reason in t["reason"], f"not {verdict}: {t}"
        return t

    def works(self, *trials):
        for t in trials:
            self.is_("works", *t)


H264, HEVC, HEVC10 = ("encode", "h264", 8), ("encode", "hevc", 8), ("encode", "hevc", 10)
DECODES = [("decode", "h264", 8), ("decode", "hevc", 8), ("decode", "hevc", 10),
           ("decode", "vp9", 8)]
SCALES = [("scale", None, 8), ("scale", None, 10)]


def probe(box, profile, plan="", *options, env=None):
    return Found(box.run(profile, [LATHE, "probe", "--json", *options], plan=plan,
                         options=["--render", box.path("dri")], timeout=240,
                         env={"LATHE_HARDWARE_CACHE": "", "LATHE_STALL_SECONDS": STALL_SECONDS,
                              **(env or {})}))


# --- profiles: everything is used, and the driver's own record says so ---

def ada(box):
    found = probe(box, "ada", "", "--sessions")
    found.works(("open",), H264, HEVC, HEVC10, *DECODES, *SCALES)
    features = set(found.trial(*H264)["features"])
    assert {"b-frames", "b-ref", "spatial-aq", "temporal-aq", "lookahead", "multipass", "rc-vbr",
            "rc-cbr", "rc-cq"} <= features, features
    assert found.is_("works", "sessions")["sessions"] == 8, found.trial("sessions")
    assert found.devices[0]["name"] == "Emulated Ada" and found.devices[0]["memory_bytes"] > 0
    inits = found.run.all("nvenc.init")
    assert {e["rc"] for e in inits} >= {"vbr", "cbr"}, inits
    best = [e for e in inits if e["codec"] == "h264" and e["b_ref"] != "disabled"]
    assert best and all(e["preset"] == "p7" and e["multipass"] == "fullres" for e in best), best
    assert found.run.all("cuvid.create"), "nothing was decoded on the device"


def intel(box):
    found = probe(box, "intel-nonfree")
    found.works(("open",), H264, HEVC, HEVC10, *DECODES, *SCALES)
    features = set(found.trial(*H264)["features"])
    assert features == {"rc-vbr", "rc-cbr", "rc-icq", "rc-qvbr", "rc-cqp"}, features
    found.is_("works", *H264, reason="no b-frames: the driver makes none")
    assert "iHD" in found.devices[0]["driver"], found.devices[0]["driver"]
    modes = {e["rc"].upper() for e in found.run.all("va.context")}
    assert modes >= {"VBR", "CBR", "CQP", "ICQ", "QVBR"}, modes


def lesser_profiles(box):
    found = probe(box, "h100")
    assert "does not encode: this GPU has no encoder" in found.summary, found.summary
    for encode in (H264, HEVC, HEVC10):
        found.is_("absent", *encode, reason="no encoder")
    found.works(*DECODES, *SCALES)
    free = probe(box, "intel-free")
    assert free.trial(*H264)["features"] == ["rc-cqp"], free.trial(*H264)
    free.is_("unsupported", *HEVC, reason="does not encode this codec")
    free.is_("unsupported", "scale", None, 8, reason="no video processing")
    amd = probe(box, "amd-old")
    assert set(amd.trial(*H264)["features"]) == {"rc-vbr", "rc-cbr", "rc-cqp"}, amd.trial(*H264)


def no_hardware(box):
    empty = box.path("none")
    empty.mkdir()
    out = subprocess.run([LATHE, "probe"], capture_output=True, text=True, check=True,
                         env={**os.environ, "LATHE_SLOT_DRI_DIR": str(empty),
                              "LD_LIBRARY_PATH": ""}).stdout
    said = [line for line in out.splitlines() if "GPU" in line]
    if pathlib.Path("/dev/nvidiactl").exists():
        return  # there is a real one
    assert len(said) == 1 and said[0].startswith("no GPU: no NVIDIA driver"), out
    found = probe(box, "ada", "set devices 0")
    assert found.summary.startswith("no GPU: the NVIDIA driver finds no device"), found.summary


def one_of_several(box):
    """What lathe-worker@1.service sets: the second card is the only one there is."""
    found = probe(box, "ada", "set devices 2", env={"CUDA_VISIBLE_DEVICES": "1"})
    devices = [(d["path"], d["id"]) for d in found.devices if d["family"] == "nvenc"]
    assert devices == [("0", "0000:02:00.0")], devices
    found.works(H264)
    inits = found.run.all("nvenc.init")
    assert inits and all(e["device"] == "1" for e in inits), inits


# --- what is missing, and what is taken ---

def upgraded_without_reboot(box):
    plan = "fault device.list do=fail code=803"
    found = probe(box, "ada", plan)
    assert "kernel and its libraries are of different versions" in found.summary, found.summary
    run = box.run("ada", [LATHE, "doctor", "--json"], plan=plan, timeout=240,
                  options=["--render", box.path("dri")],
                  env={"LATHE_HARDWARE_CACHE": "", "LATHE_STATE_DIR": str(box.path("state"))})
    faults = [f for f in json.loads(run.out)["findings"]
              if f["id"] == "host.gpu" and "different versions" in f["what"]]
    assert run.code == 1 and len(faults) == 1 and "reboot" in faults[0]["cure"], run.out


def old_driver(box):
    found = probe(box, "ada", "set driver 390.25")
    found.is_("absent", *H264, reason="required nvenc API version")
    found.works(*DECODES)


def features_missing(box):
    found = probe(box, "ada", "set bframes 0\nset ten_bit 0")
    t = found.is_("works", *H264, reason="no b-frames: Max B-frames 4 exceed 0")
    assert "b-frames" not in t["features"] and "b-ref" not in t["features"], t
    assert "lookahead" in t["features"], t
    found.is_("unsupported", *HEVC10, reason="10 bit encode not supported")
    found.works(HEVC)
    va = probe(box, "intel-nonfree", "set ten_bit 0\nset hevc 0")
    va.is_("unsupported", *HEVC10)
    va.is_("unsupported", *HEVC)
    va.works(H264)


def busy(box):
    found = probe(box, "ada", "fault nvenc.open do=oom")
    found.is_("busy", *H264, reason="in use")
    found.works(*DECODES)
    # One session is enough to try everything; the limit is learned when asked for.
    found = probe(box, "ada", "set sessions 1", "--sessions")
    found.works(H264, HEVC)
    assert found.is_("works", "sessions", reason="refused")["sessions"] == 1
    va = probe(box, "intel-nonfree", "fault va.surface from=12 do=oom")
    assert va.trial(*H264)["verdict"] in ("busy", "error"), va.trial(*H264)


# --- drivers that fail, hang, crash, lie ---

def hangs(box):
    found = probe(box, "ada", "fault nvenc.encode at=4 do=hang")
    found.is_("hangs", *H264, reason="no progress")
    assert found.trial(*HEVC)["verdict"] == "hangs", "each trial has a process of its own by then"
    found.is_("untried", *HEVC10, reason="failed too often")
    va = probe(box, "intel-nonfree", "fault device.open do=hang")
    va.is_("hangs", "open")
    assert "hangs" in va.summary, va.summary


def crashes(box):
    found = probe(box, "ada", "fault cuvid.decode at=4 do=crash")
    found.is_("crashes", "decode", "h264", 8, reason="signal 11")
    found.works(H264, HEVC, HEVC10, SCALES[0])
    va = probe(box, "intel-nonfree", "fault va.process at=2 do=crash")
    va.is_("crashes", "scale", None, 8, reason="signal 11")
    va.works(H264, ("decode", "h264", 8))


def sticky(box):
    found = probe(box, "ada", "fault cuda.launch at=2 do=fail code=700 sticky")
    found.is_("sticky", "scale", None, 8, reason="700")
    found.works(H264, ("decode", "h264", 8))  # in another process


def lost_and_back(box):
    back = box.path("back")
    plan = f"fault device.open do=lost until={back}"
    cache = {"LATHE_HARDWARE_CACHE": str(box.path("cache.json"))}
    for profile, verdict in (("ada", "lost"), ("intel-nonfree", "absent")):
        found = probe(box, profile, plan, env=cache)
        found.is_(verdict, "open")
        assert "not used, it does not open" in found.summary, found.summary
    back.touch()
    probe(box, "intel-nonfree", plan, env=cache).works(("open",), H264)


def lost_meanwhile(box):
    for profile, point in (("ada", "nvenc.encode"), ("intel-nonfree", "va.encode")):
        found = probe(box, profile, f"fault {point} at=4 do=lost")
        found.is_("lost", *H264, reason="gone")
        for decode in DECODES:  # what was not tried is not called unsupported
            found.is_("untried", *decode)


def wrong_pictures(box):
    for profile, plan in (
            ("ada", "fault nvenc.encode from=3 do=green\nfault cuvid.decode from=3 do=stale\n"
                    "fault cuda.launch from=3 do=stale"),
            ("intel-nonfree", "fault va.encode from=3 do=stale\nfault va.decode from=3 do=green\n"
                              "fault va.process from=3 do=green")):
        found = probe(box, profile, plan)
        found.is_("wrong", *H264, reason="is not what went in")
        found.is_("wrong", "decode", "h264", 8, reason="is not what software decodes")
        found.is_("wrong", "scale", None, 8, reason="is not what went in")


def copies_that_fail_with_success(box):
    found = probe(box, "ada", "fault cuda.copy.htod from=5 do=fail code=1")
    found.is_("wrong", *H264, reason="calls of the driver failed")


def several_devices(box):
    found = probe(box, "ada", "set devices 2\nfault nvenc.encode device=0 do=fail code=20")
    assert len(found.devices) == 2
    found.is_("session", *H264, device=0)
    found.is_("works", *H264, device=1)


TESTS = [
    ("everything on ada", ada), ("everything on intel", intel),
    ("lesser profiles", lesser_profiles), ("no hardware", no_hardware),
    ("one of several", one_of_several),
    ("upgraded without a reboot", upgraded_without_reboot),
    ("old driver", old_driver), ("features missing", features_missing), ("busy", busy),
    ("hangs", hangs), ("crashes", crashes), ("sticky", sticky), ("lost and back", lost_and_back),
    ("lost meanwhile", lost_meanwhile),
    ("wrong pictures", wrong_pictures), ("failed copies", copies_that_fail_with_success),
    ("several devices", several_devices),
]

if __name__ == "__main__":
    emu.main(TESTS, {})
