# SPDX-License-Identifier: MIT
"""What goes wrong with NVIDIA GPUs, each once, as the distribution's unmodified ffmpeg shows it;
and the management library, which sees a device from outside."""
import errno
import subprocess
import sys
import time

import sources
from emu import FFMPEG, count_frames, frames_md5, main, read_record
from test_cuda import FRAMES, GPU, UPLOAD, ffmpeg, transcode

NVENC = ["-c:v", "h264_nvenc", "-bf", "0"]


def says(run, *texts):
    for text in texts:
        assert text in run.err, f"{text!r} is not in: {run}"


def encode(box, *options, codec="h264", **how):
    """With a device of the caller's, so that ffmpeg keeps the meaning of errors."""
    return ffmpeg(box, "-v", "warning", *UPLOAD, "-i", box.sources["plain.mp4"], "-vf",
                  "format=nv12,hwupload", "-c:v", f"{codec}_nvenc",
                  *options, box.path("out.mp4"), **how)


def lumas(path):
    """Lowest and highest luma in the middle of each frame."""
    data = subprocess.run([*FFMPEG, "-i", path, "-vf", "crop=64:64,format=gray", "-f", "rawvideo",
                           "-"], capture_output=True, check=True).stdout
    return [(min(data[i:i + 4096]), max(data[i:i + 4096])) for i in range(0, len(data), 4096)]


# --- absent, refused, full ---

