/* SPDX-License-Identifier: MIT */
/*
 * Pictures of a source with their times from the index: packets are restamped with their number
 * before decoding, so whatever clock the container had, a picture says which packet it came from.
 */
#ifndef LATHE_MEDIA_DECODE_H
#define LATHE_MEDIA_DECODE_H

#include <libavcodec/avcodec.h>

#include "gpu.h"
#include "lathe/plan.h"
#include "reader.h"
#include "witness.h"

struct media_decoder {
    struct media_reader reader;
    AVCodecContext *codec;
    AVPacket *packet;
    int64_t origin; /* subtracted from index times */
    bool from_dts;  /* the source has no usable PTS */
    bool ordinal;   /* it has no times at all: pictures are counted */
    bool conceal;
    int64_t own_from;    /* damage before this time is another chunk's to report */
    int64_t skip_before; /* leading pictures of the first key are not fed */
    uint32_t first_key;  /* of the source: before it nothing can be decoded */
    int64_t first_key_time;
    int64_t frame_duration;
    int64_t last_time;
    uint32_t last_packet; /* drained after it; the caller may lower it before the first picture */
    bool draining;
    uint64_t damaged; /* packets or pictures with errors */
    uint64_t last_damaged_packet;
    /* on a GPU */
    const struct media_gpu *gpu; /* NULL: in software */
    struct media_witness witness;
    int64_t ticks_per_second;
    int64_t witness_from, witness_end; /* key frames from then on are seen, beyond the end all */
    uint32_t follow_from; /* packet from which on the witness decodes all; UINT32_MAX: never */
    uint32_t last_shown;  /* packet of the source's last picture */
};

/* Where a decoder gets its packets: from the source at `path`, or, with a `need`, from those that
 * were cut for it. */
struct media_decoder_input {
    const char *path;
    const struct media_need *need; /* NULL: the source */
    uint32_t first_packet;
    bool linear; /* read the source from its beginning, without seeking */
    /* Of the opened source, with what the container says beside the index; NULL: the index's. */
    const AVCodecParameters *parameters;
};

/* Opens the input at `first_packet` to deliver pictures from `own_from`
 * on; earlier ones are lead-in and may be wrong. The plan gives origin, reorder depth and time
 * mode; the index stays the caller's. With a `gpu` pictures are surfaces, any error fails, and some
 * key frames are compared with software's; those from `own_end` on always, and (INT64_MAX: the
 * last chunk) some pictures up to the source's end. */
int media_decoder_open(struct media_decoder *ret, const struct media_decoder_input *input,
                       const struct lathe_plan *plan, const struct media_index *index,
                       int64_t own_from, int64_t own_end, const struct media_gpu *gpu,
                       struct lathe_error *err);
void media_decoder_close(struct media_decoder *decoder);

/* 1 with a picture (the caller unrefs) and its time, 0 at the end of the source. Without
 * `conceal` damage is an error that says where. */
int media_decoder_next(struct media_decoder *decoder, AVFrame *ret, int64_t *ret_time,
                       uint32_t *ret_packet, struct lathe_error *err);

/* A decoder for one stream, set up with whitelists and limits but not for any plan; on `gpu` or,
 * NULL, in software. */
int media_decoder_open_codec(const AVCodecParameters *par, AVRational time_base, int reorder_depth,
                             const struct media_gpu *gpu, AVCodecContext **ret,
                             struct lathe_error *err);

#endif
