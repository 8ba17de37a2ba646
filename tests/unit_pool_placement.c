/* SPDX-License-Identifier: MIT */
/*
 * Where chunks go: lanes, failures, quarantine and what follows, on a clock that the test moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "health.h"
#include "lathe/base.h"
#include "lathe/placement.h"

#define SECOND 1000000LL

static int64_t now;
static unsigned probes;
static bool probe_works;
static struct lathe_cancel *fired; /* what would wait comes back at once */

static int64_t clock_us(void)
{
    return now;
}

static int probe(void *opaque, struct lathe_hw_device *device)
{
    (void)opaque;
    probes++;
    device->trials[0].verdict = probe_works ? LATHE_HW_WORKS : LATHE_HW_LOST;
    return 0;
}

static struct lathe_hw_device device_of(enum lathe_encoder family, const char *path, bool encodes)
{
    struct lathe_hw_device d = {.family = family};
    snprintf(d.path, sizeof d.path, "%s", path);
    for (unsigned i = 0; i + 1 < lathe_hw_n_trials; i++) {
        d.trials[d.n_trials] = lathe_hw_trials[i];
        d.trials[d.n_trials].verdict = LATHE_HW_WORKS;
        d.trials[d.n_trials].features = LATHE_HW_RC_VBR;
        if (!encodes && d.trials[d.n_trials].kind == LATHE_HW_ENCODE)
            d.trials[d.n_trials].verdict = LATHE_HW_ABSENT;
        d.n_trials++;
    }
    return d;
}

static struct lathe_ladder_request request;
static struct lathe_attempts attempts;

static struct lathe_placement *open_with(struct lathe_hw_device *devices, unsigned n)
{
    const struct lathe_placement_options options = {
        .slots = 1, .lanes = 2, .now_us = clock_us, .probe = probe};
    struct lathe_hardware hardware = {.devices = devices, .n_devices = n};
    struct lathe_placement *p = NULL;
    now = 1000 * SECOND;
    probes = 0;
    probe_works = true;
    request = (struct lathe_ladder_request){.source_codec = "h264",
                                            .source_width = 1920,
                                            .source_height = 1080,
                                            .source_bits = 8,
                                            .source_is_420 = true,
                                            .bits = 8,
                                            .renditions = {{1280, 720}},
                                            .n_renditions = 1,
                                            .any_feature = LATHE_HW_RC_VBR};
    attempts = (struct lathe_attempts){.request = &request, .chunks_left = 100};
    assert_int_equal(lathe_placement_create(&options, NULL, &p, NULL), 0);
    lathe_placement_set_hardware(p, &hardware, NULL);
    return p;
}

static struct lathe_place take(struct lathe_placement *p, struct lathe_attempts *a)
{
    struct lathe_place place;
    struct lathe_error err = {0};
    if (lathe_placement_take(p, a, fired, &place, &err) < 0)
        fail_msg("%s", err.what);
    return place;
}

static void give(struct lathe_placement *p, struct lathe_attempts *a,
                 const struct lathe_place *place, enum lathe_hw_verdict verdict)
{
    lathe_placement_give(p, a, place, verdict, "for a test");
}

static void expect(const struct lathe_place *place, int device, enum lathe_ladder_step step)
{
    assert_int_equal(place->device, device);
    assert_int_equal(place->step, step);
}

static struct lathe_attempts another(void)
{
    return (struct lathe_attempts){.request = &request, .chunks_left = 100, .mix = attempts.mix};
}

