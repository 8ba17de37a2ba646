# SPDX-License-Identifier: MIT
"""The faults of the table in docs/hardware.md and how each is made to happen; what must come of it
stands in the table, and test_matrix.py compares.

A job has four chunks of 25 pictures and one lane. Picture 12 is in the middle of the first chunk,
picture 88 in the middle of the last one; decoders, scalers and copies are counted by call."""
import dataclasses
import pathlib

FAMILIES = ("nvenc", "vaapi")
PROFILES = {"nvenc": "ada", "vaapi": "intel-nonfree"}
MIDSTREAM = ("mid-chunk", "last chunk")
AT = {"mid-chunk": {"cuda.launch": 24, "cuda.copy.htod": 24},
      "last chunk": {"nvenc.encode": 88, "va.encode": 88, "cuvid.decode": 98, "va.decode": 98,
                     "cuda.launch": 176, "va.process": 88, "cuda.copy.htod": 176}}


@dataclasses.dataclass
class Case:
    fault: str
    when: str
    family: str
    plan: str             # lines of a fault plan; {box} is a folder
    source: str = "h264"
    options: tuple = ()   # of the emulated drivers
    wants: tuple = ()     # of lathe run
    comes_back: bool = False  # once FILE `back` is there, the next job is all on the GPU

    @property
    def name(self):
        return f"{self.fault}, {self.when}, {self.family}"


CASES = []


def add(fault, when, nvenc=None, vaapi=None, **more):
    """One row; a plan for each family where that can happen."""
    for family, plan in (("nvenc", nvenc), ("vaapi", vaapi)):
        if plan is not None:
            CASES.append(Case(fault, when, family, plan, **more))


def nth(point, when, do, word="at"):
    """In all processes together."""
    return f"fault {point} {word}={AT[when].get(point, 12)} shared {do}"


def first(point, do):
    return f"fault {point} at=1 shared {do}"


def midstream(fault, nvenc=None, vaapi=None, word="at", **more):
    """(point, action) of each family: in the middle of the first chunk, and of the last."""
    for when in MIDSTREAM:
        add(fault, when, nvenc and nth(nvenc[0], when, nvenc[1], word),
            vaapi and nth(vaapi[0], when, vaapi[1], word), **more)


def encoder_fault(fault, do):
    add(fault, "probe", f"fault nvenc.encode from=4 {do}", f"fault va.encode from=4 {do}")
    add(fault, "open", first("nvenc.open", do), first("va.context", do))
    midstream(fault, ("nvenc.encode", do), ("va.encode", do))


# What a device lacks.
add("no device", "probe", "set devices 0")
add("no device", "probe", None, "", options=("--devices", "0"))
add("driver too old", "probe", "set driver 390.25")
add("no encoder", "probe", "set encoder 0", "set encoder 0")
add("no scaler", "probe", None, "set scaler 0")
add("no B-frames", "probe", "set bframes 0")
add("no 10 bit encoder", "probe", "set ten_bit 0", "set ten_bit 0", source="hevc10",
    wants=("--codec", "hevc"))
add("no 10 bit decoder", "probe", "set ten_bit_decode 0", "set ten_bit_decode 0", source="hevc10",
    wants=("--codec", "hevc"))

# What is taken by others.
add("out of memory", "probe", "fault nvenc.open do=oom", "fault va.surface from=12 do=oom")
add("out of memory", "open", first("nvenc.open", "do=oom"), first("va.surface", "do=oom"))
midstream("out of memory", ("nvenc.encode", "do=oom"), ("va.encode", "do=oom"))
add("one session, three renditions", "open", "set sessions 1", wants=("-r", "180p", "-r", "144p"))

# What says that it fails.
add("the session breaks", "probe", "fault nvenc.encode from=4 do=fail code=20",
    "fault va.encode from=4 do=fail code=1")
