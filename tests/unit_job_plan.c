/* SPDX-License-Identifier: MIT */
/*
 * Plans: exact round trip of every member, size on disk, refusal of what a broken or hostile slot
 * may send, and the units that follow from a plan.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/plan.h"
#include "unit_job_samples.h"

static json_t *plan_json(uint32_t n_chunks)
{
    struct lathe_plan plan;
    sample_plan(&plan, n_chunks);
    json_t *json = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    lathe_plan_finish(&plan);
    return json;
}

static void assert_same_plan(const struct lathe_plan *a, const struct lathe_plan *b)
{
#define SAME(member) assert_memory_equal(&a->member, &b->member, sizeof(a->member))
    assert_string_equal(a->job_id, b->job_id);
    assert_string_equal(a->source_identity, b->source_identity);
    assert_string_equal(a->container, b->container);
    assert_string_equal(a->video_codec, b->video_codec);
    assert_string_equal(a->packets_container, b->packets_container);
    assert_string_equal(a->sound_container, b->sound_container);
    assert_string_equal(a->source_pix_fmt, b->source_pix_fmt);
    assert_string_equal(a->mastering_display, b->mastering_display);
    assert_string_equal(a->content_light, b->content_light);
    SAME(source_width);
    SAME(sound_origin);
    SAME(is_joined);
    SAME(sound_apart);
    SAME(source_height);
    SAME(source_bytes);
    SAME(video_stream);
    SAME(time_base);
    SAME(frame_rate);
    SAME(duration);
    SAME(origin);
    SAME(frames);
    SAME(reorder_depth);
    SAME(times_from_dts);
    SAME(lead_in_frames);
    SAME(deinterlace);
    SAME(interlaced);
    SAME(top_field_first);
    SAME(color_range);
    SAME(color_primaries);
    SAME(color_transfer);
    SAME(color_matrix);
    SAME(chroma_location);
    SAME(rotation);
    SAME(codec);
    SAME(preset);
    SAME(encoder_threads);
    SAME(passes);
    SAME(gop_seconds);
    SAME(conceal_damage);
    SAME(n_renditions);
    SAME(n_audio);
    SAME(n_pilots);
    SAME(n_chunks);
    SAME(rate_lag);
    SAME(n_warnings);
#undef SAME
    for (int i = 0; i < a->n_renditions; i++) {
        const struct lathe_plan_rendition *r = &a->renditions[i], *s = &b->renditions[i];
        assert_string_equal(r->name, s->name);
        assert_string_equal(r->pix_fmt, s->pix_fmt);
        assert_true(r->width == s->width && r->height == s->height && r->quality == s->quality);
        assert_true(r->sar.num == s->sar.num && r->sar.den == s->sar.den);
        assert_true(r->pilot_quality == s->pilot_quality);
        assert_true(r->bitrate_kbps == s->bitrate_kbps && r->maxrate_kbps == s->maxrate_kbps &&
                    r->bufsize_kbit == s->bufsize_kbit);
    }
    for (int i = 0; i < a->n_audio; i++) {
        const struct lathe_plan_audio *r = &a->audio[i], *s = &b->audio[i];
        assert_string_equal(r->language, s->language);
        assert_string_equal(r->title, s->title);
        assert_true(r->stream == s->stream && r->is_default == s->is_default &&
                    r->copy == s->copy && r->sample_rate == s->sample_rate &&
                    r->channels == s->channels && r->bitrate_kbps == s->bitrate_kbps);
    }
    for (uint32_t i = 0; i < a->n_pilots; i++) {
        const struct lathe_plan_pilot *p = &a->pilots[i], *q = &b->pilots[i];
        assert_true(p->start == q->start && p->first_packet == q->first_packet &&
                    p->frames == q->frames && p->source_bytes == q->source_bytes);
    }
    for (uint32_t i = 0; i < a->n_chunks; i++) {
        const struct lathe_plan_chunk *c = &a->chunks[i], *d = &b->chunks[i];
        assert_true(c->start == d->start && c->end == d->end &&
                    c->first_packet == d->first_packet && c->frames == d->frames &&
                    c->source_bytes == d->source_bytes);
    }
    for (uint32_t i = 0; i < a->n_warnings; i++)
        assert_string_equal(a->warnings[i], b->warnings[i]);
}

static void test_round_trip_is_exact_and_small(void **state)
{
    (void)state;
    struct lathe_plan plan, back;
    sample_plan(&plan, 10000);
    json_t *json = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    assert_true(strlen(text) < 400000);
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    assert_int_equal(lathe_plan_from_json(json, &back, NULL), 0);
    assert_same_plan(&plan, &back);
    json_decref(json);
    lathe_plan_finish(&plan);
    lathe_plan_finish(&back);
}

static void test_gaps_cannot_be_written(void **state)
{
    (void)state;
    struct lathe_plan plan;
    sample_plan(&plan, 3);
    json_t *json = NULL;
    plan.chunks[0].end--;
    assert_int_equal(lathe_plan_to_json(&plan, &json), -EINVAL);
    plan.chunks[0].end++;
    plan.chunks[2].end = 9009;
    assert_int_equal(lathe_plan_to_json(&plan, &json), -EINVAL);
    plan.chunks[2].end = INT64_MAX;
    plan.gop_seconds = NAN;
    assert_int_equal(lathe_plan_to_json(&plan, &json), -ERANGE);
    assert_null(json);
    lathe_plan_finish(&plan);
}

/* Any member may be missing or of a wrong type: nothing gets through and nothing leaks. */
static void test_every_member_is_checked(void **state)
{
    (void)state;
    json_t *json = plan_json(3);
    const char *key;
    json_t *value;
    json_t *wrong = json_pack("{s:i}", "x", 1);
    json_object_foreach (json, key, value) {
        for (int missing = 0; missing < 2; missing++) {
            json_t *copy = json_deep_copy(json);
            if (missing)
                json_object_del(copy, key);
            else
                json_object_set(copy, key, wrong);
            struct lathe_plan plan;
            struct lathe_error err = {0};
            if (lathe_plan_from_json(copy, &plan, &err) >= 0)
                fail_msg("accepted a plan with a bad \"%s\"", key);
            assert_non_null(strstr(err.what, key));
            json_decref(copy);
        }
    }
    json_decref(wrong);
    json_decref(json);
}