/* SIGHUP, or a device that comes or goes, while chunks are at work. */
static void hardware_changes_under_way(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true),
                                  device_of(LATHE_ENCODER_NVENC, "1", true)};
    struct lathe_placement *p = open_with(d, 1);
    struct lathe_attempts a[5];
    struct lathe_place places[5];
    for (int i = 0; i < 2; i++) {
        a[i] = another();
        places[i] = take(p, &a[i]);
        assert_int_equal(places[i].device, 0);
    }
    struct lathe_hardware both = {.devices = d, .n_devices = 2};
    lathe_placement_set_hardware(p, &both, NULL);
    for (int i = 2; i < 4; i++) { /* the first one is still full */
        a[i] = another();
        places[i] = take(p, &a[i]);
        assert_int_equal(places[i].device, 1);
    }
    give(p, &a[0], &places[0], LATHE_HW_WORKS);
    struct lathe_hardware second = {.devices = &d[1], .n_devices = 1};
    lathe_placement_set_hardware(p, &second, NULL);
    assert_int_equal(lathe_placement_lanes(p), 2);
    give(p, &a[2], &places[2], LATHE_HW_WORKS);
    a[4] = another();
    places[4] = take(p, &a[4]); /* the one that is there, by the number that it had */
    assert_int_equal(places[4].device, 1);
    json_t *json = lathe_placement_to_json(p);
    const json_t *list = json_object_get(json, "devices");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "state")),
                        "gone");
    json_decref(json);

    /* It is lost, then found anew before its quarantine is over. */
    give(p, &a[4], &places[4], LATHE_HW_LOST);
    a[0] = another();
    assert_int_equal(take(p, &a[0]).device, -1);
    lathe_placement_set_hardware(p, &both, NULL);
    a[2] = another();
    assert_int_equal(take(p, &a[2]).device, 0); /* its other lane is taken since the beginning */
    both.refreshed = true;
    lathe_placement_set_hardware(p, &both, NULL);
    a[4] = another();
    assert_int_equal(take(p, &a[4]).device, 1);
    lathe_placement_destroy(p);
}

static void lanes_are_counted(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true),
                                  device_of(LATHE_ENCODER_NVENC, "1", true)};
    struct lathe_placement *p = open_with(d, 2);
    struct lathe_place places[4], more;
    struct lathe_attempts a[4];
    unsigned on[2] = {0};
    for (int i = 0; i < 4; i++) {
        a[i] = another();
        places[i] = take(p, &a[i]);
        assert_int_equal(places[i].step, LATHE_STEP_ALL_GPU);
        on[places[i].device]++;
    }
    assert_int_equal(on[0], 2);
    assert_int_equal(on[1], 2);
    assert_int_equal(lathe_placement_take(p, &attempts, fired, &more, NULL), -ECANCELED);
    give(p, &a[2], &places[2], LATHE_HW_WORKS);
    more = take(p, &attempts);
    expect(&more, places[2].device, LATHE_STEP_ALL_GPU);
    lathe_placement_destroy(p);
}

static void software_beside_lanes_only_when_allowed(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true),
                                  device_of(LATHE_ENCODER_VAAPI, "/dev/dri/renderD128", true)};
    struct lathe_placement *p = open_with(d, 2);
    struct lathe_attempts a[6];
    struct lathe_place place;
    for (int i = 0; i < 2; i++) {
        a[i] = another();
        place = take(p, &a[i]);
        expect(&place, 0, LATHE_STEP_ALL_GPU);
    }
    a[2] = another(); /* the other family stays idle */
    assert_int_equal(lathe_placement_take(p, &a[2], fired, &place, NULL), -ECANCELED);
    attempts.mix = LATHE_MIX_ALLOW;
    for (int i = 2; i < 4; i++) {
        a[i] = another();
        place = take(p, &a[i]);
        expect(&place, 1, LATHE_STEP_ALL_GPU);
    }
    a[4] = another();
    a[4].chunks_left = 15; /* less than four for each of four lanes */
    assert_int_equal(lathe_placement_take(p, &a[4], fired, &place, NULL), -ECANCELED);
    a[4].chunks_left = 16;
    place = take(p, &a[4]);
    expect(&place, -1, LATHE_STEP_ALL_SOFTWARE);
    assert_int_equal(place.over_step, LATHE_STEP_NONE); /* not a fallback */
    a[5] = another();                                   /* one software slot, and it is taken */
    assert_int_equal(lathe_placement_take(p, &a[5], fired, &place, NULL), -ECANCELED);
    lathe_placement_destroy(p);
}

