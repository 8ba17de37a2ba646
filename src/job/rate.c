/* SPDX-License-Identifier: MIT */
/*
 * Rate control over chunks. One rate factor for the whole job gives two-pass quality; the question
 * is only which factor meets the bitrate. Pilots (a few short stretches at the job's own settings)
 * answer it roughly; the sizes of finished chunks correct it for later ones; and the last chunks
 * are steered towards what is left of the budget. All of it is a function of the plan and of
 * results with fixed numbers, so the same source gives the same bytes on any number of slots.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "lathe/plan.h"

/* How a chunk's size follows its bytes in the source: well for CRF-coded sources (rms 9 % at 0.6),
 * not at all for grainy ones. */
#define SOURCE_EXPONENT 0.3
/* Steps of the rate factor that halve key frames and other frames (measured on grainy footage at
 * 720p, preset fast). */
#define KEY_HALVING 6.4
#define OTHER_HALVING 3.9
/* A pilot of few frames misses what its frames owe to those far behind them, and the key frames
 * that an encoder adds at changes of scene (measured on the same footage: 1.11 and 1.05 times; on
 * short clips of other kinds less than half of that). */
#define PILOT_BIAS 1.08
/* Weight of a pilot for a chunk that it lies in, against any other pilot. */
#define WEIGHT_INSIDE 4.0
/* Of the pilots' guess against measured sizes, in shares of the whole. */
#define PILOT_WEIGHT 0.15
/* How far the total may be from the target, and a chunk's factor from that of the chunk before. */
#define TOLERANCE 0.015
#define STEP_MAX 2.0
#define QUALITY_MIN 4.0
#define QUALITY_MAX 50.0
#define LAG_MIN 2
#define LAG_MAX 256

uint32_t lathe_rate_lag(uint32_t n_chunks)
{
    uint32_t lag = (n_chunks + 1) / 2;
    return lag < LAG_MIN ? LAG_MIN : lag > LAG_MAX ? LAG_MAX : lag;
}

static double frames_per_second(const struct lathe_plan *plan)
{
    if (plan->frame_rate.num > 0 && plan->frame_rate.den > 0)
        return (double)plan->frame_rate.num / plan->frame_rate.den;
    return 25;
}

double lathe_rate_guess(const struct lathe_plan *plan, int rendition)
{
    const struct lathe_plan_rendition *r = &plan->renditions[rendition];
    if (r->quality >= 0)
        return r->quality;
    double pixels = (double)r->width * r->height * frames_per_second(plan);
    double bits_per_pixel = r->bitrate_kbps * 1000.0 / (pixels > 0 ? pixels : 1);
    double quality = 24 - 4.5 * log2(bits_per_pixel / 0.1);
    return fmin(fmax(quality, 16), 40);
}

/* Bytes at the quality of the pilots. */
struct size {
    double key, other;
};

static double size_at(const struct size *size, double from_quality, double to_quality)
{
    return size->key * exp2((from_quality - to_quality) / KEY_HALVING) +
           size->other * exp2((from_quality - to_quality) / OTHER_HALVING);
}

