/* SPDX-License-Identifier: MIT */
/*
 * Records of foreign producers: what they say becomes a job, and whatever else they send is refused
 * with a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/job.h"

#define ID "dd938dc6-f2b6-4742-b217-85f125d6d7ee"

static json_t *record(void)
{
    return json_pack("{s:s, s:i, s:s, s:s, s:i, s:s}", "job_id", ID, "chunk_index", 7, "s3_key",
                     "chunks/" ID "/chunk_007.ts", "resolution", "1080p", "bitrate", 4500,
                     "filename", "of no interest");
}

static void plain_form_makes_a_job(void **state)
{
    (void)state;
    struct lathe_foreign_chunk chunk;
    struct lathe_job job, again;
    json_t *json = record(), *text = NULL;
    assert_true(lathe_foreign_is_chunk(json));
    assert_int_equal(lathe_foreign_chunk_from_json(json, &chunk, NULL), 0);
    json_decref(json);
    assert_string_equal(chunk.job_id, ID);
    assert_int_equal(chunk.chunk_index, 7);
    assert_int_equal(lathe_foreign_make_job(&chunk, 9, "raw/" ID ".mp4", &job, NULL), 0);
    assert_int_equal(job.parts, 9);
    assert_string_equal(job.source_key, "raw/" ID ".mp4");
    assert_int_equal(job.n_renditions, 1);
    assert_string_equal(job.renditions[0].name, "1080p");
    assert_int_equal(job.renditions[0].bitrate_kbps, 4500);
    assert_int_equal(job.renditions[0].maxrate_kbps, 9000);
    /* it is kept in the store as any other */
    assert_int_equal(lathe_job_to_json(&job, &text), 0);
    assert_int_equal(lathe_job_from_json(text, &again, NULL), 0);
    assert_int_equal(again.parts, 9);
    json_decref(text);
    lathe_job_finish(&again);
    lathe_job_finish(&job);
    /* without the original the sound is that of the chunks */
    assert_int_equal(lathe_foreign_make_job(&chunk, 9, NULL, &job, NULL), 0);
    assert_string_equal(job.source_key, "chunks/" ID "/chunk_000.ts");
    lathe_job_finish(&job);
    assert_int_equal(lathe_foreign_make_job(&chunk, 7, NULL, &job, NULL), -ERANGE);
}

static void defaults_are_lathes(void **state)
{
    (void)state;
    struct lathe_foreign_chunk chunk;
    json_t *json = record();
    json_object_del(json, "bitrate");
    json_object_set_new(json, "v", json_integer(1));
    assert_int_equal(lathe_foreign_chunk_from_json(json, &chunk, NULL), 0);
    json_decref(json);
    struct lathe_job job;
    assert_int_equal(lathe_foreign_make_job(&chunk, 9, NULL, &job, NULL), 0);
    assert_int_equal(job.renditions[0].bitrate_kbps, 5000);
    assert_int_equal(job.preset, LATHE_PRESET_FAST);
    lathe_job_finish(&job);
}

static void lathes_own_records_are_others(void **state)
{
    (void)state;
    json_t *json = record();
    json_object_set_new(json, "unit", json_integer(3));
    assert_false(lathe_foreign_is_chunk(json));
    json_decref(json);
    json = json_pack("{s:s}", "job_id", ID);
    assert_false(lathe_foreign_is_chunk(json));
    json_decref(json);
    assert_false(lathe_foreign_is_chunk(NULL));
}

static void the_rest_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } bad[] = {
        {"v", "2"},
        {"job_id", "\"../x\""},
        {"job_id", "\"\""},
        {"job_id", "5"},
        {"chunk_index", "-1"},
        {"chunk_index", "100000"},
        {"chunk_index", "8"}, /* the key is of another one */
        {"chunk_index", "\"7\""},
        {"chunk_index", "null"},
        {"s3_key", "\"chunks/other/chunk_007.ts\""},
        {"s3_key", "\"raw/" ID ".mp4\""},
        {"s3_key", "7"},
        {"resolution", "\"1080\""},
        {"resolution", "\"1080p:9000k\""},
        {"resolution", "\"99999p\""},
        {"resolution", "1080"},
        {"resolution", "null"},
        {"bitrate", "0"},
        {"bitrate", "-5"},
        {"bitrate", "99999999999"},
        {"bitrate", "\"5000k\""},
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        json_t *json = record();
        json_object_set_new(json, bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        struct lathe_foreign_chunk chunk;
        struct lathe_error err = {0};
        if (lathe_foreign_chunk_from_json(json, &chunk, &err) >= 0)
            fail_msg("accepted \"%s\": %s", bad[i].key, bad[i].value);
        assert_int_equal(err.fault, LATHE_FAULT_INPUT);
        assert_true(strlen(err.what) > 0);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_form_makes_a_job),
        cmocka_unit_test(defaults_are_lathes),
        cmocka_unit_test(lathes_own_records_are_others),
        cmocka_unit_test(the_rest_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