/* Same device once after a broken session, another one of the family, next step, software. */
static void failures_go_down_the_ladder(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true),
                                  device_of(LATHE_ENCODER_NVENC, "1", true),
                                  device_of(LATHE_ENCODER_VAAPI, "/dev/dri/renderD128", true)};
    struct lathe_placement *p = open_with(d, 3);
    static const struct {
        int device;
        enum lathe_ladder_step step;
        enum lathe_hw_verdict verdict;
    } way[] = {{0, LATHE_STEP_ALL_GPU, LATHE_HW_SESSION},
               {0, LATHE_STEP_ALL_GPU, LATHE_HW_SESSION},
               {1, LATHE_STEP_ALL_GPU, LATHE_HW_WRONG},
               {0, LATHE_STEP_GPU_FROM_SCALE, LATHE_HW_ERROR},
               {1, LATHE_STEP_GPU_FROM_SCALE, LATHE_HW_LOST},
               {0, LATHE_STEP_GPU_ENCODE, LATHE_HW_ERROR}, /* its third step in a row */
               {2, LATHE_STEP_ALL_GPU, LATHE_HW_CRASHES},
               {2, LATHE_STEP_GPU_FROM_SCALE, LATHE_HW_HANGS}};
    for (size_t i = 0; i < LATHE_COUNT(way); i++) {
        struct lathe_place place = take(p, &attempts);
        expect(&place, way[i].device, way[i].step);
        give(p, &attempts, &place, way[i].verdict);
    }
    struct lathe_place place = take(p, &attempts);
    expect(&place, -1, LATHE_STEP_ALL_SOFTWARE);
    give(p, &attempts, &place, LATHE_HW_WORKS);
    struct lathe_attempts next = another(); /* does not try them again, and says why */
    place = take(p, &next);
    expect(&place, -1, LATHE_STEP_ALL_SOFTWARE);
    assert_int_equal(place.over_step, LATHE_STEP_ALL_GPU);
    assert_string_equal(place.over_path, "0");
    assert_non_null(strstr(place.over_reason, "left alone"));
    lathe_placement_destroy(p);
}

/* Chunks that fail on one step at once do not use up the chances of the step that works. */
static void a_bad_engine_is_done_without(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true)};
    struct lathe_placement *p = open_with(d, 1);
    struct lathe_attempts chunks[] = {another(), another()};
    static const enum lathe_ladder_step bad[] = {LATHE_STEP_ALL_GPU, LATHE_STEP_GPU_FROM_SCALE};
    for (size_t step = 0; step < LATHE_COUNT(bad); step++) {
        struct lathe_place places[2];
        for (size_t i = 0; i < LATHE_COUNT(chunks); i++) {
            places[i] = take(p, &chunks[i]);
            expect(&places[i], 0, bad[step]);
        }
        for (size_t i = 0; i < LATHE_COUNT(chunks); i++)
            give(p, &chunks[i], &places[i], LATHE_HW_WRONG);
    }
    struct lathe_place place = take(p, &chunks[0]);
    expect(&place, 0, LATHE_STEP_GPU_ENCODE);
    give(p, &chunks[0], &place, LATHE_HW_WORKS);
    struct lathe_attempts next = another(); /* and later chunks begin with it */
    place = take(p, &next);
    expect(&place, 0, LATHE_STEP_GPU_ENCODE);
    lathe_placement_destroy(p);
}

