/* SPDX-License-Identifier: MIT */
/*
 * The plan as JSON: plan.json, and what `lathe plan --json` prints.
 *
 * A rational is [num, den]. Chunks and pilots are one short array each, so that ten thousand of
 * them take some 400 kB:
 *
 *     "chunks": [[start, first_packet, frames, source_bytes], …]
 *     "pilots": [[start, first_packet, frames, source_bytes], …]
 *
 * A chunk ends where the next one starts and the last has no end, so a plan with gaps or overlaps
 * cannot be written down.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "json_io.h"
#include "lathe/base.h"
#include "lathe/plan.h"
#include "plan_limits.h"
#include "rendition.h"

static json_t *rational_to_json(struct lathe_rational value)
{
    return json_pack("[i, i]", value.num, value.den);
}

/* Appends, taking over `value`; frees the array when memory is short. */
static json_t *append(json_t *array, json_t *value)
{
    if (array && json_array_append_new(array, value) == 0)
        return array;
    if (!array)
        json_decref(value);
    json_decref(array);
    return NULL;
}

static json_t *renditions_to_json(const struct lathe_plan *plan)
{
    json_t *array = json_array();
    for (int i = 0; i < plan->n_renditions && array; i++) {
        const struct lathe_plan_rendition *rendition = &plan->renditions[i];
        struct lathe_json_out out;
        lathe_json_out_init(&out);
        lathe_json_put_text(&out, "name", rendition->name);
        lathe_json_put_int(&out, "width", rendition->width);
        lathe_json_put_int(&out, "height", rendition->height);
        lathe_json_put(&out, "sar", rational_to_json(rendition->sar));
        lathe_json_put_int(&out, "bitrate_kbps", rendition->bitrate_kbps);
        lathe_json_put_int(&out, "maxrate_kbps", rendition->maxrate_kbps);
        lathe_json_put_int(&out, "bufsize_kbit", rendition->bufsize_kbit);
        lathe_json_put_real(&out, "quality", rendition->quality);
        lathe_json_put_real(&out, "pilot_quality", rendition->pilot_quality);
        lathe_json_put_text(&out, "pix_fmt", rendition->pix_fmt);
        json_t *object = NULL;
        lathe_json_out_take(&out, &object);
        array = append(array, object);
    }
    return array;
}

static json_t *audio_to_json(const struct lathe_plan *plan)
{
    json_t *array = json_array();
    for (int i = 0; i < plan->n_audio && array; i++) {
        const struct lathe_plan_audio *audio = &plan->audio[i];
        struct lathe_json_out out;
        lathe_json_out_init(&out);
        lathe_json_put_int(&out, "stream", audio->stream);
        lathe_json_put_text(&out, "language", audio->language);
        lathe_json_put_text(&out, "title", audio->title);
        lathe_json_put(&out, "default", json_boolean(audio->is_default));
        lathe_json_put(&out, "copy", json_boolean(audio->copy));
        lathe_json_put_int(&out, "sample_rate", audio->sample_rate);
        lathe_json_put_int(&out, "channels", audio->channels);
        lathe_json_put_int(&out, "bitrate_kbps", audio->bitrate_kbps);
        json_t *object = NULL;
        lathe_json_out_take(&out, &object);
        array = append(array, object);
    }
    return array;
}

static json_t *row_to_json(int64_t start, uint32_t first_packet, uint32_t frames, uint64_t bytes)
{
    return json_pack("[I, I, I, I]", (json_int_t)start, (json_int_t)first_packet,
                     (json_int_t)frames, (json_int_t)bytes);
}

static int chunks_are_writable(const struct lathe_plan *plan)
{
    if (plan->n_chunks == 0 || plan->n_chunks > LATHE_PLAN_CHUNKS_MAX ||
        plan->n_pilots > LATHE_PLAN_PILOTS_MAX)
        return -E2BIG;
    for (uint32_t i = 0; i < plan->n_chunks; i++) {
        const struct lathe_plan_chunk *chunk = &plan->chunks[i];
        int64_t end = i + 1 < plan->n_chunks ? plan->chunks[i + 1].start : INT64_MAX;
        if (chunk->end != end || chunk->start >= chunk->end || chunk->source_bytes > INT64_MAX)
            return -EINVAL;
    }
    for (uint32_t i = 0; i < plan->n_pilots; i++) {
        if (plan->pilots[i].source_bytes > INT64_MAX)
            return -EINVAL;
    }
    return 0;
}

