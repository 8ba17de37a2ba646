# SPDX-License-Identifier: MIT
"""The emulated VA driver under the distribution's unmodified ffmpeg: pictures equal to software
decoding, whole pipelines without a transfer, what the driver was asked for, and every fault."""
import hashlib
import subprocess
import time

import sources
from emu import FFMPEG, count_frames, frames_md5, hashes, main, probe, read_record, software

DECODE = ["-hwaccel", "vaapi", "-hwaccel_device", "/dev/null", "-hwaccel_output_format", "vaapi"]
FULL = "intel-nonfree"
VBR = ["-rc_mode", "VBR", "-b:v", "600k", "-maxrate", "900k", "-bufsize", "1200k"]


def decode(box, source, *before, profile=FULL, pix_fmt="nv12", plan="", timeout=60):
    """Frames through the emulated decoder and back into memory."""
    return box.run(profile, [*FFMPEG, *DECODE, *before, "-i", source, "-an", "-vf",
                             f"hwdownload,format={pix_fmt}", "-fps_mode", "passthrough", "-f",
                             "framemd5", "-"], plan=plan, timeout=timeout)


def transcode(box, source, output, *encoder, filters="scale_vaapi=w=320:h=180", profile=FULL,
              plan="", timeout=60):
    return box.run(profile, [*FFMPEG, *DECODE, "-i", source, "-an", "-vf", filters, "-fps_mode",
                             "passthrough", *encoder, output], plan=plan, timeout=timeout)


def untouched(run):
    """No picture crossed between device and system memory."""
    moved = run.all("va.download") + run.all("va.upload") + run.all("va.derived.map")
    assert not moved, f"{len(moved)} transfers, the first is {moved[0]}"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def decode_test(name):
    def test(box):
        source, pix_fmt = box.sources[name], sources.pix_fmt(name)
        wanted = frames_md5(source, pix_fmt=pix_fmt)
        run = decode(box, source, pix_fmt=pix_fmt)
        assert run.code == 0, str(run)
        assert hashes(run.out) == wanted, "pictures differ from software decoding"
        # VP9 has frames that are decoded and never shown, so only their lower bound is known.
        done = int(run.one("va.context.close", entry="decode")["pictures"])
        assert done >= len(wanted), f"{done} pictures decoded on the device of {len(wanted)}"
    return f"decode {name}", test


def seek(box):
    for name in ("h264_opengop.ts", "hevc_opengop.ts", "h264_pyramid.mp4"):
        source = box.sources[name]
        wanted = software([*FFMPEG, "-ss", "0.7", "-i", source, "-an", "-fps_mode", "passthrough",
                           "-pix_fmt", "nv12", "-f", "framemd5", "-"])
        run = decode(box, source, "-ss", "0.7")
        assert run.code == 0 and hashes(run.out) == hashes(wanted), f"{name}: {run}"


