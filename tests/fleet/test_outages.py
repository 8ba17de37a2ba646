# SPDX-License-Identifier: MIT
"""Servers go away in the middle of a job and come back; the state is emptied."""
import os
import time

import fleet as servers
import test_deaths

# Longer than any lease, session and driver's own patience here.
AWAY_S = float(os.environ.get("LATHE_TEST_AWAY_SECONDS", "15"))


def outage(name, verb="kill"):
    def check(make):
        fleet = make()
        if name == "kafka":
            fleet.need_kafka()
        worker = fleet.worker(LATHE_SLOT_FAKE="chunk:*:slow1500", LATHE_SLOT_FAKE_CHUNKS="8")
        job = fleet.submit()
        worker.wait_log(r"chunk 1: begins")
        servers.server(verb, name)
        try:
            time.sleep(AWAY_S)
            assert worker.process.poll() is None, f"it ended: {worker.log()[-1500:]}"
        finally:
            servers.server("start" if verb == "kill" else "cont", name)
        fleet.wait(job)
        test_deaths.check_result(fleet, job, 8)
        redone = fleet.orders("chunk") - 8
        assert redone == 0, f"{redone} chunks were encoded twice"
        assert "tried again" not in worker.log(), worker.log()[-1500:]
        if name != "kafka":  # records that were fetched before are worked on without it
            assert "waiting for the" in worker.log() and "answers again" in worker.log()
        assert worker.stop() == 0
    return check


def emptied(make):
    """Redis forgets everything: open jobs go on, with what they have done; others stay away."""
    fleet = make()
    first = fleet.worker(LATHE_SLOT_FAKE="chunk:*:slow1000", LATHE_SLOT_FAKE_CHUNKS="8")
    done = fleet.submit()
    fleet.wait(done)
    cancelled = fleet.submit()
    first.wait_log(rf"{cancelled}: split: done")
    fleet.lathe("cancel", cancelled)
    before = fleet.orders("chunk")
    job = fleet.submit()
    first.wait_log(rf"{job}: chunk 3: done")
    fleet.redis("FLUSHDB")
    fleet.wait(job)
    test_deaths.check_result(fleet, job, 8)
    redone = fleet.orders("chunk") - before - 8
    assert redone <= 2, f"{redone} chunks were encoded twice"
    for gone in (done, cancelled):
        run = fleet.lathe("status", gone, check=False)
        assert run.returncode == 1, f"an ended job came back: {run.stdout}"
    assert f"transcoded/{done}/output_240p.mp4" in fleet.objects()


def emptied_without_workers(make):
    """The same while nobody is there: who starts next finds the open jobs in the store."""
    fleet = make()
    first = fleet.worker(LATHE_SLOT_FAKE="chunk:*:slow1000", LATHE_SLOT_FAKE_CHUNKS="8",
                         LATHE_SLOTS="1")
    job = fleet.submit()
    first.wait_log(rf"{job}: chunk 3: done")
    first.kill()
    fleet.redis("FLUSHDB")
    fleet.worker(LATHE_SLOT_FAKE_CHUNKS="8")
    fleet.wait(job)
    test_deaths.check_result(fleet, job, 8)
    redone = fleet.orders("chunk") - 8
    assert redone <= 1, f"{redone} chunks were encoded twice"


def checks():
    yield "Redis is emptied in the middle of a job", emptied
    yield "Redis is emptied while no worker runs", emptied_without_workers
    yield "Redis is away", outage("redis")
    yield "Redis hangs", outage("redis", "stop")
    yield "the store is away", outage("store")
    yield "Kafka is away", outage("kafka")
