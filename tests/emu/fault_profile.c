/* SPDX-License-Identifier: MIT */
/*
 * The devices that can be emulated. Figures are those of a typical card of the family; what a
 * program may rely on is only what the tests assert.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault_plan.h"

#define GIB (INT64_C(1) << 30)

/* Column order: encoder, hevc, ten_bit, ten_bit_decode, h264_b, hevc_b, scaler. */
#define HAS(e, h, t, td, b, hb, s)                                                                 \
    .encoder = e, .hevc = h, .ten_bit = t, .ten_bit_decode = td, .h264_b_frames = b,               \
    .hevc_b_frames = hb, .scaler = s

#define MESA(version)                                                                              \
    "Mesa Gallium driver " version " for AMD Radeon Emulated (emulated, LLVM 15.0.6)"
#define IHD(version) "Intel iHD driver for Intel(R) Gen Graphics - " version " ()"

static const struct emu_profile profiles[] = {
    {"ada", EMU_NVIDIA, "Emulated Ada", "535.183.01", HAS(1, 1, 1, 1, 1, 1, 1), 8, 9, 24 * GIB, 2,
     8},
    {"turing", EMU_NVIDIA, "Emulated Turing", "535.183.01", HAS(1, 1, 1, 1, 1, 1, 1), 7, 5,
     16 * GIB, 1, 0},
    {"pascal", EMU_NVIDIA, "Emulated Pascal", "535.183.01", HAS(1, 1, 1, 1, 1, 0, 1), 6, 1, 8 * GIB,
     1, 5},
    {"h100", EMU_NVIDIA, "Emulated H100", "535.183.01", HAS(0, 0, 0, 1, 0, 0, 1), 9, 0, 80 * GIB, 0,
     0},
    {"intel-nonfree", EMU_INTEL, "Emulated Intel", IHD("23.1.1"), HAS(1, 1, 1, 1, 0, 0, 1), 0, 0,
     8 * GIB, 1, 0},
    {"intel-free", EMU_INTEL, "Emulated Intel", IHD("23.1.1"), HAS(1, 0, 0, 1, 0, 0, 0), 0, 0,
     8 * GIB, 1, 0},
    {"amd-old", EMU_AMD, "Emulated Radeon", MESA("22.3.6"), HAS(1, 1, 1, 1, 0, 0, 1), 0, 0, 8 * GIB,
     1, 0},
    {"amd-new", EMU_AMD, "Emulated Radeon", MESA("25.0.7"), HAS(1, 1, 1, 1, 0, 0, 1), 0, 0,
     16 * GIB, 2, 0},
};

void emu_profile_lookup(const char *name, struct emu_profile *ret)
{
    *ret = profiles[0];
    if (!name || !*name)
        return;
    for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
        if (strcmp(profiles[i].name, name) == 0) {
            *ret = profiles[i];
            return;
        }
    fprintf(stderr, "emulated driver: there is no profile \"%s\"\n", name);
    _exit(70);
}
