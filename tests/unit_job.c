/* SPDX-License-Identifier: MIT */
/*
 * Jobs: defaults, renditions as users write them, the checks, and JSON both ways. Every member of
 * the JSON is broken in turn, since jobs come from foreign producers.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/job.h"

static struct lathe_job make_job(void)
{
    struct lathe_job job;
    lathe_job_init(&job);
    strcpy(job.id, "0197-abc");
    job.source_key = strdup("/videos/in put.mkv");
    assert_non_null(job.source_key);
    job.source_is_local = true;
    assert_int_equal(lathe_job_add_rendition(&job, "720p:2500k", NULL), 0);
    return job;
}

static void test_renditions_as_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int short_side, bitrate_kbps;
    } good[] = {{"720p", 720, 0}, {"1080p:4500k", 1080, 4500}, {"480p:1", 480, 1}};
    for (size_t i = 0; i < LATHE_COUNT(good); i++) {
        struct lathe_job job;
        lathe_job_init(&job);
        assert_int_equal(lathe_job_add_rendition(&job, good[i].text, NULL), 0);
        assert_int_equal(job.renditions[0].short_side, good[i].short_side);
        assert_int_equal(job.renditions[0].bitrate_kbps, good[i].bitrate_kbps);
        lathe_job_finish(&job);
    }
    static const char *const bad[] = {
        "",       "720",      "p",         "720P",      "-720p", "720p:",        "720p:k",
        "720p:0", "720p:2k5", " 720p",     "0p",        "15p",   "9999p",        "720p:-1",
        "720p ",  "720p:1kk", "12345678p", "720p:2.5M", "1e3p",  "720p:99999999"};
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        struct lathe_job job;
        struct lathe_error err = {0};
        lathe_job_init(&job);
        assert_true(lathe_job_add_rendition(&job, bad[i], &err) < 0);
        assert_int_equal(err.fault, LATHE_FAULT_USAGE);
        assert_int_equal(job.n_renditions, 0);
        lathe_job_finish(&job);
    }
}

static void test_renditions_are_distinct_and_few(void **state)
{
    (void)state;
    struct lathe_job job;
    lathe_job_init(&job);
    assert_int_equal(lathe_job_add_rendition(&job, "720p", NULL), 0);
    assert_int_equal(lathe_job_add_rendition(&job, "720p:900k", NULL), -EEXIST);
    for (int i = 1; i < LATHE_RENDITIONS_MAX; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%dp", 100 + i);
        assert_int_equal(lathe_job_add_rendition(&job, text, NULL), 0);
    }
    assert_int_equal(lathe_job_add_rendition(&job, "99p", NULL), -E2BIG);
    assert_int_equal(job.n_renditions, LATHE_RENDITIONS_MAX);
    lathe_job_finish(&job);
}

static void test_default_rates(void **state)
{
    (void)state;
    static const struct {
        int short_side, kbps;
    } table[] = {{180, 200},  {360, 800},   {420, 1000},  {480, 1200},   {720, 2500},
                 {900, 3750}, {1080, 5000}, {1440, 9000}, {2160, 16000}, {4320, 64000}};
    for (size_t i = 0; i < LATHE_COUNT(table); i++) {
        struct lathe_job job = make_job();
        job.renditions[0] =
            (struct lathe_rendition){.name = "x", .short_side = table[i].short_side};
        assert_int_equal(lathe_job_validate(&job, NULL), 0);
        assert_int_equal(job.renditions[0].bitrate_kbps, table[i].kbps);
        assert_int_equal(job.renditions[0].maxrate_kbps, 2 * table[i].kbps);
        assert_int_equal(job.renditions[0].bufsize_kbit, 2 * table[i].kbps);
        lathe_job_finish(&job);
    }
    struct lathe_job job = make_job();
    job.quality = 23;
    job.renditions[0].bitrate_kbps = 0;
    assert_int_equal(lathe_job_validate(&job, NULL), 0);
    assert_int_equal(job.renditions[0].bitrate_kbps, 0);
    assert_int_equal(job.renditions[0].maxrate_kbps, 0);
    lathe_job_finish(&job);
}

typedef void (*breaker)(struct lathe_job *job);
#define BREAK(name, statement)                                                                     \
    static void name(struct lathe_job *job)                                                        \
    {                                                                                              \
        statement;                                                                                 \
    }
BREAK(bad_id, strcpy(job->id, "A b"))
BREAK(bad_path, job->source_key[0] = 'x')
BREAK(bad_key, job->source_is_local = false)
BREAK(no_source, job->source_key[0] = '\0')
BREAK(bad_quality, job->quality = 52)
BREAK(nan_quality, job->quality = NAN)
BREAK(lossless, job->quality = 0)
BREAK(no_pass, job->passes = 0)
BREAK(many_passes, job->passes = 3)
BREAK(both_controls, job->passes = 2; job->quality = 20)
BREAK(bad_chunk, job->chunk_seconds = -1)
BREAK(nan_chunk, job->chunk_seconds = NAN)
BREAK(bad_gop, job->gop_seconds = INFINITY)
BREAK(bad_codec, job->codec = (enum lathe_codec)7)
BREAK(bad_encoder, job->encoder = (enum lathe_encoder)99)
BREAK(bad_preset, job->preset = (enum lathe_preset)9)
BREAK(no_rendition, job->n_renditions = 0)
BREAK(bad_name, strcpy(job->renditions[0].name, "../x"))
BREAK(bad_side, job->renditions[0].short_side = 100000)
BREAK(bad_rate, job->renditions[0].bitrate_kbps = -1)
BREAK(huge_rate, job->renditions[0].bitrate_kbps = INT32_MAX)
BREAK(low_maxrate, job->renditions[0].maxrate_kbps = 100)
BREAK(bad_bufsize, job->renditions[0].bufsize_kbit = -5)
BREAK(bad_priority, job->priority = INT32_MAX)
BREAK(same_name, job->renditions[1] = job->renditions[0]; job->n_renditions = 2)

static void test_validate_refuses(void **state)
{
    (void)state;
    static const breaker breakers[] = {
        bad_id,      bad_path,    bad_key,       no_source, bad_quality, nan_quality, lossless,
        no_pass,     many_passes, both_controls, bad_chunk, nan_chunk,   bad_gop,     bad_codec,
        bad_encoder, bad_preset,  no_rendition,  bad_name,  bad_side,    bad_rate,    huge_rate,
        low_maxrate, bad_bufsize, bad_priority,  same_name};
    for (size_t i = 0; i < LATHE_COUNT(breakers); i++) {
        struct lathe_job job = make_job();
        struct lathe_error err = {0};
        breakers[i](&job);
        assert_true(lathe_job_validate(&job, &err) < 0);
        assert_true(err.code < 0 && err.what[0] != '\0' && !err.retriable);
        lathe_job_finish(&job);
    }
}

static void assert_same_job(const struct lathe_job *a, const struct lathe_job *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->source_key, b->source_key);
    assert_string_equal(lathe_job_source(a), lathe_job_source(b));
    assert_int_equal(a->source_is_local, b->source_is_local);
    assert_int_equal(a->n_renditions, b->n_renditions);
    for (int i = 0; i < a->n_renditions; i++) {
        assert_string_equal(a->renditions[i].name, b->renditions[i].name);
        assert_int_equal(a->renditions[i].short_side, b->renditions[i].short_side);
        assert_int_equal(a->renditions[i].bitrate_kbps, b->renditions[i].bitrate_kbps);
        assert_int_equal(a->renditions[i].maxrate_kbps, b->renditions[i].maxrate_kbps);
        assert_int_equal(a->renditions[i].bufsize_kbit, b->renditions[i].bufsize_kbit);
    }
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->encoder, b->encoder);
    assert_int_equal(a->preset, b->preset);
    assert_true(a->quality == b->quality);
    assert_int_equal(a->passes, b->passes);
    assert_true(a->chunk_seconds == b->chunk_seconds && a->gop_seconds == b->gop_seconds);
    assert_int_equal(a->conceal_damage, b->conceal_damage);
    assert_int_equal(a->upscale, b->upscale);
    assert_int_equal(a->priority, b->priority);
}

static void round_trip(struct lathe_job *job)
{
    assert_int_equal(lathe_job_validate(job, NULL), 0);
    json_t *json = NULL;
    assert_int_equal(lathe_job_to_json(job, &json), 0);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    struct lathe_job back;
    assert_int_equal(lathe_job_from_json(json, &back, NULL), 0);
    assert_same_job(job, &back);
    json_decref(json);
    lathe_job_finish(&back);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct lathe_job job = make_job();
    round_trip(&job);
    job.codec = LATHE_CODEC_HEVC;
    job.encoder = LATHE_ENCODER_VAAPI;
    job.preset = LATHE_PRESET_VERYSLOW;
    job.quality = 0.1 + 22.6;
    job.chunk_seconds = 1.0 / 3;
    job.gop_seconds = 2.0020000000000002;
    job.conceal_damage = job.upscale = true;
    job.priority = -7;
    assert_int_equal(lathe_job_add_rendition(&job, "360p", NULL), 0);
    round_trip(&job);
    free(job.source_key);
    job.source_key = strdup("/caf\xe9/\xff.mp4"); /* names on disk are bytes, not UTF-8 */
    round_trip(&job);
    assert_string_equal(lathe_job_source(&job), job.source_key);
    assert_int_equal(lathe_job_name_source(&job, "films/caf\xe9 1.mp4"), 0);
    assert_string_equal(lathe_job_source(&job), "caf\xe9 1.mp4");
    round_trip(&job);
    lathe_job_finish(&job);
}

