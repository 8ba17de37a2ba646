# SPDX-License-Identifier: MIT
"""Plays files that several encoders made in headless Chromium, to their end. Not part of the tests,
since it needs a browser; docs/hardware-tested.md has what it said.

usage: play.py BUILD/tests/emu [FILE]...    Without files: H.264 of NVENC and x264, then of NVENC,
                                            VA-API and x264, all made on the emulated drivers"""
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

import emu
import test_chunks

PAGE = b"""<!doctype html><video muted></video><script>
const video = document.querySelector("video"), times = [];
function tell(what) {
  const q = video.getVideoPlaybackQuality();
  fetch("/done", {method: "POST", body: JSON.stringify({what, time: video.currentTime,
    duration: video.duration, frames: q.totalVideoFrames, dropped: q.droppedVideoFrames,
    width: video.videoWidth, height: video.videoHeight})});
}
video.onended = () => tell("ended");
video.onerror = () => tell("error: " + video.error.message);
video.src = "/file.mp4";
video.play().catch(e => tell("refused: " + e));
</script>"""


def play(path, seconds=60):
    """What the browser says at the end."""
    said, done = {}, threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = PAGE if self.path == "/" else path.read_bytes()
            kind = "text/html" if self.path == "/" else "video/mp4"
            first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if self.headers.get("Range") else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(body) - first))
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(body[first:])

        def do_POST(self):
            said.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        browser = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}",
             f"http://127.0.0.1:{server.server_address[1]}/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not done.wait(seconds):
                said["what"] = f"no end after {seconds} s"
        finally:
            browser.terminate()
            browser.wait(20)
            server.shutdown()
    return said


def make(root):
    made = emu.make_sources(test_chunks.generate(root / "raw"), root / "sources")
    box = emu.Box(pathlib.Path(sys.argv[1]).resolve(), root / "box", made)
    for places in ((("nvenc", 1), ()), (("nvenc", 1), ("vaapi", 1), ())):
        path = root / f"mixed{len(places)}.mp4"
        shutil.move(test_chunks.mixed_file(box, "h264", places)[2], path)
        yield path


def main():
    if not shutil.which("chromium"):
        print("skip - there is no chromium")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="lathe-play-") as folder:
        files = [pathlib.Path(f) for f in sys.argv[2:]] or make(pathlib.Path(folder))
        bad = 0
        for path in files:
            said, frames = play(path), emu.count_frames(path)
            good = said.get("what") == "ended" and said["frames"] == frames
            bad += not good
            print(f"{'ok' if good else 'not ok'} - {path.name}: {frames} frames, browser: {said}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
