/* SPDX-License-Identifier: MIT */
/*
 * The verb cut: the packets that each pilot and each chunk is decoded from, by stream copy into
 * files of their own, and those of the sound. Pilots come first, each found by a seek, since every
 * chunk waits for them; then the source is read once from its beginning.
 *
 * Memory is bounded by the number of files that are open at a time, which overlap only by lead-in
 * and lead-out; scratch space by waiting for complete files to be taken away.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "packets.h"
#include "reader.h"
#include "setup.h"
#include "sound_packets.h"
#include "task.h"
#include "timeline.h"

#define OPEN_FILES_MAX 24
#define READ_ERRORS_MAX 64
#define WAIT_NS 20000000

struct piece {
    struct media_packets_writer writer;
    char *path;
    uint32_t chunk;
};

struct cut {
    const struct lathe_order *order;
    struct media_task task;
    lathe_media_progress progress;
    void *opaque;
    uint64_t bytes_read;            /* of packets */
    char *waiting[LATHE_CUT_AHEAD]; /* complete files, the oldest first, until they are taken */
    int n_waiting;
    struct media_need *chunks;
    struct piece *open[OPEN_FILES_MAX];
    int n_open;
    uint32_t next_chunk; /* the first that was neither begun nor left out */
    uint32_t told;       /* chunks up to here were reported */
    struct media_sound_writer sound;
    char *sound_path, *table_path;
    bool has_sound; /* it is written, and not given up */
};

/* --- telling, and waiting until what was told is taken away --- */

static int tell(struct cut *c, const struct lathe_cut_file *file, struct lathe_error *err)
{
    struct lathe_progress now = {.bytes = c->bytes_read, .has_file = file};
    if (file)
        now.file = *file;
    if (c->progress && c->progress(c->opaque, &now))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
    return 0;
}

static int wait_for_room(struct cut *c, struct lathe_error *err)
{
    for (;;) {
        int kept = 0;
        for (int i = 0; i < c->n_waiting; i++) {
            if (access(c->waiting[i], F_OK) == 0)
                c->waiting[kept++] = c->waiting[i];
            else
                free(c->waiting[i]);
        }
        c->n_waiting = kept;
        if (kept < LATHE_CUT_AHEAD)
            return 0;
        const struct timespec pause = {0, WAIT_NS};
        nanosleep(&pause, NULL);
        int r = tell(c, NULL, err);
        if (r < 0)
            return r;
    }
}

/* Takes over `path`. */
static int tell_complete(struct cut *c, enum lathe_unit_kind kind, uint32_t index, char *path,
                         struct lathe_error *err)
{
    struct lathe_cut_file file = {.kind = kind, .index = index, .is_cut = true};
    int r = media_hash_file(path, file.sha256, &file.bytes, err);
    if (r >= 0)
        r = wait_for_room(c, err);
    if (r < 0) {
        free(path);
        return r;
    }
    c->waiting[c->n_waiting++] = path;
    return tell(c, &file, err);
}

static int tell_left_out(struct cut *c, enum lathe_unit_kind kind, uint32_t index,
                         struct lathe_error *err)
{
    const struct lathe_cut_file file = {.kind = kind, .index = index};
    return tell(c, &file, err);
}

/* --- pilots --- */

static int copy_pilot(struct cut *c, const struct media_need *need, const char *path, bool linear,
                      struct lathe_error *err)
{
    struct media_reader reader;
    struct media_packets_writer writer;
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!packet)
        return lathe_error_nomem(err);
    int r = media_reader_open(&reader, c->order->source_path, c->task.plan.video_stream,
                              &c->task.index, need->first, linear, err);
    if (r < 0)
        return r;
    r = media_packets_create(&writer, path, &c->task.plan, &c->task.index, need, err);
    if (r >= 0) {
        uint32_t number = need->first;
        while (r >= 0 && number < need->last + 1) {
            r = media_reader_next(&reader, packet, &number, err);
            if (r > 0)
                r = media_packets_add(&writer, packet, number++, err);
            c->bytes_read += (uint64_t)packet->size;
            av_packet_unref(packet);
            if (r >= 0)
                r = tell(c, NULL, err);
        }
        if (r >= 0)
            r = media_packets_end(&writer, err);
        media_packets_discard(&writer);
    }
    media_reader_close(&reader);
    if (r < 0)
        unlink(path);
    return r;
}

static int cut_pilot(struct cut *c, uint32_t index, const struct media_need *need,
                     struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->task.plan;
    /* Short as it is, what lies before it may be as much as before a chunk. */
    if (media_need_is_too_large(need, plan->source_bytes / plan->n_chunks))
        return tell_left_out(c, LATHE_UNIT_PILOT, index, err);
    char *path = lathe_cut_path(c->order->out_paths[0], LATHE_UNIT_PILOT, index, plan);
    int r = path ? copy_pilot(c, need, path, false, err) : lathe_error_nomem(err);
    if (r == -ESTALE) /* seeking led astray */
        r = copy_pilot(c, need, path, true, err);
    if (r >= 0)
        return tell_complete(c, LATHE_UNIT_PILOT, index, path, err);
    free(path);
    return r == -ENOTSUP ? tell_left_out(c, LATHE_UNIT_PILOT, index, err) : r;
}

