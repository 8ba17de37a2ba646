# SPDX-License-Identifier: MIT
"""The emulated NVIDIA libraries under the distribution's unmodified ffmpeg: pictures equal to
software decoding, whole pipelines without a transfer, and what the encoder was asked for."""
import hashlib
import re
import subprocess

import sources
from emu import FFMPEG, count_frames, frames_md5, hashes, main, probe, software

GPU = ["-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-threads", "1"]
UPLOAD = ["-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu"]
FRAMES = 50  # of plain.mp4, 640x360


def ffmpeg(box, *words, profile="ada", plan="", fails=False):
    run = box.run(profile, [*FFMPEG, *words], plan=plan)
    assert fails is None or (run.code != 0) == fails, str(run)
    return run


def transcode(box, *encoder, source="plain.mp4", output="out.mp4", filters="scale_cuda=320:180",
              **how):
    return ffmpeg(box, *GPU, "-i", box.sources[source], "-an", "-vf", filters, *encoder,
                  box.path(output), **how)


def untouched(run):
    """No picture crossed between device and system memory."""
    copies = [e for e in run.all("cuda.copy") if e["direction"] != "dtod"]
    assert not copies and not run.all("nvenc.upload"), f"transfers, the first is {copies[:1]}"


def directions(run):
    return {e["direction"] for e in run.all("cuda.copy")}


def has(event, **wanted):
    found = {key: event[key] for key in wanted}
    assert found == {key: str(value) for key, value in wanted.items()}, f"{found} of {event}"


# --- decoding ---

def decode_test(name):
    def test(box):
        pix_fmt = sources.pix_fmt(name)
        wanted = frames_md5(box.sources[name], pix_fmt=pix_fmt)
        run = ffmpeg(box, *GPU, "-i", box.sources[name], "-an", "-vf",
                     f"hwdownload,format={pix_fmt}", "-vsync", "passthrough", "-f", "framemd5", "-")
        assert hashes(run.out) == wanted, "pictures differ from software decoding"
        done = run.all("cuvid.close")
        assert sum(int(e["pictures"]) for e in done) >= len(wanted), done
        assert sum(int(e["maps"]) for e in done) >= len(wanted), done
    return f"decode {name}", test


def cuvid_decoders(box):
    for decoder, name in (("h264", "h264_pyramid.mp4"), ("hevc", "hevc_10.mp4"),
                          ("vp9", "vp9.webm")):
        wanted = frames_md5(box.sources[name], pix_fmt=sources.pix_fmt(name))
        run = ffmpeg(box, "-c:v", f"{decoder}_cuvid", "-i", box.sources[name], "-an", "-vsync",
                     "passthrough", "-f", "framemd5", "-")
        assert [h for _, h in hashes(run.out)] == [h for _, h in wanted], decoder
        assert int(run.one("cuvid.close")["pictures"]) == len(wanted) and run.one("cuvid.parser")


def seek(box):
    for name in ("h264_opengop.ts", "hevc_opengop.ts", "h264_pyramid.mp4"):
        cut = ["-ss", "0.7", "-i", box.sources[name], "-an"]
        wanted = software([*FFMPEG, *cut, "-vsync", "passthrough", "-pix_fmt", "nv12", "-f",
                           "framemd5", "-"])
        run = ffmpeg(box, *GPU, *cut, "-vf", "hwdownload,format=nv12", "-vsync", "passthrough",
                     "-f", "framemd5", "-")
        assert hashes(run.out) == hashes(wanted), name


def not_emulated(box):
    software([*FFMPEG, "-f", "lavfi", "-i", "testsrc2=s=352x288:d=1", "-c:v", "mpeg2video",
              box.path("in.ts")])
    run = ffmpeg(box, "-hwaccel", "cuda", "-i", box.path("in.ts"), "-f", "null", "-")
    assert "Hardware is lacking required capabilities" in run.err, str(run)
    assert not run.all("cuvid.create")


# --- pipelines ---

def full(codec):
    def test(box):
        run = transcode(box, "-c:v", f"{codec}_nvenc", "-bf", "2")
        assert count_frames(box.path("out.mp4")) == FRAMES
        untouched(run)
        assert len(run.all("cuda.launch")) == 2 * FRAMES
        assert int(run.one("nvenc.close")["frames"]) == FRAMES
        has(probe(box.path("out.mp4"), "codec_name", "width", "height"), codec_name=codec,
            width=320, height=180)
    return f"full {codec}", test


