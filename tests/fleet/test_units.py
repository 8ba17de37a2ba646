# SPDX-License-Identifier: MIT
"""Who gets which work, how often, and what happens to work that cannot be done."""
import json
import os
import re
import subprocess

import fleet as servers
import test_deaths


def spread(make):
    """16 chunks on four workers with a slot each: all of them encode."""
    fleet = make()
    slow = {"LATHE_SLOT_FAKE": "chunk:*:slow400", "LATHE_SLOT_FAKE_CHUNKS": "16",
            "LATHE_SLOT_FAKE_LAG": "8", "LATHE_SLOTS": "1"}
    for _ in range(4):
        fleet.worker(**slow)
    for worker in fleet.workers:
        worker.wait_log(r"lathe-worker \S+ is ")
    job = fleet.submit()
    fleet.wait(job)
    done = [worker.log().count(": done; 25 frames") for worker in fleet.workers]
    assert sum(done) == 16 and min(done) > 0, f"chunks by worker: {done}"


def source_at_hand(make):
    """The worker that has cut an MP4 reads its own chunks from it; others read what was cut."""
    fleet = make()
    settings = {"LATHE_SLOT_FAKE": "chunk:*:slow400", "LATHE_SLOT_FAKE_CHUNKS": "8",
                "LATHE_SLOT_FAKE_LAG": "8", "LATHE_SLOTS": "1",
                "LATHE_SLOT_FAKE_CONTAINER": "mov,mp4,m4a,3gp,3g2,mj2"}
    workers = [fleet.worker(**settings) for _ in range(2)]
    for worker in workers:
        worker.wait_log(r"lathe-worker \S+ is ")
    fleet.wait(fleet.submit())
    orders = re.findall(r"^chunk \d+(.*)$", fleet.log.read_text(), re.M)
    cutter, other = workers if "split: done" in workers[0].log() else workers[::-1]
    done = [worker.log().count(": done; 25 frames") for worker in (cutter, other)]
    assert min(done) > 0, f"chunks by worker: {done}"
    from_packets = sum("from packets" in order for order in orders)
    assert (len(orders) - from_packets, from_packets) == tuple(done), (orders, done)


def long_chunk(make):
    """A chunk that takes longer than max.poll.interval.ms: one delivery, one completion."""
    fleet = make()
    fleet.need_kafka()
    settings = fleet.dir / "kafka.properties"
    settings.write_text("max.poll.interval.ms=10000\n", encoding="utf-8")
    settings.chmod(0o600)
    fleet.locations["LATHE_QUEUE_LOCATION"] += f"&config={settings}"
    worker = fleet.worker(LATHE_SLOT_FAKE="chunk:0:slow25000:1", LATHE_SLOT_FAKE_CHUNKS="1")
    fleet.worker(LATHE_SLOT_FAKE_CHUNKS="1")
    job = fleet.submit()
    fleet.wait(job)
    assert fleet.orders("chunk") == 1, f"{fleet.orders('chunk')} orders of the chunk"
    done = sum(w.log().count("chunk 0: done") for w in fleet.workers)
    assert done == 1, f"{done} completions: {worker.log()[-800:]}"


def urgent_first(make):
    """A job that is more urgent overtakes a long one, although its bells came later."""
    fleet = make()
    fleet.worker(LATHE_SLOTS="1", LATHE_SLOT_FAKE="chunk:*:slow150", LATHE_SLOT_FAKE_CHUNKS="60")
    long_one = fleet.submit()
    fleet.workers[0].wait_log(r"chunk 3: done")
    urgent = fleet.submit(None, "--priority", "5")
    fleet.wait(urgent)
    state = fleet.status(long_one)
    assert state["status"] == "transcoding", f"the long job is {state['status']} already"
    assert fleet.lathe("cancel", long_one).returncode == 0


def short_beside_long(make):
    """A short job does not wait for a long one of the same priority that was there before it, which
    goes on meanwhile."""
    fleet = make()
    worker = fleet.worker(LATHE_SLOTS="1", LATHE_SLOT_FAKE="chunk:*:slow150",
                          LATHE_SLOT_FAKE_CHUNKS="100")
    long_one = fleet.submit()
    worker.wait_log(r"chunk 3: done")
    before = fleet.status(long_one)["completed_chunks"]
    worker.stop()
    fleet.worker(LATHE_SLOTS="1", LATHE_SLOT_FAKE="chunk:*:slow150", LATHE_SLOT_FAKE_CHUNKS="3")
    short = fleet.submit()
    fleet.wait(short)
    state = fleet.status(long_one)
    assert state["status"] == "transcoding", f"the long job is {state['status']} already"
    assert state["completed_chunks"] > before, "the long job stood still"
    assert fleet.lathe("cancel", long_one).returncode == 0


