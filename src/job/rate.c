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

/* Size halves with every so many steps of the factor (x264 and x265, measured around 6). */
#define STEPS_PER_HALVING 6.0
/* How a chunk's size follows its bytes in the source (measured: rms 9 % for CRF-coded sources). */
#define SOURCE_EXPONENT 0.6
/* A pilot's frames follow its key frame closely and see little lookahead: they come out this much
 * larger than the average of a whole GOP. */
#define PILOT_BIAS 0.93
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

double lathe_rate_pilot_quality(const struct lathe_plan *plan, int rendition)
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
    double quality;      /* what the estimates are for */
    double key_bytes;    /* mean of a key frame */
    double other_bytes;  /* mean of any other frame */
    double source_bytes; /* mean source bytes of a pilot's frame */
};

static struct model fit_pilots(const struct lathe_plan *plan, int rendition,
                               const struct lathe_rate_sample *pilots)
{
    struct model m = {.quality = lathe_rate_pilot_quality(plan, rendition)};
    double frames = 0, keys = 0, key_bytes = 0, other_bytes = 0, source_bytes = 0;
    for (uint32_t i = 0; i < plan->n_pilots; i++) {
        frames += pilots[i].frames;
        keys += pilots[i].key_frames;
        key_bytes += (double)pilots[i].key_bytes;
        other_bytes += (double)pilots[i].other_bytes;
        source_bytes += (double)plan->pilots[i].source_bytes;
    }
    m.key_bytes = keys > 0 ? key_bytes / keys : 1;
    m.other_bytes = frames > keys ? other_bytes / (frames - keys) * PILOT_BIAS : m.key_bytes / 4;
    m.source_bytes = frames > 0 ? source_bytes / frames : 1;
    return m;
}

/* Expected bytes of a chunk at the model's quality. */
static double estimate(const struct lathe_plan *plan, const struct model *m, uint32_t chunk)
{
    const struct lathe_plan_chunk *c = &plan->chunks[chunk];
    if (!c->frames)
        return 0;
    double gop_frames = fmax(plan->gop_seconds * frames_per_second(plan), 1);
    double keys = fmax(1, ceil(c->frames / gop_frames));
    if (keys > c->frames)
        keys = c->frames;
    double density = (double)c->source_bytes / c->frames / fmax(m->source_bytes, 1);
    double weight = density > 0 ? pow(density, SOURCE_EXPONENT) : 1;
    return keys * m->key_bytes + (c->frames - keys) * m->other_bytes * weight;
}

static double scale(double from_quality, double to_quality)
{
    return exp2((from_quality - to_quality) / STEPS_PER_HALVING);
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
    const struct model m = fit_pilots(plan, rendition, pilots);
    const double seconds = (double)plan->duration * plan->time_base.num / plan->time_base.den;
    const double target = r->bitrate_kbps * 1000.0 / 8 * seconds;

    double *quality = malloc((chunk + 1) * sizeof(*quality));
    double *expected = malloc(plan->n_chunks * sizeof(*expected));
    if (!quality || !expected) {
        free(quality);
        free(expected);
        return -ENOMEM;
    }
    double total = 0;
    for (uint32_t i = 0; i < plan->n_chunks; i++)
        total += expected[i] = estimate(plan, &m, i);

    /* Replay every earlier decision, each from the sizes that were known to it. */
    double known = 0, known_expected = 0, known_normal = 0, in_flight = 0;
    uint32_t n_known = 0, flight_begin = 0;
    double ratio = 1;
    for (uint32_t i = 0; i <= chunk; i++) {
        uint32_t n = i + 1 > plan->rate_lag ? i + 1 - plan->rate_lag : 0;
        if (n > n_done)
            n = n_done;
        for (; n_known < n; n_known++) {
            double bytes = (double)(done[n_known].key_bytes + done[n_known].other_bytes);
            known += bytes;
            known_expected += expected[n_known];
            known_normal += bytes / scale(m.quality, done[n_known].quality);
        }
        /* The pilots' guess keeps some weight while little is known. */
        double prior = 0.15 * total;
        ratio = (known_normal + prior) / (known_expected + prior);
        in_flight = 0;
        for (flight_begin = n_known; flight_begin < i; flight_begin++)
            in_flight += expected[flight_begin] * ratio * scale(m.quality, quality[flight_begin]);
        double open = 0;
        for (uint32_t k = i; k < plan->n_chunks; k++)
            open += expected[k] * ratio;
        /* Never ask the rest for less than a quarter or more than four times its even share. */
        double budget = fmin(fmax(target - known - in_flight, target * open / (total * ratio) / 4),
                             target * open / (total * ratio) * 4);
        double q = m.quality + STEPS_PER_HALVING * log2(fmax(open, 1) / fmax(budget, 1));
        quality[i] = fmin(fmax(q, QUALITY_MIN), QUALITY_MAX);
    }
    ret->quality = quality[chunk];
    /* Sizes of the last chunks come too late to correct others: steer them. */
    ret->budget_bytes = chunk + plan->rate_lag >= plan->n_chunks
                            ? (uint64_t)(expected[chunk] * ratio * scale(m.quality, quality[chunk]))
                            : 0;
    free(quality);
    free(expected);
    return 0;
}