def no_device(box):
    run = encode(box, plan="set devices 0", fails=True)
    says(run, "CUDA_ERROR_NO_DEVICE")
    run = encode(box, plan="fault device.list do=fail code=803", fails=True)
    says(run, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")


def old_driver(box):
    run = encode(box, plan="set driver 390.25", fails=True)
    says(run, "Driver does not support the required nvenc API version", "Found: 8.1")


def no_encoder(box):
    says(encode(box, profile="h100", fails=True),
         "OpenEncodeSessionEx failed: unsupported device (2)")
    run = encode(box, plan="fault nvenc.open do=fail code=1", fails=True)
    says(run, "OpenEncodeSessionEx failed: no encode device (1)")
    # Without a device of the caller's, the cause is lost.
    says(ffmpeg(box, "-i", box.sources["plain.mp4"], *NVENC, box.path("out.mp4"), profile="h100",
                fails=True), "No capable devices found")


def unsupported(box):
    says(encode(box, "-bf", "2", codec="hevc", profile="pascal", fails=True),
         "Max B-frames 2 exceed 0")
    says(encode(box, "-bf", "2", plan="set bframes 0", fails=True), "Max B-frames 2 exceed 0")
    encode(box, "-bf", "0", plan="set bframes 0")
    ten = ["-v", "warning", *GPU, "-i", box.sources["ten_bit.mp4"], "-c:v",
           "hevc_nvenc", box.path("out.mp4")]
    says(ffmpeg(box, *ten, plan="set ten_bit 0", fails=True), "10 bit encode not supported")
    says(encode(box, codec="hevc", plan="set hevc 0", fails=True), "Codec not supported")
    run = ffmpeg(box, "-hwaccel", "cuda", "-i", box.sources["ten_bit.mp4"], "-f", "null", "-",
                 plan="set ten_bit_decode 0")
    says(run, "Hardware is lacking required capabilities")
    assert not run.all("cuvid.create")


def session_limit(box):
    outputs = [word for i in range(3) for word in (*NVENC, box.path(f"{i}.mp4"))]
    run = ffmpeg(box, *GPU, "-i", box.sources["plain.mp4"], *outputs, plan="set sessions 2",
                 fails=True)
    says(run, "OpenEncodeSessionEx failed: out of memory (10)")
    assert len(run.all("nvenc.open")) == 2
    # Counted over processes, and free again when the holder is killed.
    plan = "set sessions 1"
    holder, record = box.start("ada", [*FFMPEG, "-re", "-f", "lavfi", "-i",
                                       "testsrc2=s=320x240:r=10", *UPLOAD, "-vf",
                                       "format=nv12,hwupload", *NVENC, "-f", "null", "-"],
                               plan=plan)
    try:
        wait_for(record, "nvenc.init")
        says(encode(box, plan=plan, fails=True), "out of memory (10)")
    finally:
        holder.kill()
        holder.communicate()
    encode(box, plan=plan)


def out_of_memory(box):
    says(encode(box, plan="fault nvenc.encode at=10 do=oom", fails=True),
         "EncodePicture failed!: out of memory (10)")
    says(encode(box, "-surfaces", "40", plan="set memory_mib 16", fails=True),
         "CreateBitstreamBuffer failed: out of memory (10)")
    run = transcode(box, *NVENC, plan="fault cuda.alloc from=3 do=oom", fails=True)
    says(run, "CUDA_ERROR_OUT_OF_MEMORY")
    run = transcode(box, *NVENC, plan="fault cuvid.create do=oom", fails=True)
    says(run, "hwaccel initialisation returned error")


def codes(box):
    """What a caller sees that gives a device: busy, absent and unsupported are told apart."""
    for plan, code in (("", 0), ("set sessions 1\nfault nvenc.open do=oom", errno.ENOMEM),
                       ("set encoder 0", errno.ENOSYS), ("set driver 450.80", errno.ENOSYS),
                       ("fault nvenc.open do=fail code=1", errno.ENOENT),
                       ("fault nvenc.open do=fail code=15", errno.EINVAL),
                       ("set hevc 0", errno.ENOSYS)):
        run = box.run("ada", [box.build / "nvenc-api", "open", "hevc_nvenc"], plan=plan)
        assert run.out.split() == [str(code)], f"{plan!r}: {run.out} {run}"


# --- wrong without a word, or with one that nobody reads ---

def failed_copy(box):
    run = encode(box, plan="fault cuda.copy.htod from=11 do=fail code=1")
    says(run, "cuMemcpy2DAsync", "failed", "-> CUDA_ERROR_INVALID_VALUE: invalid argument")
    assert count_frames(box.path("out.mp4")) == FRAMES
    run = encode(box, plan="fault cuda.copy.htod from=11 do=silent")
    assert "failed" not in run.err and count_frames(box.path("out.mp4")) == FRAMES
    # Copies 11 and later are those of frame 6 and later.
    wanted = lumas(box.sources["plain.mp4"])
    found = lumas(box.path("out.mp4"))
    near = [abs(a[0] - b[0]) + abs(a[1] - b[1]) < 16 for a, b in zip(wanted, found)]
    assert all(near[:5]) and not all(near[5:]), near


def green(box):
    for point in ("cuvid.decode", "cuda.launch", "nvenc.encode"):
        run = transcode(box, *NVENC, plan=f"fault {point} from=1 do=green")
        found = lumas(box.path("out.mp4"))
        assert len(found) == FRAMES and not run.err, f"{point}: {run}"
        assert max(high for _, high in found) < 4, f"{point}: {found}"


def stale(box):
    for point, first in (("cuvid.decode", 20), ("nvenc.encode", 20), ("cuda.launch", 39)):
        run = transcode(box, *NVENC, "-rc", "constqp", "-qp", "1",
                        plan=f"fault {point} from={first} do=stale")
        frames = [md5 for _, md5 in frames_md5(box.path("out.mp4"))]
        assert len(frames) == FRAMES and not run.err, f"{point}: {run}"
        assert len(set(frames[:15])) == 15, f"{point}: pictures before the fault are stale"
        middle = lumas(box.path("out.mp4"))
        assert len(set(middle[-20:])) == 1, f"{point}: {middle}"


def failed_decode(box):
    """ffmpeg goes on and the end is well: only the frame count and the log say something."""
    run = ffmpeg(box, *GPU, "-i", box.sources["plain.mp4"], *NVENC, box.path("out.mp4"),
                 plan="fault cuvid.decode from=20 do=fail code=999")
    says(run, "CUDA_ERROR_UNKNOWN")
    says(ffmpeg(box, *GPU, "-i", box.sources["plain.mp4"], *NVENC, box.path("out.mp4"), fails=None,
                plan="fault cuvid.map from=20 do=fail code=205"), "cuvidMapVideoFrame")
    run = ffmpeg(box, "-hwaccel", "cuda", "-i", box.sources["plain.mp4"], "-f", "null", "-",
                 plan="fault cuvid.caps do=fail code=999")
    says(run, "hwaccel initialisation returned error")


# --- broken for good ---

def sticky(box):
    run = transcode(box, *NVENC, plan="fault cuda.launch at=11 do=fail code=700 sticky", fails=True)
    says(run, "CUDA_ERROR_ILLEGAL_ADDRESS")
    # All three libraries of the process fail from then on.
    run = transcode(box, *NVENC, plan="fault cuvid.decode at=20 do=fail code=719 sticky",
                    fails=True)
    says(run, "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_ILLEGAL_ADDRESS")
    run = transcode(box, *NVENC, plan="fault cuda.sync at=30 do=fail code=700 sticky",
                    filters="scale_cuda=320:180,hwdownload,format=nv12,hwupload_cuda", fails=None)
    says(run, "CUDA_ERROR_ILLEGAL_ADDRESS", "generic error (20)")


def failing(point, code, text, at=1):
    def test(box):
        run = transcode(box, *NVENC, plan=f"fault {point} at={at} do=fail code={code}", fails=True)
        says(run, text)
        assert run.one("fault", point=point)["call"] == str(at)
    return f"fault {point} at {at}", test


def wait_for(record, event, seconds=30):
    end = time.monotonic() + seconds
    while not [e for e in read_record(record) if e.name == event]:
        assert time.monotonic() < end, f"no event {event}"
        time.sleep(0.02)


def hang(box):
    for point, at in (("nvenc.open", 1), ("nvenc.encode", 1), ("nvenc.encode", 25),
                      ("cuvid.decode", 20), ("cuda.sync", 1)):
        filters = "scale_cuda=320:180,hwdownload,format=nv12,hwupload_cuda"
        command = [*FFMPEG, *GPU, "-i", box.sources["plain.mp4"], "-vf", filters, *NVENC,
                   box.path("out.mp4")]
        process, record = box.start("ada", command, plan=f"fault {point} at={at} do=hang")
        try:
            wait_for(record, "fault")
            time.sleep(0.3)
            assert process.poll() is None, f"{point}: it has ended"
        finally:
            process.kill()
            process.communicate()


def crash(box):
    run = box.run("ada", [*FFMPEG, *GPU, "-i", box.sources["plain.mp4"], *NVENC,
                          box.path("out.mp4")], plan="fault nvenc.encode at=20 do=crash")
    assert run.code == -11, str(run)


def lost_and_back(box):
    plan = "fault device.open do=lost times=2"
    for fails in (True, True, False):
        run = encode(box, plan=plan, fails=fails)
        assert not fails or "CUDA_ERROR_NO_DEVICE" in run.err, str(run)
    gone, back = box.path("gone"), box.path("back")
    plan = (f"fault nvenc.encode at=20 do=lost touch={gone}\n"
            f"fault device.open do=lost when={gone} until={back}")
    says(encode(box, plan=plan, fails=True), "EncodePicture failed!: device does not exist (5)")
    says(encode(box, plan=plan, fails=True), "CUDA_ERROR_NO_DEVICE")
    back.touch()
    encode(box, plan="")
    assert count_frames(box.path("out.mp4")) == FRAMES


def one_of_two_devices(box):
    plan = "set devices 2\nfault nvenc.encode device=0 at=3 do=fail code=20 sticky"
    for device in (0, 1):
        run = ffmpeg(box, "-init_hw_device", f"cuda=gpu:{device}", "-filter_hw_device", "gpu", "-i",
                     box.sources["plain.mp4"], "-vf", "format=nv12,hwupload", *NVENC,
                     box.path("out.mp4"), plan=plan, fails=device == 0)
        assert run.one("nvenc.init")["device"] == str(device)


# --- late ---

LATE = """
import ctypes, os
cuda = ctypes.CDLL("libcuda.so.1")
context, pointer = ctypes.c_void_p(), ctypes.c_ulonglong()
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(64)) == 0
at = ctypes.cast(pointer.value, ctypes.POINTER(ctypes.c_ubyte))
at[0] = 1
assert cuda.cuMemsetD8Async(pointer, ctypes.c_ubyte(7), ctypes.c_size_t(64), None) == 0
print(at[0], cuda.cuStreamQuery(None))
assert cuda.cuStreamSynchronize(None) == 0
print(at[0], cuda.cuStreamQuery(None))
"""


def late(box):
    """Completion is delayed on purpose: the same pictures, and memory that is not yet written."""
    for name, plan in (("now.mp4", ""), ("late.mp4", "set async_ms 5")):
        transcode(box, *NVENC, output=name, plan=plan)
    assert frames_md5(box.path("now.mp4")) == frames_md5(box.path("late.mp4"))
    run = box.run("ada", [sys.executable, "-c", LATE], plan="set async_ms 150")
    assert run.out.split() == ["1", "600", "7", "0"], str(run)
    run = transcode(box, *NVENC, plan="fault nvenc.open do=delay ms=700")
    assert run.seconds > 0.7


# --- from outside ---

ASK = """
import ctypes
nvml, cuda = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.CDLL("libcuda.so.1")
number, period, device = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_void_p()
def text(call, *arguments):
    out = ctypes.create_string_buffer(96)
    code = call(*arguments, out, ctypes.c_uint(96))
    return out.value.decode().replace(" ", "_") if code == 0 else f"error_{code}"
def show(name, value):
    print(f"{name}={value}")
show("uninitialised", nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)))
show("init", nvml.nvmlInit_v2())
show("list", nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)))
show("count", number.value)
show("open", nvml.nvmlDeviceGetHandleByIndex_v2(number.value - 1, ctypes.byref(device)))
show("name", text(nvml.nvmlDeviceGetName, device))
show("driver", text(nvml.nvmlSystemGetDriverVersion))
show("uuid", text(nvml.nvmlDeviceGetUUID, device))
show("encoder", nvml.nvmlDeviceGetEncoderUtilization(device, ctypes.byref(number),
                                                     ctypes.byref(period)))
sessions = ctypes.c_uint(99)
show("stats", nvml.nvmlDeviceGetEncoderStats(device, ctypes.byref(sessions), ctypes.byref(number),
                                             ctypes.byref(period)))
show("sessions", sessions.value)
room = ctypes.c_uint(8)
table = (ctypes.c_uint * 64)()
show("table", nvml.nvmlDeviceGetEncoderSessions(device, ctypes.byref(room), table))
show("pid", table[1] if room.value else 0)
memory = (ctypes.c_ulonglong * 3)()
show("memory", nvml.nvmlDeviceGetMemoryInfo(device, memory))
show("total", memory[0] >> 30)
by_uuid = ctypes.c_void_p()
show("by_uuid", nvml.nvmlDeviceGetHandleByUUID(text(nvml.nvmlDeviceGetUUID, device).encode(),
                                               ctypes.byref(by_uuid)))
if cuda.cuInit(0) == 0:
    raw, pci, by_pci = (ctypes.create_string_buffer(16), ctypes.create_string_buffer(32),
                        ctypes.c_void_p())
    last = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(last))
    cuda.cuDeviceGetUuid(raw, last.value - 1)
    hexed = raw.raw.hex()
    show("same_uuid", int(text(nvml.nvmlDeviceGetUUID, device) == "GPU-" + "-".join(
        (hexed[:8], hexed[8:12], hexed[12:16], hexed[16:20], hexed[20:]))))
    cuda.cuDeviceGetPCIBusId(pci, 32, last.value - 1)
    nvml.nvmlDeviceGetHandleByPciBusId_v2(pci, ctypes.byref(by_pci))
    show("same_pci", int(by_pci.value == device.value == by_uuid.value))
"""


def ask(box, profile="ada", plan=""):
    run = box.run(profile, [sys.executable, "-c", ASK], plan=plan)
    assert run.code == 0, str(run)
    return dict(line.split("=", 1) for line in run.out.split())


def nvml(box):
    told = ask(box, plan="set devices 2")
    wanted = dict(uninitialised="1", init="0", count="2", open="0", name="Emulated_Ada",
                  encoder="0", stats="0", sessions="0", pid="0", total="24", same_uuid="1",
                  same_pci="1")
    assert {key: told[key] for key in wanted} == wanted, told
    holder, record = box.start("ada", [*FFMPEG, "-re", "-f", "lavfi", "-i",
                                       "testsrc2=s=320x240:r=10", *NVENC, "-f", "null", "-"])
    try:
        wait_for(record, "nvenc.init")
        told = ask(box)
        assert (told["sessions"], told["pid"]) == ("1", str(holder.pid)), told
    finally:
        holder.kill()
        holder.communicate()
    told = ask(box, profile="h100")
    assert (told["encoder"], told["stats"], told["memory"]) == ("3", "3", "0"), told
    told = ask(box, plan="fault nvml.query from=2 do=lost")
    assert (told["name"], told["uuid"], told["memory"]) == ("Emulated_Ada", "error_15", "15"), told
    assert ask(box, plan="fault nvml.init do=fail code=9")["init"] == "9"


TESTS = [
    ("no device", no_device),
    ("old driver", old_driver),
    ("no encoder", no_encoder),
    ("unsupported", unsupported),
    ("session limit", session_limit),
    ("out of memory", out_of_memory),
    ("error codes", codes),
    ("failed copy", failed_copy),
    ("green", green),
    ("stale", stale),
    ("failed decode", failed_decode),
    ("sticky", sticky),
    failing("cuda.launch", 719, "CUDA_ERROR_LAUNCH_FAILED", 51),
    failing("cuda.context", 46, "CUDA_ERROR_DEVICE_UNAVAILABLE"),
    failing("nvenc.init", 8, "InitializeEncoder failed: invalid param (8)"),
    failing("nvenc.register", 23, "Error registering an input resource"),
    failing("nvenc.encode", 20, "EncodePicture failed!: generic error (20)", 50),
    failing("nvenc.lock", 20, "Failed locking bitstream buffer: generic error (20)", 30),
    ("hang", hang),
    ("crash", crash),
    ("lost and back", lost_and_back),
    ("one of two devices", one_of_two_devices),
    ("late", late),
    ("nvml", nvml),
]

if __name__ == "__main__":
    main(TESTS, {"plain.mp4": sources.OTHERS["plain.mp4"],
                 "ten_bit.mp4": sources.OTHERS["ten_bit.mp4"]})
