# SPDX-License-Identifier: MIT
"""Killed at any moment, `lathe run` never leaves a wrong file, sweeps at its next start, and
resumes under --work without redoing finished chunks."""
import json
import os
import random
import signal
import time

from harness import alive, command_line, kill, sha256, slots_of, template_of

SECONDS = 20
STALL = {"LATHE_STALL_SECONDS": "2"}
ATTEMPTS = 3  # at one order before its job fails
ORDERS = 24  # of the job below, at most: split, pilots, sound, ten chunks, merge


def source_of(context):
    return context.clip(SECONDS, size="640x360")


def words(context, box, *more):
    return ["run", source_of(context), "-o", box.out(), "--rendition", "360p:800k",
            "--chunk-seconds", "2", "--preset", "medium", "--slots", "2", *more]


def reference(context):
    """The right bytes and how long they take; made once."""
    if not hasattr(context, "kill_reference"):
        def make(ctx, box):
            run = box.lathe(*words(ctx, box))
            assert run.code == 0, str(run)
            ctx.is_right(source_of(ctx), box.out())
            ctx.kill_reference = (sha256(box.out()), run.seconds)
        context.test("reference for the kill tests", make)
    if not hasattr(context, "kill_reference"):
        raise AssertionError("there is no reference to compare with")
    return context.kill_reference


def check_result(context, box, run):
    assert run.code == 0, str(run)
    assert sha256(box.out()) == reference(context)[0], "the result differs from an undisturbed run"
    assert not box.leftovers(box.out()), f"left behind: {box.leftovers(box.out())}"


def hurt_slot(context, box, number, seed):
    """One slot dies, or hangs, at a random moment: the chunk is tried again."""
    _, seconds = reference(context)
    begin = time.monotonic()
    process = box.start(words(context, box), STALL)
    time.sleep(random.Random(seed).uniform(0.02, 0.8) * seconds)
    slots = slots_of(process, timeout=1)
    if slots:
        kill(random.Random(seed).choice(slots), number)
    run = box.wait(process, begin)
    check_result(context, box, run)
    for pid in slots:
        assert not alive(pid), "a slot lives on"


def hurt_template(context, box, number):
    """Slots are copies of a template while it lives, else processes of their own."""
    begin = time.monotonic()
    process = box.start(words(context, box))
    template = template_of(process)
    assert template, "slots are no copies"
    kill(template, number)
    check_result(context, box, box.wait(process, begin))
    assert not alive(template), "the template lives on"


def crash_replaces_template(context, box):
    """Copies share their addresses; whoever learned one from a crash must not meet it again."""
    begin = time.monotonic()
    process = box.start(words(context, box))
    template = template_of(process)
    copies = []
    while not copies and process.poll() is None:  # slots that look for GPUs are none
        copies = [pid for pid in slots_of(process) if "--template" in command_line(pid)]
    assert copies, f"slots are no copies: {box.wait(process, begin)}"
    kill(copies[0], signal.SIGSEGV)
    end = time.monotonic() + 20
    while template_of(process, timeout=1) in (template, None) and time.monotonic() < end:
        time.sleep(0.005)
    assert template_of(process) not in (template, None), "copies come from the same template"
    check_result(context, box, box.wait(process, begin))


def every_slot(context, box):
    """A slot that dies again and again ends the job with the reason, it does not loop for ever.
    Counted in attempts: how long they take is the machine's business."""
    begin = time.monotonic()
    process = box.start(words(context, box))
    killed = set()
    while process.poll() is None:
        slots = slots_of(process)
        assert slots or process.poll() is not None, "neither a new slot nor an end"
        for pid in slots:
            kill(pid)
        killed.update(slots)
        assert len(killed) <= ATTEMPTS * ORDERS, f"{len(killed)} slots were killed, and no end"
    run = box.wait(process, begin)
    assert run.code == 1, str(run)
    assert len(killed) >= ATTEMPTS, f"no end was due after {len(killed)} dead slots: {run}"
    assert run.lines(), "no reason given"
    assert not box.leftovers(), f"left behind: {box.leftovers()}"


def kill_parent(context, box, seed):
    """The command itself dies: no output, no slot left; the next start sweeps."""
    _, seconds = reference(context)
    process = box.start(words(context, box))
    time.sleep(random.Random(seed).uniform(0.0, 0.95) * seconds)
    slots = slots_of(process, timeout=1) + [template_of(process, timeout=1)]
    slots = [pid for pid in slots if pid]
    kill(process.pid)
    process.communicate()
    if box.out().exists():
        assert sha256(box.out()) == reference(context)[0], "a wrong file under the final name"
    end = time.monotonic() + 5
    while any(alive(pid) for pid in slots) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in slots if alive(pid)], "slots outlive their parent"
    box.out().unlink(missing_ok=True)
    run = box.lathe(*words(context, box))
    check_result(context, box, run)


def stopped_parent(context, box):
    """Suspended like with Ctrl-Z for longer than the stall time, then continued."""
    begin = time.monotonic()
    process = box.start(words(context, box), STALL)
    slots = slots_of(process)
    time.sleep(0.5)
    for number, pause in ((signal.SIGSTOP, 4), (signal.SIGCONT, 0)):
        for pid in [process.pid, *slots]:
            kill(pid, number)
        time.sleep(pause)
    check_result(context, box, box.wait(process, begin))


