# SPDX-License-Identifier: MIT
"""Workers of unlike versions on one fleet. There is no other version to run yet, so a newer one is
a record that says so."""
import json

from fleet import until


def newer_job(make):
    """A worker leaves a job that a newer version made to others, says so, and does the rest."""
    fleet = make()
    newer = fleet.submit()
    key = f"job:{newer}"
    record = json.loads(fleet.redis("HGET", key, "record"))
    fleet.redis("HSET", key, "record", json.dumps({**record, "v": 2, "novelty": True}))
    old = fleet.worker(name="older")
    old.wait_log(r"newer version of Lathe made this job: it has format 2, .* upgrade this host")
    other = fleet.submit()
    fleet.wait(other)
    state = fleet.status(newer)
    assert state["status"] in ("queued", "splitting"), state
    assert not any(unit["failures"] for unit in state["units"]), state["units"]
    assert fleet.orders("split") == 1, "it tried to split what it does not understand"
    assert len(old.log().split("newer version of Lathe")) < 9, "it complains all the time"

    # A host that is upgraded.
    old.stop()
    fleet.redis("HSET", key, "record", json.dumps({**record, "novelty": True}))
    fleet.worker(name="upgraded")
    fleet.wait(newer)


def newer_half_way(make):
    """The same with a job that a newer worker has begun: its chunks are left to it."""
    fleet = make()
    job = fleet.submit()
    first = fleet.worker(name="newer", LATHE_SLOT_FAKE="chunk:*:slow60000", LATHE_SLOTS="1")
    first.wait_log(r"chunk 0: begins")
    owner = first.wait_log(r"lathe-worker \S+ is (\S+):")[1]
    leased = [u["worker"] for u in fleet.status(job)["units"] if u["state"] == "leased"]
    assert owner in leased, f"{owner} holds nothing: {leased}"
    key = f"job:{job}"
    record = json.loads(fleet.redis("HGET", key, "record"))
    fleet.redis("HSET", key, "record", json.dumps({**record, "v": 2}))
    old = fleet.worker(name="older")
    old.wait_log(r"newer version of Lathe made this job")
    first.kill()  # also what it held is left
    until("a lease that ran out", lambda: owner not in [
        unit["worker"] for unit in fleet.status(job)["units"] if unit["state"] == "leased"])
    fleet.redis("HSET", key, "record", json.dumps(record))
    fleet.wait(job)
    failures = sum(unit["failures"] for unit in fleet.status(job)["units"])
    assert failures == 0, f"{failures} attempts were counted as failed"


def checks():
    yield "a job of a newer version is left to newer workers", newer_job
    yield "so are the chunks of one", newer_half_way