static void put_source(struct lathe_json_out *out, const struct lathe_plan *plan)
{
    lathe_json_put_text(out, "source_identity", plan->source_identity);
    lathe_json_put_text(out, "container", plan->container);
    lathe_json_put_text(out, "video_codec", plan->video_codec);
    lathe_json_put_text(out, "source_pix_fmt", plan->source_pix_fmt);
    lathe_json_put_int(out, "source_width", plan->source_width);
    lathe_json_put_int(out, "source_height", plan->source_height);
    lathe_json_put_count(out, "source_bytes", plan->source_bytes);
    lathe_json_put_int(out, "video_stream", plan->video_stream);
    lathe_json_put_text(out, "packets_container", plan->packets_container);
    lathe_json_put_text(out, "sound_container", plan->sound_container);
    lathe_json_put(out, "time_base", rational_to_json(plan->time_base));
    lathe_json_put(out, "frame_rate", rational_to_json(plan->frame_rate));
    lathe_json_put_int(out, "duration", plan->duration);
    lathe_json_put_int(out, "origin", plan->origin);
    lathe_json_put_int(out, "sound_origin", plan->sound_origin);
    lathe_json_put(out, "is_joined", json_boolean(plan->is_joined));
    lathe_json_put(out, "sound_apart", json_boolean(plan->sound_apart));
    lathe_json_put_count(out, "frames", plan->frames);
    lathe_json_put_int(out, "reorder_depth", plan->reorder_depth);
    lathe_json_put(out, "times_from_dts", json_boolean(plan->times_from_dts));
    lathe_json_put_int(out, "lead_in_frames", plan->lead_in_frames);
    lathe_json_put_int(out, "lead_out_frames", plan->lead_out_frames);
}

static void put_pictures(struct lathe_json_out *out, const struct lathe_plan *plan)
{
    lathe_json_put(out, "deinterlace", json_boolean(plan->deinterlace));
    lathe_json_put(out, "interlaced", json_boolean(plan->interlaced));
    lathe_json_put(out, "top_field_first", json_boolean(plan->top_field_first));
    lathe_json_put_int(out, "color_range", plan->color_range);
    lathe_json_put_int(out, "color_primaries", plan->color_primaries);
    lathe_json_put_int(out, "color_transfer", plan->color_transfer);
    lathe_json_put_int(out, "color_matrix", plan->color_matrix);
    lathe_json_put_int(out, "chroma_location", plan->chroma_location);
    json_t *rotation = json_array();
    for (size_t i = 0; i < LATHE_COUNT(plan->rotation); i++)
        rotation = append(rotation, json_integer(plan->rotation[i]));
    lathe_json_put(out, "rotation", rotation);
    lathe_json_put_text(out, "mastering_display", plan->mastering_display);
    lathe_json_put_text(out, "content_light", plan->content_light);
}

static void put_encoding(struct lathe_json_out *out, const struct lathe_plan *plan)
{
    lathe_json_put_text(out, "codec", lathe_codec_name(plan->codec));
    lathe_json_put_text(out, "preset", lathe_preset_name(plan->preset));
    lathe_json_put_int(out, "encoder_threads", plan->encoder_threads);
    lathe_json_put_int(out, "passes", plan->passes);
    lathe_json_put_real(out, "gop_seconds", plan->gop_seconds);
    lathe_json_put(out, "conceal_damage", json_boolean(plan->conceal_damage));
    lathe_json_put_int(out, "rate_lag", plan->rate_lag);
}

int lathe_plan_to_json(const struct lathe_plan *plan, json_t **ret)
{
    int r = chunks_are_writable(plan);
    if (r < 0)
        return r;
    struct lathe_json_out out;
    lathe_json_out_init(&out);
    lathe_json_put_int(&out, "v", LATHE_PLAN_VERSION);
    lathe_json_put_text(&out, "job_id", plan->job_id);
    put_source(&out, plan);
    put_pictures(&out, plan);
    put_encoding(&out, plan);
    lathe_json_put(&out, "renditions", renditions_to_json(plan));
    lathe_json_put(&out, "audio", audio_to_json(plan));

    json_t *warnings = json_array();
    for (uint32_t i = 0; i < plan->n_warnings && warnings; i++)
        warnings = append(warnings, lathe_json_text(plan->warnings[i]));
    lathe_json_put(&out, "warnings", warnings);

    json_t *pilots = json_array();
    for (uint32_t i = 0; i < plan->n_pilots && pilots; i++) {
        const struct lathe_plan_pilot *p = &plan->pilots[i];
        pilots = append(pilots, row_to_json(p->start, p->first_packet, p->frames, p->source_bytes));
    }
    lathe_json_put(&out, "pilots", pilots);

    json_t *chunks = json_array();
    for (uint32_t i = 0; i < plan->n_chunks && chunks; i++) {
        const struct lathe_plan_chunk *c = &plan->chunks[i];
        chunks = append(chunks, row_to_json(c->start, c->first_packet, c->frames, c->source_bytes));
    }
    lathe_json_put(&out, "chunks", chunks);
    return lathe_json_out_take(&out, ret);
}

