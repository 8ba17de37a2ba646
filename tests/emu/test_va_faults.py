# SPDX-License-Identifier: MIT
"""Every fault of the emulated VA driver once, and what unmodified ffmpeg makes of it, since Lathe
has to tell these apart."""
import time

import sources
from emu import FFMPEG, count_frames, frames_md5, hashes, main, probe, read_record, software
from test_va import DECODE, FULL, VBR, decode, transcode


def failing(point, at, text, code="code=1", **how):
    """A call that fails: an error with `text`, and exit code 1."""
    def test(box):
        run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi",
                        *VBR, plan=f"fault {point} {at} do=fail {code}\n", **how)
        assert run.code not in (0, None), str(run)
        assert text in run.err, f"no {text!r} in: {run}"
        assert run.all("fault", point=point), "the fault did not happen"
    return f"fault {point} {at}", test


def device_absent(box):
    for plan in ("fault device.open do=lost\n", "fault device.open do=oom\n"):
        run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi",
                        *VBR, plan=plan)
        assert run.code not in (0, None), str(run)
        assert "Failed to initialise VAAPI connection" in run.err, str(run)
        assert run.all("fault") and not run.all("va.context")


def device_comes_back(box):
    def go(plan):
        return transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi",
                         *VBR, plan=plan).code
    twice = "fault device.open do=lost times=2\n"
    assert [go(twice) == 0 for _ in range(4)] == [False, False, True, True]
    gone, back = box.path("gone"), box.path("back")
    plan = (f"fault va.encode at=10 do=lost touch={gone}\n"
            f"fault device.open do=lost when={gone} until={back}\n")
    assert go(plan) != 0 and gone.exists(), "the device was not lost in mid-stream"
    assert go(plan) != 0, "it came back by itself"
    back.touch()
    # Opens again; only the fault in mid-stream is left.
    assert decode(box, box.sources["plain.mp4"], plan=plan).code == 0


def lost_in_midstream(box):
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="fault va.encode at=20 do=lost\n")
    assert run.code not in (0, None) and "Failed to end picture encode issue" in run.err, str(run)


def late_failure(box):
    """With delayed completion the error comes where the program waits, not where it submitted."""
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="set async_ms 2\nfault va.encode at=20 do=fail code=1\n")
    assert run.code not in (0, None), str(run)
    assert "Failed to sync to output buffer completion" in run.err, str(run)


def out_of_memory(box):
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="fault va.surface at=12 do=oom\n")
    # It is the decoder's, so what the program makes of it differs by version.
    assert run.all("fault") and "Failed to create surface" in run.err, str(run)
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="fault va.encode at=12 do=oom\n")
    assert run.code not in (0, None) and "(resource allocation failed)" in run.err, str(run)


def decode_fails(box):
    """Frames are missing, and the program may still call it a success."""
    run = decode(box, box.sources["plain.mp4"], plan="fault va.decode from=30 do=fail code=0x17\n")
    assert len(hashes(run.out)) < 50 and "Failed to end picture decode issue" in run.err, str(run)
    assert run.all("fault", point="va.decode", action="fail")


def hang(box):
    for at in (1, 20):
        run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi",
                        *VBR, plan=f"fault va.encode at={at} do=hang\n", timeout=2.5)
        assert run.code is None, f"it did not hang: {run}"
        assert run.one("fault")["call"] == str(at)


def crash(box):
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="fault va.encode at=20 do=crash\n")
    assert run.code == -11, str(run)
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="fault va.process at=20 do=exit code=3\n")
    assert run.code == 3, str(run)


def sticky(box):
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    plan="fault va.process at=20 do=fail code=1 sticky\n")
    assert run.code not in (0, None), str(run)
    assert len(run.all("fault")) == 1
    # After the sticky fault nothing is encoded any more, though no line names va.encode.
    encoded = run.all("va.context.close", entry="encode")
    assert not encoded or int(encoded[0]["pictures"]) <= 20


