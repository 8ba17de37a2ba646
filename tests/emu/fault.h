/* SPDX-License-Identifier: MIT */
/*
 * What all emulated drivers share: one plan of faults that they read, one record that they write.
 *
 * Lives in a shared library of its own, so that the emulated libcuda, libnvcuvid and
 * libnvidia-encode of one process count the same calls and break together.
 *
 * ENVIRONMENT
 *   LATHE_EMU_PROFILE  name of the device, unless the plan names one (see emu_profile)
 *   LATHE_EMU_VA_PROFILE  name of the VA device on a machine that has one of NVIDIA as well
 *   LATHE_EMU_PLAN     file of the plan; absent: nothing fails
 *   LATHE_EMU_RECORD   file to which events are appended; absent: nothing is recorded
 *   LATHE_EMU_STATE    directory for what processes share (sessions, counters of `times=`);
 *                      absent: the plan's path with ".state" appended
 *
 * THE PLAN is text, read once a process; "#" begins a comment. Three kinds of lines:
 *
 *   profile NAME
 *   set KEY VALUE          a property of the device or driver, see below
 *   fault POINT [at=N|from=N] [device=K] do=ACTION [code=C] [ms=N] [sticky]
 *         [shared] [times=N] [when=FILE] [until=FILE] [touch=FILE]
 *
 * A fault line counts the calls of its point in its process (all threads together; with device=K
 * those on that device, from 0), or with "shared" in all processes together, so that it can hit a
 * certain chunk of a job. It fires on call N only (at=N) or on call N and all later ones (from=N,
 * the default with N = 1), provided that
 *   times=N     it has fired fewer than N times in all processes together
 *   when=FILE   FILE exists           until=FILE  FILE does not exist yet
 * touch=FILE creates FILE when it fires, so that one fault can start or end another one, in other
 * processes too. A POINT that ends in "*" matches every point with that beginning. The first line
 * that fires decides. Actions:
 *   fail     the call fails with code=C, a code of that library, decimal or 0x…
 *   oom      the call fails with the library's code for "out of memory"
 *   lost     the device is gone: this call and all later ones on it in this process fail with the
 *            library's code for that
 *   hang     the call never returns        crash    SIGSEGV        exit     _exit(code)
 *   delay    the call takes ms=N longer
 *   silent   nothing is done, success is reported (a copy that does not copy)
 *   green    success, but the picture is all zero bytes, which is green
 *   stale    success, but the picture is the one that this point produced before
 * sticky: from then on every point on that device in this process fails with the same code, as
 * after CUDA error 700. The device that comes back: `fault device.open do=lost until=FILE`, or
 * `times=2` for two opens. Lost in mid-stream and back: `fault va.encode at=30 do=lost touch=A`
 * with `fault device.open do=lost when=A until=B`.
 *
 * POINTS
 *   device.open    every library's first call on a device      device.list   enumeration
 *   va.config va.context va.surface va.buffer va.decode va.process va.encode va.sync va.map
 *   va.derive va.image (vaGetImage and vaPutImage)
 *   cuda.context cuda.alloc cuda.copy (.htod .dtoh .dtod follow) cuda.fill cuda.launch cuda.sync
 *   cuvid.caps cuvid.create cuvid.decode cuvid.map
 *   nvenc.open nvenc.init nvenc.buffer nvenc.register nvenc.encode nvenc.lock
 *   nvml.init nvml.query
 * Picture actions (green, stale) are honoured by va.decode, va.process, va.encode, cuvid.decode,
 * cuda.launch and nvenc.encode; silent also by va.image and cuda.copy.*. The others treat them as
 * no fault.
 *
 * SETTINGS (set KEY VALUE), each overriding what the profile says
 *   devices N           how many devices there are (CUDA)
 *   sessions N          encode sessions a device may have open in all processes together; 0 = any
 *   encoder 0|1         whether there is an encoder at all
 *   bframes 0|1         B-frames         ten_bit 0|1     10-bit encode
 *   ten_bit_decode 0|1  10-bit decode    hevc 0|1        HEVC encode
 *   scaler 0|1          video processing (VA)
 *   min_width N, min_height N   VA: the smallest picture that can be encoded
 *   huc 0|1             intel-free: the low-power encoder has CBR, VBR and QVBR
 *   driver TEXT         driver version or vendor string (no blanks)
 *   async_ms N          VA: pictures, CUDA: kernels, fills and copies on the device complete N ms
 *                       after they were submitted, on another thread; who reads without waiting
 *                       reads what was there before
 *   memory_mib N        memory of a device that one process can take (CUDA)
 *
 * THE RECORD: one line an event, "event=NAME pid=N key=value …", written by one write() with
 * O_APPEND, so that processes and threads do not mix. Values hold no blanks. Besides what each
 * library records, "event=fault point=… call=… action=…" stands for every fault that fired.
 *
 * Threads: every call may be made from any thread.
 */
