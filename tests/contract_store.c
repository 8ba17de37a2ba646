/* SPDX-License-Identifier: MIT */
/*
 * Contract of the store port: what goes in comes out, and no key leads anywhere else. Writers that
 * race and die are in contract_store_races.c, files on this host in contract_store_dir.c.
 */
#include "contract_store.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lathe/base.h"

static void test_put_get_stat_remove(void **state)
{
    (void)state;
    struct lathe_store *store = NULL;
    assert_int_equal(lathe_store_open("no-such", "x", &store, NULL), -ENOENT);
    store = open_store();
    char fill = 0;
    struct lathe_store_meta meta;
    assert_int_equal(get_bytes(store, "jobs/a.json", &fill), -ENOENT);
    assert_int_equal(lathe_store_stat(store, "jobs/a.json", &meta, NULL), -ENOENT);
    assert_int_equal(lathe_store_remove(store, "jobs/a.json", NULL), 0);

    struct lathe_store_meta first = {.sha256 = SHA_A, .frames = 250};
    put_bytes(store, "jobs/a.json", 100000, 'a', &first, LATHE_STORE_COPY);
    assert_int_equal(get_bytes(store, "jobs/a.json", &fill), 100000);
    assert_int_equal(fill, 'a');
    assert_int_equal(lathe_store_stat(store, "jobs/a.json", &meta, NULL), 0);
    assert_int_equal(meta.size_bytes, 100000);
    assert_string_equal(meta.sha256, SHA_A);
    assert_int_equal(meta.frames, 250);
    lathe_store_close(store);

    store = open_store();
    struct lathe_store_meta second = {.sha256 = SHA_B};
    put_bytes(store, "jobs/a.json", 7, 'b', &second, LATHE_STORE_COPY);
    assert_int_equal(get_bytes(store, "jobs/a.json", &fill), 7);
    assert_int_equal(fill, 'b');
    assert_int_equal(lathe_store_stat(store, "jobs/a.json", &meta, NULL), 0);
    assert_int_equal(meta.size_bytes, 7);
    assert_string_equal(meta.sha256, SHA_B);
    assert_int_equal(meta.frames, 0);
    put_bytes(store, "jobs/a.json", 0, 0, NULL, LATHE_STORE_COPY);
    assert_int_equal(get_bytes(store, "jobs/a.json", &fill), 0);
    assert_int_equal(lathe_store_stat(store, "jobs/a.json", &meta, NULL), 0);
    assert_string_equal(meta.sha256, ""); /* not the hash of what was there before */

    char *missing = contract_path("missing");
    assert_int_equal(lathe_store_put(store, "k", missing, NULL, 0, NULL, NULL), -ENOENT);
    assert_int_equal(lathe_store_put(store, "k", contract.folder, NULL, 0, NULL, NULL), -EINVAL);
    assert_int_equal(lathe_store_put(store, "k", missing,
                                     &(struct lathe_store_meta){.sha256 = "ABC"}, 0, NULL, NULL),
                     -EINVAL);
    free(missing);
    assert_int_equal(lathe_store_remove(store, "jobs/a.json", NULL), 0);
    assert_int_equal(lathe_store_remove(store, "jobs/a.json", NULL), 0);
    assert_int_equal(lathe_store_stat(store, "jobs/a.json", &meta, NULL), -ENOENT);
    lathe_store_close(store);
}

static void test_flags(void **state)
{
    (void)state;
    struct lathe_store *store = open_store();
    char *path = contract_path("local"), fill = 0;
    make_file(path, 1000, 'm');
    struct lathe_store_meta meta = {.sha256 = SHA_A, .frames = 3};
    assert_int_equal(lathe_store_put(store, "x/moved", path, &meta, LATHE_STORE_MOVE, NULL, NULL),
                     0);
    assert_int_equal(get_bytes(store, "x/moved", &fill), 1000);
    assert_int_equal(lathe_store_stat(store, "x/moved", &meta, NULL), 0);
    assert_string_equal(meta.sha256, SHA_A);

    make_file(path, 10, 'n');
    int r = lathe_store_put(store, "x/moved", path, NULL, LATHE_STORE_IF_ABSENT, NULL, NULL);
    assert_int_equal(r, -EEXIST);
    r = lathe_store_put(store, "x/moved", path, NULL, LATHE_STORE_IF_ABSENT | LATHE_STORE_MOVE,
                        NULL, NULL);
    assert_int_equal(r, -EEXIST);
    assert_int_equal(access(path, F_OK), 0); /* a failed move leaves the file */
    assert_int_equal(get_bytes(store, "x/moved", &fill), 1000);
    assert_int_equal(fill, 'm');
    assert_int_equal(lathe_store_stat(store, "x/moved", &meta, NULL), 0);
    assert_string_equal(meta.sha256, SHA_A);
    r = lathe_store_put(store, "x/new", path, NULL, LATHE_STORE_IF_ABSENT, NULL, NULL);
    assert_int_equal(r, 0);
    assert_int_equal(get_bytes(store, "x/new", &fill), 10);

    /* A source with a second name is not consumed by renaming: that name could change the object.
     */
    char *alias = contract_path("alias");
    assert_int_equal(link(path, alias), 0);
    assert_int_equal(lathe_store_put(store, "x/copy", path, NULL, LATHE_STORE_MOVE, NULL, NULL), 0);
    make_file(alias, 10, 'z');
    assert_int_equal(get_bytes(store, "x/copy", &fill), 10);
    assert_int_equal(fill, 'n');

    struct lathe_cancel *cancel = NULL;
    assert_int_equal(lathe_cancel_create(&cancel), 0);
    lathe_cancel_trigger(cancel);
    make_file(path, 10, 'c');
    assert_int_equal(lathe_store_put(store, "x/never", path, NULL, 0, cancel, NULL), -ECANCELED);
    assert_int_equal(lathe_store_get(store, "x/new", alias, cancel, NULL), -ECANCELED);
    assert_int_equal(get_bytes(store, "x/never", &fill), -ENOENT);
    lathe_cancel_destroy(cancel);
    unlink(path);
    unlink(alias);
    free(path);
    free(alias);
    lathe_store_close(store);
}