static struct lathe_rational read_rational(struct lathe_json_in *in, const char *key, int min_num)
{
    struct lathe_rational value = {0, 1};
    const json_t *pair = lathe_json_in_array(in, key, 2, 2);
    if (!pair)
        return value;
    json_int_t num = json_integer_value(json_array_get(pair, 0));
    json_int_t den = json_integer_value(json_array_get(pair, 1));
    if (!json_is_integer(json_array_get(pair, 0)) || num < min_num || num > INT_MAX || den < 1 ||
        den > INT_MAX) {
        lathe_json_in_fail(in, "\"%s\" is not a fraction", key);
        return value;
    }
    return (struct lathe_rational){(int)num, (int)den};
}

/* It becomes a part of names: "", `usual` or "nut". */
static void read_container(struct lathe_json_in *in, const char *key, const char *usual,
                           char ret[4])
{
    lathe_json_in_text(in, key, ret, 4);
    if (ret[0] && strcmp(ret, usual) != 0 && strcmp(ret, "nut") != 0)
        lathe_json_in_fail(in, "\"%s\" is no container of packets", key);
}

static void read_source(struct lathe_json_in *in, struct lathe_plan *plan)
{
    lathe_json_in_text(in, "source_identity", plan->source_identity, sizeof(plan->source_identity));
    lathe_json_in_text(in, "container", plan->container, sizeof(plan->container));
    lathe_json_in_text(in, "video_codec", plan->video_codec, sizeof(plan->video_codec));
    lathe_json_in_text(in, "source_pix_fmt", plan->source_pix_fmt, sizeof(plan->source_pix_fmt));
    plan->source_width = (int)lathe_json_in_int(in, "source_width", 1, LATHE_PICTURE_SIDE_MAX);
    plan->source_height = (int)lathe_json_in_int(in, "source_height", 1, LATHE_PICTURE_SIDE_MAX);
    plan->source_bytes = (uint64_t)lathe_json_in_int(in, "source_bytes", 0, INT64_MAX);
    plan->video_stream = (int)lathe_json_in_int(in, "video_stream", 0, 65535);
    read_container(in, "packets_container", "ts", plan->packets_container);
    read_container(in, "sound_container", "mka", plan->sound_container);
    plan->time_base = read_rational(in, "time_base", 1);
    plan->frame_rate = read_rational(in, "frame_rate", 0);
    plan->duration = lathe_json_in_int(in, "duration", 0, INT64_MAX);
    plan->origin = lathe_json_in_int(in, "origin", INT64_MIN, INT64_MAX);
    plan->sound_origin = lathe_json_in_int(in, "sound_origin", INT64_MIN, INT64_MAX);
    plan->is_joined = lathe_json_in_bool(in, "is_joined");
    plan->sound_apart = lathe_json_in_bool(in, "sound_apart");
    plan->frames = (uint64_t)lathe_json_in_int(in, "frames", 0, INT64_MAX);
    plan->reorder_depth = (int)lathe_json_in_int(in, "reorder_depth", 0, 1000);
    plan->times_from_dts = lathe_json_in_bool(in, "times_from_dts");
    plan->lead_in_frames = (int)lathe_json_in_int(in, "lead_in_frames", 0, 1000);
    plan->lead_out_frames = (int)lathe_json_in_int(in, "lead_out_frames", 0, 16);
}

static void read_pictures(struct lathe_json_in *in, struct lathe_plan *plan)
{
    plan->deinterlace = lathe_json_in_bool(in, "deinterlace");
    plan->interlaced = lathe_json_in_bool(in, "interlaced");
    plan->top_field_first = lathe_json_in_bool(in, "top_field_first");
    plan->color_range = (int)lathe_json_in_int(in, "color_range", 0, 1023);
    plan->color_primaries = (int)lathe_json_in_int(in, "color_primaries", 0, 1023);
    plan->color_transfer = (int)lathe_json_in_int(in, "color_transfer", 0, 1023);
    plan->color_matrix = (int)lathe_json_in_int(in, "color_matrix", 0, 1023);
    plan->chroma_location = (int)lathe_json_in_int(in, "chroma_location", 0, 1023);
    const json_t *rotation = lathe_json_in_array(in, "rotation", LATHE_COUNT(plan->rotation),
                                                 LATHE_COUNT(plan->rotation));
    for (size_t i = 0; rotation && i < LATHE_COUNT(plan->rotation); i++) {
        const json_t *value = json_array_get(rotation, i);
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < INT_MIN || number > INT_MAX) {
            lathe_json_in_fail(in, "\"rotation\" is not a matrix");
            return;
        }
        plan->rotation[i] = (int)number;
    }
    lathe_json_in_text(in, "mastering_display", plan->mastering_display,
                       sizeof(plan->mastering_display));
    lathe_json_in_text(in, "content_light", plan->content_light, sizeof(plan->content_light));
}