def overlap(make):
    """With one slot, the next chunk is claimed and fetched before the last one is done, and never
    are two encoded at once."""
    fleet = make()
    worker = fleet.worker(LATHE_SLOTS="1", LATHE_SLOT_FAKE="chunk:*:slow1500",
                          LATHE_SLOT_FAKE_CHUNKS="6", LATHE_SLOT_FAKE_LAG="6")
    job = fleet.submit()
    fleet.wait(job)
    events = re.findall(r"chunk (\d+): (begins|done)", worker.log())
    done = [number for number, what in events if what == "done"]
    assert len(done) == 6, events
    early = sum(events.index((then, "begins")) < events.index((now, "done"))
                for now, then in zip(done, done[1:]))
    assert early >= 3, f"only {early} of 5 were fetched ahead: {events}"
    at_once = most = 0
    for sign in (fleet.dir / "timeline").read_text(encoding="utf-8"):
        at_once += 1 if sign == "+" else -1
        most = max(most, at_once)
    assert most == 1, f"{most} chunks were encoded at once with one slot"


def poison(make):
    """A chunk that kills its slot each time: the job fails with the reason, which is also in the
    dead letters; others go on; a retry after the cure does only what is missing."""
    fleet = make()
    fleet.need_kafka()
    worker = fleet.worker(LATHE_SLOT_FAKE="chunk:2:internal:3")
    bad = fleet.submit()
    state = fleet.wait(bad, "failed")
    assert "the fake was told to fail" in state["error"], state["error"]
    good = fleet.submit()
    fleet.wait(good)
    letters = read_topic(fleet, "video-chunks.dlq")
    mine = [json.loads(text) for text in letters if bad in text]
    assert len(mine) == 1, f"dead letters: {letters}"
    assert "the fake was told to fail" in mine[0]["reason"], mine[0]
    assert mine[0]["kind"] == "chunk" and mine[0]["index"] == 2, mine[0]
    before = fleet.orders("chunk")
    fleet.lathe("retry", bad)
    fleet.wait(bad)
    redone = fleet.orders("chunk") - before
    assert redone <= 2, f"{redone} chunks were encoded after the retry: {worker.log()[-800:]}"
    test_deaths.check_result(fleet, bad)


def read_topic(fleet, topic):
    """The bodies of all records; kafka's own consumer, so that ours is not its own witness."""
    home = os.path.expanduser(os.environ.get("LATHE_CLUSTER_CACHE", "~/.cache/lathe"))
    broker = os.environ["LATHE_QUEUE_LOCATION"]
    run = subprocess.run(
        ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", f"{home}/kafka-4.3.1/libs/*",
         "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker,
         "--topic", f"{fleet.prefix}-{topic}", "--from-beginning", "--timeout-ms", "8000"],
        capture_output=True, text=True, timeout=120)
    return [line for line in run.stdout.split("\n") if line.strip()]


def strangers(make):
    """Bells of jobs that nobody knows are harmless, and go away."""
    fleet = make()
    fleet.need_kafka()
    worker = fleet.worker()
    worker.wait_log(r"lathe-worker \S+ is ")
    unknown = "0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d"
    produce(fleet, "video-chunks", [json.dumps({"v": 1, "job_id": unknown, "unit": 3}),
                                    "not json at all", '{"job_id": 5}'])
    produce(fleet, "video-jobs", [json.dumps({"v": 1, "job_id": unknown})])
    job = fleet.submit()
    fleet.wait(job)
    test_deaths.check_result(fleet, job)
    assert fleet.lathe("status", unknown, check=False).returncode == 1
    assert worker.process.poll() is None


def produce(fleet, topic, bodies):
    home = os.path.expanduser(os.environ.get("LATHE_CLUSTER_CACHE", "~/.cache/lathe"))
    subprocess.run(
        ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", f"{home}/kafka-4.3.1/libs/*",
         "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server",
         os.environ["LATHE_QUEUE_LOCATION"], "--topic", f"{fleet.prefix}-{topic}"],
        input="\n".join(bodies) + "\n", text=True, check=True, timeout=120, capture_output=True)


def cancelled(make):
    """A job that is cancelled in the middle stops, and leaves nothing but its source and record."""
    fleet = make()
    worker = fleet.worker(LATHE_SLOT_FAKE="chunk:*:slow2000")
    job = fleet.submit()
    worker.wait_log(r"chunk \d+: begins")
    fleet.lathe("cancel", job)
    after = fleet.submit()
    fleet.wait(after)
    # What was running then is thrown away as it ends.
    servers.until("the end of all that was made for it", lambda: not [
        k for k in fleet.objects() if job in k and not k.startswith(("raw/", "jobs/"))], 60)


def checks():
    yield "16 chunks on four workers: all encode", spread
    yield "who has cut a source reads it where it is", source_at_hand
    yield "a chunk longer than max.poll.interval.ms is done once", long_chunk
    yield "an urgent job overtakes a long one", urgent_first
    yield "a short job does not wait for a long one, which goes on", short_beside_long
    yield "the next chunk is fetched while the last is encoded", overlap
    yield "a poison chunk becomes a dead letter", poison
    yield "bells of unknown jobs are harmless", strangers
    yield "a cancelled job leaves nothing", cancelled