static void test_minimal_json(void **state)
{
    (void)state;
    json_t *json = json_pack("{s:s, s:s, s:[s], s:i}", "job_id", "a-1", "source_key", "raw/a.mp4",
                             "renditions", "720p:2000k", "newer_member", 5);
    struct lathe_job job;
    assert_int_equal(lathe_job_from_json(json, &job, NULL), 0);
    assert_string_equal(job.renditions[0].name, "720p");
    assert_int_equal(job.renditions[0].maxrate_kbps, 4000);
    assert_int_equal(job.preset, LATHE_PRESET_FAST);
    assert_true(job.quality < 0);
    lathe_job_finish(&job);
    json_decref(json);
}

/* It is not wrong, only for others: whoever reads the code leaves it to them. */
static void test_newer_record(void **state)
{
    (void)state;
    json_t *json = json_pack("{s:i, s:s, s:s, s:[s]}", "v", 2, "job_id", "a-1", "source_key",
                             "raw/a.mp4", "renditions", "720p");
    struct lathe_job job;
    struct lathe_error err = {0};
    assert_int_equal(lathe_job_from_json(json, &job, &err), -EPROTONOSUPPORT);
    assert_non_null(strstr(err.what, "newer version"));
    assert_non_null(strstr(err.hint, "upgrade"));
    json_decref(json);
}

