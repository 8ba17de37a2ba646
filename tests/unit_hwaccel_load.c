/* SPDX-License-Identifier: MIT */
/*
 * How busy a GPU is: fdinfo as i915, amdgpu and xe write it (drm-usage-stats.rst), clients that are
 * seen twice, and the way to the parent as JSON. NVML is tried on the emulated one
 * (tests/emu/test_metrics.py).
 */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "drm_usage.h"
#include "lathe/base.h"

static void put(const char *folder, const char *name, const char *text)
{
    char *path = lathe_format("%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static int64_t busy_us(struct lathe_hw_load *load, const char *name)
{
    for (unsigned i = 0; i < load->n_engines; i++)
        if (strcmp(load->engines[i].name, name) == 0)
            return load->engines[i].busy_us;
    return -1;
}

static void test_fdinfo(void **state)
{
    (void)state;
    static const char i915[] = "pos:\t0\nflags:\t02100002\nmnt_id:\t26\nino:\t501\n"
                               "drm-driver:\ti915\ndrm-client-id:\t7\ndrm-pdev:\t0000:00:02.0\n"
                               "drm-total-system0:\t129 MiB\ndrm-engine-render:\t25662044495 ns\n"
                               "drm-engine-copy:\t0 ns\ndrm-engine-video:\t5000000 ns\n"
                               "drm-engine-capacity-video:\t2\ndrm-engine-video-enhance:\t0 ns\n";
    static const char amdgpu[] = "pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\n"
                                 "drm-client-id:\t7\ndrm-memory-vram:\t1024 KiB\n"
                                 "drm-engine-enc:\t2000000 ns\ndrm-engine-enc_1:\t1000 ns\n";
    static const char xe[] = "pos:\t0\ndrm-driver:\txe\ndrm-client-id:\t9\n"
                             "drm-pdev:\t0000:04:00.0\ndrm-cycles-vcs:\t1\n"
                             "drm-total-cycles-vcs:\t10\n";
    char *folder = contract_path("fdinfo");
    struct lathe_hw_load load;
    assert_int_equal(lathe_drm_usage(folder, &load), -ENODEV);
    assert_int_equal(mkdir(folder, 0700), 0);
    put(folder, "0", "pos:\t0\nflags:\t0100002\n");
    put(folder, "5", xe);
    assert_int_equal(lathe_drm_usage(folder, &load), -ENODEV);
    put(folder, "3", i915);
    put(folder, "4", i915);   /* a copy of the descriptor */
    put(folder, "6", amdgpu); /* the same number on another device is another client */
    assert_int_equal(lathe_drm_usage(folder, &load), 0);
    assert_int_equal(busy_us(&load, "render"), 25662044);
    assert_int_equal(busy_us(&load, "video"), 5000);
    assert_int_equal(busy_us(&load, "copy"), 0);
    assert_int_equal(busy_us(&load, "enc"), 2000);
    assert_int_equal(busy_us(&load, "enc_1"), 1);
    assert_int_equal(busy_us(&load, "capacity-video"), -1);
    assert_true(load.memory_used_bytes < 0 && load.sessions < 0);
    free(folder);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct lathe_hw_load load, back;
    lathe_hw_load_init(&load);
    lathe_hw_load_engine(&load, "encoder")->ratio = 0.5;
    lathe_hw_load_engine(&load, "enc_1")->busy_us = 77;
    assert_null(lathe_hw_load_engine(&load, ""));
    assert_null(lathe_hw_load_engine(&load, "a\"b"));
    assert_null(lathe_hw_load_engine(&load, "longer than any driver calls its engines"));
    load.sessions = 2;
    json_t *json = NULL;
    assert_int_equal(lathe_hw_load_to_json(&load, &json), 0);
    assert_int_equal(lathe_hw_load_from_json(json, &back, NULL), 0);
    json_decref(json);
    assert_int_equal(back.n_engines, 2);
    assert_true(lathe_hw_load_engine(&back, "encoder")->ratio == 0.5);
    assert_true(lathe_hw_load_engine(&back, "encoder")->busy_us < 0);
    assert_int_equal(busy_us(&back, "enc_1"), 77);
    assert_int_equal(back.sessions, 2);
    assert_true(back.memory_used_bytes < 0);
}

/* The slot has run drivers. */
static void test_distrust(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "null",
        "{}",
        "{\"engines\": []}",
        "{\"engines\": {\"x y\": {\"ratio\": 0}}}",
        "{\"engines\": {\"gpu\": {\"ratio\": 1.5}}}",
        "{\"engines\": {\"gpu\": {\"busy_us\": -1}}}",
        "{\"engines\": {\"gpu\": 5}}",
        "{\"engines\": {}, \"sessions\": -2}",
        "{\"engines\": {\"a\":{},\"b\":{},\"c\":{},\"d\":{},\"e\":{},\"f\":{},\"g\":{},\"h\":{},"
        "\"i\":{},\"j\":{},\"k\":{},\"l\":{},\"m\":{}}}",
    };
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        struct lathe_hw_load load;
        json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);
        if (lathe_hw_load_from_json(json, &load, NULL) >= 0)
            fail_msg("accepted %s", bad[i]);
        json_decref(json);
    }
}

int main(int argc, char **argv)
{
    contract_init(argc, argv, "none", "none");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fdinfo, contract_setup, contract_teardown),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_distrust),
    };
    return cmocka_run_group_tests_name("hwaccel_load", tests, NULL, NULL);
}
