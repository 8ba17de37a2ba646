/* SPDX-License-Identifier: MIT */
/*
 * Reads a whole source once, demuxing only: the index of its pictures, the timeline of its sound,
 * and every sign of damage.
 */
#ifndef LATHE_MEDIA_SCAN_H
#define LATHE_MEDIA_SCAN_H

#include <libavutil/rational.h>

#include "index.h"
#include "lathe/media.h"
#include "source.h"

struct media_scan_audio {
    int stream;
    AVRational time_base;
    int64_t start; /* of the first sample heard, time_base; MEDIA_NO_TIME without packets */
    int64_t end_us;
    uint64_t packets;
    bool contiguous;    /* packet times follow each other without gap or overlap */
    bool edited;        /* parts of it are not to be heard (edit list) */
    unsigned discarded; /* packets that are not to be heard */
};

struct media_scan {
    struct media_index index; /* times healed, in time_base, not yet moved to the origin */
    AVRational time_base;     /* 1/den */
    int64_t last_duration;    /* of the packet shown last; 0 unknown */
    bool has_pts;             /* nearly every packet has one; the others follow their neighbours */
    bool has_dts;             /* every packet has one */
    int reorder_depth;        /* frames */
    uint32_t without_pts;     /* packets */
    uint32_t first_key;       /* packet where decoding can begin */
    struct media_scan_audio *audio;
    unsigned n_audio;
    int64_t end_us;           /* of the longest stream, healed */
    uint64_t damaged_packets; /* flagged corrupt, or lost to read errors */
    uint64_t counter_gaps;    /* MPEG-TS: packets after a gap in the transport counter */
    unsigned jumps;           /* of the clock, healed */
    char damage[512];         /* what is wrong with the file, where that is concealed; or empty */
};

/* `conceal`: damage is counted but is no error. */
int media_scan(struct media_source *source, bool conceal, lathe_media_progress progress,
               void *opaque, struct media_scan *ret, struct lathe_error *err);
/* Decodes the beginning of each audio track of the scanned `source` to learn when its first sample
 * is heard: codecs differ in how much they swallow first. Corrects audio[].start. */
int media_scan_first_sounds(const struct media_source *source, struct media_scan *scan,
                            struct lathe_error *err);
void media_scan_finish(struct media_scan *scan);

#endif