def size_change(box):
    joined = box.path("joined.h264")
    data = b""
    for name in ("plain.mp4", "h264_pyramid.mp4"):
        part = box.path(name + ".h264")
        software([*FFMPEG, "-i", box.sources[name], "-c", "copy", "-bsf:v", "h264_mp4toannexb",
                  part])
        data += part.read_bytes()
    joined.write_bytes(data)
    # Every graph ends in one size, since not every FFmpeg lets an output change it.
    tail = ["-an", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    same = "format=nv12,scale=320:240:flags=neighbor"
    wanted = software([*FFMPEG, "-i", joined, "-vf", same, *tail])
    run = box.run(FULL, [*FFMPEG, *DECODE, "-i", joined, "-vf", "hwdownload," + same, *tail])
    assert run.code == 0 and hashes(run.out) == hashes(wanted), str(run)
    assert len(run.all("va.context", entry="decode")) == 2


def full_h264(box):
    output = box.path("out.mp4")
    run = transcode(box, box.sources["plain.mp4"], output, "-c:v", "h264_vaapi", *VBR, "-g", "25",
                    "-compression_level", "4")
    assert run.code == 0, str(run)
    assert count_frames(output) == 50
    untouched(run)
    asked = run.one("va.encode.open")
    wanted = dict(codec="h264", profile="h264-high", entry="slice", rc="vbr", maxrate="900000",
                  percent="66", hrd_bits="1200000", gop="25", ip_period="1", refs="1",
                  quality_level="4", width="320", height="180", bits="8", fps="25/1")
    assert wanted.items() <= asked.items(), f"asked for {asked}"
    scaled = run.one("va.process.open")
    assert (scaled["from"], scaled["to"]) == ("640x360", "320x180")
    for entry in ("decode", "process", "encode"):
        assert run.one("va.context.close", entry=entry)["pictures"] == "50"


def full_hevc(box):
    for source, fmt, profile, bits in (("plain.mp4", "nv12", "main", 8),
                                       ("ten_bit.mp4", "p010", "main10", 10),
                                       ("plain.mp4", "p010", "main10", 10),
                                       ("ten_bit.mp4", "nv12", "main", 8)):
        output = box.path(f"{source}.{profile}.mp4")
        run = transcode(box, box.sources[source], output, "-c:v", "hevc_vaapi", "-profile:v",
                        profile, *VBR, filters=f"scale_vaapi=w=426:h=240:format={fmt}")
        assert run.code == 0, str(run)
        assert count_frames(output) == (50 if source == "plain.mp4" else 30)
        untouched(run)
        asked = run.one("va.encode.open")
        assert (asked["codec"], asked["bits"], asked["rc"]) == ("hevc", str(bits), "vbr")
        seen = probe(output, "width", "height", "pix_fmt")
        assert seen == dict(width="426", height="240",
                            pix_fmt="yuv420p10le" if bits == 10 else "yuv420p"), seen


def picture_quality(box):
    """What comes out shows what went in: scaled and encoded pictures against software's."""
    output = box.path("out.mp4")
    run = transcode(box, box.sources["plain.mp4"], output, "-c:v", "h264_vaapi", "-rc_mode", "CQP",
                    "-qp", "12")
    assert run.code == 0, str(run)
    text = subprocess.run(
        ["ffmpeg", "-v", "info", "-i", output, "-i", box.sources["plain.mp4"], "-lavfi",
         "[0]setpts=N[a];[1]scale=320:180:flags=bicubic,setpts=N[b];[a][b]psnr", "-f", "null",
         "-"], capture_output=True, text=True, check=True).stderr
    psnr = float(text.split("PSNR y:")[1].split()[0])
    assert psnr > 38, f"luma PSNR {psnr}"


def crop_1080(box):
    output = box.path("out.mp4")
    run = box.run(FULL, [*FFMPEG, *DECODE, "-i", box.sources["hd.mp4"], "-c:v", "h264_vaapi",
                         "-rc_mode", "CQP", "-qp", "26", output])
    assert run.code == 0, str(run)
    seen = probe(output, "width", "height", "coded_height")
    assert (seen["width"], seen["height"]) == ("1920", "1080"), seen
    assert count_frames(output) == 10
    untouched(run)


def ladder(box):
    outputs = [box.path(f"{h}.mp4") for h in (360, 240, 144)]
    graph = ("[0:v]split=3[a][b][c];[a]scale_vaapi=w=640:h=360[x];[b]scale_vaapi=w=426:h=240[y];"
             "[c]scale_vaapi=w=256:h=144[z]")
    command = [*FFMPEG, *DECODE, "-i", box.sources["plain.mp4"], "-filter_complex", graph]
    for label, output in zip("xyz", outputs):
        command += ["-map", f"[{label}]", "-fps_mode", "passthrough", "-c:v", "h264_vaapi", *VBR,
                    output]
    run = box.run(FULL, command)
    assert run.code == 0, str(run)
    assert [count_frames(o) for o in outputs] == [50, 50, 50]
    untouched(run)
    assert len(run.all("va.context", entry="decode")) == 1, "decoded more than once"
    assert len(run.all("va.encode.open")) == 3


def upload_and_download(box):
    up, down = box.path("up.mp4"), box.path("down.mp4")
    run = box.run(FULL, [*FFMPEG, "-vaapi_device", "/dev/null", "-i", box.sources["plain.mp4"],
                         "-vf", "format=nv12,hwupload,scale_vaapi=w=320:h=180", "-c:v",
                         "h264_vaapi", *VBR, up])
    assert run.code == 0 and count_frames(up) == 50, str(run)
    moved = run.all("va.upload") + run.all("va.derived.map")
    assert len(moved) == 50 and not run.all("va.download"), f"{len(moved)} uploads"
    assert not run.all("va.context", entry="decode")
    run = transcode(box, box.sources["plain.mp4"], down, "-c:v", "libx264",
                    filters="scale_vaapi=w=320:h=180,hwdownload,format=nv12")
    assert run.code == 0 and count_frames(down) == 50, str(run)
    assert len(run.all("va.download")) == 50 and not run.all("va.encode.open")


RC = {
    "CQP": ["-qp", "27"],
    "CBR": ["-b:v", "500k"],
    "VBR": ["-b:v", "500k", "-maxrate", "1000k"],
    "ICQ": ["-global_quality", "25"],
    "QVBR": ["-b:v", "500k", "-maxrate", "1000k", "-global_quality", "25"],
    "AVBR": ["-b:v", "500k"],
}

OFFERED = {
    ("intel-nonfree", "h264"): "CQP CBR VBR ICQ QVBR AVBR",
    ("intel-nonfree", "hevc"): "CQP CBR VBR ICQ QVBR",
    ("intel-free", "h264"): "CQP",
    ("intel-free", "hevc"): "",
    ("amd-old", "h264"): "CQP CBR VBR",
    ("amd-old", "hevc"): "CQP CBR VBR",
    ("amd-new", "h264"): "CQP CBR VBR QVBR",
    ("amd-new", "hevc"): "CQP CBR VBR QVBR",
}


def rate_control_test(profile, codec):
    def test(box):
        for mode, options in RC.items():
            output = box.path(f"{mode}.mp4")
            run = box.run(profile, [*FFMPEG, *DECODE, "-i", box.sources["plain.mp4"], "-frames:v",
                                    "3", "-c:v", codec + "_vaapi", "-rc_mode", mode, *options,
                                    output])
            offered = mode in OFFERED[profile, codec].split()
            assert (run.code == 0) == offered, f"{mode}: {run}"
            if not offered:
                assert not run.all("va.encode.open")
                continue
            asked = run.one("va.encode.open")
            assert asked["rc"] == mode.lower(), asked
            assert asked["entry"] == ("lp" if profile == "intel-free" else "slice")
            if mode in ("CBR", "VBR", "QVBR"):
                assert abs(int(asked["bitrate"]) - 500000) <= 10000, asked
            if mode == "CQP":
                assert asked["qp"] == "27", asked
            if mode in ("ICQ", "QVBR"):
                assert asked["quality"] == "25", asked
    return f"rate control {profile} {codec}", test


def bitrate_is_kept(box):
    for codec in ("h264", "hevc"):
        for mode in ("VBR", "CBR"):
            output = box.path(f"{codec}-{mode}.mp4")
            run = box.run(FULL, [*FFMPEG, *DECODE, "-i", box.sources["long.mp4"], "-an", "-c:v",
                                 codec + "_vaapi", "-rc_mode", mode, "-b:v", "700k", "-maxrate",
                                 "700k" if mode == "CBR" else "1400k", "-g", "50", output])
            assert run.code == 0, str(run)
            kbps = int(probe(output, "bit_rate")["bit_rate"]) / 1000
            assert 0.92 * 700 < kbps < 1.08 * 700, f"{codec} {mode}: {kbps:.0f} kbit/s of 700"


def no_scaler(box):
    run = transcode(box, box.sources["plain.mp4"], box.path("out.mp4"), "-c:v", "h264_vaapi",
                    "-rc_mode", "CQP", profile="intel-free")
    assert run.code not in (0, None), str(run)
    assert not run.all("va.context", entry="process")


def same_bytes(box):
    outputs = []
    for i, plan in enumerate(("", "", "set async_ms 4\n")):
        outputs.append(box.path(f"{i}.mp4"))
        run = transcode(box, box.sources["plain.mp4"], outputs[-1], "-c:v", "h264_vaapi", *VBR,
                        plan=plan)
        assert run.code == 0, str(run)
    assert md5(outputs[0]) == md5(outputs[1]), "two runs differ"
    assert md5(outputs[0]) == md5(outputs[2]), "delayed completion changes the result"


def delayed_decode(box):
    source = box.sources["h264_pyramid.mp4"]
    run = decode(box, source, plan="set async_ms 5\n")
    assert run.code == 0 and hashes(run.out) == frames_md5(source), str(run)


# Faults. Each names what ffmpeg makes of it, since Lathe has to tell these apart.

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


def delay(box):
    run = decode(box, box.sources["plain.mp4"], plan="fault va.decode at=5 do=delay ms=600\n")
    assert run.code == 0 and run.seconds > 0.6 and len(hashes(run.out)) == 50, str(run)


def misspelt_plan(box):
    for plan in ("fault va.encode at=1 do=explode\n", "fault va.encode\n", "fault va.x do=fail\n",
                 "set only\n", "profile tegra\n", "fault va.encode att=1 do=oom\n"):
        run = decode(box, box.sources["plain.mp4"], plan=plan)
        assert run.code == 70, f"{plan!r}: {run}"


TESTS = [
    *[decode_test(name) for name in sources.DECODE],
    ("seek", seek), ("size change", size_change), ("full h264", full_h264),
    ("full hevc", full_hevc), ("picture quality", picture_quality), ("crop 1080", crop_1080),
    ("ladder", ladder), ("upload and download", upload_and_download),
    *[rate_control_test(*key) for key in OFFERED],
    ("bitrate is kept", bitrate_is_kept), ("no scaler", no_scaler), ("same bytes", same_bytes),
    ("delayed decode", delayed_decode),
    failing("va.config", "at=1", "Failed to create decode configuration", "code=6"),
    failing("va.context", "at=3", "Failed to create encode pipeline context", "code=2"),
    failing("va.process", "at=20", "Failed to start picture processing: 1"),
    failing("va.encode", "at=1", "Failed to end picture encode issue"),
    failing("va.encode", "at=20", "Failed to end picture encode issue"),
    failing("va.encode", "at=50", "Failed to end picture encode issue"),
    failing("va.sync", "at=20", "Failed to sync to output buffer completion"),
    failing("va.map", "at=20", "Failed to map output buffers"),
    failing("va.buffer", "from=60", "Failed to create"),
    ("fault device absent", device_absent), ("fault device comes back", device_comes_back),
    ("fault lost in mid-stream", lost_in_midstream), ("fault out of memory", out_of_memory),
    ("fault late", late_failure),
    ("fault decode", decode_fails), ("fault hang", hang), ("fault crash", crash),
    ("fault sticky", sticky), ("fault wrong pictures", wrong_pictures),
    ("fault silent copy", silent_copy), ("fault unsupported", unsupported),
    ("too small", too_small), ("no b-frames", b_frames_are_not_there),
    ("fault session limit", session_limit), ("several devices", several_devices), ("fault delay", delay),
    ("misspelt plan", misspelt_plan),
]

if __name__ == "__main__":
    main(TESTS, {**sources.DECODE, **sources.OTHERS})
