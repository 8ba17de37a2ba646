/* SPDX-License-Identifier: MIT */
/*
 * Sound: as long as in the source, in step with the pictures from start to end, and without seams.
 * Times are relative to each file's start, like those of the frames, so that a lag found here is
 * a difference of lip-sync.
 */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RATE CHECK_AUDIO_RATE
#define WINDOW 1024
#define HOP 512
#define CHIRP_HALF (RATE / 40)
#define SEARCH (RATE / 8)

struct window {
    double rms, residue; /* of the whole, and of what is not the tone */
};

static double start_of(const struct check_media *media, const struct check_track *track)
{
    return check_seconds(track->start) - check_seconds(media->origin);
}

static float at(const struct check_track *track, long i)
{
    return i < 0 || (size_t)i >= track->count ? 0 : track->samples[i];
}

/* Least-squares fit of one sine over a window; a break of phase or a click stays as residue. */
static struct window measure(const struct check_track *track, long from, double tone)
{
    double ss = 0, cc = 0, sc = 0, xs = 0, xc = 0, xx = 0;
    double step = 2 * M_PI * tone / RATE;
    for (int i = 0; i < WINDOW; i++) {
        double x = at(track, from + i), s = sin(step * i), c = cos(step * i);
        ss += s * s;
        cc += c * c;
        sc += s * c;
        xs += x * s;
        xc += x * c;
        xx += x * x;
    }
    double det = ss * cc - sc * sc;
    double a = (xs * cc - xc * sc) / det, b = (xc * ss - xs * sc) / det;
    double rest = xx - a * xs - b * xc;
    return (struct window){sqrt(xx / WINDOW), sqrt(rest > 0 ? rest / WINDOW : 0)};
}

/* The generator gives each track its own pitch. */
static double find_tone(const struct check_track *track)
{
    static const double tones[] = {440, 550, 660};
    double best = tones[0], least = INFINITY;
    for (size_t k = 0; k < sizeof(tones) / sizeof(tones[0]); k++) {
        double residue = 0;
        for (long i = 0; i + WINDOW <= (long)track->count; i += WINDOW)
            residue += measure(track, i, tones[k]).residue;
        if (residue < least) {
            least = residue;
            best = tones[k];
        }
    }
    return best;
}

static bool is_pure(struct window w)
{
    return w.rms > 0.05 && w.residue < 0.05 * w.rms;
}

