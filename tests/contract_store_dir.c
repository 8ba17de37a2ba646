/* SPDX-License-Identifier: MIT */
/*
 * The directory store on this host: leftovers of the dead, links, and disks without room. Other
 * drivers skip these tests.
 */
#include "contract_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lathe/base.h"

static bool is_dir_driver(void)
{
    return !strcmp(contract.driver, "dir");
}

/* Files and folders below `path`, in all. */
static int count_files(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        _cleanup_free_ char *below = lathe_format("%s/%s", path, entry->d_name);
        count += 1 + (entry->d_type == DT_DIR ? count_files(below) : 0);
    }
    closedir(dir);
    return count;
}

void test_dir_leftovers_are_swept(void **state)
{
    (void)state;
    if (!is_dir_driver())
        skip();
    char *local = contract_path("writer");
    char *tmp = lathe_format("%s/.tmp", contract.location);
    char *meta = lathe_format("%s/.meta", contract.location);
    struct lathe_store *living = open_store();
    int alive = count_files(tmp);

    /* A replaced object leaves no sidecar behind. */
    struct lathe_store_meta with = {.sha256 = SHA_A};
    for (int i = 0; i < 3; i++)
        put_bytes(living, "k/object", 10, 'x', &with, 0);
    assert_int_equal(count_files(meta), 2); /* k, k/object@… */

    /* What a writer killed before its rename leaves: its folder, and a sidecar of no object. */
    _cleanup_free_ char *dead = lathe_format("%s/dead-owner", tmp);
    _cleanup_free_ char *sidecar = lathe_format("%s/k/object@0000000000000001", meta);
    assert_int_equal(mkdir(dead, 0700), 0);
    make_file(sidecar, 10, 'x');
    lathe_store_close(open_store());
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(sidecar, F_OK), -1);
    assert_int_equal(count_files(meta), 2);

    for (int round = 0; round < 4; round++) {
        pid_t pid = contract_fork(overwrite_forever, local);
        while (count_files(tmp) < alive + 2)
            contract_sleep_ms(1);
        contract_sleep_ms((int)contract_random(30));
        contract_kill(pid);
        assert_true(count_files(tmp) > alive);
        struct lathe_store *store = open_store();
        lathe_store_close(store);
        assert_int_equal(count_files(tmp), alive); /* the living handle's folder is untouched */
    }
    assert_int_equal(lathe_store_remove_prefix(living, "", NULL), 0);
    assert_int_equal(count_files(meta), 0);
    lathe_store_close(living);
    assert_int_equal(count_files(contract.location), 3); /* .tmp, its lock file, .meta */
    free(local);
    free(tmp);
    free(meta);
}

void test_dir_links_and_reserved_names(void **state)
{
    (void)state;
    if (!is_dir_driver())
        skip();
    struct lathe_store *store = open_store();
    char *outside = contract_path("outside"), *secret = contract_path("outside/secret");
    char *local = contract_path("source");
    assert_int_equal(mkdir(outside, 0700), 0);
    make_file(secret, 9, 's');
    make_file(local, 5, 'x');
    _cleanup_free_ char *link_dir = lathe_format("%s/leak", contract.location);
    _cleanup_free_ char *link_file = lathe_format("%s/leak-file", contract.location);
    assert_int_equal(symlink(outside, link_dir), 0);
    assert_int_equal(symlink(secret, link_file), 0);
    char fill = 0, *path = NULL;
    struct lathe_store_meta meta;
    assert_int_equal(get_bytes(store, "leak/secret", &fill), -ENOENT);
    assert_int_equal(get_bytes(store, "leak-file", &fill), -ENOENT);
    assert_int_equal(lathe_store_stat(store, "leak-file", &meta, NULL), -ENOENT);
    assert_int_equal(lathe_store_local_path(store, "leak/secret", &path, NULL), -ENOENT);
    assert_true(lathe_store_put(store, "leak/new", local, NULL, 0, NULL, NULL) < 0);
    assert_int_equal(lathe_store_remove(store, "leak/secret", NULL), 0);
    assert_int_equal(count_below(store, ""), 0);
    assert_int_equal(count_files(outside), 1);
    put_bytes(store, "leak-file", 3, 'p', NULL, 0); /* replaces the link, not what it names */
    assert_int_equal(get_bytes(store, "leak-file", &fill), 3);
    assert_int_equal(count_files(outside), 1);

    assert_int_equal(lathe_store_put(store, ".tmp/x", local, NULL, 0, NULL, NULL), -EINVAL);
    assert_int_equal(lathe_store_put(store, ".meta/x", local, NULL, 0, NULL, NULL), -EINVAL);
    assert_int_equal(lathe_store_remove(store, ".tmp/commit", NULL), -EINVAL);
    assert_int_equal(lathe_store_put(store, "d/e", local, NULL, 0, NULL, NULL), 0);
    assert_int_equal(lathe_store_put(store, "d", local, NULL, 0, NULL, NULL), -EISDIR);
    assert_true(lathe_store_put(store, "d/e/f", local, NULL, 0, NULL, NULL) < 0);

    assert_int_equal(lathe_store_local_path(store, "d/e", &path, NULL), 0);
    char *data = NULL;
    assert_int_equal(lathe_read_file(path, 100, &data, NULL, NULL), 0);
    assert_string_equal(data, "xxxxx");
    free(data);
    free(path);
    free(outside);
    free(secret);
    free(local);
    lathe_store_close(store);
}

