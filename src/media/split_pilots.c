/* SPDX-License-Identifier: MIT */
/*
 * Pilots of the plan: where, and at which rate factor. Sizes are not trusted far from the factor
 * that they were made with, so trial encodes of one place bring that of the pilots near: one, or
 * two where that moves it far. Grain makes the second one worth it: between the factors at which
 * grain is coded and at which it is dropped sizes fall several times faster than elsewhere.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "split.h"
#include "stretch.h"

/* One place may be unlike the rest: it moves the guess so far, it does not replace it. */
#define TRIAL_REACH 5.0
#define TRIAL_NEAR 1.5 /* a smaller move needs no second trial */
#define QUALITY_MIN 8.0
#define QUALITY_MAX 46.0

static int place_pilots(struct lathe_plan *plan, const struct media_scan *scan,
                        const struct lathe_cut_frame *frames, uint32_t n_frames,
                        const uint32_t *first, uint32_t count, uint32_t length)
{
    struct lathe_plan_pilot *pilots = calloc(count, sizeof(*pilots));
    if (!pilots)
        return -ENOMEM;
    free(plan->pilots);
    plan->pilots = pilots;
    plan->n_pilots = count;
    for (uint32_t p = 0; p < count; p++) {
        pilots[p].start = frames[first[p]].time;
        pilots[p].first_packet = split_decode_start(scan, plan, frames, first[p]);
        for (uint32_t i = first[p]; i < first[p] + length && i < n_frames; i++) {
            pilots[p].source_bytes += frames[i].bytes;
            pilots[p].frames++;
        }
    }
    return 0;
}

/* With two passes, every chunk in full. */
static int copy_chunks(struct lathe_plan *plan)
{
    struct lathe_plan_pilot *pilots = calloc(plan->n_chunks, sizeof(*pilots));
    if (!pilots)
        return -ENOMEM;
    for (uint32_t i = 0; i < plan->n_chunks; i++)
        pilots[i] = (struct lathe_plan_pilot){.start = plan->chunks[i].start,
                                              .first_packet = plan->chunks[i].first_packet,
                                              .frames = plan->chunks[i].frames,
                                              .source_bytes = plan->chunks[i].source_bytes};
    free(plan->pilots);
    plan->pilots = pilots;
    plan->n_pilots = plan->n_chunks;
    return 0;
}

/* The plan has one pilot: encodes it at the plan's factors; `ret` are those that its sizes ask for.
 */
static int try_once(const struct lathe_order *order, struct lathe_plan *plan,
                    const struct media_scan *scan, double ret[LATHE_RENDITIONS_MAX],
                    struct lathe_error *err)
{
    struct media_stretch stretch = {
        .plan = plan,
        .index = &scan->index,
        .source_path = order->source_path,
    };
    const int passes = plan->passes;
    plan->passes = 1; /* one short pilot stands for the whole */
    media_stretch_of_pilot(&stretch, 0);
    for (int i = 0; i < plan->n_renditions; i++)
        stretch.rates[i].quality = plan->renditions[i].pilot_quality;
    int r = media_stretch_run(&stretch, err);
    for (int i = 0; i < plan->n_renditions && r >= 0; i++) {
        struct lathe_rate rate;
        if (lathe_rate_for_chunk(plan, i, 0, &stretch.samples[i], NULL, 0, &rate) < 0)
            r = lathe_error_nomem(err);
        else
            ret[i] = rate.quality;
    }
    plan->passes = passes;
    return r;
}

static double within_reach(double quality, double guess)
{
    quality = fmin(fmax(quality, guess - TRIAL_REACH), guess + TRIAL_REACH);
    return fmin(fmax(quality, QUALITY_MIN), QUALITY_MAX);
}

/* Where a trial asks for the factor that it was made with, by the line through two of them. */
static double meet(const double quality[2], const double asked[2])
{
    double off[2] = {asked[0] - quality[0], asked[1] - quality[1]};
    bool crosses = fabs(off[1] - off[0]) > 0.01 && (off[0] < 0) != (off[1] < 0);
    return crosses ? quality[1] - off[1] * (quality[1] - quality[0]) / (off[1] - off[0]) : asked[1];
}

static int find_quality(const struct lathe_order *order, struct lathe_plan *plan,
                        const struct media_scan *scan, struct lathe_error *err)
{
    double guess[LATHE_RENDITIONS_MAX], asked[2][LATHE_RENDITIONS_MAX];
    bool is_near = true;
    for (int i = 0; i < plan->n_renditions; i++)
        guess[i] = plan->renditions[i].pilot_quality = lathe_rate_guess(plan, i);
    int r = try_once(order, plan, scan, asked[0], err);
    for (int i = 0; i < plan->n_renditions && r >= 0; i++) {
        plan->renditions[i].pilot_quality = within_reach(asked[0][i], guess[i]);
        is_near = is_near && fabs(plan->renditions[i].pilot_quality - guess[i]) < TRIAL_NEAR;
    }
    if (r < 0 || is_near)
        return r;
    r = try_once(order, plan, scan, asked[1], err);
    for (int i = 0; i < plan->n_renditions && r >= 0; i++) {
        double *quality = &plan->renditions[i].pilot_quality;
        *quality = within_reach(
            meet((double[]){guess[i], *quality}, (double[]){asked[0][i], asked[1][i]}), guess[i]);
    }
    return r;
}

int split_plan_pilots(const struct lathe_order *order, struct lathe_plan *plan,
                      const struct media_scan *scan, const struct lathe_cut_frame *frames,
                      uint32_t n_frames, struct lathe_error *err)
{
    if (order->job->quality >= 0)
        return 0;
    uint32_t *first = NULL, count = 0, length = 0;
    int r = lathe_cuts_pilots(frames, n_frames, &first, &count, &length);
    if (r >= 0)
        r = place_pilots(plan, scan, frames, n_frames, &first[count / 2], 1, length);
    if (r >= 0)
        r = find_quality(order, plan, scan, err);
    if (r >= 0)
        r = plan->passes == 2 ? copy_chunks(plan)
                              : place_pilots(plan, scan, frames, n_frames, first, count, length);
    free(first);
    return r;
}