def full_hd(box):
    """The coded height is 1088, and the last rows must not show."""
    run = transcode(box, "-c:v", "h264_nvenc", "-rc", "constqp", "-qp", "10", source="hd.mp4",
                    filters="scale_cuda=1920:1080:passthrough=0")
    untouched(run)
    has(run.one("nvenc.init"), size="1920x1080", sar="1/1")
    log = psnr(["-i", box.sources["hd.mp4"], "-i", box.path("out.mp4"), "-lavfi",
                PAIR])
    assert log > 40, log


def full_ten_bit(box):
    run = transcode(box, "-c:v", "hevc_nvenc", source="ten_bit.mp4")
    untouched(run)
    has(run.one("nvenc.init"), bits=10, profile="main10")
    has(probe(box.path("out.mp4"), "profile", "pix_fmt"), profile="Main 10", pix_fmt="yuv420p10le")
    assert count_frames(box.path("out.mp4")) == 30
    run = transcode(box, "-c:v", "h264_nvenc", source="ten_bit.mp4",
                    filters="scale_cuda=320:180:format=nv12")
    untouched(run)
    has(probe(box.path("out.mp4"), "pix_fmt"), pix_fmt="yuv420p")


def upload(box):
    run = ffmpeg(box, *UPLOAD, "-i", box.sources["plain.mp4"], "-vf",
                 "format=nv12,hwupload,scale_cuda=320:180", "-c:v", "h264_nvenc",
                 box.path("out.mp4"))
    assert count_frames(box.path("out.mp4")) == FRAMES
    assert directions(run) == {"htod"} and not run.all("cuvid.create")


def system_memory(box):
    for pix_fmt in ("nv12", "yuv420p"):
        run = ffmpeg(box, "-i", box.sources["plain.mp4"], "-pix_fmt", pix_fmt, "-c:v", "h264_nvenc",
                     "-rc", "constqp", "-qp", "20", box.path(f"{pix_fmt}.mp4"))
        assert len(run.all("nvenc.upload")) == FRAMES
    assert frames_md5(box.path("nv12.mp4")) == frames_md5(box.path("yuv420p.mp4"))
    assert psnr(["-i", box.sources["plain.mp4"], "-i", box.path("nv12.mp4"), "-lavfi",
                 PAIR]) > 40


def download(box):
    """What a GPU without an encoder is good for."""
    run = transcode(box, "-c:v", "libx264", filters="scale_cuda=320:180,hwdownload,format=nv12",
                    profile="h100")
    assert count_frames(box.path("out.mp4")) == FRAMES
    assert directions(run) - {"dtod"} == {"dtoh"} and not run.all("nvenc.load")


def ladder(box):
    graph = ("split=3[a][b][c];[a]scale_cuda=480:270[x];[b]scale_cuda=320:180[y];"
             "[c]scale_cuda=240:136:interp_algo=lanczos[z]")
    run = ffmpeg(box, *GPU, "-i", box.sources["plain.mp4"], "-filter_complex", graph, "-map", "[x]",
                 "-c:v", "h264_nvenc", box.path("x.mp4"), "-map", "[y]", "-c:v", "h264_nvenc",
                 box.path("y.mp4"), "-map", "[z]", "-c:v", "hevc_nvenc", box.path("z.mp4"))
    for name, width in (("x", 480), ("y", 320), ("z", 240)):
        assert count_frames(box.path(name + ".mp4")) == FRAMES
        has(probe(box.path(name + ".mp4"), "width"), width=width)
    untouched(run)
    assert int(run.one("cuvid.close")["maps"]) == FRAMES and len(run.all("nvenc.init")) == 3


BY_NUMBER = "settb=1/25,setpts=N"
PAIR = f"[0]{BY_NUMBER}[a];[1]{BY_NUMBER}[b];[a][b]psnr"


def psnr(words):
    """Of luma; frames are paired as the filters say."""
    log = subprocess.run(["ffmpeg", "-nostdin", *map(str, words), "-f", "null", "-"], check=True,
                         capture_output=True, text=True).stderr
    found = re.search(r"PSNR y:(\S+)", log)[1]
    return float(found)