static void test_keys_cannot_escape(void **state)
{
    (void)state;
    struct lathe_store *store = open_store();
    static const char *const bad[] = {"",      "/etc/passwd", "..", "../x", "a/../../x",
                                      "a/./b", "a//b",        "a/", "a b",  "a\nb",
                                      "a\\b",  "a@b",         ".",  "a/..", "\xc3\xa4"};
    char *path = contract_path("local");
    make_file(path, 5, 'x');
    struct lathe_store_meta meta;
    for (size_t i = 0; i < LATHE_COUNT(bad); i++) {
        assert_int_equal(lathe_store_put(store, bad[i], path, NULL, 0, NULL, NULL), -EINVAL);
        assert_int_equal(lathe_store_stat(store, bad[i], &meta, NULL), -EINVAL);
        assert_int_equal(lathe_store_remove(store, bad[i], NULL), -EINVAL);
    }
    char long_key[LATHE_STORE_KEY_MAX + 1];
    for (size_t i = 0; i < sizeof(long_key); i++)
        long_key[i] = i % 100 == 99 ? '/' : 'k';
    long_key[LATHE_STORE_KEY_MAX] = '\0';
    assert_int_equal(lathe_store_put(store, long_key, path, NULL, 0, NULL, NULL), -EINVAL);
    long_key[LATHE_STORE_KEY_MAX - 1] = '\0'; /* 511 characters are a key */
    struct lathe_store_meta with = {.sha256 = SHA_A};
    assert_int_equal(lathe_store_put(store, long_key, path, &with, 0, NULL, NULL), 0);
    assert_int_equal(lathe_store_stat(store, long_key, &meta, NULL), 0);
    assert_string_equal(meta.sha256, SHA_A);
    assert_int_equal(lathe_store_remove_prefix(store, "../", NULL), -EINVAL);
    free(path);
    lathe_store_close(store);
}

static int stop_at_once(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    (*(int *)opaque)++;
    return -ECANCELED;
}

static void test_list_and_prefixes(void **state)
{
    (void)state;
    struct lathe_store *store = open_store();
    static const char *const keys[] = {"top",         "chunks/a/plan.json", "chunks/a/chunk_000.ts",
                                       "chunks/ab/x", "chunks/b/x",         "transcoded/a/1/2/3",
                                       "chunks/a/d/e"};
    struct lathe_store_meta meta = {.sha256 = SHA_B, .frames = 1};
    for (size_t i = 0; i < LATHE_COUNT(keys); i++)
        put_bytes(store, keys[i], i + 1, 'l', &meta, 0);
    assert_int_equal(count_below(store, ""), LATHE_COUNT(keys));
    assert_int_equal(count_below(store, "chunks/a/"), 3);
    assert_int_equal(count_below(store, "chunks/a"), 4);
    assert_int_equal(count_below(store, "chunks/a/chunk_"), 1);
    assert_int_equal(count_below(store, "chunks/a/plan.json"), 1);
    assert_int_equal(count_below(store, "nothing/here/"), 0);
    assert_int_equal(count_below(store, "top/below"), 0);
    int calls = 0;
    assert_int_equal(lathe_store_list(store, "", stop_at_once, &calls, NULL), -ECANCELED);
    assert_int_equal(calls, 1);
    assert_int_equal(lathe_store_remove_prefix(store, "chunks/a/", NULL), 0);
    assert_int_equal(count_below(store, "chunks/"), 2);
    assert_int_equal(lathe_store_remove_prefix(store, "chunks/a/", NULL), 0);
    assert_int_equal(lathe_store_remove_prefix(store, "", NULL), 0);
    assert_int_equal(count_below(store, ""), 0);
    lathe_store_close(store);
}

/* Also after a failed test: a folder with something mounted in it cannot be removed. */
static int unmount_and_teardown(void **state)
{
    _cleanup_free_ char *mount_point = lathe_format("%s/disk", contract.folder);
    if (mount_point)
        umount2(mount_point, MNT_DETACH);
    return contract_teardown(state);
}

int main(int argc, char **argv)
{
    contract_init(argc, argv, "dir", "store");
#define TEST(name) cmocka_unit_test_setup_teardown(name, contract_store_setup, contract_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_put_get_stat_remove),
        TEST(test_flags),
        TEST(test_keys_cannot_escape),
        TEST(test_list_and_prefixes),
        TEST(test_readers_see_whole_objects),
        TEST(test_concurrent_writers),
        TEST(test_if_absent_has_one_winner),
        TEST(test_dir_leftovers_are_swept),
        TEST(test_dir_links_and_reserved_names),
        TEST(test_dir_no_room),
        TEST(test_s3_parts),
        TEST(test_s3_presigned),
        TEST(test_s3_refusals),
        TEST(test_s3_faults),
        TEST(test_libs3_refusals),
        cmocka_unit_test_setup_teardown(test_dir_full_disk, contract_setup, unmount_and_teardown),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