static void read_encoding(struct lathe_json_in *in, struct lathe_plan *plan)
{
    if (lathe_codec_from_name(lathe_json_in_name(in, "codec"), &plan->codec) < 0 ||
        plan->codec > LATHE_CODEC_HEVC) /* AV1 is only a name of what devices can do */
        lathe_json_in_fail(in, "\"codec\" is neither h264 nor hevc");
    if (lathe_preset_from_name(lathe_json_in_name(in, "preset"), &plan->preset) < 0)
        lathe_json_in_fail(in, "\"preset\" is unknown");
    plan->encoder_threads = (int)lathe_json_in_int(in, "encoder_threads", 1, 256);
    plan->passes = (int)lathe_json_in_int(in, "passes", 1, 2);
    plan->gop_seconds = lathe_json_in_real(in, "gop_seconds", 0, 86400);
    plan->conceal_damage = lathe_json_in_bool(in, "conceal_damage");
    plan->rate_lag = (uint32_t)lathe_json_in_int(in, "rate_lag", 1, UINT32_MAX);
}

static int read_rendition(const json_t *json, struct lathe_plan_rendition *ret,
                          struct lathe_error *err)
{
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "plan.renditions", err);
    lathe_json_in_text(&in, "name", ret->name, sizeof(ret->name));
    if (!in.code && !lathe_rendition_name_is_valid(ret->name))
        lathe_json_in_fail(&in, "\"name\" cannot name a file");
    ret->width = (int)lathe_json_in_int(&in, "width", 2, LATHE_PICTURE_SIDE_MAX);
    ret->height = (int)lathe_json_in_int(&in, "height", 2, LATHE_PICTURE_SIDE_MAX);
    if ((ret->width | ret->height) & 1)
        lathe_json_in_fail(&in, "%dx%d is not even", ret->width, ret->height);
    ret->sar = read_rational(&in, "sar", 0);
    ret->bitrate_kbps = (int)lathe_json_in_int(&in, "bitrate_kbps", 0, LATHE_KBPS_MAX);
    ret->maxrate_kbps = (int)lathe_json_in_int(&in, "maxrate_kbps", 0, 2 * LATHE_KBPS_MAX);
    ret->bufsize_kbit = (int)lathe_json_in_int(&in, "bufsize_kbit", 0, 2 * LATHE_KBPS_MAX);
    ret->quality = lathe_json_in_real(&in, "quality", -100, 100);
    ret->pilot_quality = lathe_json_in_real(&in, "pilot_quality", -100, 100);
    lathe_json_in_text(&in, "pix_fmt", ret->pix_fmt, sizeof(ret->pix_fmt));
    return in.code;
}

static int read_audio(const json_t *json, struct lathe_plan_audio *ret, struct lathe_error *err)
{
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "plan.audio", err);
    ret->stream = (int)lathe_json_in_int(&in, "stream", 0, 65535);
    lathe_json_in_text(&in, "language", ret->language, sizeof(ret->language));
    lathe_json_in_text(&in, "title", ret->title, sizeof(ret->title));
    ret->is_default = lathe_json_in_bool(&in, "default");
    ret->copy = lathe_json_in_bool(&in, "copy");
    ret->sample_rate = (int)lathe_json_in_int(&in, "sample_rate", 1, 1 << 22);
    ret->channels = (int)lathe_json_in_int(&in, "channels", 1, 1024);
    ret->bitrate_kbps = (int)lathe_json_in_int(&in, "bitrate_kbps", 0, LATHE_KBPS_MAX);
    return in.code;
}

struct row {
    int64_t start;
    uint32_t first_packet, frames;
    uint64_t source_bytes;
};

static bool read_row(const json_t *json, struct row *ret)
{
    int64_t values[4];
    if (json_array_size(json) != LATHE_COUNT(values))
        return false;
    for (size_t i = 0; i < LATHE_COUNT(values); i++) {
        const json_t *value = json_array_get(json, i);
        values[i] = json_integer_value(value);
        if (!json_is_integer(value) || (i > 0 && values[i] < 0))
            return false;
    }
    if (values[1] > UINT32_MAX || values[2] > UINT32_MAX)
        return false;
    *ret = (struct row){values[0], (uint32_t)values[1], (uint32_t)values[2], (uint64_t)values[3]};
    return true;
}