def scaler(box):
    for name, flags, least in (("nearest", "neighbor", 99), ("bilinear", "bilinear", 35),
                               ("bicubic", "bicubic:param0=0:param1=0", 40),
                               ("lanczos", "lanczos", 35)):
        ffmpeg(box, *UPLOAD, "-i", box.sources["plain.mp4"], "-frames:v", "5", "-vf",
               f"format=nv12,hwupload,scale_cuda=320:180:interp_algo={name},hwdownload,"
               "format=nv12", box.path("out.yuv"))
        measured = psnr(["-i", box.sources["plain.mp4"], "-f", "rawvideo", "-pix_fmt", "nv12", "-s",
                         "320x180", "-i", box.path("out.yuv"), "-lavfi",
                         f"[0]format=nv12,scale=320:180:flags={flags},format=yuv420p,"
                         f"{BY_NUMBER}[a];"
                         f"[1]format=yuv420p,{BY_NUMBER}[b];[a][b]psnr=shortest=1"])
        assert measured > least, f"{name}: {measured} dB"


def unknown_kernels(box):
    run = transcode(box, "-c:v", "h264_nvenc", filters="yadif_cuda", fails=True)
    assert "CUDA_ERROR_NOT_FOUND" in run.err, str(run)


def repeatable(box):
    found = set()
    for name in ("a.mp4", "b.mp4"):
        transcode(box, "-c:v", "hevc_nvenc", "-bf", "2", "-fflags", "bitexact", output=name)
        found.add(hashlib.md5(box.path(name).read_bytes()).hexdigest())
    assert len(found) == 1


def devices(box):
    plan = "set devices 3"
    run = ffmpeg(box, "-init_hw_device", "cuda=gpu:2", "-filter_hw_device", "gpu", "-i",
                 box.sources["plain.mp4"], "-vf", "format=nv12,hwupload", "-c:v", "h264_nvenc",
                 box.path("out.mp4"), plan=plan)
    has(run.one("nvenc.init"), device=2)
    run = ffmpeg(box, "-i", box.sources["plain.mp4"], "-c:v", "h264_nvenc", "-gpu", "1",
                 box.path("out.mp4"), plan=plan)
    has(run.one("nvenc.init"), device=1)
    ffmpeg(box, "-init_hw_device", "cuda=gpu:3", plan=plan, fails=True)


# --- the encoder ---

def encode(box, *options, codec="h264", source="plain.mp4", output="out.mp4"):
    run = ffmpeg(box, "-i", box.sources[source], "-an", "-pix_fmt", "nv12", "-c:v",
                 f"{codec}_nvenc", *options, box.path(output))
    return run, run.one("nvenc.init")


def words(text):
    return text.split()


def record(box):
    _, init = encode(box, *words(
        "-preset p6 -tune hq -rc vbr -b:v 700k -maxrate 1400k -bufsize 2800k -g 30 -bf 3 "
        "-b_ref_mode middle -rc-lookahead 6 -spatial-aq 1 -aq-strength 9 -temporal-aq 1 "
        "-multipass fullres -profile:v high -surfaces 24"))
    has(init, codec="h264", preset="p6", tune="hq", rc="vbr", average_bps=700000, max_bps=1400000,
        vbv_bits=2800000, gop=30, b_frames=3, b_ref="middle", lookahead=6, spatial_aq=1,
        aq_strength=9, temporal_aq=1, multipass="fullres", profile="high", bits=8, size="640x360",
        rate="25/1", headers="global")
    _, init = encode(box, *words("-preset p2 -tune ll -rc cbr -b:v 500k -bf 0"), codec="hevc",
                     output="out.ts")
    has(init, codec="hevc", preset="p2", tune="ll", rc="cbr", average_bps=500000, vbv_bits=1000000,
        b_frames=0, profile="main", headers="repeated")
    _, init = encode(box, *words("-rc vbr -cq 27.5 -maxrate 3M"))
    has(init, rc="vbr", cq="27.50", average_bps=0, max_bps=3000000, vbv_bits=0)
    _, init = encode(box, *words("-rc constqp -init_qpI 21 -init_qpP 23 -init_qpB 25"))
    has(init, rc="constqp", qp="21/23/25")


def presets(box):
    seen = set()
    for number in range(1, 8):
        _, init = encode(box, "-preset", f"p{number}")
        has(init, preset=f"p{number}")
        seen.add(tuple(init[key] for key in ("b_frames", "lookahead", "spatial_aq")))
    assert len(seen) == 7, seen


def rates(box):
    for codec in ("h264", "hevc"):
        for options in ("-rc vbr -bf 2", "-rc cbr -bf 0"):
            run, _ = encode(box, *words(options + " -b:v 400k -g 50"), codec=codec,
                            source="long.mp4")
            rate = int(run.one("nvenc.close")["bytes"]) * 8 / 12
            assert 0.93 < rate / 400e3 < 1.07, f"{codec} {options}: {rate}"
    sizes = [int(encode(box, "-cq", cq)[0].one("nvenc.close")["bytes"]) for cq in ("20", "35")]
    assert sizes[0] > 2 * sizes[1], sizes
    run, _ = encode(box, *words("-cq 10 -maxrate 300k"), source="long.mp4")
    assert int(run.one("nvenc.close")["bytes"]) * 8 / 12 < 330e3


