# SPDX-License-Identifier: MIT
"""Bad input: exit code 1, one clear line, quickly, nothing left behind, OUTPUT untouched, and no
other file on the disk read."""
import os
import pathlib
import shutil
import subprocess

from harness import FF, Skip

QUICK_SECONDS = 10
# The leak checker of a sanitizer build cannot run under a tracer.
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
OLD = b"what was here before"


def refuse(context, box, source, *options, code=(1,), environment=None):
    """The whole contract of a refusal, checked on one command."""
    output = box.out()
    output.write_bytes(OLD)
    run = box.lathe("run", source, "-o", output, "--rendition", "90p:200k", "--chunk-seconds", "1",
                    *options, extra=environment, timeout=60)
    assert run.code in code, f"expected exit code {code}: {run}"
    assert len(run.lines()) == 1, f"expected one line on stderr: {run.err!r}"
    assert len(run.err) < 700, f"the line is too long: {run.err!r}"
    assert run.out == "", f"nothing belongs on stdout: {run.out!r}"
    assert run.seconds < QUICK_SECONDS * context.slow, f"took {run.seconds:.1f} s"
    assert output.read_bytes() == OLD, "OUTPUT was touched"
    assert not box.leftovers(output), f"left behind: {box.leftovers(output)}"
    return run


def cut(source, box, name, keep, odd=0):
    """The first part of a file."""
    data = pathlib.Path(source).read_bytes()
    path = box.root / "in" / name
    path.write_bytes(data[:int(len(data) * keep) // 188 * 188 + odd])
    return path


def truncated(context, box, ext, mux):
    source = context.clip(6, ext=ext, mux=mux)
    path = cut(source, box, "cut." + ext, 0.6, 77)
    run = refuse(context, box, path)
    assert "truncat" in run.err, f"the line does not say what is wrong: {run.err!r}"


def truncated_concealed(context, box, ext, mux):
    """On request the rest is converted, with a warning."""
    source = context.clip(6, ext=ext, mux=mux)
    path = cut(source, box, "cut." + ext, 0.6, 77)
    run = box.lathe("run", path, "-o", box.out(), "--rendition", "90p:200k", "--chunk-seconds",
                    "1", "--damaged", "conceal", "--json")
    assert run.code == 0, str(run)
    assert '"warnings": []' not in run.out, "no warning in the report"
    frames = int(subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v", "-show_entries",
         "stream=nb_read_packets", "-of", "csv=p=0", box.out()], capture_output=True, text=True,
        check=True).stdout.strip())
    assert 50 <= frames <= 125, f"{frames} frames of a file that holds about 90"


