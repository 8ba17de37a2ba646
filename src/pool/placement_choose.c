/* SPDX-License-Identifier: MIT */
/*
 * The choice of a place: the ladder asked for every device, less what failed with this chunk, less
 * what health rules out, and then whatever has room.
 */
#include <stdio.h>

#include "lathe/base.h"
#include "placement.h"

/* Lower is better: the family that the chunk began with, then others, then those that only decode;
 * within these the step. */
enum { RANK_OTHER_FAMILY = 10, RANK_DECODES = 20, RANK_SOFTWARE = 30 };

struct candidate {
    struct lathe_ladder_choice choice;
    int rank;
    unsigned room; /* lanes that are free */
};

struct survey {
    struct candidate candidates[LATHE_HW_DEVICES_MAX]; /* rank RANK_SOFTWARE: it is none */
    int best;                                          /* -1: none */
    int over, over_rank;                               /* better, but for its health; -1: none */
    struct lathe_ladder_choice over_choice;
};

static int rank_of(const struct lathe_placement *p, unsigned device,
                   const struct lathe_attempts *attempts, const struct lathe_ladder_choice *choice)
{
    if (choice->step < LATHE_STEP_ALL_GPU || choice->step > LATHE_STEP_GPU_UNTIL_SCALE)
        return RANK_SOFTWARE;
    if (choice->step == LATHE_STEP_GPU_UNTIL_SCALE)
        return RANK_DECODES;
    bool other =
        attempts->family != LATHE_ENCODER_AUTO && attempts->family != p->devices[device].family;
    return (other ? RANK_OTHER_FAMILY : 0) + (int)choice->step;
}

static void ask(const struct lathe_placement *p, unsigned device,
                const struct lathe_attempts *attempts, unsigned bad_steps,
                struct lathe_ladder_choice *ret)
{
    struct lathe_ladder_request request = *attempts->request;
    request.failed_steps = attempts->failed[device] | bad_steps;
    request.failed_reason = attempts->reason;
    lathe_ladder_decide(&p->devices[device], &request, ret);
}

/* Lanes that could be used at all; a child that cannot be killed still holds its own. */
static unsigned usable_lanes(struct lathe_placement *p, unsigned device, int64_t now_us)
{
    struct lathe_placement_use *use = &p->use[device];
    unsigned lanes = lathe_health_lanes(&use->health, use->lanes, now_us);
    unsigned stuck =
        p->pool ? lathe_pool_stuck_on(p->pool, p->devices[device].family, p->devices[device].path)
                : 0;
    return lanes > stuck ? lanes - stuck : 0;
}

static void look_at(struct lathe_placement *p, unsigned device,
                    const struct lathe_attempts *attempts, int64_t now_us, struct survey *s)
{
    const struct lathe_placement_use *use = &p->use[device];
    struct candidate *c = &s->candidates[device];
    struct lathe_ladder_choice ideal;
    ask(p, device, attempts, 0, &ideal);
    int ideal_rank = rank_of(p, device, attempts, &ideal);
    c->rank = RANK_SOFTWARE;
    unsigned lanes = usable_lanes(p, device, now_us);
    bool waits = attempts->request->wish == LATHE_HW_REQUIRE; /* for lanes to come back */
    if (!use->is_gone && !use->health.until_us && !use->is_tried && (lanes > 0 || waits)) {
        ask(p, device, attempts, lathe_health_bad_steps(&use->health, now_us), &c->choice);
        c->rank = rank_of(p, device, attempts, &c->choice);
        c->room = lanes > use->active ? lanes - use->active : 0;
    }
    if (c->rank < RANK_SOFTWARE && (s->best < 0 || c->rank < s->candidates[s->best].rank))
        s->best = (int)device;
    if (ideal_rank < c->rank && attempts->failed[device] == 0 && attempts->busy == 0 &&
        (s->over < 0 || ideal_rank < s->over_rank)) {
        s->over = (int)device;
        s->over_rank = ideal_rank;
        s->over_choice = ideal;
    }
}

/* A device could do it, which is left alone for the first time since it worked. */
static bool is_worth_waiting(const struct lathe_placement *p, const struct lathe_attempts *attempts)
{
    for (unsigned i = 0; attempts->waits && i < p->n_devices; i++) {
        const struct lathe_placement_use *use = &p->use[i];
        struct lathe_ladder_choice ideal;
        ask(p, i, attempts, 0, &ideal);
        if (!use->is_gone && use->health.until_us && use->health.quarantines <= 1 &&
            rank_of(p, i, attempts, &ideal) < RANK_DECODES)
            return true;
    }
    return false;
}

