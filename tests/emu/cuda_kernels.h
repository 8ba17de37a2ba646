/* SPDX-License-Identifier: MIT */
/*
 * The scale kernels that FFmpeg's scale_cuda launches, done on the CPU. The emulated driver cannot
 * run PTX, so a kernel is known by its name alone.
 */
#ifndef EMU_CUDA_KERNELS_H
#define EMU_CUDA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum emu_scale_algorithm {
    EMU_SCALE_NEAREST,
    EMU_SCALE_BILINEAR,
    EMU_SCALE_BICUBIC,
    EMU_SCALE_LANCZOS,
};

struct emu_scale_format {
    const char *name;
    int bytes;        /* per sample */
    bool ten;         /* 10 bits in the upper part of 16 */
    bool interleaved; /* chroma in one plane */
};

struct emu_scale_kernel {
    enum emu_scale_algorithm algorithm;
    const struct emu_scale_format *in, *out;
    bool chroma;
};

/* What a texture object is made of: a plane in device memory, read with clamped coordinates. */
struct emu_texture {
    const uint8_t *data;
    size_t pitch_bytes;
    int width, height, channels, bytes;
};

struct emu_scale_arguments {
    const struct emu_texture *textures[4];
    uint8_t *dst[4];
    int dst_width, dst_height, dst_pitch_bytes;
    int src_left, src_top, src_width, src_height;
    float param;
};

/* Fills `ret` from a name such as "Subsample_Bicubic_nv12_yuv420p_uv"; false for every other name,
 * so that filters this driver cannot do fail when they are configured. */
bool emu_scale_kernel_find(const char *name, struct emu_scale_kernel *ret);

/* Runs a kernel over the whole picture. 0, -EINVAL when a texture is missing, -ENOMEM. */
int emu_scale_kernel_run(const struct emu_scale_kernel *kernel,
                         const struct emu_scale_arguments *arguments);

#endif