static int cut_pilots(struct cut *c, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->task.plan;
    if (lathe_plan_shares_packets(plan) || c->order->index >= plan->n_pilots)
        return 0;
    struct media_need *needs = NULL;
    if (media_need_pilots(plan, &c->task.index, &needs) < 0)
        return lathe_error_nomem(err);
    int r = 0;
    for (uint32_t i = c->order->index; i < plan->n_pilots && r >= 0; i++)
        r = cut_pilot(c, i, &needs[i], err);
    free(needs);
    return r;
}

/* --- chunks --- */

/* The caller has dealt with the file itself. */
static void close_piece(struct cut *c, int i)
{
    media_packets_discard(&c->open[i]->writer);
    free(c->open[i]->path);
    free(c->open[i]);
    memmove(&c->open[i], &c->open[i + 1], (size_t)(--c->n_open - i) * sizeof(c->open[0]));
}

static int open_piece(struct cut *c, uint32_t chunk, struct lathe_error *err)
{
    struct piece *piece = calloc(1, sizeof(*piece));
    char *path = lathe_cut_path(c->order->out_paths[0], LATHE_UNIT_CHUNK, chunk, &c->task.plan);
    int r = piece && path ? media_packets_create(&piece->writer, path, &c->task.plan,
                                                 &c->task.index, &c->chunks[chunk], err)
                          : lathe_error_nomem(err);
    if (r < 0) {
        if (path)
            unlink(path);
        free(path);
        free(piece);
        return r;
    }
    piece->path = path;
    piece->chunk = chunk;
    c->open[c->n_open++] = piece;
    return 0;
}

/* Begins the chunks whose first packet is `number`, or was before. */
static int begin_chunks(struct cut *c, uint32_t number, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->task.plan;
    for (; c->next_chunk < plan->n_chunks && c->chunks[c->next_chunk].first <= number;
         c->next_chunk++) {
        const struct media_need *need = &c->chunks[c->next_chunk];
        if (need->first < number || c->n_open == OPEN_FILES_MAX ||
            media_need_is_too_large(need, plan->chunks[c->next_chunk].source_bytes))
            continue;
        int r = wait_for_room(c, err);
        if (r >= 0)
            r = open_piece(c, c->next_chunk, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Reports the chunks that are complete with packet `number`, in their order. */
static int end_chunks(struct cut *c, uint32_t number, struct lathe_error *err)
{
    int r = 0;
    while (r >= 0 && c->told < c->next_chunk && c->chunks[c->told].last <= number) {
        int i = 0;
        while (i < c->n_open && c->open[i]->chunk != c->told)
            i++;
        if (i == c->n_open) {
            r = tell_left_out(c, LATHE_UNIT_CHUNK, c->told++, err);
            continue;
        }
        r = media_packets_end(&c->open[i]->writer, err);
        if (r < 0)
            break;
        char *path = c->open[i]->path;
        c->open[i]->path = NULL;
        close_piece(c, i);
        r = tell_complete(c, LATHE_UNIT_CHUNK, c->told++, path, err);
    }
    return r;
}

static int add_picture(struct cut *c, const AVPacket *packet, uint32_t number,
                       struct lathe_error *err)
{
    const struct media_index *index = &c->task.index;
    if (number >= index->count ||
        !media_index_matches(&index->entries[number], packet->data, packet->size))
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                               "%s does not match its index at packet %u: was it changed?",
                               c->order->source_path, number);
    int r = begin_chunks(c, number, err);
    for (int i = 0; i < c->n_open && r >= 0; i++) {
        r = media_packets_add(&c->open[i]->writer, packet, number, err);
        if (r == -ENOTSUP) {
            unlink(c->open[i]->path);
            close_piece(c, i--);
            r = 0;
        }
    }
    return r < 0 ? r : end_chunks(c, number, err);
}

/* --- sound --- */

static int begin_sound(struct cut *c, const AVFormatContext *source, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->task.plan;
    if (!plan->n_audio || !plan->sound_container[0])
        return 0;
    for (int i = 0; i < plan->n_audio; i++)
        if (plan->audio[i].stream < 0 || (unsigned)plan->audio[i].stream >= source->nb_streams)
            return lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                                   "%s does not match its plan: was it changed?",
                                   c->order->source_path);
    c->sound_path = lathe_cut_path(c->order->out_paths[0], LATHE_UNIT_AUDIO, 0, plan);
    c->table_path = lathe_cut_table_path(c->order->out_paths[0]);
    if (!c->sound_path || !c->table_path)
        return lathe_error_nomem(err);
    int r = media_sound_create(&c->sound, c->sound_path, c->table_path, plan, source, err);
    c->has_sound = r >= 0;
    return r == -ENOTSUP ? 0 : r;
}

static void give_up_sound(struct cut *c)
{
    if (c->has_sound)
        media_sound_discard(&c->sound);
    if (c->sound_path)
        unlink(c->sound_path);
    if (c->table_path)
        unlink(c->table_path);
    c->has_sound = false;
}

static int add_sound(struct cut *c, AVPacket *packet, struct lathe_error *err)
{
    int r = c->has_sound ? media_sound_add(&c->sound, packet, err) : 0;
    if (r != -ENOTSUP)
        return r;
    give_up_sound(c);
    return 0;
}

static int end_sound(struct cut *c, struct lathe_error *err)
{
    if (!c->task.plan.n_audio || !c->task.plan.sound_container[0])
        return 0;
    if (!c->has_sound)
        return tell_left_out(c, LATHE_UNIT_AUDIO, 0, err);
    int r = media_sound_finish(&c->sound, err);
    media_sound_discard(&c->sound);
    c->has_sound = false;
    if (r < 0)
        return r;
    char *path = c->sound_path;
    c->sound_path = NULL;
    return tell_complete(c, LATHE_UNIT_AUDIO, 0, path, err);
}

/* --- the source, once --- */

static int cut_packets(struct cut *c, struct media_source *source, struct media_timeline *timeline,
                       struct lathe_error *err)
{
    _cleanup_packet_ AVPacket *packet = av_packet_alloc();
    if (!packet)
        return lathe_error_nomem(err);
    uint32_t number = 0;
    for (int errors = 0;;) {
        int r = av_read_frame(source->format, packet);
        if (r == AVERROR(ENOMEM))
            return lathe_error_nomem(err);
        if (r < 0 && r != AVERROR_EOF && ++errors < READ_ERRORS_MAX)
            continue; /* the index was made over the same errors */
        if (r < 0)
            break;
        errors = 0;
        const AVStream *stream = source->format->streams[packet->stream_index];
        const bool is_picture = packet->stream_index == source->video_stream;
        const uint64_t bytes = (uint64_t)packet->size;
        r = 0;
        if (is_picture && packet->size > 0 && c->task.plan.packets_container[0])
            r = add_picture(c, packet, number++, err);
        if (r >= 0 && (is_picture || stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) &&
            media_timeline_heal(timeline, stream, packet) < 0)
            r = lathe_error_nomem(err);
        if (r >= 0 && stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO)
            r = add_sound(c, packet, err);
        av_packet_unref(packet);
        c->bytes_read += bytes;
        if (r >= 0)
            r = tell(c, NULL, err);
        if (r < 0)
            return r;
    }
    if (c->task.plan.packets_container[0] && c->told < c->task.plan.n_chunks)
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INPUT,
                               "%s is shorter than when it was indexed: was it changed?",
                               c->order->source_path);
    return end_sound(c, err);
}