def flipped_bits(context, box):
    source = context.clip(6, mux="-movflags +faststart")
    data = bytearray(source.read_bytes())
    begin = data.index(b"mdat") + 4
    for at in range(begin + 20000, begin + (len(data) - begin) * 3 // 4, 997):
        data[at] ^= 0x5a
    path = box.root / "in" / "flipped.mp4"
    path.write_bytes(data)
    refuse(context, box, path)


def empty(context, box):
    path = box.root / "in" / "empty.mp4"
    path.write_bytes(b"")
    refuse(context, box, path)


def text(context, box):
    path = box.root / "in" / "text.mp4"
    path.write_text("This is not a video.\n" * 500, encoding="utf-8")
    refuse(context, box, path)


def noise(context, box):
    path = box.root / "in" / "noise.mp4"
    path.write_bytes(os.urandom(300000))
    refuse(context, box, path)


def disguised(context, box, content):
    """A playlist named .mp4: what it points to must not be opened."""
    marker = box.root / "in" / "marker.mp4"
    shutil.copy(context.clip(2), marker)
    path = box.root / "in" / "disguised.mp4"
    path.write_text(content.format(marker=marker), encoding="utf-8")
    refuse(context, box, path)
    if not shutil.which("strace"):
        raise Skip("refused; strace is not installed to see what was opened")
    trace = box.root / "in" / "trace"
    run = subprocess.run(["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,connect", "-o",
                          trace, context.lathe, "run", path, "-o", box.out("x.mp4"), "--rendition",
                          "90p:200k"], env=box.environment(NO_LEAKS), capture_output=True, text=True,
                         check=False, cwd=box.root, timeout=60)
    seen = trace.read_text(encoding="utf-8", errors="replace")
    if "ptrace" in run.stderr or "disguised.mp4" not in seen:
        raise Skip("refused; tracing is not permitted here")
    assert "marker.mp4" not in seen, "the file behind the playlist was opened"
    assert "AF_INET" not in seen, "the network was used"


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{marker}\n#EXT-X-ENDLIST\n"
HLS_URL = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{marker}'\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
DASH = ('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{marker}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>\n")


def bomb(context, box):
    source = context.source("bomb.mp4", "python3 $TOOLS/bomb.py $TMP/b.h264\n"
                            f"{FF} -framerate 25 -f h264 -i $TMP/b.h264 -c copy $OUT\n")
    run = refuse(context, box, source)
    assert "16000" in run.err or "pixels" in run.err, f"the line does not name the size: {run.err!r}"


def far_apart(context, box):
    """Half of its pictures are shown months after the others: silence for months is no result."""
    run = refuse(context, box, context.source(
        "far.mkv", f"$GEN video --frames 50 | {FF} -f rawvideo -pix_fmt yuv444p -s 320x180 -r 25 -i -"
        f" -pix_fmt yuv420p -c:v libx264 -bf 0 -g 25 -f mp4 $TMP/near.mp4\n{FF} -i $TMP/near.mp4"
        " -c copy -bsf:v 'setts=ts=TS+if(gte(N\\,25)\\,800000/TB\\,0)' $OUT\n"))
    assert "hours" in run.err, f"the line does not say how long: {run.err!r}"


def audio_only(context, box):
    refuse(context, box, context.source(
        "sound.mp4", f"$GEN audio --seconds 3 > $TMP/a.wav\n{FF} -i $TMP/a.wav -c:a aac $OUT\n"))


def cover_only(context, box):
    """A song with a cover is no video."""
    refuse(context, box, context.source(
        "song.mp4", f"$GEN audio --seconds 3 > $TMP/a.wav\n{FF} -f lavfi -i color=red -frames:v 1"
        f" $TMP/c.jpg\n{FF} -i $TMP/a.wav -i $TMP/c.jpg -map 0 -map 1 -c:a aac -c:v copy"
        " -disposition:v attached_pic $OUT\n"))


def unknown_codec(context, box, codec, ext):
    refuse(context, box, context.source(
        f"{codec}.{ext}", f"$GEN video --frames 10 | {FF} -f rawvideo -pix_fmt yuv444p -s 320x180"
        f" -r 25 -i - -c:v {codec} $OUT\n"))


def absent(context, box):
    refuse(context, box, box.root / "in" / "absent.mp4")


def folder(context, box):
    refuse(context, box, box.root / "in")


def fifo(context, box):
    path = box.root / "in" / "fifo.mp4"
    os.mkfifo(path)
    refuse(context, box, path)


def unreadable(context, box):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        raise Skip("runs as root, who may read everything")
    path = box.root / "in" / "secret.mp4"
    shutil.copy(context.clip(2), path)
    path.chmod(0)
    if os.geteuid() != 0:
        refuse(context, box, path)
        return
    try:  # another user needs to reach the programs and the box
        subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                        context.lathe, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Skip("runs as root, who may read everything, and cannot drop that here") from None
    for inside in [box.root, *box.root.rglob("*")]:
        os.chown(inside, 65534, 65534)
    os.chown(path, 0, 0)
    run = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                          context.lathe, "run", path, "-o", box.out()], cwd=box.root,
                         env=box.environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 1 and len(run.stderr.strip().split("\n")) == 1, run.stderr
    assert not box.leftovers(), box.leftovers()


def url(context, box, address):
    refuse(context, box, address, code=(1, 2))


def missing_output_folder(context, box):
    run = box.lathe("run", context.clip(2), "-o", box.root / "nowhere" / "out.mp4", "--rendition",
                    "90p")
    assert run.code == 1 and len(run.lines()) == 1, str(run)
    assert run.seconds < QUICK_SECONDS * context.slow, str(run)
    assert not (box.root / "nowhere").exists() and not box.leftovers(), box.leftovers()


def output_is_input(context, box):
    path = box.root / "in" / "same.mp4"
    shutil.copy(context.clip(2), path)
    before = path.read_bytes()
    run = box.lathe("run", path, "-o", path, "--rendition", "90p")
    assert run.code in (1, 2) and len(run.lines()) == 1, str(run)
    assert path.read_bytes() == before, "the source was overwritten"


def output_is_folder(context, box):
    (box.root / "out" / "out.mp4").mkdir()
    run = box.lathe("run", context.clip(2), "-o", box.out(), "--rendition", "90p")
    assert run.code in (1, 2) and len(run.lines()) == 1, str(run)
    assert not box.leftovers(box.out()), box.leftovers(box.out())


def full_disk(context, box, where):
    """A file system of 300 KiB for the output, or for everything else."""
    small = box.root / where
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", small],
                           capture_output=True, text=True, check=False)
    if mount.returncode:
        raise Skip("mounting a small file system is not permitted here")
    try:
        words = ["run", context.clip(20, size="640x360"), "-o", box.out(), "--rendition",
                 "360p:2000k", "--chunk-seconds", "2", "--preset", "ultrafast"]
        if where == "work":
            words += ["--work", small / "w"]
        run = box.lathe(*words)
        if where == "tmp" and run.code == 0:
            raise Skip("nothing is written there")
        assert run.code == 1 and len(run.lines()) == 1, str(run)
        assert "space" in run.err, f"the line does not say that the disk is full: {run.err!r}"
        assert not box.leftovers(), f"left behind: {box.leftovers()}"
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def full_work(context, box):
    (box.root / "work").mkdir()
    full_disk(context, box, "work")