/* A file size limit stands for a full disk: any machine can have it. */
static int put_too_large(void *opaque)
{
    (void)opaque;
    signal(SIGXFSZ, SIG_IGN);
    struct lathe_store *store;
    char *path = contract_path("large");
    make_file(path, 1 << 20, 'L');
    if (lathe_store_open(contract.driver, contract.location, &store, NULL) < 0)
        return 1;
    struct rlimit limit = {64 << 10, 64 << 10};
    struct lathe_error err = {0};
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0 ||
        lathe_store_put(store, "full/object", path, NULL, 0, NULL, &err) != -EFBIG ||
        err.fault != LATHE_FAULT_RESOURCE)
        return 2;
    lathe_store_close(store);
    return 0;
}

void test_dir_no_room(void **state)
{
    (void)state;
    if (!is_dir_driver())
        skip();
    struct lathe_store *store = open_store();
    struct lathe_store_meta meta = {.sha256 = SHA_A, .frames = 5};
    put_bytes(store, "full/object", 100, 'o', &meta, 0);
    assert_int_equal(contract_wait(contract_fork(put_too_large, NULL)), 0);
    char fill = 0;
    assert_int_equal(get_bytes(store, "full/object", &fill), 100);
    assert_int_equal(fill, 'o');
    assert_int_equal(lathe_store_stat(store, "full/object", &meta, NULL), 0);
    assert_string_equal(meta.sha256, SHA_A);
    lathe_store_close(store);
}

void test_dir_full_disk(void **state)
{
    (void)state;
    if (!is_dir_driver())
        skip();
    char *mount_point = contract_path("disk");
    assert_int_equal(mkdir(mount_point, 0700), 0);
    if (mount("none", mount_point, "tmpfs", 0, "size=400k") < 0) {
        free(mount_point);
        skip();
    }
    struct lathe_store *store = NULL;
    assert_int_equal(lathe_store_open("dir", mount_point, &store, NULL), 0);
    struct lathe_store_meta meta = {.sha256 = SHA_A, .frames = 5};
    put_bytes(store, "a/object", 100000, 'o', &meta, 0);
    char *large = contract_path("large");
    make_file(large, 1 << 20, 'L');
    struct lathe_error err = {0};
    assert_int_equal(lathe_store_put(store, "a/object", large, NULL, 0, NULL, &err), -ENOSPC);
    assert_int_equal(err.fault, LATHE_FAULT_RESOURCE);
    assert_true(err.hint[0] != '\0');
    assert_int_equal(lathe_store_put(store, "a/object", large, NULL, LATHE_STORE_MOVE, NULL, NULL),
                     -ENOSPC);
    assert_int_equal(access(large, F_OK), 0);
    char fill = 0;
    assert_int_equal(get_bytes(store, "a/object", &fill), 100000);
    assert_int_equal(fill, 'o');
    assert_int_equal(lathe_store_stat(store, "a/object", &meta, NULL), 0);
    assert_string_equal(meta.sha256, SHA_A);
    put_bytes(store, "a/other", 200000, 'p', &meta, 0); /* the failures left no room taken */
    lathe_store_close(store);
    assert_int_equal(umount(mount_point), 0);
    free(mount_point);
    free(large);
}
