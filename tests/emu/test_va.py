# SPDX-License-Identifier: MIT
"""The emulated VA driver under the distribution's unmodified ffmpeg: pictures equal to software
decoding, whole pipelines without a transfer, and what the driver was asked for."""
import hashlib
import subprocess

import sources
from emu import FFMPEG, count_frames, frames_md5, hashes, main, probe, software

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


TESTS = [
    *[decode_test(name) for name in sources.DECODE],
    ("seek", seek),
    ("size change", size_change),
    ("full h264", full_h264),
    ("full hevc", full_hevc),
    ("picture quality", picture_quality),
    ("crop 1080", crop_1080),
    ("ladder", ladder),
    ("upload and download", upload_and_download),
    *[rate_control_test(*key) for key in OFFERED],
    ("bitrate is kept", bitrate_is_kept),
    ("no scaler", no_scaler),
    ("same bytes", same_bytes),
    ("delayed decode", delayed_decode),
]

if __name__ == "__main__":
    main(TESTS, {**sources.DECODE, **sources.OTHERS})
