/* SPDX-License-Identifier: MIT */
/*
 * What the checker knows about a decoded file. A file is read whole into small summaries (a number,
 * a time and coarse mean colours a frame; mono samples an audio track), so that the comparison
 * itself is plain arithmetic.
 */
#ifndef LATHE_TEST_CHECK_H
#define LATHE_TEST_CHECK_H

#include <libavutil/mathematics.h>
#include <libavutil/rational.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_GRID_W 16
#define CHECK_GRID_H 9
#define CHECK_AUDIO_RATE 48000
#define CHECK_TRACKS_MAX 8
#define CHECK_JUMPS_MAX 16

/* An instant, exact even for the large stamps of a transport stream. */
struct check_time {
    int64_t value;
    AVRational unit;
};

struct check_frame {
    int64_t pts, duration; /* stream time base */
    int number;            /* from the barcode, -1 = unreadable */
    uint8_t grid[3][CHECK_GRID_W * CHECK_GRID_H];
};

struct check_track {
    char language[16];
    bool is_default;
    int channels, native_rate, frame_size;
    struct check_time start;
    float *samples; /* mono, CHECK_AUDIO_RATE; gaps are zero */
    size_t count;
};

struct check_media {
    const char *path;
    AVRational time_base; /* of the video stream */
    int width, height, depth;
    AVRational sar;
    int range, primaries, transfer, matrix, chroma_location;
    int32_t rotation[9];
    bool has_rotation;
    int has_mastering, max_cll;
    double mastering_red_x, mastering_max_luminance;
    bool interlaced;
    char codec[32];
    struct check_frame *frames;
    size_t n_frames;
    struct check_track tracks[CHECK_TRACKS_MAX];
    int n_tracks;
    struct check_time origin; /* the earliest start of its video and audio */
    int64_t stream_end;       /* start + duration that the video stream declares, its time base */
    int decode_errors;        /* error lines of the libraries */
    char first_error[256];
    size_t bad_dts; /* packets with dts not increasing or pts < dts */
    int64_t first_bad_dts;
};

struct check_options {
    bool heal;        /* the source's times jump: apply the healing rule to what is expected */
    bool signal;      /* the sound is the generator's: look for chirps and clicks */
    bool strict_tags; /* rotation, colour and aspect must survive */
    bool numbers;     /* the pictures carry numbers */
    int grid_tolerance;
    int64_t expect_frames;   /* the source has exactly this many, or -1 */
    int expect_tracks;       /* the source has exactly this many, or -1 */
    const char *expect_tags; /* comma list of what the source must say about itself, or NULL */
    const char *codec;       /* of the output, or NULL */
    int min_depth;           /* bits of the output's samples */
    int short_side;          /* of the output's displayed picture, or 0 */
};

/* Seconds, for sound and for people. */
static inline double check_seconds(struct check_time time)
{
    return (double)time.value * av_q2d(time.unit);
}

/* Prints "FAIL SOURCE -> OUTPUT: …" once per call and counts. */
void check_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* 0, or -1 after check_fail(). `heal` applies the jump rule to video and audio times alike. */
int check_read(const char *path, bool heal, struct check_media *ret);
void check_media_clear(struct check_media *media);

void check_video(const struct check_media *source, const struct check_media *output,
                 const struct check_options *options);
/* Adds the largest A/V difference seen, in milliseconds, to `ret_worst_ms`. */
void check_audio(const struct check_media *source, const struct check_media *output,
                 const struct check_options *options, double *ret_worst_ms);
void check_tags(const struct check_media *source, const struct check_media *output,
                const struct check_options *options);
/* moov before mdat, both there. */
void check_faststart(const char *path);

#endif
