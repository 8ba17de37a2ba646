# SPDX-License-Identifier: MIT
"""Starting and ending a worker: signals, exit codes, reload, what dead ones leave behind."""
import signal
import socket
import time

from fleet import until


def drain(make):
    """SIGTERM: what runs is finished, nothing new is begun, and the rest is done by others."""
    fleet = make()
    first = fleet.worker(name="drains", LATHE_SLOT_FAKE="chunk:*:slow1500", LATHE_SLOTS="2")
    job = fleet.submit()
    first.wait_log(r"chunk 0: begins")
    code = first.stop()
    assert code == 0, f"exit code {code}"
    log = first.log()
    begun, done = log.count("chunk") and log.count(": begins"), log.count(": done;")
    assert begun == done, f"{begun} tasks begun, {done} done: {log[-1500:]}"
    fleet.worker(name="goes-on")
    fleet.wait(job)
    assert fleet.orders("chunk") == 4, f"{fleet.orders('chunk')} chunks for 4"


def drain_in_vain(make):
    """What is not done within drain_seconds is handed back, and begins elsewhere at once."""
    fleet = make()
    first = fleet.worker("--drain-seconds=1", name="drains", LATHE_LEASE_SECONDS="600",
                         LATHE_SLOT_FAKE="chunk:*:slow60000")
    job = fleet.submit()
    first.wait_log(r"chunk 0: begins")
    code = first.stop()
    assert code == 0, f"exit code {code}"
    fleet.worker(name="goes-on", LATHE_LEASE_SECONDS="600")
    fleet.wait(job)  # a lease that was not handed back lasts longer than this waits


def twice(make):
    """A second SIGTERM ends it at once."""
    fleet = make()
    first = fleet.worker(name="drains", LATHE_SLOT_FAKE="chunk:*:slow60000",
                         LATHE_LEASE_SECONDS="600")
    job = fleet.submit()
    first.wait_log(r"chunk 0: begins")
    first.process.send_signal(signal.SIGTERM)
    first.wait_log(r"draining")
    code = first.stop()
    assert code == 130, f"exit code {code}"
    fleet.worker(name="goes-on", LATHE_LEASE_SECONDS="600")
    fleet.wait(job)


def reload(make):
    """SIGHUP takes what can be taken, says what cannot, and a wrong file changes nothing."""
    fleet = make()
    config = fleet.dir / "lathe.conf"
    config.write_text('drain_seconds = 5;\nslots = 1;\n', encoding="utf-8")
    worker = fleet.worker(f"--config={config}")
    worker.wait_log(r"lathe-worker \S+ is ")
    config.write_text('drain_seconds = 6;\nlease_seconds = 9;\n', encoding="utf-8")
    worker.process.send_signal(signal.SIGHUP)
    worker.wait_log(r"drain_seconds is 6 now")
    worker.wait_log(r"was read again")
    config.write_text("drain_seconds = many;\n", encoding="utf-8")
    worker.process.send_signal(signal.SIGHUP)
    worker.wait_log(r"the old configuration stays: \S*lathe.conf:1")
    assert worker.stop() == 0
    assert "draining: 0 tasks go on for at most 6 s" in worker.log()


def wrong_configuration(make):
    """78 with the place, before anything is opened; 69 when patience is over."""
    fleet = make()
    config = fleet.dir / "wrong.conf"
    config.write_text('\nslots = "many";\n', encoding="utf-8")
    worker = fleet.worker(f"--config={config}")
    assert worker.wait_end() == 78, worker.log()
    assert "wrong.conf:2: slots" in worker.log() and "0 to 256" in worker.log(), worker.log()
    worker = fleet.worker("--slotz=1")
    assert worker.wait_end() == 2, worker.log()
    worker = fleet.worker("--queue-driver=carrier-pigeon")
    assert worker.wait_end() == 78, worker.log()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"redis://127.0.0.1:{free.getsockname()[1]}/0?patience_ms=100"
    worker = fleet.worker("--patience-seconds=2", f"--state-location={nowhere}")
    assert worker.wait_end() == 69, worker.log()
    assert "waiting for the state" in worker.log(), worker.log()


def stop_while_waiting(make):
    """A worker that waits for a server at its start can be stopped."""
    fleet = make()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"redis://127.0.0.1:{free.getsockname()[1]}/0?patience_ms=100"
    worker = fleet.worker(f"--state-location={nowhere}")
    worker.wait_log(r"waiting for the state")
    assert worker.stop() == 0, worker.log()


def leftovers(make):
    """What a killed worker left in its scratch folder is removed by the next start."""
    fleet = make()
    first = fleet.worker(name="dies", LATHE_SLOT_FAKE="chunk:*:slow60000")
    job = fleet.submit()
    first.wait_log(r"chunk 0: begins")
    first.kill()
    left = list(fleet.dir.glob("lathe-*/worker-*"))
    assert len(left) == 1 and list(left[0].iterdir()), f"a killed worker leaves {left}"
    second = fleet.worker(name="goes-on")
    second.wait_log(r"lathe-worker \S+ is ")
    assert not left[0].exists(), "the folder of the dead worker is still there"
    fleet.wait(job)
    assert second.stop() == 0
    assert not list(fleet.dir.glob("lathe-*/worker-*")), "a worker that ended left its folder"


def no_room(make):
    """A worker without room for more takes nothing, says so, and goes on when there is room."""
    fleet = make()
    worker = fleet.worker("--scratch-quota-bytes=1M")
    worker.wait_log(r"lathe-worker \S+ is ")
    folder = next(fleet.dir.glob("lathe-*/worker-*"))
    (folder / "ballast").write_bytes(b"x" * 1000000)
    worker.wait_log(r"no more work is taken: scratch.quota_bytes")
    job = fleet.submit()
    time.sleep(2)
    assert fleet.status(job)["status"] == "queued"
    (folder / "ballast").unlink()
    worker.wait_log(r"there is room again")
    fleet.wait(job)


def old_jobs(make):
    """Jobs leave the list keep_hours after their end; their results stay."""
    fleet = make()
    worker = fleet.worker("--keep-hours=0.002")  # 7 seconds
    worker.wait_log(r"lathe-worker \S+ is ")
    job = fleet.submit()
    fleet.wait(job)
    until("the end of the job in the list",
          lambda: job not in fleet.lathe("list", "--json").stdout, 90)
    assert f"transcoded/{job}/output_240p.mp4" in fleet.objects()
    assert worker.process.poll() is None


def checks():
    yield "SIGTERM finishes what runs", drain
    yield "drain_seconds ends it", drain_in_vain
    yield "a second SIGTERM ends it at once", twice
    yield "SIGHUP", reload
    yield "wrong configuration and absent servers", wrong_configuration
    yield "stopped while it waits for a server", stop_while_waiting
    yield "leftovers of a dead worker", leftovers
    yield "no work without room", no_room
    yield "old jobs leave the list", old_jobs
