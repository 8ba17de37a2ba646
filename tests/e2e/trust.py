# SPDX-License-Identifier: MIT
"""The trust table: who links what."""
import pathlib
import re
import subprocess

# A host without a GPU lacks these, so they are looked up when one is used.
DRIVERS = r"libcuda|libnvcuvid|libnvidia|libva\.|libva-|libdrm"
MEDIA = r"libav(codec|format|filter|util|device)|libsw(scale|resample)|libx26[45]|"
FORBIDDEN = {
    "lathe": MEDIA + DRIVERS,
    "worker": MEDIA + DRIVERS,
    "slot": r"libcurl|librdkafka|libhiredis|libsqlite3|libssl|libgnutls|" + DRIVERS,
}


def links(context, _, which):
    """Direct needs of the program: what its libraries need in turn is theirs."""
    worker = pathlib.Path(context.lathe).resolve().parents[1] / "worker" / "lathe-worker"
    program = {"lathe": context.lathe, "worker": worker, "slot": context.slot}[which]
    dump = subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True)
    needed = re.findall(r"NEEDED\s+(\S+)", dump.stdout)
    assert needed, "no dynamic libraries at all: is this the right file?"
    bad = [name for name in needed if re.search(FORBIDDEN[which], name)]
    assert not bad, f"{program} links {bad}"
    if which != "slot":  # here nothing may come in through the back door either
        loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        bad = re.findall(FORBIDDEN[which], loaded)
        assert not bad, f"{program} loads {sorted(set(map(str, bad)))}"


def run(context):
    context.test("what lathe links", links, "lathe")
    context.test("what lathe-worker links", links, "worker")
    context.test("what lathe-slot links", links, "slot")
