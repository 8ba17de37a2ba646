/* SPDX-License-Identifier: MIT */
/*
 * Slots that wait for the next chunk of their job on their GPU. Run as: unit_pool_warm FAKE_SLOT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lathe/base.h"
#include "lathe/pool.h"

static const char *fake_slot;
static char folder[] = "/tmp/lathe-warm-XXXXXX";
static struct lathe_pool *pool;

static int begin(void **state)
{
    (void)state;
    const struct lathe_pool_options options = {.slot_path = fake_slot, .stall_seconds = 10};
    setenv("LATHE_SLOT_FAKE", "", 1);
    return lathe_pool_create(&options, &pool, NULL);
}

static int end(void **state)
{
    (void)state;
    lathe_pool_destroy(pool);
    return 0;
}

/* The fake makes a plan up, without which it does no chunk. */
static int make_plan(void **state)
{
    static const char text[] =
        "{\"v\": 1, \"job_id\": \"warm\", \"source_key\": \"/one.mp4\", \"source_is_local\": true,"
        " \"renditions\": [{\"name\": \"240p\", \"short_side\": 240, \"bitrate_kbps\": 300}],"
        " \"codec\": \"h264\", \"encoder\": \"auto\", \"preset\": \"fast\"}";
    struct lathe_order order;
    json_t *json = json_loads(text, 0, NULL), *body = NULL;
    if (begin(state) < 0)
        return -1;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_SPLIT;
    order.source_path = strdup("/one.mp4");
    order.plan_path = lathe_format("%s/plan.json", folder);
    order.index_path = lathe_format("%s/index.bin", folder);
    order.job = calloc(1, sizeof *order.job);
    int r = order.job ? lathe_job_from_json(json, order.job, NULL) : -ENOMEM;
    if (r == 0)
        r = lathe_pool_run(pool, &order, NULL, NULL, NULL, &body, NULL, NULL);
    json_decref(body);
    json_decref(json);
    lathe_order_finish(&order);
    end(state);
    return r;
}

/* A chunk of a job; `device` NULL: in software. */
static int chunk(uint32_t number, const char *job, const char *device)
{
    struct lathe_order order;
    json_t *body = NULL;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_CHUNK;
    order.index = number;
    order.source_path = lathe_format("/%s.mp4", job);
    order.plan_path = lathe_format("%s/plan.json", folder);
    order.index_path = lathe_format("%s/index.bin", folder);
    order.out_paths[0] = lathe_format("%s/%s-%u.mp4", folder, job, number);
    if (device) {
        order.gpu_family = LATHE_ENCODER_NVENC;
        order.gpu_path = strdup(device);
        order.gpu_step = LATHE_STEP_ALL_GPU;
    }
    int r = lathe_pool_run(pool, &order, NULL, NULL, NULL, &body, NULL, NULL);
    json_decref(body);
    lathe_order_finish(&order);
    return r;
}

/* Processes that have ended. */
static unsigned ended(void)
{
    struct lathe_usage usage;
    lathe_pool_usage(pool, &usage);
    return usage.children;
}

static void chunks_of_a_job_share_a_process(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(chunk(i, "one", "0"), 0);
    assert_int_equal(ended(), 0);
    lathe_pool_cool(pool, 3600); /* nobody has waited for so long */
    assert_int_equal(ended(), 0);
    lathe_pool_cool(pool, 0);
    assert_int_equal(ended(), 1);
    assert_int_equal(chunk(0, "one", "0"), 0);
    lathe_pool_cool(pool, 0);
    assert_int_equal(ended(), 2);
}

static void software_starts_afresh(void **state)
{
    (void)state;
    assert_int_equal(chunk(0, "one", NULL), 0);
    assert_int_equal(chunk(1, "one", NULL), 0);
    assert_int_equal(ended(), 2);
}

static void another_job_gets_another_process(void **state)
{
    (void)state;
    assert_int_equal(chunk(0, "one", "0"), 0);
    assert_int_equal(chunk(0, "one", "1"), 0); /* on another device: both wait */
    assert_int_equal(ended(), 0);
    assert_int_equal(chunk(0, "two", "0"), 0);
    assert_int_equal(ended(), 1);
    assert_int_equal(chunk(1, "one", "1"), 0);
    assert_int_equal(ended(), 1);
}

