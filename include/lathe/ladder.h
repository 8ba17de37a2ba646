/* SPDX-License-Identifier: MIT */
/*
 * Which stages of a job run on a GPU: a pure decision from what was found out about the device,
 * what the source is, and what the user wants. Every step that is not taken has its reason in
 * words.
 *
 * Both sides use it: the parent to place work, the child to say what it will do. No libav.
 */
#ifndef LATHE_LADDER_H
#define LATHE_LADDER_H

#include <stdbool.h>

#include "lathe/hw.h"

enum lathe_ladder_step {
    LATHE_STEP_NONE = 0,        /* not possible as wished */
    LATHE_STEP_ALL_GPU = 1,     /* decode, scale, encode; no picture leaves the device */
    LATHE_STEP_GPU_FROM_SCALE,  /* software decode; upload, scale, encode */
    LATHE_STEP_GPU_ENCODE,      /* software decode and scale; upload, encode */
    LATHE_STEP_GPU_UNTIL_SCALE, /* decode and scale, download; software encode */
    LATHE_STEP_ALL_SOFTWARE,
    LATHE_STEP_COUNT
};
const char *lathe_ladder_step_name(enum lathe_ladder_step step); /* "all on the GPU", … */

struct lathe_ladder_rendition {
    int width, height;
};

struct lathe_ladder_request {
    /* the source */
    const char *source_codec; /* libavcodec's name: "h264" */
    int source_width, source_height;
    int source_bits;        /* per sample */
    bool source_is_420;     /* chroma 4:2:0 */
    bool source_interlaced; /* flagged so: frames are coded as fields or mixed */
    /* what is wanted */
    enum lathe_codec codec;
    int bits; /* of the result */
    struct lathe_ladder_rendition renditions[LATHE_RENDITIONS_MAX];
    int n_renditions;
    /* Filters that only software has, in words for the reason ("deinterlacing"); NULL = none. */
    const char *software_filters;
    /* What only the software encoders can do, in words ("interlaced coding"); NULL = nothing. */
    const char *software_encoding;
    /* The encoder must have at least one of these features (hw.h; 0 = any will do), in words: for
     * a bitrate LATHE_HW_RC_VBR, "hold a bitrate". */
    unsigned any_feature;
    const char *any_feature_for;
    /* wishes */
    enum lathe_encoder encoder; /* auto, one family, or software */
    enum lathe_hw_wish wish;    /* require: a GPU must at least encode */
    /* Steps that have failed with this job before, bit 1 << step, and how ("NVENC hung"). */
    unsigned failed_steps;
    const char *failed_reason;
};

struct lathe_ladder_choice {
    enum lathe_ladder_step step;
    enum lathe_encoder encoder; /* who encodes: the device's family, or software */
    unsigned features;          /* of that encoder, see hw.h; 0 for software */
    /* Why each better step was not taken; "" for the one taken and those after it. */
    char reasons[LATHE_STEP_COUNT][224];
};

/* `device` NULL: no device; then step 5, or none if a GPU is required. */
void lathe_ladder_decide(const struct lathe_hw_device *device,
                         const struct lathe_ladder_request *request,
                         struct lathe_ladder_choice *ret);

/* The device with the best step (the first of equals), or -1 for software or nothing; `ret` is
 * filled either way. With several devices the reasons are those of the first one of the wished
 * family. */
int lathe_ladder_best(const struct lathe_hw_device *devices, unsigned n_devices,
                      const struct lathe_ladder_request *request, struct lathe_ladder_choice *ret);

#endif
