# SPDX-License-Identifier: MIT
"""A fleet makes the same bytes as `lathe run`, with real slots."""
import hashlib
import subprocess

SETTINGS = ("-r", "180p:300k", "-r", "120p:150k", "--chunk-seconds", "2")
NAMES = ("output_180p.mp4", "output_120p.mp4")


def make_source(fleet):
    path = fleet.dir / "source.mp4"
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=12",
         "-f", "lavfi", "-i", "sine=f=300:d=12", "-c:v", "libx264", "-preset", "ultrafast", "-g",
         "50", "-c:a", "aac", "-flags", "+bitexact", str(path)], check=True, timeout=120)
    return path


def hashes(folder):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES}


def compare(fleet):
    source = make_source(fleet)
    fleet.lathe("run", source, "-o", fleet.dir / "alone", *SETTINGS, "--quiet")
    for _ in range(2):
        fleet.worker(LATHE_SLOTS="1")
    for worker in fleet.workers:
        worker.wait_log(r"lathe-worker \S+ is ")
    job = fleet.submit(source, *SETTINGS)
    fleet.wait(job)
    fleet.wait_published(job, *NAMES)
    fleet.lathe("fetch", job, "-o", fleet.dir / "together")
    assert hashes(fleet.dir / "together") == hashes(fleet.dir / "alone"), "other bytes than run's"
    chunks = [worker.log().count(" frames by libx264") for worker in fleet.workers]
    assert min(chunks) > 0, f"chunks by worker: {chunks}"


def on_servers(make):
    compare(make(fake=False))


def embed(fleet):
    """Its workers use the folder of one host in place of servers."""
    state = fleet.dir / "state"
    fleet.locations = {"LATHE_QUEUE_DRIVER": "sqlite", "LATHE_QUEUE_LOCATION": f"{state}/queue.db",
                       "LATHE_STATE_DRIVER": "sqlite", "LATHE_STATE_LOCATION": f"{state}/state.db",
                       "LATHE_STORE_DRIVER": "dir", "LATHE_STORE_LOCATION": f"{state}/store"}
    (state / "store").mkdir(parents=True)


def embedded(make):
    fleet = make(fake=False)
    embed(fleet)
    compare(fleet)


def checks():
    yield "Kafka, Redis and an S3 store", on_servers
    yield "the embedded drivers", embedded