def change_of_rate(box):
    """The rate is the second half's from its first picture on, which is an IDR picture."""
    for codec in ("h264", "hevc"):
        run = box.run("ada", [box.build / "nvenc-api", "rates", f"{codec}_nvenc", 300, 900])
        assert run.code == 0, str(run)
        first, second = ([int(word) for word in line.split()] for line in run.out.splitlines())
        assert first[0] == second[0] == 50 and first[2] == second[2] == 1, run.out
        for half, kbps in ((first, 300), (second, 900)):
            assert 0.8 < half[1] * 8 / 2 / (kbps * 1000) < 1.25, f"{codec} {kbps}: {run.out}"
        has(run.one("nvenc.reconfigure"), average_bps=900000)


def packets(path, field):
    return software(["ffprobe", "-v", "error", "-show_entries", f"packet={field}", "-of",
                     "default=nk=1:nw=1", path]).split()


def key_frames(box):
    path = box.path("out.mp4")
    for codec in ("h264", "hevc"):
        run, _ = encode(box, *words("-g 1000 -bf 2 -forced-idr 1 -force_key_frames "
                                    "expr:eq(mod(n,20),7)"), codec=codec)
        keys = [round(float(t) * 25) for t, f in zip(packets(path, "pts_time"),
                                                     packets(path, "flags")) if f[0] == "K"]
        assert keys == [0, 7, 27, 47], f"{codec}: {keys}"
        assert [e["frame"] for e in run.all("nvenc.idr")] == ["7", "27", "47"]
        encode(box, "-g", "10", "-bf", "2", codec=codec)
        keys = [i for i, f in enumerate(packets(path, "flags")) if f[0] == "K"]
        assert keys == [0, 10, 20, 30, 40], f"{codec}: {keys}"


def reordering(box):
    for options in ("-bf 3", "-bf 3 -delay 0", "-bf 2 -b_ref_mode middle", "-bf 0 -delay 0",
                    "-bf 3 -surfaces 40"):
        for codec in ("h264", "hevc"):
            encode(box, *words(options), codec=codec)
            times = sorted(round(float(t) * 25) for t in packets(box.path("out.mp4"), "pts_time"))
            assert times == list(range(FRAMES)), f"{codec} {options}: {times}"
            assert count_frames(box.path("out.mp4")) == FRAMES, f"{codec} {options}"


def driver_limits(box):
    for profile, codec, options in (("turing", "hevc", "-bf 3 -b_ref_mode each -temporal-aq 1"),
                                    ("pascal", "h264", "-bf 3 -temporal-aq 1")):
        ffmpeg(box, "-i", box.sources["plain.mp4"], "-c:v", f"{codec}_nvenc", *words(options),
               box.path("out.mp4"), profile=profile)
    run = ffmpeg(box, "-i", box.sources["plain.mp4"], "-c:v", "h264_nvenc", "-bf", "2",
                 "-b_ref_mode", "middle", box.path("out.mp4"), profile="pascal", fails=True)
    assert "No capable devices found" in run.err, str(run)
    run = ffmpeg(box, "-i", box.sources["plain.mp4"], "-s", "128x96", "-c:v", "h264_nvenc",
                 box.path("out.mp4"), fails=True)
    assert "InitializeEncoder failed: invalid param (8)" in run.err, str(run)


TESTS = [
    *map(decode_test, sources.DECODE),
    ("cuvid decoders", cuvid_decoders),
    ("seek", seek),
    ("codec that is not emulated", not_emulated),
    full("h264"),
    full("hevc"),
    ("full 1080p", full_hd),
    ("full ten bit", full_ten_bit),
    ("upload", upload),
    ("system memory", system_memory),
    ("download", download),
    ("ladder", ladder),
    ("scaler", scaler),
    ("unknown kernels", unknown_kernels),
    ("repeatable", repeatable),
    ("devices", devices),
    ("record", record),
    ("presets", presets),
    ("rates", rates),
    ("change of rate", change_of_rate),
    ("key frames", key_frames),
    ("reordering", reordering),
    ("driver limits", driver_limits),
]

if __name__ == "__main__":
    main(TESTS, {**sources.DECODE, **sources.OTHERS})
