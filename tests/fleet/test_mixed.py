# SPDX-License-Identifier: MIT
"""Hosts of unlike hardware: what a job requires is done by those that have it, and the others go on
with what they can do. The GPU is an emulated one (tests/emu)."""
import pathlib

import fleet as fleets
import test_bytes

SETTINGS = ("-r", "180p:300k", "--chunk-seconds", "2")
EMU = pathlib.Path(__file__).resolve().parent.parent / "emu" / "run"


def gpu_worker(fleet):
    """A worker on an emulated NVIDIA card; probing it is no part of the test."""
    build = pathlib.Path(fleet.programs.worker).resolve().parent.parent.parent / "tests/emu"
    if not (build / "libcuda.so.1").exists():
        raise fleets.Skip("this build has no emulated drivers")
    (fleet.dir / "emu").mkdir()
    return fleet.worker(
        name="gpu", LATHE_SLOTS="1", LATHE_GPU_ENABLED="true",
        under=[EMU, "--build", build, "--profile", "ada", "--state", fleet.dir / "emu" / "state",
               "--record", fleet.dir / "emu" / "record", "--"])


def required(make):
    """No attempt of a host without a GPU is counted, and none keeps it from other jobs."""
    fleet = make(fake=False)
    source = test_bytes.make_source(fleet)
    plain = fleet.worker(name="plain", LATHE_SLOTS="1")
    job = fleet.submit(source, *SETTINGS, "--encoder", "nvenc")
    plain.wait_log(f"job {job} is left to other workers: nvenc is required to encode")
    other = fleet.submit(source, *SETTINGS)
    fleet.wait(other)
    waiting = fleet.status(job)
    assert waiting["status"] == "transcoding", waiting["status"]
    assert waiting["waits_for"] == "nvenc", waiting["waits_for"]
    assert "waits     for a worker with an NVIDIA GPU" in fleet.lathe("status", job).stdout

    gpu = gpu_worker(fleet)
    fleet.wait(job)
    state = fleet.status(job)
    assert state["waits_for"] is None, state["waits_for"]
    assert sum(unit["failures"] for unit in state["units"]) == 0, state["units"]
    by = {c["encoder"] for c in state["result"]["chunks"]}
    assert by == {"h264_nvenc"}, by
    assert " by h264_nvenc" in gpu.log() and " by h264_nvenc" not in plain.log()
    assert plain.log().count(f"job {job} is left") == 1, "it says so again and again"


def required_on_one_host(make):
    """Nobody else could do it, so the job fails and says why."""
    fleet = make(fake=False)
    test_bytes.embed(fleet)
    fleet.worker(LATHE_SLOTS="1")
    job = fleet.submit(test_bytes.make_source(fleet), *SETTINGS, "--encoder", "nvenc")
    state = fleet.wait(job, "failed")
    assert "nvenc is required to encode" in state["error"], state["error"]


def checks():
    yield "a job that requires a GPU is left to the host that has one", required
    yield "on one host it fails and says why", required_on_one_host