static void quarantine_ends_with_a_probe(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true)};
    struct lathe_placement *p = open_with(d, 1);
    struct lathe_place place = take(p, &attempts);
    give(p, &attempts, &place, LATHE_HW_LOST);
    assert_true(lathe_placement_tend(p, NULL)); /* what is kept about it is stale */
    assert_false(lathe_placement_tend(p, NULL));
    assert_int_equal(probes, 0);
    now += LATHE_HEALTH_BACKOFF_US;
    probe_works = false;
    lathe_placement_tend(p, NULL);
    assert_int_equal(probes, 1);
    now += LATHE_HEALTH_BACKOFF_US; /* twice as long now */
    lathe_placement_tend(p, NULL);
    assert_int_equal(probes, 1);
    json_t *json = lathe_placement_to_json(p);
    const json_t *device = json_array_get(json_object_get(json, "devices"), 0);
    assert_string_equal(json_string_value(json_object_get(device, "state")), "quarantined");
    json_decref(json);
    now += LATHE_HEALTH_BACKOFF_US;
    probe_works = true;
    lathe_placement_tend(p, NULL);
    assert_int_equal(probes, 2);
    struct lathe_attempts next = another();
    place = take(p, &next);
    expect(&place, 0, LATHE_STEP_ALL_GPU);
    lathe_placement_destroy(p);
}

static void busy_takes_a_lane_for_a_while(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true)};
    struct lathe_placement *p = open_with(d, 1);
    struct lathe_attempts first = another();
    struct lathe_place one = take(p, &first), two = take(p, &attempts), place;
    give(p, &attempts, &two, LATHE_HW_BUSY);
    /* one lane is left, and it is taken: the chunk waits for it and keeps its step */
    assert_int_equal(lathe_placement_take(p, &attempts, fired, &place, NULL), -ECANCELED);
    give(p, &first, &one, LATHE_HW_WORKS);
    two = take(p, &attempts);
    expect(&two, 0, LATHE_STEP_ALL_GPU);
    give(p, &attempts, &two, LATHE_HW_BUSY); /* even alone: nothing is left */
    place = take(p, &attempts);
    expect(&place, -1, LATHE_STEP_ALL_SOFTWARE);
    give(p, &attempts, &place, LATHE_HW_WORKS);
    struct lathe_attempts next = another();
    place = take(p, &next);
    expect(&place, -1, LATHE_STEP_ALL_SOFTWARE);
    assert_int_equal(place.over_verdict, LATHE_HW_BUSY);
    give(p, &next, &place, LATHE_HW_WORKS);
    now += LATHE_HEALTH_LANE_US;
    place = take(p, &next);
    expect(&place, 0, LATHE_STEP_ALL_GPU);
    json_t *json = lathe_placement_to_json(p);
    const json_t *device = json_array_get(json_object_get(json, "devices"), 0);
    assert_int_equal(json_integer_value(json_object_get(device, "failures")), 0);
    json_decref(json);
    lathe_placement_destroy(p);
}

static void bad_step_is_left_out(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_VAAPI, "/dev/dri/renderD128", true)};
    struct lathe_placement *p = open_with(d, 1);
    for (int i = 0; i < 2; i++) {
        struct lathe_attempts a = another();
        struct lathe_place place = take(p, &a);
        expect(&place, 0, LATHE_STEP_ALL_GPU);
        give(p, &a, &place, LATHE_HW_WRONG);
        place = take(p, &a);
        expect(&place, 0, LATHE_STEP_GPU_FROM_SCALE);
        give(p, &a, &place, LATHE_HW_WORKS);
    }
    struct lathe_attempts a = another();
    struct lathe_place place = take(p, &a);
    expect(&place, 0, LATHE_STEP_GPU_FROM_SCALE);
    assert_int_equal(place.over_step, LATHE_STEP_ALL_GPU);
    assert_int_equal(place.over_verdict, LATHE_HW_WRONG);
    lathe_placement_destroy(p);
}