def resumed(result):
    return sum(1 for chunk in result["chunks"] if chunk.get("resumed"))


def wait_for_chunks(process, work, count):
    """Until so many chunks are in the work folder: how long that takes depends on the machine."""
    while process.poll() is None and len(list(work.rglob("transcoded/*/*/chunk_*.mp4"))) < count:
        time.sleep(0.005)


def resume(context, box, number):
    """With --work a second run finishes what the first began."""
    reference(context)
    work = box.root / "out" / "work"
    options = words(context, box, "--work", work)
    process = box.start(options)
    wait_for_chunks(process, work, 3)
    process.send_signal(number)
    code = process.wait(20)
    process.communicate()
    if code == 0:
        raise AssertionError("the first run was done before it could be interrupted")
    assert not box.out().exists(), "an output of an unfinished run"
    run = box.lathe(*options, "--json")
    assert run.code == 0, str(run)
    assert sha256(box.out()) == reference(context)[0], "the result differs from an undisturbed run"
    result = json.loads(run.out)
    count, total = resumed(result), len(result["chunks"])
    assert 0 < count < total, f"{count} of {total} chunks were resumed"
    left = [name for name in box.leftovers(box.out()) if not name.startswith("out/work")]
    assert not left, f"left behind: {left}"


def damaged_chunk(context, box):
    """A finished chunk whose bytes have changed meanwhile is made again by a resumed run, alone."""
    _, seconds = reference(context)
    options = words(context, box, "--work", box.root / "out" / "work")
    process = box.start(options)
    chunks = []
    end = time.monotonic() + 20 * seconds * context.slow
    while process.poll() is None and len(chunks) < 4 and time.monotonic() < end:
        chunks = sorted((box.root / "out" / "work").rglob("chunk_*.mp4"))
        time.sleep(0.02)
    kill(process.pid)
    process.communicate()
    assert len(chunks) >= 4, "no chunk was finished in time"
    oldest = min(chunks, key=lambda path: path.stat().st_mtime_ns)  # so the state knows of it
    before = oldest.stat()
    with open(oldest, "r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xff]))
    os.utime(oldest, ns=(before.st_atime_ns, before.st_mtime_ns))  # like a disk that forgets
    run = box.lathe(*options, "--json")
    assert run.code == 0, str(run)
    assert sha256(box.out()) == reference(context)[0], "the result differs from an undisturbed run"
    result = json.loads(run.out)
    again = [chunk["index"] for chunk in result["chunks"] if chunk["attempts"] > 1]
    assert again == [int(oldest.name.split("_")[1].split(".")[0])], f"{again} were made again, not {oldest.name}: {result['warnings']}"
    assert any(oldest.name in why for why in result["warnings"]), result["warnings"]


def other_source(context, box):
    """A work folder of one source is not mistaken for another's."""
    work = box.root / "out" / "work"
    _, seconds = reference(context)
    process = box.start(words(context, box, "--work", work))
    time.sleep(0.5 * seconds)
    kill(process.pid)
    process.communicate()
    other = context.clip(6)
    run = box.lathe("run", other, "-o", box.out("other.mp4"), "--rendition", "90p:200k", "--work",
                    work)
    assert run.code == 0, str(run)
    context.is_right(other, box.out("other.mp4"))


def two_at_once(context, box):
    """Two commands with the same temporary folder do not sweep each other's files."""
    begin = time.monotonic()
    pair = []
    for name in ("one.mp4", "two.mp4"):
        options = [box.out(name) if word == box.out() else word for word in words(context, box)]
        pair.append(box.start(options))
        time.sleep(0.7)
    for process, name in zip(pair, ("one.mp4", "two.mp4")):
        run = box.wait(process, begin)
        assert run.code == 0, str(run)
        assert sha256(box.out(name)) == reference(context)[0], name
    left = box.leftovers(box.out("one.mp4"), box.out("two.mp4"))
    assert not left, f"left behind: {left}"


def run(context):
    for seed in range(5):
        context.test(f"SIGKILL of a slot, seed {seed}", hurt_slot, signal.SIGKILL, seed)
    for seed in range(2):
        context.test(f"SIGSTOP of a slot, seed {seed}", hurt_slot, signal.SIGSTOP, seed)
    context.test("SIGSEGV of a slot", hurt_slot, signal.SIGSEGV, 7)
    context.test("SIGKILL of every slot", every_slot)
    context.test("SIGKILL of the template of slots", hurt_template, signal.SIGKILL)
    context.test("SIGSTOP of the template of slots", hurt_template, signal.SIGSTOP)
    context.test("SIGSEGV of a slot replaces the template", crash_replaces_template)
    for seed in range(5):
        context.test(f"SIGKILL of the command, seed {seed}", kill_parent, seed)
    context.test("suspended and continued", stopped_parent)
    context.test("resume after SIGKILL", resume, signal.SIGKILL)
    context.test("resume after Ctrl-C", resume, signal.SIGINT)
    context.test("resume with a damaged chunk", damaged_chunk)
    context.test("work folder of another source", other_source)
    context.test("two commands at once", two_at_once)