static int cut_source(struct cut *c, struct lathe_error *err)
{
    const struct lathe_plan *plan = &c->task.plan;
    const uint32_t pilots = lathe_plan_shares_packets(plan) ? 0 : plan->n_pilots;
    struct media_source source;
    struct media_timeline timeline = {0};
    c->next_chunk = c->told = c->order->index > pilots ? c->order->index - pilots : 0;
    if (media_need_chunks(plan, &c->task.index, &c->chunks) < 0)
        return lathe_error_nomem(err);
    /* What is there already is not made again, only read over. */
    int r = media_source_open(&source, c->order->source_path, err);
    if (r < 0)
        return r;
    r = media_timeline_init(&timeline, source.format) < 0 ? lathe_error_nomem(err)
                                                          : begin_sound(c, source.format, err);
    if (r >= 0)
        r = cut_packets(c, &source, &timeline, err);
    media_timeline_finish(&timeline);
    media_source_close(&source);
    return r;
}

static void finish(struct cut *c)
{
    while (c->n_open) {
        unlink(c->open[0]->path);
        close_piece(c, 0);
    }
    if (c->has_sound)
        give_up_sound(c);
    for (int i = 0; i < c->n_waiting; i++)
        free(c->waiting[i]);
    free(c->sound_path);
    free(c->table_path);
    free(c->chunks);
    media_task_finish(&c->task);
}

int lathe_media_cut(const struct lathe_order *order, lathe_media_progress progress, void *opaque,
                    json_t **ret_body, struct lathe_error *err)
{
    struct cut c = {.order = order, .progress = progress, .opaque = opaque};
    int r = media_task_load(&c.task, order, true, err);
    if (r < 0)
        return r;
    if (c.task.plan.packets_container[0])
        r = cut_pilots(&c, err);
    if (r >= 0)
        r = cut_source(&c, err);
    if (r >= 0 && !(*ret_body = json_pack("{s:I}", "cpu_us", (json_int_t)media_cpu_us())))
        r = lathe_error_nomem(err);
    finish(&c);
    return r;
}
