/* SPDX-License-Identifier: MIT */
/*
 * What is known about GPUs: devices, and the result of each thing that was tried on them. Plain
 * data, JSON both ways, shared by the child that tries and the parent that decides; no libav.
 *
 * Nothing here is believed because a library loads: a row says WORKS only after pictures went
 * through and came out right.
 */
#ifndef LATHE_HW_H
#define LATHE_HW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/error.h"
#include "lathe/job.h"

#define LATHE_HW_DEVICES_MAX 16
#define LATHE_HW_TRIALS_MAX 24
#define LATHE_HW_SESSIONS_MAX 16 /* as many are opened to learn a limit */

/* How a trial, or a piece of work, ended. */
enum lathe_hw_verdict {
    LATHE_HW_UNTRIED = 0,
    LATHE_HW_WORKS,
    LATHE_HW_ABSENT,      /* no driver, too old a driver, or no such engine on this device */
    LATHE_HW_BUSY,        /* sessions or memory used up: may work later. Not absent */
    LATHE_HW_UNSUPPORTED, /* this device or this FFmpeg cannot do it; asking again is no use */
    LATHE_HW_SESSION,     /* the session broke, the device may be well: once more in a new one */
    LATHE_HW_STICKY,      /* context and process are spoilt: a new process */
    LATHE_HW_HANGS,
    LATHE_HW_CRASHES,
    LATHE_HW_LOST,  /* the device is gone; it may come back */
    LATHE_HW_WRONG, /* success was reported, but pictures are missing or wrong */
    LATHE_HW_ERROR, /* anything else */
    LATHE_HW_VERDICT_COUNT
};
/* "works", "absent", "busy", … */
const char *lathe_hw_verdict_name(enum lathe_hw_verdict verdict);
int lathe_hw_verdict_from_name(const char *name, enum lathe_hw_verdict *ret);
/* May the same trial end otherwise in a minute? */
bool lathe_hw_verdict_is_passing(enum lathe_hw_verdict verdict);

/* What an encoder was seen to do; presets use only these. Bits of a mask. */
enum lathe_hw_feature {
    LATHE_HW_B_FRAMES = 1 << 0,
    LATHE_HW_B_REF = 1 << 1, /* B-frames as references */
    LATHE_HW_SPATIAL_AQ = 1 << 2,
    LATHE_HW_TEMPORAL_AQ = 1 << 3,
    LATHE_HW_LOOKAHEAD = 1 << 4,
    LATHE_HW_MULTIPASS = 1 << 5,
    LATHE_HW_RC_VBR = 1 << 6, /* bitrate with a cap */
    LATHE_HW_RC_CBR = 1 << 7,
    LATHE_HW_RC_CQ = 1 << 8,  /* NVENC: constant quality under a cap */
    LATHE_HW_RC_ICQ = 1 << 9, /* VA-API: three ways to hold a quality */
    LATHE_HW_RC_QVBR = 1 << 10,
    LATHE_HW_RC_CQP = 1 << 11,
    LATHE_HW_FEATURES_ALL = (1 << 12) - 1
};
#define LATHE_HW_FEATURE_COUNT 12
/* "b-frames", "b-ref", …, "rc-cqp"; `bit` is 0 … LATHE_HW_FEATURE_COUNT - 1. */
const char *lathe_hw_feature_name(int bit);

enum lathe_hw_kind {
    LATHE_HW_OPEN = 0, /* a context on the device; nothing else works without */
    LATHE_HW_ENCODE,
    LATHE_HW_DECODE,
    LATHE_HW_SCALE, /* upload, scale, download */
    LATHE_HW_SESSIONS,
    LATHE_HW_KIND_COUNT
};
const char *lathe_hw_kind_name(enum lathe_hw_kind kind); /* "open", "encode", … */

struct lathe_hw_trial {
    enum lathe_hw_kind kind;
    char codec[16]; /* encode, decode: libavcodec's name of the codec ("h264"); else "" */
    int bits;       /* per sample; 0 for open and sessions */
    enum lathe_hw_verdict verdict;
    char reason[224];  /* why not; or, of an encoder that works, which features do not and why */
    char with[32];     /* encoder or filter that was used, libav's name */
    unsigned features; /* encode: those that work */
    unsigned sessions; /* sessions: so many could be open at once */
};

/* The trials of every device in the order they are made; the number is what an order names. */
extern const struct lathe_hw_trial lathe_hw_trials[];
extern const unsigned lathe_hw_n_trials; /* sessions, the last one, only when asked for */

struct lathe_hw_device {
    enum lathe_encoder family; /* NVENC or VAAPI */
    char path[128];            /* what opens it: CUDA's number, or the render node */
    char id[64];               /* stays when numbers change: PCI address, else the path */
    char name[96];             /* "NVIDIA L4", "Intel 0x46a6" */
    char driver[128];          /* kind and version; a change makes known results worthless */
    uint64_t memory_bytes;     /* 0 = not told */
    int compute_major, compute_minor;
    struct lathe_hw_trial trials[LATHE_HW_TRIALS_MAX];
    unsigned n_trials;
};

/* What is noted in place of devices after an upgrade without a reboot: a cure is known. */
#define LATHE_HW_NOTE_MISMATCH                                                                     \
    "the NVIDIA driver in the kernel and its libraries are of different versions"

/* NULL when there was no such trial. `codec` NULL for kinds that have none. */
const struct lathe_hw_trial *lathe_hw_find(const struct lathe_hw_device *device,
                                           enum lathe_hw_kind kind, const char *codec, int bits);
bool lathe_hw_works(const struct lathe_hw_device *device, enum lathe_hw_kind kind,
                    const char *codec, int bits);
/* One line for people: what the device is for, or why for nothing. */
void lathe_hw_summary(const struct lathe_hw_device *device, char *ret, size_t size);

int lathe_hw_trial_to_json(const struct lathe_hw_trial *trial, json_t **ret);
int lathe_hw_trial_from_json(const json_t *json, struct lathe_hw_trial *ret,
                             struct lathe_error *err);
int lathe_hw_device_to_json(const struct lathe_hw_device *device, json_t **ret);
/* Checks everything: the child that said it has run drivers. */
int lathe_hw_device_from_json(const json_t *json, struct lathe_hw_device *ret,
                              struct lathe_error *err);

#endif