static void read_pilots(struct lathe_json_in *in, struct lathe_plan *plan)
{
    const json_t *array = lathe_json_in_array(in, "pilots", 0, LATHE_PLAN_PILOTS_MAX);
    size_t count = json_array_size(array);
    if (count == 0)
        return;
    plan->pilots = calloc(count, sizeof(*plan->pilots));
    if (!plan->pilots) {
        in->code = lathe_error_nomem(in->err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct row row;
        if (!read_row(json_array_get(array, i), &row)) {
            lathe_json_in_fail(in, "pilot %zu is malformed", i);
            return;
        }
        plan->pilots[i] =
            (struct lathe_plan_pilot){row.start, row.first_packet, row.frames, row.source_bytes};
    }
    plan->n_pilots = (uint32_t)count;
}

static void read_chunks(struct lathe_json_in *in, struct lathe_plan *plan)
{
    const json_t *array = lathe_json_in_array(in, "chunks", 1, LATHE_PLAN_CHUNKS_MAX);
    size_t count = json_array_size(array);
    if (count == 0)
        return;
    plan->chunks = calloc(count, sizeof(*plan->chunks));
    if (!plan->chunks) {
        in->code = lathe_error_nomem(in->err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct row row;
        if (!read_row(json_array_get(array, i), &row) || row.start == INT64_MAX ||
            (i > 0 && row.start <= plan->chunks[i - 1].start)) {
            lathe_json_in_fail(in, "chunk %zu is malformed or out of order", i);
            return;
        }
        plan->chunks[i] = (struct lathe_plan_chunk){row.start, INT64_MAX, row.first_packet,
                                                    row.frames, row.source_bytes};
        if (i > 0)
            plan->chunks[i - 1].end = row.start;
    }
    plan->n_chunks = (uint32_t)count;
}

static void read_warnings(struct lathe_json_in *in, struct lathe_plan *plan)
{
    const json_t *array = lathe_json_in_array(in, "warnings", 0, LATHE_PLAN_WARNINGS_MAX);
    for (size_t i = 0; i < json_array_size(array); i++) {
        char text[LATHE_PLAN_WARNING_SIZE];
        if (lathe_json_text_read(json_array_get(array, i), text, sizeof(text)) < 0) {
            lathe_json_in_fail(in, "warning %zu is malformed", i);
            return;
        }
        if (lathe_plan_warn(plan, "%s", text) < 0) {
            in->code = lathe_error_nomem(in->err);
            return;
        }
    }
}

static int read_plan(const json_t *json, struct lathe_plan *plan, struct lathe_error *err)
{
    struct lathe_json_in in;
    lathe_json_in_init(&in, json, "plan", err);
    lathe_json_in_version(&in, LATHE_PLAN_VERSION);
    lathe_json_in_text(&in, "job_id", plan->job_id, sizeof(plan->job_id));
    if (!in.code && !lathe_job_id_is_valid(plan->job_id))
        lathe_json_in_fail(&in, "\"job_id\" is not a job id");
    read_source(&in, plan);
    read_pictures(&in, plan);
    read_encoding(&in, plan);

    const json_t *array = lathe_json_in_array(&in, "renditions", 1, LATHE_RENDITIONS_MAX);
    for (size_t i = 0; i < json_array_size(array) && !in.code; i++, plan->n_renditions++)
        in.code = read_rendition(json_array_get(array, i), &plan->renditions[i], err);
    for (int i = 1; i < plan->n_renditions; i++) {
        for (int k = 0; k < i; k++) {
            if (strcmp(plan->renditions[i].name, plan->renditions[k].name) == 0)
                lathe_json_in_fail(&in, "two renditions are named %s", plan->renditions[i].name);
        }
    }
    array = lathe_json_in_array(&in, "audio", 0, LATHE_AUDIO_MAX);
    for (size_t i = 0; i < json_array_size(array) && !in.code; i++, plan->n_audio++)
        in.code = read_audio(json_array_get(array, i), &plan->audio[i], err);
    read_pilots(&in, plan);
    read_chunks(&in, plan);
    read_warnings(&in, plan);
    return in.code;
}

int lathe_plan_from_json(const json_t *json, struct lathe_plan *ret, struct lathe_error *err)
{
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    int r = read_plan(json, &plan, err);
    if (r < 0) {
        lathe_plan_finish(&plan);
        return r;
    }
    *ret = plan;
    return 0;
}