add("the session breaks", "open", first("nvenc.open", "do=fail code=20"),
    "fault va.context at=3 shared do=fail code=1")
midstream("the session breaks", ("nvenc.encode", "do=fail code=20"),
          ("va.encode", "do=fail code=1"))
add("the decoder fails", "open", first("cuvid.create", "do=fail code=1"),
    first("va.context", "do=fail code=1"))
midstream("the decoder fails", ("cuvid.decode", "do=fail code=1"),
          ("va.decode", "do=fail code=0x17"))
add("CUDA error 700", "probe", "fault cuda.launch from=2 do=fail code=700 sticky")
add("CUDA error 700", "open", first("cuvid.create", "do=fail code=700 sticky"))
midstream("CUDA error 700", ("cuda.launch", "do=fail code=700 sticky"))

# What ends the conversation.
encoder_fault("a call hangs", "do=hang")
add("it hangs before the first picture", "open", first("nvenc.encode", "do=hang"),
    first("va.encode", "do=hang"))
encoder_fault("the driver crashes", "do=crash")
encoder_fault("the driver ends the process", "do=exit code=3")
GONE = "\nfault device.open do=lost when={box}/gone until={box}/back"
LOST = "do=lost touch={box}/gone"
add("lost, then back", "probe", *2 * ["fault device.open do=lost until={box}/back"],
    comes_back=True)
add("lost, then back", "open", *2 * [first("device.open", LOST) + GONE], comes_back=True)
for time in MIDSTREAM:
    add("lost, then back", time, nth("nvenc.encode", time, LOST) + GONE,
        nth("va.encode", time, LOST) + GONE, comes_back=True)

# What is wrong and says nothing.
for what, nv, va in (("encoder", "nvenc.encode", "va.encode"),
                     ("decoder", "cuvid.decode", "va.decode"),
                     ("scaler", "cuda.launch", "va.process")):
    for how in ("green", "stale"):
        add(f"{how} pictures of the {what}", "probe", f"fault {nv} from=3 do={how}",
            f"fault {va} from=3 do={how}")
        midstream(f"{how} pictures of the {what}", (nv, f"do={how}"), (va, f"do={how}"),
                  word="from")
add("a copy fails with success", "probe", "fault cuda.copy.htod from=5 do=fail code=1")
midstream("a copy fails with success", ("cuda.copy.htod", "do=fail code=1"), source="mpeg2")
midstream("copies copy nothing", ("cuda.copy.htod", "do=silent"), word="from", source="mpeg2")

# What is only late.
for time in ("probe", "mid-chunk"):
    add("pictures complete later", time, "set async_ms 3", "set async_ms 3")
midstream("a call takes long", ("nvenc.encode", "do=delay ms=1500"),
          ("va.encode", "do=delay ms=1500"))

# --- the table ---

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/hardware.md"
HEAD = "| fault | when | nvenc | vaapi |"


def read_table():
    """(fault, when, family) -> what the page says."""
    lines = PAGE.read_text().split(HEAD, 1)[1].splitlines()[2:]
    table, fault = {}, ""
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        fault = cells[0] or fault
        for family, cell in zip(FAMILIES, cells[2:]):
            if cell:
                table[fault, cells[1], family] = cell
    return table


def write_table(outcomes):
    """Puts what happened into the page, for people to look at what changed."""
    table = {**read_table(), **outcomes}
    before, rest = PAGE.read_text().split(HEAD, 1)
    lines = rest.splitlines()[2:]
    while lines and lines[0].startswith("|"):
        lines.pop(0)
    rows, last = [HEAD, "|---|---|---|---|"], ""
    for fault, when in dict.fromkeys((c.fault, c.when) for c in CASES):
        cells = [table.get((fault, when, family), "") for family in FAMILIES]
        rows.append(f"| {fault if fault != last else ''} | {when} | {' | '.join(cells)} |")
        last = fault
    PAGE.write_text(before + "\n".join(rows + lines) + "\n")