static void test_values_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } bad[] = {
        {"v", "0"},
        {"job_id", "'../x'"},
        {"source_width", "0"},
        {"time_base", "[0, 1]"},
        {"time_base", "[1, 0]"},
        {"time_base", "[1, 2, 3]"},
        {"frame_rate", "[-1, 1]"},
        {"frames", "-1"},
        {"duration", "-1"},
        {"duration", "1.5"},
        {"reorder_depth", "100000"},
        {"packets_container", "'mp4'"},
        {"packets_container", "'mka'"},
        {"sound_container", "'../x'"},
        {"color_matrix", "-1"},
        {"rotation", "[1,0,0,0,1,0,0,0]"},
        {"rotation", "[1,0,0,0,1,0,0,0,99999999999]"},
        {"codec", "'av1'"},
        {"preset", "'placebo'"},
        {"passes", "3"},
        {"encoder_threads", "0"},
        {"rate_lag", "0"},
        {"renditions", "[]"},
        {"renditions", "[{}]"},
        {"audio", "[{}]"},
        {"chunks", "[]"},
        {"chunks", "[[0, 0, 1]]"},
        {"chunks", "[[0, -1, 1, 1]]"},
        {"chunks", "[[0, 4294967296, 1, 1]]"},
        {"chunks", "[[0, 0, 1.0, 1]]"},
        {"chunks", "[[5, 0, 1, 1], [5, 1, 1, 1]]"},
        {"chunks", "[[9223372036854775807, 0, 1, 1]]"},
        {"pilots", "[[0, 0, 1, -1]]"},
        {"warnings", "[5]"},
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        json_t *json = plan_json(3);
        char text[64];
        snprintf(text, sizeof(text), "%s", bad[i].value);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        json_object_set_new(json, bad[i].key, json_loads(text, JSON_DECODE_ANY, NULL));
        struct lathe_plan plan;
        if (lathe_plan_from_json(json, &plan, NULL) >= 0)
            fail_msg("accepted \"%s\": %s", bad[i].key, bad[i].value);
        json_decref(json);
    }
}

static void test_rendition_names_are_file_names(void **state)
{
    (void)state;
    static const char *const names[] = {"", "../up", "a/b", "UPPER", ".", "480p"};
    for (size_t i = 0; i < LATHE_COUNT(names); i++) {
        json_t *json = plan_json(1);
        json_t *first = json_array_get(json_object_get(json, "renditions"), 0);
        json_object_set_new(first, "name", json_string(names[i]));
        struct lathe_plan plan;
        assert_true(lathe_plan_from_json(json, &plan, NULL) < 0);
        json_decref(json);
    }
}

static void test_texts_are_defused(void **state)
{
    (void)state;
    struct lathe_plan plan, back;
    sample_plan(&plan, 1);
    strcpy(plan.audio[0].title, "\x1b[2Jred\xc2\x9b\x7f");
    strcpy(plan.container, "\xff\xfe");
    assert_int_equal(lathe_plan_warn(&plan, "%s", "a\nb"), 0);
    json_t *json = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    assert_int_equal(lathe_plan_from_json(json, &back, NULL), 0);
    assert_string_equal(back.audio[0].title, "?[2Jred???");
    assert_string_equal(back.container, "??");
    assert_string_equal(back.warnings[1], "a?b");
    json_decref(json);
    lathe_plan_finish(&plan);
    lathe_plan_finish(&back);
}