static void one_that_failed_is_not_kept(void **state)
{
    (void)state;
    assert_int_equal(chunk(0, "one", "0"), 0);
    setenv("LATHE_SLOT_FAKE", "chunk:1:crash", 1);
    lathe_pool_cool(pool, 0); /* the fake learns its faults when it starts */
    assert_int_equal(ended(), 1);
    assert_int_equal(chunk(0, "one", "0"), 0);
    assert_int_equal(chunk(1, "one", "0"), -ECONNABORTED);
    assert_int_equal(ended(), 2);
    setenv("LATHE_SLOT_FAKE", "", 1);
    assert_int_equal(chunk(1, "one", "0"), 0);
    assert_int_equal(chunk(2, "one", "0"), 0);
    assert_int_equal(ended(), 2);
}

static void a_folder_made_anew_is_another_one(void **state)
{
    (void)state;
    _cleanup_free_ char *aside = lathe_format("%s.old", folder);
    _cleanup_free_ char *plan = lathe_format("%s/plan.json", folder);
    _cleanup_free_ char *kept = lathe_format("%s.old/plan.json", folder);
    assert_true(aside && plan && kept);
    assert_int_equal(chunk(0, "one", "0"), 0);
    assert_int_equal(rename(folder, aside), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(rename(kept, plan), 0);
    assert_int_equal(chunk(1, "one", "0"), 0);
    assert_int_equal(ended(), 1);
    assert_int_equal(lathe_remove_tree(aside, NULL), 0);
}

static void what_died_while_it_waited_is_no_failure(void **state)
{
    (void)state;
    char path[64], text[32] = "";
    assert_int_equal(chunk(0, "one", "0"), 0);
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    if (!f || !fgets(text, sizeof text, f))
        skip();
    assert_int_equal(kill(atoi(text), SIGKILL), 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)atoi(text), &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(chunk(1, "one", "0"), 0);
    assert_int_equal(ended(), 1);
}

static void reach_is_what_landlock_allowed(void **state)
{
    (void)state;
    struct lathe_order a, b;
    lathe_order_init(&a);
    a.verb = LATHE_VERB_CHUNK;
    a.gpu_family = LATHE_ENCODER_VAAPI;
    a.gpu_path = strdup("/dev/dri/renderD128");
    a.source_path = strdup("/videos/in.mp4");
    a.plan_path = strdup("/srv/plan.json");
    a.packets_path = strdup("/srv/job/packets-1.ts");
    a.out_paths[0] = strdup("/srv/job/1.mp4");
    b = a;
    char *one = lathe_order_reach(&a), *other;
    assert_non_null(one);
    b.index = 7;
    b.packets_path = (char *)"/srv/job/packets-7.ts"; /* beside the outputs */
    b.out_paths[0] = (char *)"/srv/job/7.mp4";
    other = lathe_order_reach(&b);
    assert_string_equal(one, other);
    free(other);
    char **const paths[] = {&b.source_path,  &b.plan_path,    &b.packets_path,
                            &b.out_paths[0], &b.out_paths[1], &b.gpu_path};
    for (size_t i = 0; i < LATHE_COUNT(paths); i++) {
        char *before = *paths[i];
        *paths[i] = (char *)"/elsewhere/x";
        other = lathe_order_reach(&b);
        assert_true(!other || strcmp(one, other) != 0);
        free(other);
        *paths[i] = before;
    }
    b.verb = LATHE_VERB_MERGE;
    assert_null(lathe_order_reach(&b));
    b.verb = LATHE_VERB_CHUNK;
    b.gpu_family = LATHE_ENCODER_AUTO;
    assert_null(lathe_order_reach(&b));
    free(one);
    lathe_order_finish(&a);
}

#define WITH_POOL(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_POOL(chunks_of_a_job_share_a_process),
        WITH_POOL(software_starts_afresh),
        WITH_POOL(another_job_gets_another_process),
        WITH_POOL(one_that_failed_is_not_kept),
        WITH_POOL(a_folder_made_anew_is_another_one),
        WITH_POOL(what_died_while_it_waited_is_no_failure),
        cmocka_unit_test(reach_is_what_landlock_allowed),
    };
    if (argc != 2 || !mkdtemp(folder))
        return 2;
    fake_slot = argv[1];
    setenv("LATHE_SLOT_FAKE_DIR", folder, 1);
    int r = cmocka_run_group_tests(tests, make_plan, NULL);
    lathe_remove_tree(folder, NULL);
    return r;
}
