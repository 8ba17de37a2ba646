/* SPDX-License-Identifier: MIT */
#include "stamp.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "hash.h"
#include "mux.h"
#include "setup.h"
#include "source.h"

#define TIMESCALE_MIN 1000

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int append_time(struct media_stamps *s, uint64_t *capacity, int64_t time)
{
    if (s->count == *capacity) {
        uint64_t grown = *capacity ? *capacity * 2 : 4096;
        int64_t *times = realloc(s->times, grown * sizeof(*times));
        if (!times)
            return -ENOMEM;
        s->times = times;
        *capacity = grown;
    }
    s->times[s->count++] = time;
    return 0;
}

/* How many packets decoded earlier are shown later, at most. */
static void update_depth(struct media_stamps *s, const int64_t *pts, uint64_t n)
{
    int later = 0;
    uint64_t from = n > 32 ? n - 32 : 0;
    for (uint64_t k = from; k < n; k++)
        later += pts[k] > pts[n];
    if (later > s->reorder_depth)
        s->reorder_depth = later;
}

static int wrong(const struct lathe_merge_input *input, struct lathe_error *err, const char *what)
{
    return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL, "the chunk %s %s", input->path,
                           what);
}

static int check_parameters(const AVCodecParameters *par, AVCodecParameters *first,
                            const struct lathe_merge_input *input, struct lathe_error *err)
{
    if (first->codec_id == AV_CODEC_ID_NONE)
        return avcodec_parameters_copy(first, par) < 0 ? lathe_error_nomem(err) : 0;
    if (par->codec_id != first->codec_id || par->width != first->width ||
        par->height != first->height)
        return wrong(input, err, "has other pictures than the first chunk");
    return 0;
}

static int collect_chunk(struct media_stamps *s, uint64_t *capacity, uint32_t number,
                         const struct lathe_merge_input *input, AVCodecParameters *first,
                         struct lathe_error *err)
{
    char sha256[65];
    uint64_t bytes = 0;
    int r = media_hash_file(input->path, sha256, &bytes, err);
    if (r < 0)
        return r;
    if (strcmp(sha256, input->sha256) != 0)
        return wrong(input, err, "does not have the hash that was recorded");
    struct media_source source;
    r = media_source_open_chunk(&source, input->path, err);
    if (r < 0)
        return r;
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    const uint64_t begin = s->count;
    if (!packet)
        r = lathe_error_nomem(err);
    else if (source.format->nb_streams != 1 || source.video_stream != 0)
        r = wrong(input, err, "is not one video stream");
    else
        r = check_parameters(source.format->streams[0]->codecpar, first, input, err);
    if (r >= 0) {
        r = media_sets_add(&s->sets, number, source.format->streams[0]->codecpar);
        if (r < 0)
            r = r == -ENOMEM ? lathe_error_nomem(err)
                             : wrong(input, err, "has yet other parameter sets");
    }
    while (r >= 0 && (r = av_read_frame(source.format, packet)) >= 0) {
        if (s->count == begin && !(packet->flags & AV_PKT_FLAG_KEY))
            r = wrong(input, err, "does not begin with a key frame");
        else if (packet->pts == AV_NOPTS_VALUE)
            r = wrong(input, err, "has a frame without time");
        else if (append_time(s, capacity, packet->pts) < 0)
            r = lathe_error_nomem(err);
        else
            update_depth(s, s->times + begin, s->count - 1 - begin);
        av_packet_unref(packet);
    }
    media_source_close(&source);
    if (r != AVERROR_EOF)
        return r < 0 && r != -ENOMEM && (!err || !err->code)
                   ? media_error(err, r, LATHE_FAULT_INTERNAL, "cannot read %s", input->path)
                   : r;
    const uint64_t frames = s->count - begin;
    if (frames != input->frames || !frames)
        return wrong(input, err, "does not hold the number of frames that was recorded");
    qsort(s->times + begin, frames, sizeof(*s->times), compare_times);
    const int64_t min_pts = s->times[begin];
    s->chunks[number] = (struct media_stamp_chunk){
        .frames = (uint32_t)frames, .first_time = input->first_time, .min_pts = min_pts};
    for (uint64_t i = begin; i < s->count; i++) {
        s->times[i] += input->first_time - min_pts;
        if (i && s->times[i] <= s->times[i - 1])
            return wrong(input, err, "overlaps the chunk before it");
    }
    return 0;
}

int media_stamps_collect(struct media_stamps *ret, const struct lathe_order *order,
                         const struct lathe_plan *plan, struct lathe_error *err)
{
    *ret = (struct media_stamps){.n_chunks = order->n_inputs, .factor = 1};
    ret->chunks = calloc(order->n_inputs, sizeof(*ret->chunks));
    _cleanup_(avcodec_parameters_free) AVCodecParameters *first = avcodec_parameters_alloc();
    if (!ret->chunks || !first || media_sets_init(&ret->sets, order->n_inputs) < 0) {
        media_stamps_finish(ret);
        return lathe_error_nomem(err);
    }
    uint64_t capacity = 0;
    for (uint32_t i = 0; i < order->n_inputs; i++) {
        int r = collect_chunk(ret, &capacity, i, &order->inputs[i], first, err);
        if (r < 0) {
            media_stamps_finish(ret);
            return r;
        }
    }
    if (plan->time_base.den < TIMESCALE_MIN)
        ret->factor = (TIMESCALE_MIN + plan->time_base.den - 1) / plan->time_base.den;
    ret->timescale = plan->time_base.den * ret->factor;
    ret->lead = av_rescale_q(1, (AVRational){plan->frame_rate.den, plan->frame_rate.num},
                             (AVRational){plan->time_base.num, plan->time_base.den});
    if (ret->lead < 1)
        ret->lead = 1;
    return 0;
}

void media_stamps_finish(struct media_stamps *stamps)
{
    media_sets_finish(&stamps->sets);
    free(stamps->times);
    free(stamps->chunks);
    *stamps = (struct media_stamps){0};
}

int64_t media_stamps_dts(const struct media_stamps *s, uint64_t n)
{
    uint64_t depth = (uint64_t)s->reorder_depth;
    if (n >= depth)
        return s->times[n - depth];
    return s->times[0] - (int64_t)(depth - n) * s->lead;
}
