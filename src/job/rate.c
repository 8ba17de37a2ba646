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

/* How a chunk's size follows its bytes in the source (measured: rms 9 % for CRF-coded sources). */
#define SOURCE_EXPONENT 0.6
/* A pilot of a dozen frames lives off its key frame: over a whole GOP other frames come out larger,
 * the more so the fewer bits they take (measured on real footage at 720p, preset fast: 1.12 times
 * at 0.104 bits a pixel, 1.38 at 0.063, 1.84 at 0.024). */
#define PILOT_BIAS 1.12
#define PILOT_BIAS_BITS_PER_PIXEL 0.104
#define PILOT_BIAS_EXPONENT 0.34
#define PILOT_BIAS_MAX 2.2
/* Of the pilots' guess against measured sizes, in shares of the whole. */
#define PILOT_WEIGHT 0.15
/* How far the total may be from the target, and a chunk's factor from that of the chunk before. */
#define TOLERANCE 0.015
#define STEP_MAX 2.0
#define QUALITY_MIN 4.0
#define QUALITY_MAX 50.0
#define LAG_MIN 3
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

struct model {
    double key_bytes;    /* mean of a key frame */
    double other_bytes;  /* mean of any other frame */
    double source_bytes; /* mean source bytes of a pilot's frame */
};

/* Weight of a pilot for a chunk that it lies in, against any other pilot. */
#define WEIGHT_INSIDE 4.0

static double pilot_bias(const struct lathe_plan_rendition *r, double frame_bytes)
{
    double bits_per_pixel = frame_bytes * 8 / ((double)r->width * r->height);
    double bias = PILOT_BIAS *
                  pow(PILOT_BIAS_BITS_PER_PIXEL / fmax(bits_per_pixel, 1e-6), PILOT_BIAS_EXPONENT);
    return fmin(fmax(bias, 1), PILOT_BIAS_MAX);
}

static struct model fit_pilots(const struct lathe_plan *plan, int rendition,
                               const struct lathe_rate_sample *pilots,
                               const struct lathe_plan_chunk *chunk)
{
    struct model m = {0};
    double frames = 0, keys = 0, key_bytes = 0, other_bytes = 0, source_bytes = 0;
    for (uint32_t i = 0; i < plan->n_pilots; i++) {
        bool inside = plan->pilots[i].start >= chunk->start && plan->pilots[i].start < chunk->end;
        double weight = inside ? WEIGHT_INSIDE : 1;
        frames += weight * pilots[i].frames;
        keys += weight * pilots[i].key_frames;
        key_bytes += weight * (double)pilots[i].key_bytes;
        other_bytes += weight * (double)pilots[i].other_bytes;
        source_bytes += weight * (double)plan->pilots[i].source_bytes;
    }
    m.key_bytes = keys > 0 ? key_bytes / keys : 1;
    m.other_bytes = m.key_bytes / 4;
    if (frames > keys) {
        double mean = other_bytes / (frames - keys);
        m.other_bytes = mean * pilot_bias(&plan->renditions[rendition], mean);
    }
    m.source_bytes = frames > 0 ? source_bytes / frames : 1;
    return m;
}

/* Expected bytes of a chunk at the pilots' quality. */
static double estimate(const struct lathe_plan *plan, int rendition,
                       const struct lathe_rate_sample *pilots, uint32_t chunk)
{
    const struct lathe_plan_chunk *c = &plan->chunks[chunk];
    if (plan->passes == 2) /* known: pilot i was chunk i */
        return (double)(pilots[chunk].key_bytes + pilots[chunk].other_bytes);
    if (!c->frames)
        return 0;
    const struct model m = fit_pilots(plan, rendition, pilots, c);
    double gop_frames = fmax(plan->gop_seconds * frames_per_second(plan), 1);
    double keys = fmin(fmax(1, ceil(c->frames / gop_frames)), c->frames);
    double density = (double)c->source_bytes / c->frames / fmax(m.source_bytes, 1);
    double weight = density > 0 ? pow(density, SOURCE_EXPONENT) : 1;
    return keys * m.key_bytes + (c->frames - keys) * m.other_bytes * weight;
}

/* How sizes change from one factor to another. */
static double scale(const struct lathe_plan_rendition *r, double from_quality, double to_quality)
{
    return exp2((from_quality - to_quality) / r->halving_steps);
}

struct decision {
    double quality;
    double budget; /* bytes to be steered to; 0 = the size follows the factor */
};

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
    double *expected = malloc(plan->n_chunks * sizeof(*expected));
    if (!decided || !expected) {
        free(decided);
        free(expected);
        return -ENOMEM;
    }
    double total = 0;
    for (uint32_t i = 0; i < plan->n_chunks; i++)
        total += expected[i] = estimate(plan, rendition, pilots, i);

    /* Replay every earlier decision, each from the sizes that were known to it. */
    double known = 0, known_expected = 0, known_normal = 0;
    uint32_t n_known = 0;
    for (uint32_t i = 0; i <= chunk; i++) {
        uint32_t n = i + 1 > plan->rate_lag ? i + 1 - plan->rate_lag : 0;
        if (n > n_done)
            n = n_done;
        for (; n_known < n; n_known++) {
            double bytes = (double)(done[n_known].key_bytes + done[n_known].other_bytes);
            known += bytes;
            known_expected += expected[n_known];
            known_normal += bytes / scale(r, r->pilot_quality, done[n_known].quality);
        }
        /* The pilots' guess keeps some weight while little is known. */
        double prior = PILOT_WEIGHT * total;
        double ratio = (known_normal + prior) / (known_expected + prior);
        double in_flight = 0, open = 0;
        for (uint32_t k = n_known; k < i; k++)
            in_flight += decided[k].budget > 0
                             ? decided[k].budget
                             : expected[k] * ratio * scale(r, r->pilot_quality, decided[k].quality);
        for (uint32_t k = i; k < plan->n_chunks; k++)
            open += expected[k] * ratio;
        /* Keep the factor where the total stays within the tolerance: equal quality is worth more
         * than the last percent of the bitrate. */
        double spent = known + in_flight;
        double least = open / fmax(target * (1 - TOLERANCE) - spent, open / 64);
        double most = open / fmax(target * (1 + TOLERANCE) - spent, open / 64);
        double highest = r->pilot_quality + r->halving_steps * log2(fmax(least, 1. / 64));
        double lowest = r->pilot_quality + r->halving_steps * log2(fmax(most, 1. / 64));
        double before = i ? decided[i - 1].quality : (lowest + highest) / 2;
        double q = fmin(fmax(before, lowest), highest);
        if (i)
            q = fmin(fmax(q, before - STEP_MAX), before + STEP_MAX);
        decided[i].quality = fmin(fmax(q, QUALITY_MIN), QUALITY_MAX);
        /* Sizes of the last chunks come too late to correct others: steer them. */
        if (i + plan->rate_lag >= plan->n_chunks)
            decided[i].budget =
                fmax(fmax(target - spent, target / 16) * expected[i] * ratio / fmax(open, 1), 1);
    }
    *ret = (struct lathe_rate){.quality = decided[chunk].quality,
                               .budget_bytes = (uint64_t)decided[chunk].budget};
    free(decided);
    free(expected);
    return 0;
}