static void test_warnings_are_bounded(void **state)
{
    (void)state;
    struct lathe_plan plan, back;
    sample_plan(&plan, 1);
    char text[2000];
    memset(text, 'w', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 1000; i++)
        assert_int_equal(lathe_plan_warn(&plan, "%s", text), 0);
    assert_int_equal(plan.n_warnings, 100);
    json_t *json = NULL;
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    assert_int_equal(lathe_plan_from_json(json, &back, NULL), 0);
    assert_same_plan(&plan, &back);
    json_decref(json);
    lathe_plan_finish(&plan);
    lathe_plan_finish(&back);
}

static void test_units(void **state)
{
    (void)state;
    struct lathe_plan plan;
    sample_plan(&plan, 5);
    struct lathe_unit *units = NULL;
    uint32_t count = 0;
    assert_int_equal(lathe_plan_units(&plan, &units, &count), 0);
    assert_int_equal(count, 2 + 1 + 5);
    assert_int_equal(units[0].kind, LATHE_UNIT_PILOT);
    assert_int_equal(units[1].index, 1);
    assert_false(units[1].needs_pilots);
    assert_int_equal(units[2].kind, LATHE_UNIT_AUDIO);
    static const uint32_t needs[5] = {0, 0, 0, 1, 2}; /* the lag is 3 */
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(units[3 + i].kind, LATHE_UNIT_CHUNK);
        assert_int_equal(units[3 + i].index, i);
        assert_true(units[3 + i].needs_pilots);
        assert_int_equal(units[3 + i].needs_chunks, needs[i]);
    }
    free(units);

    plan.n_pilots = 0;
    plan.n_audio = 0;
    plan.rate_lag = UINT32_MAX;
    assert_int_equal(lathe_plan_units(&plan, &units, &count), 0);
    assert_int_equal(count, 5);
    for (uint32_t i = 0; i < 5; i++)
        assert_true(!units[i].needs_pilots && units[i].needs_chunks == 0);
    free(units);
    plan.rate_lag = 0;
    assert_int_equal(lathe_plan_units(&plan, &units, &count), -EINVAL);
    lathe_plan_finish(&plan);
}

static void test_whole_plan(void **state)
{
    (void)state;
    struct lathe_plan plan;
    sample_plan(&plan, 5);
    uint64_t frames = 0, bytes = 0;
    for (uint32_t i = 0; i < 5; i++) {
        frames += plan.chunks[i].frames;
        bytes += plan.chunks[i].source_bytes;
    }
    const struct lathe_plan_chunk first = plan.chunks[0];
    plan.passes = 2; /* then pilots are chunks */
    uint64_t pilot_frames = 0;
    for (uint32_t i = 0; i < plan.n_pilots; i++)
        pilot_frames += plan.pilots[i].frames;
    for (int i = 0; i < 200; i++)
        assert_int_equal(lathe_plan_warn(&plan, "of many"), 0);
    assert_int_equal(lathe_plan_make_whole(&plan, "at 2 s it is odd"), 0);
    assert_int_equal(plan.n_chunks, 1);
    assert_int_equal(plan.chunks[0].start, first.start);
    assert_int_equal(plan.chunks[0].first_packet, first.first_packet);
    assert_true(plan.chunks[0].end == INT64_MAX);
    assert_int_equal(plan.chunks[0].frames, frames);
    assert_int_equal(plan.chunks[0].source_bytes, bytes);
    assert_int_equal(plan.n_pilots, 1);
    assert_int_equal(plan.pilots[0].frames, pilot_frames);
    assert_string_equal(plan.warnings[plan.n_warnings - 1],
                        "this source cannot be cut; transcoded in one piece: at 2 s it is odd");
    json_t *json = NULL;
    struct lathe_plan back;
    lathe_plan_init(&back);
    assert_int_equal(lathe_plan_to_json(&plan, &json), 0);
    assert_int_equal(lathe_plan_from_json(json, &back, NULL), 0);
    json_decref(json);
    struct lathe_unit *units = NULL;
    uint32_t count = 0;
    assert_int_equal(lathe_plan_units(&back, &units, &count), 0);
    assert_int_equal(units[count - 1].needs_chunks, 0);
    free(units);
    lathe_plan_finish(&back);
    lathe_plan_finish(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_is_exact_and_small),
        cmocka_unit_test(test_gaps_cannot_be_written),
        cmocka_unit_test(test_every_member_is_checked),
        cmocka_unit_test(test_values_are_checked),
        cmocka_unit_test(test_rendition_names_are_file_names),
        cmocka_unit_test(test_texts_are_defused),
        cmocka_unit_test(test_warnings_are_bounded),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_whole_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