/* It is printed, whoever wrote the record. */
static void test_source_name_is_a_name(void **state)
{
    (void)state;
    json_t *json = json_pack("{s:s, s:s, s:s, s:[s]}", "job_id", "a-1", "source_key", "raw/a.mp4",
                             "source_name", "/var/lib/\x1b[2Jfilm\n.mp4", "renditions", "720p");
    struct lathe_job job;
    assert_int_equal(lathe_job_from_json(json, &job, NULL), 0);
    assert_string_equal(lathe_job_source(&job), "?[2Jfilm?.mp4");
    lathe_job_finish(&job);
    json_decref(json);
}

static void test_json_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{'v':0}",
        "{'v':'1'}",
        "{'job_id':''}",
        "{'job_id':5}",
        "{'job_id':'UP'}",
        "{'job_id':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}",
        "{'source_key':''}",
        "{'source_key':'../a'}",
        "{'source_key':'a//b'}",
        "{'source_key':'/a'}",
        "{'source_key':'a/'}",
        "{'source_key':'a/..'}",
        "{'source_key':'a b'}",
        "{'source_key':7}",
        "{'source_key':{'hex':'0'}}",
        "{'source_key':{'hex':'6100'}}",
        "{'source_key':{'hex':'xy'}}",
        "{'source_is_local':1}",
        "{'source_is_local':true}",
        "{'renditions':[]}",
        "{'renditions':{}}",
        "{'renditions':['720p','720p']}",
        "{'renditions':[7]}",
        "{'renditions':['720']}",
        "{'renditions':[{'name':'720p'}]}",
        "{'renditions':[{'name':'a/b','short_side':720}]}",
        "{'renditions':[{'name':'','short_side':720}]}",
        "{'renditions':[{'name':'x','short_side':720.5}]}",
        "{'renditions':[{'name':'x','short_side':720,'bitrate_kbps':-1}]}",
        "{'renditions':[{'name':'x','short_side':720,'bitrate_kbps':10,'maxrate_kbps':5}]}",
        "{'renditions':['1p','2p','3p','4p','5p','6p','7p','8p','9p']}",
        "{'codec':'av1'}",
        "{'codec':1}",
        "{'encoder':'qsv'}",
        "{'preset':'placebo'}",
        "{'quality':'23'}",
        "{'quality':-1}",
        "{'quality':51.5}",
        "{'passes':0}",
        "{'passes':1.0}",
        "{'passes':2,'quality':20}",
        "{'chunk_seconds':-0.5}",
        "{'chunk_seconds':1e9}",
        "{'gop_seconds':true}",
        "{'damaged':'maybe'}",
        "{'damaged':true}",
        "{'upscale':'no'}",
        "{'priority':99999999}",
        "{'priority':9223372036854775807}",
    };
    json_t *good = json_pack("{s:s, s:s, s:[s]}", "job_id", "a", "source_key", "raw/a.mp4",
                             "renditions", "720p");
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s", bad[i]);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        json_t *change = json_loads(text, 0, NULL);
        assert_non_null(change);
        json_t *json = json_object_size(change) > 0 ? json_deep_copy(good) : json_incref(change);
        json_object_update(json, change);
        struct lathe_job job = {.n_renditions = 77};
        struct lathe_error err = {0};
        if (lathe_job_from_json(json, &job, &err) >= 0)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(err.fault, LATHE_FAULT_INPUT);
        assert_int_equal(job.n_renditions, 77);
        json_decref(json);
        json_decref(change);
    }
    json_decref(good);
}