#ifndef LATHE_EMU_FAULT_H
#define LATHE_EMU_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum emu_family { EMU_NVIDIA, EMU_INTEL, EMU_AMD };

/* The device that is emulated. What only one library needs to know stands in its own tables,
 * found by name. */
struct emu_profile {
    const char *name; /* as in LATHE_EMU_PROFILE */
    enum emu_family family;
    const char *device;  /* the name the driver reports */
    const char *driver;  /* NVIDIA: version; VA: vendor string */
    bool encoder;        /* any encode at all */
    bool hevc;           /* HEVC encode */
    bool ten_bit;        /* HEVC Main 10 encode */
    bool ten_bit_decode; /* HEVC Main 10 decode */
    bool h264_b_frames;  /* B-frames in H.264 encode */
    bool hevc_b_frames;  /* B-frames in HEVC encode */
    bool scaler;         /* scaling on the device */
    int compute_major;   /* CUDA compute capability; 0 elsewhere */
    int compute_minor;
    int64_t memory_bytes; /* of the device */
    int encode_engines;   /* 0 without an encoder */
    int sessions;         /* open encode sessions allowed; 0 = any number */
};

/* The profile of this process with the plan's settings applied, never NULL: pascal, turing, ada,
 * h100, intel-free, intel-nonfree, amd-old or amd-new. Without a name "ada"; an unknown name, like
 * a plan that cannot be understood, ends the process with exit code 70. */
const struct emu_profile *emu_profile(void);
/* That of the VA devices: the same unless LATHE_EMU_VA_PROFILE names another. */
const struct emu_profile *emu_va_profile(void);

/* A setting of the plan, or `otherwise` when the plan does not name it. The text lives for ever. */
long emu_setting(const char *key, long otherwise);
const char *emu_setting_text(const char *key, const char *otherwise);

enum emu_action {
    EMU_NONE = 0, /* go on */
    EMU_FAIL,     /* fail with `code` */
    EMU_OOM,
    EMU_LOST,
    EMU_SILENT,
    EMU_GREEN,
    EMU_STALE,
};

struct emu_fault {
    enum emu_action action;
    int code;    /* with EMU_FAIL */
    bool sticky; /* the code may be another library's: it came from an earlier sticky fault */
};

/* Passes one point of the plan. Hangs, crashes, exits and delays happen inside. */
struct emu_fault emu_point(const char *point, int device);

/* Whether the plan names a point at all; what only faults need can be left out otherwise. */
bool emu_planned(const char *point);

/* The code that a fault means in a library: 0 unless it fails, else `oom`, `lost` or its own;
 * `sticky` replaces the code of a fault that began in another library unless it is 0. */
int emu_fault_code(struct emu_fault fault, int oom, int lost, int sticky);

/* Opens an encode session. Returns a handle for emu_session_close(), or -EMFILE when the device
 * has as many as it allows, counted over all living processes; -errno on other errors. */
int emu_session_open(int device);
void emu_session_close(int session); /* negative: nothing happens */

/* Appends an event. `format` makes "key=value key=value"; NULL = nothing to add. */
void emu_record(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool emu_recording(void); /* whether anybody reads the record */

#endif
