/* SPDX-License-Identifier: MIT */
/*
 * Cuts decide speed (equal work for every slot, little lead-in) and quality (a new GOP where the
 * source has none costs bits). Nothing here depends on the host, or two hosts would give
 * different bytes.
 */
#include "lathe/cuts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define CHUNK_SECONDS 8.0
#define CHUNK_MIN_SECONDS 2.0
/* A cut may move this far from its ideal place, in chunk lengths. */
#define CUT_WINDOW 0.25
/* Costs in chunk lengths: a key frame of the regular beat, a cut inside a GOP, and decoding
 * relative to encoding (measured: 13 % for 1080p to 720p at preset fast). */
#define COST_REGULAR_KEY 0.02
#define COST_INSIDE_GOP 0.10
#define COST_DECODE 0.13
/* Cost of a frame: so much is the same for all, the rest goes with its bytes in the source. */
#define COST_EQUAL_SHARE 0.7

/* Pilots: many short ones tell more than a few long ones (measured on eleven scenes: four were off
 * by 25 % rms, seven by 15 %). With the usual three B frames five pictures need five packets, a
 * sixth needs eight. */
#define PILOT_FRAMES 5
#define PILOT_EVERY_FRAMES 240
#define PILOTS_MIN 6
#define PILOTS_MAX 32

uint32_t lathe_cuts_count(uint32_t n_frames, double seconds_total, double wish_seconds)
{
    double count;
    if (wish_seconds > 0) {
        count = ceil(seconds_total / wish_seconds - 1e-6);
    } else {
        if (seconds_total < 2 * CHUNK_MIN_SECONDS)
            return 1;
        count = 2 * fmax(1, round(seconds_total / CHUNK_SECONDS / 2));
    }
    if (count > n_frames)
        count = n_frames;
    return count < 1 ? 1 : (uint32_t)count;
}

static double *cumulative_cost(const struct lathe_cut_frame *frames, uint32_t n)
{
    double *cost = malloc((n + 1) * sizeof(*cost));
    if (!cost)
        return NULL;
    double bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += frames[i].bytes;
    double per_byte = bytes > 0 ? (1 - COST_EQUAL_SHARE) * n / bytes : 0;
    cost[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        cost[i + 1] = cost[i] + COST_EQUAL_SHARE + per_byte * frames[i].bytes;
    return cost;
}

/* A key frame earlier than the longest GOP allows was most likely placed at a change of scene. */
static uint32_t longest_gop(const struct lathe_cut_frame *frames, uint32_t n)
{
    uint32_t longest = 0, last = 0;
    for (uint32_t i = 1; i < n; i++)
        if (frames[i].key) {
            if (i - last > longest)
                longest = i - last;
            last = i;
        }
    return longest;
}

int lathe_cuts_choose(const struct lathe_cut_frame *frames, uint32_t n_frames, uint32_t n_chunks,
                      bool inside, uint32_t **ret_first, uint32_t *ret_count)
{
    if (n_chunks > n_frames)
        n_chunks = n_frames ? n_frames : 1;
    uint32_t *first = calloc(n_chunks, sizeof(*first));
    double *cost = cumulative_cost(frames, n_frames);
    uint32_t *key_before = malloc((n_frames + 1) * sizeof(*key_before));
    if (!first || !cost || !key_before) {
        free(first);
        free(cost);
        free(key_before);
        return -ENOMEM;
    }
    uint32_t gop = longest_gop(frames, n_frames), last_key = 0;
    for (uint32_t i = 0; i < n_frames; i++) {
        uint32_t previous = last_key;
        if (frames[i].key)
            last_key = i;
        key_before[i] = frames[i].key ? previous : last_key;
    }
    const double chunk_cost = cost[n_frames] / n_chunks;
    const double chunk_frames = (double)n_frames / n_chunks;
    uint32_t count = 1;
    for (uint32_t c = 1; c < n_chunks; c++) {
        const double ideal = chunk_cost * c;
        uint32_t best = 0;
        double best_penalty = INFINITY;
        /* At least one frame for this and every later chunk. */
        for (uint32_t i = first[count - 1] + 1; i + (n_chunks - c) <= n_frames; i++) {
            double away = fabs(cost[i] - ideal) / chunk_cost;
            if (cost[i] > ideal && away > CUT_WINDOW && (best || away > 1.5))
                break;
            if (away > CUT_WINDOW && !frames[i].key && i > first[count - 1] + 1)
                continue;
            if (!frames[i].key && !inside)
                continue;
            double penalty = away;
            if (!frames[i].key)
                penalty += COST_INSIDE_GOP + COST_DECODE * (i - key_before[i]) / chunk_frames;
            else if (i - key_before[i] == gop)
                penalty += COST_REGULAR_KEY;
            if (penalty < best_penalty) {
                best_penalty = penalty;
                best = i;
            }
        }
        if (best)
            first[count++] = best;
    }
    free(cost);
    free(key_before);
    *ret_first = first;
    *ret_count = count;
    return 0;
}

int lathe_cuts_pilots(const struct lathe_cut_frame *frames, uint32_t n_frames, uint32_t **ret_first,
                      uint32_t *ret_count, uint32_t *ret_length)
{
    double wish = round((double)n_frames / PILOT_EVERY_FRAMES);
    uint32_t count = (uint32_t)fmin(fmax(wish, PILOTS_MIN), PILOTS_MAX);
    uint32_t length = PILOT_FRAMES;
    if (n_frames < count * length * 4) { /* a very short source: one pilot over a quarter of it */
        count = 1;
        length = n_frames / 4 > 3 ? n_frames / 4 : (n_frames < 3 ? n_frames : 3);
        if (length > PILOT_FRAMES * 2)
            length = PILOT_FRAMES * 2;
    }
    uint32_t *first = calloc(count, sizeof(*first));
    if (!first)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t p = 0; p < count; p++) {
        /* The middle of each of `count` equal parts, moved back to a key frame of the same part. */
        uint32_t begin = (uint32_t)((uint64_t)n_frames * p / count);
        uint32_t at = (uint32_t)((uint64_t)n_frames * (2 * p + 1) / (2 * count));
        if (at + length > n_frames)
            at = n_frames - length;
        uint32_t key = at;
        while (key > begin && !frames[key].key)
            key--;
        if (frames[key].key)
            at = key;
        if (n == 0 || at > first[n - 1])
            first[n++] = at;
    }
    *ret_first = first;
    *ret_count = n;
    *ret_length = length;
    return 0;
}