/* The quality at which `size` becomes `bytes`. */
static double quality_for(const struct size *size, double from_quality, double bytes)
{
    double low = QUALITY_MIN, high = QUALITY_MAX;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        if (size_at(size, from_quality, middle) > bytes)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* Means of one key frame and one other frame. */
static struct size fit_pilots(const struct lathe_plan *plan, const struct lathe_rate_sample *pilots,
                              const struct lathe_plan_chunk *chunk)
{
    double frames = 0, keys = 0, key_bytes = 0, other_bytes = 0;
    for (uint32_t i = 0; i < plan->n_pilots; i++) {
        bool inside = plan->pilots[i].start >= chunk->start && plan->pilots[i].start < chunk->end;
        double weight = inside ? WEIGHT_INSIDE : 1;
        frames += weight * pilots[i].frames;
        keys += weight * pilots[i].key_frames;
        key_bytes += weight * (double)pilots[i].key_bytes;
        other_bytes += weight * (double)pilots[i].other_bytes;
    }
    struct size mean = {.key = keys > 0 ? key_bytes / keys : 1};
    mean.other = frames > keys ? PILOT_BIAS * other_bytes / (frames - keys) : mean.key / 4;
    return mean;
}

static struct size estimate(const struct lathe_plan *plan, const struct lathe_rate_sample *pilots,
                            uint32_t chunk)
{
    const struct lathe_plan_chunk *c = &plan->chunks[chunk];
    if (plan->passes == 2) /* known: pilot i was chunk i */
        return (struct size){(double)pilots[chunk].key_bytes, (double)pilots[chunk].other_bytes};
    if (!c->frames)
        return (struct size){0};
    const struct size mean = fit_pilots(plan, pilots, c);
    double gop_frames = fmax(plan->gop_seconds * frames_per_second(plan), 1);
    double keys = fmin(fmax(1, ceil(c->frames / gop_frames)), c->frames);
    double density = (double)c->source_bytes * (double)plan->frames /
                     fmax((double)c->frames * (double)plan->source_bytes, 1);
    double weight = density > 0 ? pow(density, SOURCE_EXPONENT) : 1;
    return (struct size){keys * mean.key, (c->frames - keys) * mean.other * weight};
}

struct decision {
    double quality;
    double budget; /* bytes to be steered to; 0 = the size follows the factor */
};

/* What finished chunks say: their sizes, and those as expected and as they would have been at the
 * quality of the pilots. */
struct known {
    double bytes, expected, normal;
    uint32_t count;
};

static void learn(struct known *known, const struct lathe_rate_sample *done,
                  const struct size *expected, double base_quality)
{
    const struct size size = {(double)done->key_bytes, (double)done->other_bytes};
    known->bytes += size.key + size.other;
    known->normal += size_at(&size, done->quality, base_quality);
    known->expected += expected->key + expected->other;
}

int lathe_rate_for_chunk(const struct lathe_plan *plan, int rendition, uint32_t chunk,
                         const struct lathe_rate_sample *pilots,
                         const struct lathe_rate_sample *done, uint32_t n_done,
                         struct lathe_rate *ret)
{
    const struct lathe_plan_rendition *r = &plan->renditions[rendition];
    if (r->quality >= 0) {
        *ret = (struct lathe_rate){.quality = r->quality};
        return 0;
    }
    const double seconds = (double)plan->duration * plan->time_base.num / plan->time_base.den;
    const double target = r->bitrate_kbps * 1000.0 / 8 * seconds;

    struct decision *decided = calloc(chunk + 1, sizeof(*decided));
    struct size *expected = malloc(plan->n_chunks * sizeof(*expected));
    if (!decided || !expected) {
        free(decided);
        free(expected);
        return -ENOMEM;
    }
    const double base = r->pilot_quality;
    double total = 0, ratio = 1;
    struct size open = {0}; /* of chunks not begun */
    for (uint32_t i = 0; i < plan->n_chunks; i++) {
        expected[i] = estimate(plan, pilots, i);
        open.key += expected[i].key;
        open.other += expected[i].other;
        total += expected[i].key + expected[i].other;
    }

    /* Replay every earlier decision, each from the sizes that were known to it. */
    struct known known = {0};
    for (uint32_t i = 0; i <= chunk; i++) {
        uint32_t n = i + 1 > plan->rate_lag ? i + 1 - plan->rate_lag : 0;
        for (n = n < n_done ? n : n_done; known.count < n; known.count++)
            learn(&known, &done[known.count], &expected[known.count], base);
        /* The pilots' guess keeps some weight while little is known. */
        double prior = PILOT_WEIGHT * total;
        ratio = (known.normal + prior) / (known.expected + prior);
        double spent = known.bytes;
        for (uint32_t k = known.count; k < i; k++)
            spent += decided[k].budget > 0
                         ? decided[k].budget
                         : ratio * size_at(&expected[k], base, decided[k].quality);
        /* Keep the factor where the total stays within the tolerance: equal quality is worth more
         * than the last percent of the bitrate. */
        double least = fmax(target * (1 - TOLERANCE) - spent, target / 64);
        double most = fmax(target * (1 + TOLERANCE) - spent, target / 64);
        double highest = quality_for(&open, base, least / ratio);
        double lowest = quality_for(&open, base, most / ratio);
        double before = i ? decided[i - 1].quality : (lowest + highest) / 2;
        double q = fmin(fmax(before, lowest), highest);
        if (i)
            q = fmin(fmax(q, before - STEP_MAX), before + STEP_MAX);
        decided[i].quality = q;
        /* Sizes of the last chunks come too late to correct others: steer them. */
        double share = (expected[i].key + expected[i].other) / fmax(open.key + open.other, 1);
        if (i + plan->rate_lag >= plan->n_chunks)
            decided[i].budget = fmax(fmax(target - spent, target / 16) * share, 1);
        open.key = fmax(open.key - expected[i].key, 0);
        open.other = fmax(open.other - expected[i].other, 0);
    }
    double size = decided[chunk].budget;
    if (size <= 0)
        size = fmax(ratio * size_at(&expected[chunk], base, decided[chunk].quality), 1);
    *ret = (struct lathe_rate){.quality = decided[chunk].quality,
                               .budget_bytes = (uint64_t)decided[chunk].budget,
                               .expected_bytes = (uint64_t)size};
    free(decided);
    free(expected);
    return 0;
}
