/* SPDX-License-Identifier: MIT */
/*
 * Every frame once, in order, at its time, looking like itself.
 */
#include "check.h"

#include <libavutil/avutil.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 wide;

struct fraction {
    wide num, den;
};

/* a - b, exactly. */
static struct fraction difference(struct check_time a, struct check_time b)
{
    return (struct fraction){(wide)a.value * a.unit.num * b.unit.den -
                                 (wide)b.value * b.unit.num * a.unit.den,
                             (wide)a.unit.den * b.unit.den};
}

static double to_double(struct fraction f)
{
    return (double)f.num / (double)f.den;
}

static struct fraction frame_time(const struct check_media *media, size_t i)
{
    return difference((struct check_time){media->frames[i].pts, media->time_base}, media->origin);
}

/* Whether the time is a whole number of the unit's ticks. */
static bool holds(AVRational unit, struct fraction time)
{
    return time.num * unit.den % (time.den * unit.num) == 0;
}

/* 0 when equal, else the absolute difference in seconds. */
static double apart(struct fraction a, struct fraction b)
{
    wide left = a.num * b.den, right = b.num * a.den;
    return left == right ? 0
                         : (double)(left > right ? left - right : right - left) /
                               ((double)a.den * (double)b.den);
}

/* Says how two sequences of numbers part at `i`: lost, repeated or out of order. */
static void explain_sequence(const struct check_media *source, const struct check_media *output,
                             size_t i)
{
    int want = source->frames[i].number;
    int got = i < output->n_frames ? output->frames[i].number : -1;
    const char *how = "wrong";
    for (size_t k = 0; k < i && got >= 0; k++)
        if (output->frames[k].number == got)
            how = "a frame that came before";
    if (i + 1 < source->n_frames && source->frames[i + 1].number == got)
        how = i + 1 < output->n_frames && output->frames[i + 1].number == want ? "out of order"
                                                                               : "one is missing";
    check_fail("frame %zu at %.6f s carries number %d, in the source %d (%s)", i,
               to_double(frame_time(output, i)), got, want, how);
}

static bool check_sequence(const struct check_media *source, const struct check_media *output)
{
    size_t n = source->n_frames < output->n_frames ? source->n_frames : output->n_frames;
    for (size_t i = 0; i < source->n_frames; i++)
        if (source->frames[i].number < 0) {
            check_fail("frame %zu of the source is unreadable: the test's own fault", i);
            return false;
        }
    for (size_t i = 0; i < n; i++) {
        if (output->frames[i].number < 0) {
            check_fail("frame %zu at %.6f s has an unreadable number, in the source %d", i,
                       to_double(frame_time(output, i)), source->frames[i].number);
            return false;
        }
        if (output->frames[i].number != source->frames[i].number) {
            explain_sequence(source, output, i);
            return false;
        }
    }
    return true;
}

/* Exact wherever the output could have been exact. Half an output tick otherwise, and then the
 * output's ticks must not be coarser than the source's. */
static void check_times(const struct check_media *source, const struct check_media *output)
{
    double half_tick = av_q2d(output->time_base) / 2;
    bool fine = av_cmp_q(output->time_base, source->time_base) <= 0;
    for (size_t i = 0; i < source->n_frames && i < output->n_frames; i++) {
        struct fraction want = frame_time(source, i), got = frame_time(output, i);
        bool exact = !fine || holds(source->time_base, want) || holds(output->time_base, want);
        double off = apart(want, got);
        if (off > (exact ? 0 : half_tick)) {
            check_fail("frame %zu (number %d): time %.9f s in the source, %.9f s in the output "
                       "(off by %.9f s, ticks %d/%d and %d/%d)",
                       i, source->frames[i].number, to_double(want), to_double(got), off,
                       source->time_base.num, source->time_base.den, output->time_base.num,
                       output->time_base.den);
            return;
        }
    }
}

static void check_pictures(const struct check_media *source, const struct check_media *output,
                           int tolerance)
{
    static const char *const names[] = {"luma", "blue chroma", "red chroma"};
    for (size_t i = 0; i < source->n_frames && i < output->n_frames; i++)
        for (int plane = 0; plane < 3; plane++) {
            int sum = 0;
            for (int c = 0; c < CHECK_GRID_W * CHECK_GRID_H; c++)
                sum += abs(source->frames[i].grid[plane][c] - output->frames[i].grid[plane][c]);
            sum /= CHECK_GRID_W * CHECK_GRID_H;
            if (sum > tolerance) {
                check_fail("frame %zu (number %d): %s differs by %d of 255 on average", i,
                           source->frames[i].number, names[plane], sum);
                return;
            }
        }
}

static void check_stream(const struct check_media *output)
{
    if (output->bad_dts)
        check_fail("%zu packets with DTS not increasing or PTS before DTS, first at DTS %lld",
                   output->bad_dts, (long long)output->first_bad_dts);
    if (output->decode_errors)
        check_fail("%d errors while decoding, first: %.*s", output->decode_errors,
                   (int)strcspn(output->first_error, "\n"), output->first_error);
    for (size_t i = 1; i < output->n_frames; i++)
        if (output->frames[i].pts <= output->frames[i - 1].pts) {
            check_fail("frame %zu is not later than the one before", i);
            return;
        }
}

/* The last frame stays on screen as long as in the source. */
static void check_end(const struct check_media *source, const struct check_media *output)
{
    if (!source->n_frames || !output->n_frames)
        return;
    const struct check_frame *s = &source->frames[source->n_frames - 1];
    const struct check_frame *o = &output->frames[output->n_frames - 1];
    if (source->n_frames > 1 && s->duration * 4 < (s->pts - s[-1].pts) * 3)
        return; /* a field's duration: packets of field pictures are shorter than frames */
    double want = (double)s->duration * av_q2d(source->time_base);
    double got = (double)o->duration * av_q2d(output->time_base);
    /* FFmpeg's MP4 demuxer shortens the last frame of a track that starts late and has no
     * reordering, so there the declared end counts. */
    double declared = (double)(output->stream_end - o->pts) * av_q2d(output->time_base);
    double tick = av_q2d(source->time_base) + av_q2d(output->time_base);
    if (s->duration > 0 && fabs(got - want) > tick && fabs(declared - want) > tick)
        check_fail("the last frame lasts %.6f s in the source, %.6f s in the output", want, got);
}

void check_video(const struct check_media *source, const struct check_media *output,
                 const struct check_options *options)
{
    if (options->expect_frames >= 0 && (int64_t)source->n_frames != options->expect_frames)
        check_fail("the source has %zu frames, the test expects %lld: the test's own fault",
                   source->n_frames, (long long)options->expect_frames);
    check_stream(output);
    if (options->numbers && !check_sequence(source, output))
        return;
    if (source->n_frames != output->n_frames) {
        check_fail("%zu frames in the source, %zu in the output", source->n_frames,
                   output->n_frames);
        return;
    }
    check_times(source, output);
    check_end(source, output);
    check_pictures(source, output, options->grid_tolerance);
}