static void required_gpu(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", false)};
    struct lathe_placement *p = open_with(d, 1);
    struct lathe_place place;
    struct lathe_error err = {0};
    request.wish = LATHE_HW_REQUIRE;
    assert_int_equal(lathe_placement_take(p, &attempts, NULL, &place, &err), -ENODEV);
    assert_int_equal(lathe_error_exit_code(&err), 78);
    assert_non_null(strstr(err.what, "absent"));
    request.wish = LATHE_HW_PREFER;
    place = take(p, &attempts); /* it decodes and scales: pictures get smaller */
    expect(&place, 0, LATHE_STEP_GPU_UNTIL_SCALE);
    assert_int_equal(place.encoder, LATHE_ENCODER_SOFTWARE);
    lathe_placement_destroy(p);

    d[0] = device_of(LATHE_ENCODER_NVENC, "0", true);
    p = open_with(d, 1);
    request.wish = LATHE_HW_REQUIRE;
    place = take(p, &attempts);
    give(p, &attempts, &place, LATHE_HW_LOST);
    assert_int_equal(lathe_placement_take(p, &attempts, NULL, &place, &err), -EIO);
    assert_non_null(strstr(err.what, "for a test"));
    assert_int_equal(err.fault, LATHE_FAULT_INTERNAL);
    struct lathe_attempts later = another(); /* which has not failed anywhere */
    assert_int_equal(lathe_placement_take(p, &later, NULL, &place, &err), -ENODEV);
    assert_non_null(strstr(err.what, "for a test"));
    assert_int_equal(err.fault, LATHE_FAULT_RESOURCE);
    assert_non_null(strstr(err.hint, "lathe retry"));
    lathe_placement_destroy(p);
}

/* Where no other host could have the chunk, a device gets the time to come back, once. */
static void required_gpu_comes_back(void **state)
{
    (void)state;
    struct lathe_hw_device d[] = {device_of(LATHE_ENCODER_NVENC, "0", true)};
    struct lathe_placement *p = open_with(d, 1);
    struct lathe_error err = {0};
    request.wish = LATHE_HW_REQUIRE;
    attempts.waits = true;
    struct lathe_place place = take(p, &attempts);
    give(p, &attempts, &place, LATHE_HW_LOST);
    assert_int_equal(lathe_placement_take(p, &attempts, NULL, &place, &err), -EIO); /* its own */

    struct lathe_attempts later = another();
    assert_int_equal(lathe_placement_take(p, &later, NULL, &place, &err), -ENODEV);
    later.waits = true;
    assert_int_equal(lathe_placement_take(p, &later, fired, &place, &err), -ECANCELED);
    now += 31 * SECOND;
    assert_true(lathe_placement_tend(p, NULL));
    assert_int_equal(probes, 1);
    place = take(p, &later);
    expect(&place, 0, LATHE_STEP_ALL_GPU);
    give(p, &later, &place, LATHE_HW_LOST); /* a second time, without having worked */
    struct lathe_attempts last = another();
    last.waits = true;
    assert_int_equal(lathe_placement_take(p, &last, fired, &place, &err), -ENODEV);
    assert_int_equal(err.fault, LATHE_FAULT_RESOURCE);
    lathe_placement_destroy(p);
}

static int setup(void **state)
{
    (void)state;
    if (lathe_cancel_create(&fired) < 0)
        return -1;
    lathe_cancel_trigger(fired);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lathe_cancel_destroy(fired);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_counted),
        cmocka_unit_test(hardware_changes_under_way),
        cmocka_unit_test(software_beside_lanes_only_when_allowed),
        cmocka_unit_test(failures_go_down_the_ladder),
        cmocka_unit_test(a_bad_engine_is_done_without),
        cmocka_unit_test(quarantine_ends_with_a_probe),
        cmocka_unit_test(busy_takes_a_lane_for_a_while),
        cmocka_unit_test(bad_step_is_left_out),
        cmocka_unit_test(required_gpu),
        cmocka_unit_test(required_gpu_comes_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