static void test_names(void **state)
{
    (void)state;
    enum lathe_preset preset;
    for (int i = LATHE_PRESET_ULTRAFAST; i <= LATHE_PRESET_VERYSLOW; i++) {
        assert_int_equal(lathe_preset_from_name(lathe_preset_name((enum lathe_preset)i), &preset),
                         0);
        assert_int_equal(preset, i);
    }
    enum lathe_codec codec;
    assert_int_equal(lathe_codec_from_name("hevc", &codec), 0);
    assert_int_equal(codec, LATHE_CODEC_HEVC);
    assert_int_equal(lathe_codec_from_name("HEVC", &codec), -EINVAL);
    enum lathe_encoder encoder;
    assert_int_equal(lathe_encoder_from_name("nvenc", &encoder), 0);
    assert_int_equal(encoder, LATHE_ENCODER_NVENC);
    assert_int_equal(lathe_encoder_from_name("", &encoder), -EINVAL);
}

static void check_key(char *key, const char *expected)
{
    assert_non_null(key);
    assert_string_equal(key, expected);
    free(key);
}

static void test_keys(void **state)
{
    (void)state;
    check_key(lathe_key_job("j"), "jobs/j.json");
    check_key(lathe_key_plan("j"), "chunks/j/plan.json");
    check_key(lathe_key_plan_whole("j"), "chunks/j/plan_whole.json");
    check_key(lathe_key_index("j"), "chunks/j/index.bin");
    check_key(lathe_key_chunk("j", "720p", 7, 4294967297u),
              "transcoded/j/720p/chunk_007.4294967297.mp4");
    check_key(lathe_key_chunk("j", "720p", 12345, 1), "transcoded/j/720p/chunk_12345.1.mp4");
    check_key(lathe_key_audio("j", 2), "transcoded/j/audio.2.mp4");
    check_key(lathe_key_merged("j", "720p", 3), "transcoded/j/720p/merged.3.mp4");
    check_key(lathe_key_output("j", "720p"), "transcoded/j/output_720p.mp4");
    check_key(lathe_key_prefix_chunks("j"), "chunks/j/");
    check_key(lathe_key_prefix_transcoded("j"), "transcoded/j/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renditions_as_written),
        cmocka_unit_test(test_renditions_are_distinct_and_few),
        cmocka_unit_test(test_default_rates),
        cmocka_unit_test(test_validate_refuses),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_minimal_json),
        cmocka_unit_test(test_newer_record),
        cmocka_unit_test(test_source_name_is_a_name),
        cmocka_unit_test(test_json_refuses),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
