/* SPDX-License-Identifier: MIT */
/*
 * A slot that no signal ends, as in a driver that waits for a dead GPU: nobody waits for it, and
 * its lane is not free until it has ended. Run as: unit_pool_stuck FAKE_SLOT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lathe/base.h"
#include "lathe/placement.h"

#define PATH "0"

static const char *fake_slot;
static char folder[] = "/tmp/lathe-stuck-XXXXXX";

static int run_order(struct lathe_pool *pool, enum lathe_encoder family, struct lathe_error *err)
{
    struct lathe_order order;
    json_t *body = NULL;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_INSPECT;
    order.source_path = strdup("/in.mp4");
    order.gpu_family = family;
    order.gpu_path = family == LATHE_ENCODER_AUTO ? NULL : strdup(PATH);
    int r = lathe_pool_run(pool, &order, NULL, NULL, NULL, &body, NULL, err);
    json_decref(body);
    lathe_order_finish(&order);
    return r;
}

static struct lathe_hw_device healthy_device(void)
{
    struct lathe_hw_device d = {.family = LATHE_ENCODER_NVENC, .path = PATH, .name = "made up"};
    for (unsigned i = 0; i + 1 < lathe_hw_n_trials; i++) {
        d.trials[i] = lathe_hw_trials[i];
        d.trials[i].verdict = LATHE_HW_WORKS;
        d.trials[i].features = LATHE_HW_RC_VBR;
        d.n_trials++;
    }
    return d;
}

static struct lathe_place take_and_give(struct lathe_placement *placement)
{
    const struct lathe_ladder_request request = {.source_codec = "h264",
                                                 .source_width = 1280,
                                                 .source_height = 720,
                                                 .source_bits = 8,
                                                 .source_is_420 = true,
                                                 .bits = 8,
                                                 .renditions = {{640, 360}},
                                                 .n_renditions = 1};
    struct lathe_attempts attempts = {.request = &request, .chunks_left = 10};
    struct lathe_place place;
    struct lathe_error err = {0};
    if (lathe_placement_take(placement, &attempts, NULL, &place, &err) < 0)
        fail_msg("%s", err.what);
    lathe_placement_give(placement, &attempts, &place, LATHE_HW_UNTRIED, "");
    return place;
}

static void a_stuck_slot_holds_its_lane(void **state)
{
    (void)state;
    const struct lathe_pool_options options = {.slot_path = fake_slot, .stall_seconds = 0.5};
    const struct lathe_placement_options placing = {.slots = 1, .lanes = 1};
    struct lathe_hw_device device = healthy_device();
    const struct lathe_hardware hardware = {.devices = &device, .n_devices = 1};
    struct lathe_pool *pool = NULL;
    struct lathe_placement *placement = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_pool_create(&options, &pool, NULL), 0);
    assert_int_equal(lathe_placement_create(&placing, pool, &placement, NULL), 0);
    lathe_placement_set_hardware(placement, &hardware, NULL);
    assert_int_equal(take_and_give(placement).device, 0);

    setenv("LATHE_SLOT_FAKE", "inspect:*:stuck", 1);
    int r = run_order(pool, LATHE_ENCODER_NVENC, &err);
    if (r == -ECONNABORTED && strstr(err.what, "Operation not permitted")) {
        print_message("skipped: processes may not be traced here\n");
        lathe_placement_destroy(placement);
        lathe_pool_destroy(pool);
        skip();
    }
    assert_int_equal(r, -ETIMEDOUT);
    assert_non_null(strstr(err.what, "no progress"));

    /* It is not one of software's, so these have all their slots. */
    setenv("LATHE_SLOT_FAKE", "", 1);
    assert_int_equal(lathe_pool_stuck_on(pool, LATHE_ENCODER_NVENC, PATH), 1);
    assert_int_equal(lathe_pool_stuck_on(pool, LATHE_ENCODER_AUTO, NULL), 0);
    assert_int_equal(run_order(pool, LATHE_ENCODER_AUTO, NULL), 0);

    struct lathe_place place = take_and_give(placement);
    assert_int_equal(place.device, -1);
    assert_int_equal(place.over_step, LATHE_STEP_ALL_GPU);
    assert_non_null(strstr(place.over_reason, "stuck in the kernel"));

    _cleanup_free_ char *path = lathe_format("%s/unstick", folder);
    assert_non_null(path);
    assert_int_equal(lathe_write_file_atomic(path, "", 0, NULL), 0);
    const struct timespec moment = {.tv_nsec = 10000000};
    for (int i = 0; i < 3000 && lathe_pool_stuck_on(pool, LATHE_ENCODER_NVENC, PATH); i++)
        nanosleep(&moment, NULL);
    assert_int_equal(lathe_pool_stuck_on(pool, LATHE_ENCODER_NVENC, PATH), 0);
    assert_int_equal(take_and_give(placement).device, 0);
    lathe_placement_destroy(placement);
    lathe_pool_destroy(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_stuck_slot_holds_its_lane)};
    if (argc != 2 || !mkdtemp(folder))
        return 2;
    fake_slot = argv[1];
    setenv("LATHE_SLOT_FAKE_DIR", folder, 1);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    lathe_remove_tree(folder, NULL);
    return r;
}
