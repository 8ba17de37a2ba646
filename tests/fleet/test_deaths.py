# SPDX-License-Identifier: MIT
"""A worker is killed between each pair of steps. There is one correct result, and what was done twice
is within the bound that docs/fleet.md gives."""
import pathlib
import re
import signal

CHUNKS = 4
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "fleet.md"


def bounds():
    """{point: most chunks encoded twice} from the table of docs/fleet.md."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert rows, f"no table of fail points in {PAGE}"
    return {point: int(bound) for point, bound in rows}


def expected_result(n_chunks):
    """What the fake slot makes of a job: every chunk once, in order, and the sound."""
    chunks = "".join(rf"\[chunk {i} [0-9.]+\]" for i in range(n_chunks))
    return re.compile((chunks + r"\[audio\]").encode())


def check_result(fleet, job, n_chunks=CHUNKS):
    """One whole result, and nothing of what served to make it."""
    fleet.wait_published(job, "output_240p.mp4")
    result = fleet.fetch(job)
    assert expected_result(n_chunks).fullmatch(result), f"the result is {result[:300]!r}"
    return result


def die_at(point, bound):
    def check(make):
        # One slot: which chunk is being worked on is certain.
        fleet = make()
        first = fleet.worker(name="dies", LATHE_FAIL_AT=point, LATHE_SLOTS="1")
        job = fleet.submit()
        assert first.wait_end() == -signal.SIGKILL, f"it ended by {first.process.returncode}"
        fleet.worker(name="goes-on", LATHE_SLOTS="1")
        fleet.wait(job)
        check_result(fleet, job)
        redone = fleet.orders("chunk") - CHUNKS
        assert 0 <= redone <= bound, f"{redone} chunks were encoded twice, not at most {bound}"
    return check


def five_kills(make):
    """A healthy chunk whose worker dies again and again is no bad chunk."""
    fleet = make()
    job = fleet.submit()
    for number in range(5):
        worker = fleet.worker(name=f"dies-{number}", LATHE_FAIL_AT="fetched", LATHE_SLOTS="1")
        assert worker.wait_end() == -signal.SIGKILL
    assert fleet.status(job)["status"] == "transcoding"
    fleet.worker(name="goes-on")
    fleet.wait(job)
    check_result(fleet, job)


def zombie(make):
    """A worker that stood still for longer than its leases, and then goes on, changes nothing."""
    fleet = make()
    slow = "merge:0:slow4000:1"
    first = fleet.worker(name="stands-still", LATHE_SLOT_FAKE=slow, LATHE_SLOTS="1")
    job = fleet.submit()
    first.wait_log(r"merge: begins")
    first.process.send_signal(signal.SIGSTOP)
    fleet.worker(name="goes-on")
    fleet.wait(job)
    result = check_result(fleet, job)
    first.process.send_signal(signal.SIGCONT)
    assert first.stop() == 0
    assert check_result(fleet, job) == result


def checks():
    for point, bound in bounds().items():
        yield f"killed at {point}", die_at(point, bound)
    yield "five kills do not make a chunk bad", five_kills
    yield "a merger that was frozen changes nothing", zombie
