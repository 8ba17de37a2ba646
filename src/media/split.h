/* SPDX-License-Identifier: MIT */
/*
 * The parts of the verb split: each turns facts of the source into one part of the plan.
 */
#ifndef LATHE_MEDIA_SPLIT_H
#define LATHE_MEDIA_SPLIT_H

#include <libavformat/avformat.h>

#include "lathe/cuts.h"
#include "lathe/media.h"
#include "scan.h"

/* What the first decoded pictures say. */
struct split_peek {
    int64_t first_time; /* index time base, before the origin */
    int format, width, height;
    AVRational sar;
    bool interlaced, top_field_first;
    enum AVColorRange range;
    enum AVColorPrimaries primaries;
    enum AVColorTransferCharacteristic transfer;
    enum AVColorSpace matrix;
    enum AVChromaLocation chroma;
    char mastering_display[160], content_light[32];
};

int split_peek(const struct media_source *source, const struct media_scan *scan,
               struct lathe_plan *plan, struct split_peek *ret, struct lathe_error *err);

/* Sizes, formats, colours, fields. 0 or -ENOMEM. */
int split_plan_pictures(struct lathe_plan *plan, const struct lathe_job *job,
                        const AVStream *stream, const struct split_peek *peek);

/* Shown frames in presentation order, times from the origin; malloc'd. A key frame counts as one
 * only where decoding can start without looking back. 0 or -ENOMEM. */
int split_list_frames(const struct media_scan *scan, const struct lathe_plan *plan,
                      struct lathe_cut_frame **ret, uint32_t *ret_count);

/* The packet where decoding must start so that frame `first` comes out right: a key frame, far
 * enough back for recovery points, filters with memory, and B-frames of containers without PTS. */
uint32_t split_decode_start(const struct media_scan *scan, const struct lathe_plan *plan,
                            const struct lathe_cut_frame *frames, uint32_t first);

/* Needs frames and duration of the plan; cuts where the order has parts. 0 or -ENOMEM. */
int split_plan_chunks(struct lathe_plan *plan, const struct lathe_order *order,
                      const struct media_scan *scan, const struct lathe_cut_frame *frames,
                      uint32_t n_frames);

/* Where pilots are taken and with which factor, which one trial encode brings near. */
int split_plan_pilots(const struct lathe_order *order, struct lathe_plan *plan,
                      const struct media_scan *scan, const struct lathe_cut_frame *frames,
                      uint32_t n_frames, struct lathe_error *err);

#endif