def run(context):
    context.test("truncated mp4", truncated, "mp4", "-movflags +faststart")
    context.test("truncated fragmented mp4", truncated, "mp4",
                 "-movflags frag_keyframe+empty_moov+default_base_moof")
    context.test("truncated mp4 without index", truncated, "mov", "")
    context.test("truncated ts", truncated, "ts", "")
    context.test("truncated mkv", truncated, "mkv", "")
    context.test("truncated mp4, concealed", truncated_concealed, "mp4", "-movflags +faststart")
    context.test("truncated mkv, concealed", truncated_concealed, "mkv", "")
    context.test("truncated ts, concealed", truncated_concealed, "ts", "")
    for name, function in (("flipped bits", flipped_bits), ("empty file", empty), ("text", text),
                           ("noise", noise), ("bomb of 16000x16000", bomb),
                           ("pictures months apart", far_apart),
                           ("audio only", audio_only), ("cover only", cover_only),
                           ("absent file", absent), ("folder as input", folder),
                           ("fifo as input", fifo), ("unreadable file", unreadable),
                           ("missing output folder", missing_output_folder),
                           ("output is the input", output_is_input),
                           ("output is a folder", output_is_folder)):
        context.test(name, function)
    for name, content in (("hls playlist", HLS), ("hls playlist with a url", HLS_URL),
                          ("ffconcat", CONCAT), ("sdp", SDP), ("dash", DASH)):
        context.test(f"{name} named mp4", disguised, content)
    context.test("codec not on the list, avi", unknown_codec, "magicyuv", "avi")
    context.test("codec not on the list, mkv", unknown_codec, "cinepak", "mkv")
    for address in ("http://127.0.0.1:9/a.mp4", "https://127.0.0.1:9/a.mp4", "rtmp://127.0.0.1:9/a",
                    "file:///etc/hostname", "concat:/etc/hostname|/etc/hostname",
                    "subfile,,start,0,end,9,,:/etc/hostname", "data:text/plain,abc", "pipe:0",
                    "lavfi:testsrc"):
        context.test(f"url {address.split('/')[0]}", url, address)
    context.test("full disk, output", full_disk, "out")
    context.test("full disk, temporary files", full_disk, "tmp")
    context.test("full disk, --work", full_work)