/* The best candidate with room; other families than the best one's only if they may be mixed. */
static int with_room(const struct lathe_placement *p, const struct survey *s, bool mix)
{
    int found = -1;
    for (unsigned i = 0; i < p->n_devices; i++) {
        const struct candidate *c = &s->candidates[i];
        if (c->rank >= RANK_DECODES || c->room == 0 ||
            (!mix && p->devices[i].family != p->devices[s->best].family))
            continue;
        if (found < 0 || c->rank < s->candidates[found].rank ||
            (c->rank == s->candidates[found].rank && p->use[i].active < p->use[found].active))
            found = (int)i;
    }
    return found;
}

static bool has_software_room(const struct lathe_placement *p)
{
    unsigned stuck = p->pool ? lathe_pool_stuck_on(p->pool, LATHE_ENCODER_AUTO, NULL) : 0;
    return p->software_active + stuck < p->options.slots;
}

/* A chunk takes a processor much longer than a GPU, so one that is begun near the end would be
 * waited for. */
static bool pays_beside(const struct lathe_placement *p, const struct lathe_attempts *attempts)
{
    unsigned lanes = 0;
    for (unsigned i = 0; i < p->n_devices; i++)
        lanes += p->use[i].is_gone ? 0 : p->use[i].lanes;
    return attempts->mix == LATHE_MIX_ALLOW && attempts->family == LATHE_ENCODER_AUTO &&
           attempts->request->encoder == LATHE_ENCODER_AUTO &&
           attempts->request->wish == LATHE_HW_PREFER &&
           attempts->chunks_left >= LATHE_BESIDE_CHUNKS * lanes;
}

static void fill(const struct lathe_placement *p, const struct survey *s, int device,
                 struct lathe_place *ret)
{
    int rank = device < 0 ? RANK_SOFTWARE : s->candidates[device].rank;
    *ret = (struct lathe_place){.device = device,
                                .step = LATHE_STEP_ALL_SOFTWARE,
                                .family = LATHE_ENCODER_SOFTWARE,
                                .encoder = LATHE_ENCODER_SOFTWARE};
    if (device >= 0) {
        const struct lathe_ladder_choice *choice = &s->candidates[device].choice;
        ret->step = choice->step;
        ret->family = p->devices[device].family;
        ret->encoder = choice->encoder;
        ret->features = choice->features;
        snprintf(ret->path, sizeof ret->path, "%s", p->devices[device].path);
    }
    if (s->over < 0 || s->over_rank >= rank)
        return;
    const struct lathe_health *health = &p->use[s->over].health;
    ret->over_step = s->over_choice.step;
    ret->over_family = p->devices[s->over].family;
    ret->over_encoder = s->over_choice.encoder;
    snprintf(ret->over_path, sizeof ret->over_path, "%s", p->devices[s->over].path);
    bool is_out = health->until_us || p->use[s->over].is_tried;
    ret->over_verdict =
        !is_out && health->is_limited && health->limit == 0 ? LATHE_HW_BUSY : health->verdict;
    snprintf(ret->over_reason, sizeof ret->over_reason, "%s: %.190s",
             is_out ? "left alone after failures" : "not used after failures", health->reason);
    if (ret->over_verdict == LATHE_HW_BUSY)
        snprintf(ret->over_reason, sizeof ret->over_reason, "%.220s", health->reason);
    else if (!health->reason[0])
        snprintf(ret->over_reason, sizeof ret->over_reason, "its slots are stuck in the kernel");
}

enum lathe_placement_answer lathe_placement_choose(struct lathe_placement *p,
                                                   const struct lathe_attempts *attempts,
                                                   int64_t now_us, struct lathe_place *ret)
{
    struct survey s = {.best = -1, .over = -1};
    for (unsigned i = 0; i < p->n_devices; i++)
        look_at(p, i, attempts, now_us, &s);
    bool software = has_software_room(p);
    if (s.best >= 0 && s.candidates[s.best].rank < RANK_DECODES) {
        int device = with_room(p, &s, attempts->mix == LATHE_MIX_ALLOW);
        if (device < 0 && !(software && pays_beside(p, attempts)))
            return LATHE_PLACE_WAIT;
        if (device < 0)
            s.over = -1; /* nothing was wrong with the GPU */
        fill(p, &s, device, ret);
        return LATHE_PLACE_FOUND;
    }
    if (attempts->request->wish == LATHE_HW_REQUIRE)
        return is_worth_waiting(p, attempts) ? LATHE_PLACE_WAIT : LATHE_PLACE_NONE;
    if (!software)
        return LATHE_PLACE_WAIT;
    fill(p, &s, s.best, ret); /* -1, or one that decodes */
    return LATHE_PLACE_FOUND;
}