def wrong_pictures(box):
    """Right counts and times, no error, wrong pictures."""
    source = box.sources["plain.mp4"]
    right = frames_md5(source)
    for action in ("green", "stale"):
        run = decode(box, source, plan=f"fault va.decode from=20 do={action}\n")
        seen = hashes(run.out)
        assert run.code == 0 and [t for t, _ in seen] == [t for t, _ in right], str(run)
        wrong = [i for i, (a, b) in enumerate(zip(seen, right)) if a != b]
        # Decoding order is not display order, hence "about".
        assert 25 <= len(wrong) <= 31, f"{action}: {len(wrong)} wrong pictures"
        assert len({seen[i][1] for i in wrong}) == 1, f"{action}: not the same picture each time"
    for point in ("va.process", "va.encode"):
        for action in ("green", "stale"):
            output = box.path(f"{point}-{action}.mp4")
            run = transcode(box, source, output, "-c:v", "h264_vaapi", "-rc_mode", "CQP", "-qp",
                            "10", plan=f"fault {point} from=20 do={action}\n")
            assert run.code == 0 and count_frames(output) == 50, str(run)
            planes = software([*FFMPEG, "-i", output, "-vf", "signalstats,metadata=print:file=-",
                               "-f", "null", "-"])
            means = [float(line.split("=")[1]) for line in planes.splitlines()
                     if line.startswith("lavfi.signalstats.YAVG")]
            assert len(means) == 50
            if action == "green":
                assert max(means[19:]) < 17 < min(means[:19]), means
            else:
                assert max(means[19:]) - min(means[19:]) < 0.2, means[19:]


def silent_copy(box):
    """A download that does nothing and reports success."""
    source = box.sources["plain.mp4"]
    run = decode(box, source, plan="fault va.image from=10 do=silent\n")
    seen = hashes(run.out)
    assert run.code == 0 and len(seen) == 50, str(run)
    assert seen[:9] == frames_md5(source)[:9] and seen[9:] != frames_md5(source)[9:]


def unsupported(box):
    source = box.sources["plain.mp4"]
    for plan, encoder in (("set encoder 0\n", ["h264_vaapi"]), ("set hevc 0\n", ["hevc_vaapi"]),
                          ("set ten_bit 0\n", ["hevc_vaapi", "-profile:v", "main10"])):
        run = transcode(box, source, box.path("out.mp4"), "-c:v", *encoder, *VBR, plan=plan,
                        filters="scale_vaapi=w=320:h=180" +
                        (":format=p010" if "ten_bit" in plan else ""))
        assert run.code not in (0, None), f"{plan}: {run}"
        assert not run.all("va.encode.open")
    run = box.run(FULL, [*FFMPEG, *DECODE, "-i", box.sources["ten_bit.mp4"], "-f", "null", "-"],
                  plan="set ten_bit_decode 0\n")
    assert not run.all("va.context", entry="decode"), "decoded on the device all the same"


def too_small(box):
    source = box.sources["plain.mp4"]
    for width, codec, plan, good in ((320, "hevc", "", False), (320, "h264", "", True),
                                     (640, "hevc", "", True),
                                     (320, "h264", "set min_height 200\n", False)):
        run = transcode(box, source, box.path("out.mp4"), "-c:v", codec + "_vaapi", *VBR,
                        filters=f"scale_vaapi=w={width}:h={width * 9 // 16}", profile="amd-new",
                        plan=plan)
        assert (run.code == 0) == good, f"{codec} {width}: {run}"
        assert good or "does not support encoding at size" in run.err, str(run)


def b_frames_are_not_there(box):
    output = box.path("out.mp4")
    run = transcode(box, box.sources["plain.mp4"], output, "-c:v", "h264_vaapi", *VBR, "-bf", "3")
    assert run.code == 0 and run.one("va.encode.open")["ip_period"] == "1", str(run)
    assert probe(output, "has_b_frames")["has_b_frames"] == "0"


