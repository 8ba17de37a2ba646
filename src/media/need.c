/* SPDX-License-Identifier: MIT */
#include "need.h"

#include <errno.h>
#include <stdlib.h>

/* Beyond the reordering: decoders that hold a picture back, packets without one. */
#define SPARE_PICTURES 4
#define TIMES_ITS_OWN 16
#define LEAD_IN_FREE_BYTES (1u << 20)

static int64_t time_of(const struct lathe_plan *plan, const struct media_index *index, uint32_t i)
{
    const struct media_index_entry *e = &index->entries[i];
    int64_t time = plan->times_from_dts ? e->dts_time : e->time;
    return time == MEDIA_NO_TIME ? MEDIA_NO_TIME : time - plan->origin;
}

/* What one stretch needs: up to the picture at `end`, and `spare` pictures more. */
struct target {
    int64_t end;
    uint32_t spare;
};

/* The latest packet shown at or before each end; ends ascend. */
static void find_last(const struct lathe_plan *plan, const struct media_index *index,
                      const struct target *targets, struct media_need *needs, uint32_t count)
{
    for (uint32_t i = 0; i < index->count; i++) {
        int64_t time = time_of(plan, index, i);
        if (time == MEDIA_NO_TIME)
            continue;
        uint32_t low = 0, high = count;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (targets[middle].end >= time)
                high = middle;
            else
                low = middle + 1;
        }
        if (low < count && needs[low].last < i)
            needs[low].last = i;
    }
}

static int finish(const struct lathe_plan *plan, const struct media_index *index,
                  const struct target *targets, struct media_need *needs, uint32_t count)
{
    find_last(plan, index, targets, needs, count);
    uint64_t *before = malloc(((size_t)index->count + 1) * sizeof(*before));
    if (!before)
        return -ENOMEM;
    before[0] = 0;
    for (uint32_t i = 0; i < index->count; i++)
        before[i + 1] = before[i] + index->entries[i].size;
    uint32_t latest = 0, at_least = 0;
    for (uint32_t k = 0; k < count; k++) {
        struct media_need *need = &needs[k];
        latest = need->last > latest ? need->last : latest;
        uint32_t last = targets[k].end == INT64_MAX ? index->count - 1 : latest;
        for (uint32_t spare = targets[k].spare; spare > 0 && last + 1 < index->count; last++)
            spare -= time_of(plan, index, last + 1) != MEDIA_NO_TIME;
        at_least = last > at_least ? last : at_least;
        need->last = at_least > need->first ? at_least : need->first;
        need->bytes = before[need->last + 1] - before[need->first];
    }
    free(before);
    return 0;
}

static int make(const struct lathe_plan *plan, const struct media_index *index,
                struct target *targets, struct media_need *needs, uint32_t count,
                struct media_need **ret)
{
    uint32_t first_key = media_index_first_key(index);
    for (uint32_t k = 0; k < count; k++) {
        if (needs[k].first < first_key)
            needs[k].first = first_key;
        if (needs[k].first >= index->count)
            needs[k].first = index->count - 1;
    }
    int r = finish(plan, index, targets, needs, count);
    free(targets);
    if (r < 0) {
        free(needs);
        return r;
    }
    *ret = needs;
    return 0;
}

int media_need_chunks(const struct lathe_plan *plan, const struct media_index *index,
                      struct media_need **ret)
{
    struct target *targets = calloc(plan->n_chunks, sizeof(*targets));
    struct media_need *needs = calloc(plan->n_chunks, sizeof(*needs));
    if (!targets || !needs) {
        free(targets);
        free(needs);
        return -ENOMEM;
    }
    for (uint32_t k = 0; k < plan->n_chunks; k++) {
        targets[k].end = plan->chunks[k].end;
        targets[k].spare = (uint32_t)plan->reorder_depth + SPARE_PICTURES;
        needs[k].first = plan->chunks[k].first_packet;
    }
    return make(plan, index, targets, needs, plan->n_chunks, ret);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Times of all shown packets, ascending. */
static int64_t *list_times(const struct lathe_plan *plan, const struct media_index *index,
                           uint32_t *ret_count)
{
    int64_t *times = malloc((size_t)index->count * sizeof(*times));
    uint32_t n = 0;
    for (uint32_t i = 0; i < index->count && times; i++) {
        int64_t time = time_of(plan, index, i);
        if (time != MEDIA_NO_TIME)
            times[n++] = time;
    }
    if (times)
        qsort(times, n, sizeof(*times), compare_times);
    *ret_count = n;
    return times;
}

int media_need_pilots(const struct lathe_plan *plan, const struct media_index *index,
                      struct media_need **ret)
{
    uint32_t n = 0;
    int64_t *times = list_times(plan, index, &n);
    struct target *targets = calloc((size_t)plan->n_pilots + 1, sizeof(*targets));
    struct media_need *needs = calloc((size_t)plan->n_pilots + 1, sizeof(*needs));
    if (!times || !targets || !needs) {
        free(times);
        free(targets);
        free(needs);
        return -ENOMEM;
    }
    for (uint32_t k = 0; k < plan->n_pilots; k++) {
        const struct lathe_plan_pilot *pilot = &plan->pilots[k];
        uint32_t at = 0, high = n;
        while (at < high) {
            uint32_t middle = at + (high - at) / 2;
            if (times[middle] >= pilot->start)
                high = middle;
            else
                at = middle + 1;
        }
        targets[k].end = n - at > pilot->frames ? times[at + pilot->frames] : INT64_MAX;
        /* Where packets are not always pictures, it takes more of them to make so many. */
        targets[k].spare = (uint32_t)plan->reorder_depth + SPARE_PICTURES + pilot->frames / 4;
        needs[k].first = pilot->first_packet;
    }
    free(times);
    return make(plan, index, targets, needs, plan->n_pilots, ret);
}

bool media_need_is_too_large(const struct media_need *need, uint64_t own_bytes)
{
    return need->bytes > TIMES_ITS_OWN * own_bytes + LEAD_IN_FREE_BYTES;
}