static void check_seams(const struct check_track *s, const struct check_track *o, int number,
                        long shift)
{
    double tone = find_tone(s);
    size_t n = s->count / HOP;
    struct window *w = calloc(n + 1, sizeof(*w));
    if (!w) {
        check_fail("out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++)
        w[i] = measure(s, (long)(i * HOP), tone);
    /* Three windows on each side: a codec's window spreads a chirp or an edge by that much. */
    for (size_t i = 3; i + 3 < n; i++) {
        bool pure = true, silent = true;
        for (size_t k = i - 3; k <= i + 3; k++) {
            pure = pure && is_pure(w[k]);
            silent = silent && w[k].rms < 0.001;
        }
        if (!pure && !silent)
            continue;
        struct window got = measure(o, (long)(i * HOP) + shift, tone);
        double t = (double)(i * HOP) / RATE;
        if (silent && got.rms > 0.01) {
            check_fail("track %d: %.3f s into it the source is silent, the output is not", number,
                       t);
            break;
        }
        if (pure && fabs(got.rms / w[i].rms - 1) > 0.2) {
            check_fail("track %d: dropout or wrong level %.3f s into it (%.4f, source %.4f)",
                       number, t, got.rms, w[i].rms);
            break;
        }
        if (pure && got.residue > 0.08 * got.rms) {
            check_fail("track %d: click or seam %.3f s into it (residue %.1f %%, source %.1f %%)",
                       number, t, 100 * got.residue / got.rms, 100 * w[i].residue / w[i].rms);
            break;
        }
    }
    free(w);
}

/* Differences lift the chirp over the tone. */
static float edge(const struct check_track *track, long i)
{
    return at(track, i + 3) - at(track, i - 3);
}

static double correlate(const struct check_track *s, long center, const struct check_track *o,
                        long there)
{
    double ab = 0, aa = 0, bb = 0;
    for (long i = -CHIRP_HALF; i < CHIRP_HALF; i++) {
        double a = edge(s, center + i), b = edge(o, there + i);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static long best_lag(const struct check_track *s, long center, const struct check_track *o,
                     long there, double *ret_score)
{
    long lag = 0;
    *ret_score = -1;
    for (int fine = 0; fine <= 1; fine++) {
        long from = fine ? lag - 4 : -SEARCH, to = fine ? lag + 4 : SEARCH;
        for (long k = from; k <= to; k += fine ? 1 : 3) {
            double score = correlate(s, center, o, there + k);
            if (score > *ret_score) {
                *ret_score = score;
                lag = k;
            }
        }
    }
    return lag;
}

/* The loudest sample of the chirp that begins at or after `from`, or -1. */
static long next_chirp(const struct check_track *track, float peak, long from)
{
    for (long i = from; i < (long)track->count; i++)
        if (fabsf(at(track, i)) > 0.55F * peak) {
            long best = i;
            for (long k = i; k < i + RATE / 25; k++)
                if (fabsf(at(track, k)) > fabsf(at(track, best)))
                    best = k;
            return best;
        }
    return -1;
}

static void check_sync(const struct check_track *s, const struct check_track *o, int number,
                       long shift, double limit_ms, double *ret_worst_ms)
{
    int found = 0;
    float peak = 0;
    for (long i = 0; i < (long)s->count; i++)
        peak = fmaxf(peak, fabsf(at(s, i)));
    for (long c = next_chirp(s, peak, 0); c >= 0; c = next_chirp(s, peak, c + RATE / 5)) {
        if (c < CHIRP_HALF || c + CHIRP_HALF > (long)s->count)
            continue; /* cut by the file's edge */
        double score, t = (double)c / RATE;
        long lag = best_lag(s, c, o, c + shift, &score);
        double ms = fabs(1000.0 * (double)lag / RATE);
        found++;
        if (score < 0.6) {
            check_fail("track %d: the chirp %.3f s into it is not in the output (likeness %.2f)",
                       number, t, score);
            return;
        }
        if (ms > *ret_worst_ms)
            *ret_worst_ms = ms;
        if (ms > limit_ms) {
            check_fail("track %d: sound is %.2f ms %s than in the source %.3f s into it (limit "
                       "%.2f ms)",
                       number, ms, lag > 0 ? "later" : "earlier", t, limit_ms);
            return;
        }
    }
    if (!found && s->count > RATE)
        check_fail("track %d of the source has no chirp: the test's own fault", number);
}

static void check_track(const struct check_media *source, const struct check_media *output, int i,
                        const struct check_options *options, double *ret_worst_ms)
{
    const struct check_track *s = &source->tracks[i], *o = &output->tracks[i];
    double frame = 1024.0 / (o->native_rate ? o->native_rate : RATE);
    double s0 = start_of(source, s), o0 = start_of(output, o);
    double s1 = s0 + (double)s->count / RATE, o1 = o0 + (double)o->count / RATE;
    if (strcmp(s->language, o->language) != 0)
        check_fail("track %d: language %s in the source, %s in the output", i, s->language,
                   o->language);
    if (o->channels < 1 || (s->channels <= 2 && o->channels != s->channels))
        check_fail("track %d: %d channels in the source, %d in the output", i, s->channels,
                   o->channels);
    if (!o->count) {
        check_fail("track %d: no sound in the output", i);
        return;
    }
    double slack = frame + av_q2d(s->start.unit); /* the source's stamps are no finer than that */
    if (fabs(s0 - o0) > slack)
        check_fail("track %d: starts at %.4f s in the source, %.4f s in the output", i, s0, o0);
    if (fabs(s1 - o1) > slack)
        check_fail("track %d: ends at %.4f s in the source, %.4f s in the output", i, s1, o1);
    if (!options->signal)
        return;
    long shift = lrint((s0 - o0) * RATE);
    check_sync(s, o, i, shift, 1000 * frame, ret_worst_ms);
    check_seams(s, o, i, shift);
}

void check_audio(const struct check_media *source, const struct check_media *output,
                 const struct check_options *options, double *ret_worst_ms)
{
    if (options->expect_tracks >= 0 && source->n_tracks != options->expect_tracks)
        check_fail("the source has %d audio tracks, the test expects %d: the test's own fault",
                   source->n_tracks, options->expect_tracks);
    if (source->n_tracks != output->n_tracks) {
        check_fail("%d audio tracks in the source, %d in the output", source->n_tracks,
                   output->n_tracks);
        return;
    }
    for (int i = 0; i < source->n_tracks; i++)
        check_track(source, output, i, options, ret_worst_ms);
}