def session_limit(box):
    """Counted over processes; a killed process frees its own."""
    source, limit = box.sources["plain.mp4"], "set sessions 1\n"
    encode = ["-c:v", "h264_vaapi", *VBR]
    holder, record = box.start(FULL, [*FFMPEG, *DECODE, "-i", source, *encode,
                                      box.path("held.mp4")],
                               plan=limit + "fault va.encode at=5 do=hang\n")
    try:
        end = time.monotonic() + 20
        while not any(e.name == "fault" for e in read_record(record)):
            assert time.monotonic() < end, "the first session never opened"
            time.sleep(0.02)
        run = transcode(box, source, box.path("second.mp4"), *encode, plan=limit)
        assert run.code not in (0, None) and run.all("va.session.refused"), str(run)
    finally:
        holder.kill()
        holder.communicate()
    run = transcode(box, source, box.path("third.mp4"), *encode, plan=limit)
    assert run.code == 0 and count_frames(box.path("third.mp4")) == 50, str(run)


def several_devices(box):
    nodes = box.path("dri")
    for device in (0, 1):
        run = box.run(FULL, [*FFMPEG, "-hwaccel", "vaapi", "-hwaccel_device",
                             nodes / f"renderD{128 + device}", "-hwaccel_output_format", "vaapi",
                             "-i", box.sources["plain.mp4"], "-c:v", "h264_vaapi", *VBR,
                             box.path(f"{device}.mp4")],
                      plan="fault va.encode at=3 device=1 do=fail code=1\n",
                      options=["--render", nodes, "--devices", "2"])
        assert (run.code == 0) == (device == 0), f"device {device}: {run}"
        assert run.one("va.init")["device"] == str(device)


def both_families(box):
    """A VA device beside one of NVIDIA, and none where no profile names one."""
    run = box.run("ada", [*FFMPEG, *DECODE, "-i", box.sources["plain.mp4"], "-c:v", "h264_vaapi",
                          "-rc_mode", "QVBR", "-global_quality", "25", "-b:v", "500k",
                          box.path("out.mp4")], options=["--va-profile", "intel-nonfree"])
    assert run.code == 0 and run.one("va.init")["profile"] == "intel-nonfree", str(run)
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi", *VBR,
                    profile="ada")
    assert run.code not in (0, None) and not run.all("va.init"), "a VA device without a profile"


def delay(box):
    run = decode(box, box.sources["plain.mp4"], plan="fault va.decode at=5 do=delay ms=600\n")
    assert run.code == 0 and run.seconds > 0.6 and len(hashes(run.out)) == 50, str(run)


def misspelt_plan(box):
    for plan in ("fault va.encode at=1 do=explode\n", "fault va.encode\n", "fault va.x do=fail\n",
                 "set only\n", "profile tegra\n", "fault va.encode att=1 do=oom\n"):
        run = decode(box, box.sources["plain.mp4"], plan=plan)
        assert run.code == 70, f"{plan!r}: {run}"


TESTS = [
    failing("va.config", "at=1", "Failed to create decode configuration", "code=6"),
    failing("va.context", "at=3", "Failed to create encode pipeline context", "code=2"),
    failing("va.process", "at=20", "Failed to start picture processing: 1"),
    failing("va.encode", "at=1", "Failed to end picture encode issue"),
    failing("va.encode", "at=20", "Failed to end picture encode issue"),
    failing("va.encode", "at=50", "Failed to end picture encode issue"),
    failing("va.sync", "at=20", "Failed to sync to output buffer completion"),
    failing("va.map", "at=20", "Failed to map output buffers"),
    failing("va.buffer", "from=60", "Failed to create"),
    ("device absent", device_absent),
    ("device comes back", device_comes_back),
    ("lost in mid-stream", lost_in_midstream),
    ("late failure", late_failure),
    ("out of memory", out_of_memory),
    ("decode fails", decode_fails),
    ("hang", hang),
    ("crash", crash),
    ("sticky", sticky),
    ("wrong pictures", wrong_pictures),
    ("silent copy", silent_copy),
    ("unsupported", unsupported),
    ("too small", too_small),
    ("no b-frames", b_frames_are_not_there),
    ("session limit", session_limit),
    ("several devices", several_devices),
    ("both families", both_families),
    ("delay", delay),
    ("misspelt plan", misspelt_plan),
]

if __name__ == "__main__":
    main(TESTS, sources.OTHERS)
