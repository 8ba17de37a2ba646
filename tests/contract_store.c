/* SPDX-License-Identifier: MIT */
/*
 * Contract of the store port: whole objects or none, whatever happens to the writer, and no key
 * that leads anywhere else. The last tests are about files on this host and run for the driver
 * "dir" only.
 */
#include "contract.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lathe/base.h"
#include "lathe/store.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct lathe_store *open_store(void)
{
    struct lathe_store *store = NULL;
    struct lathe_error err = {0};
    if (lathe_store_open(contract.driver, contract.location, &store, &err) < 0)
        fail_msg("%s", err.what);
    return store;
}

/* A file of `size` bytes `fill`. */
static void make_file(const char *path, size_t size, char fill)
{
    char *data = malloc(size ? size : 1);
    assert_non_null(data);
    memset(data, fill, size);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(data);
}

static void put_bytes(struct lathe_store *store, const char *key, size_t size, char fill,
                      const struct lathe_store_meta *meta, unsigned flags)
{
    char *path = contract_path("local");
    make_file(path, size, fill);
    struct lathe_error err = {0};
    if (lathe_store_put(store, key, path, meta, flags, NULL, &err) < 0)
        fail_msg("%s", err.what);
    unlink(path);
    free(path);
}

/* The size of an object that must consist of one repeated byte, which is returned in *ret_fill; a
 * negative errno when it cannot be read. */
static int64_t get_bytes(struct lathe_store *store, const char *key, char *ret_fill)
{
    static atomic_int number;
    char name[32];
    snprintf(name, sizeof(name), "got-%d", atomic_fetch_add(&number, 1));
    char *path = contract_path(name), *data = NULL;
    size_t size = 0;
    int r = lathe_store_get(store, key, path, NULL, NULL);
    if (r == 0) {
        assert_int_equal(lathe_read_file(path, SIZE_MAX / 4, &data, &size, NULL), 0);
        for (size_t i = 1; i < size; i++)
            if (data[i] != data[0])
                fail_msg("object %s is a mixture of two", key);
        if (size)
            *ret_fill = data[0];
        assert_int_equal(unlink(path), 0);
    } else {
        assert_int_equal(access(path, F_OK), -1); /* nothing is left of a failed get */
    }
    free(data);
    free(path);
    return r < 0 ? r : (int64_t)size;
}

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

struct listing {
    int count;
    uint64_t bytes;
    const char *prefix;
};

static int count_key(void *opaque, const char *key, uint64_t size_bytes)
{
    struct listing *listing = opaque;
    assert_int_equal(strncmp(key, listing->prefix, strlen(listing->prefix)), 0);
    listing->count++;
    listing->bytes += size_bytes;
    return 0;
}

static int stop_at_once(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    (*(int *)opaque)++;
    return -ECANCELED;
}

static int count_below(struct lathe_store *store, const char *prefix)
{
    struct listing listing = {.prefix = prefix};
    assert_int_equal(lathe_store_list(store, prefix, count_key, &listing, NULL), 0);
    return listing.count;
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

#define LARGE_BYTES (3u << 20)

/* Replaces one object for ever, with whole contents of one byte each and metadata that says which.
 */
static int overwrite_forever(void *opaque)
{
    const char *local = opaque;
    struct lathe_store *store;
    if (lathe_store_open(contract.driver, contract.location, &store, NULL) < 0)
        return 1;
    for (unsigned i = 0;; i++) {
        char fill = (char)('a' + i % 26);
        struct lathe_store_meta meta = {.frames = (uint64_t)fill};
        memset(meta.sha256, "0123456789abcdef"[i % 16], 64);
        FILE *file = fopen(local, "w");
        if (!file)
            return 1;
        for (unsigned n = 0; n < LARGE_BYTES + i % 26; n++)
            putc(fill, file);
        if (fclose(file))
            return 1;
        unsigned flags = i % 2 ? LATHE_STORE_MOVE : LATHE_STORE_COPY;
        if (lathe_store_put(store, "k/object", local, &meta, flags, NULL, NULL) < 0)
            return 1;
    }
}

static void test_readers_see_whole_objects(void **state)
{
    (void)state;
    struct lathe_store *store = open_store();
    char *local = contract_path("writer"), fill = 0;
    struct lathe_store_meta meta = {.frames = 'a'};
    put_bytes(store, "k/object", LARGE_BYTES, 'a', &meta, 0);
    for (int round = 0; round < 12; round++) {
        pid_t pid = contract_fork(overwrite_forever, local);
        int64_t end_us = lathe_clock_monotonic_us() + 20000 + contract_random(60000);
        do {
            int64_t size = get_bytes(store, "k/object", &fill);
            assert_int_equal(size, LARGE_BYTES + (unsigned)(fill - 'a'));
            for (int i = 0; i < 200; i++) {
                assert_int_equal(lathe_store_stat(store, "k/object", &meta, NULL), 0);
                assert_int_equal(meta.size_bytes, LARGE_BYTES + meta.frames - 'a');
            }
        } while (lathe_clock_monotonic_us() < end_us);
        contract_kill(pid);
        /* Whatever it was doing: object and metadata belong together. */
        int64_t size = get_bytes(store, "k/object", &fill);
        assert_int_equal(size, LARGE_BYTES + (unsigned)(fill - 'a'));
        assert_int_equal(lathe_store_stat(store, "k/object", &meta, NULL), 0);
        assert_int_equal(meta.frames, fill);
    }
    lathe_store_close(store);
    store = open_store();
    assert_int_equal(count_below(store, ""), 1);
    assert_int_equal(lathe_store_remove(store, "k/object", NULL), 0);
    lathe_store_close(store);
    free(local);
}

struct writer {
    struct lathe_store *store;
    int number;
    int failed;
};

static void *write_objects(void *arg)
{
    struct writer *writer = arg;
    char name[32], key[64];
    snprintf(name, sizeof(name), "thread-%d", writer->number);
    char *path = contract_path(name);
    for (int i = 0; i < 15; i++) {
        make_file(path, (size_t)writer->number + 1, (char)('0' + writer->number));
        struct lathe_store_meta meta = {.frames = (uint64_t)writer->number + 1};
        unsigned flags = i % 2 ? LATHE_STORE_MOVE : LATHE_STORE_COPY;
        int r = lathe_store_put(writer->store, "shared/one", path, &meta, flags, NULL, NULL);
        /* Folders come and go under each other's hands. */
        snprintf(key, sizeof(key), "shared/d%d/own-%d", i % 2, writer->number);
        make_file(path, 3, 'o');
        if (r == 0)
            r = lathe_store_put(writer->store, key, path, &meta, flags, NULL, NULL);
        if (r == 0)
            r = lathe_store_stat(writer->store, key, &meta, NULL);
        if (r == 0)
            r = lathe_store_remove(writer->store, key, NULL);
        writer->failed |= r != 0;
    }
    unlink(path);
    free(path);
    return NULL;
}

static void test_concurrent_writers(void **state)
{
    (void)state;
    struct lathe_store *a = open_store(), *b = open_store();
    struct writer writers[6];
    for (int i = 0; i < 6; i++)
        writers[i] = (struct writer){i % 2 ? a : b, i, 0};
    contract_threads(6, write_objects, writers, sizeof(writers[0]));
    for (int i = 0; i < 6; i++)
        assert_int_equal(writers[i].failed, 0);
    char fill = 0;
    struct lathe_store_meta meta;
    int64_t size = get_bytes(a, "shared/one", &fill);
    assert_int_equal(size, fill - '0' + 1);
    assert_int_equal(lathe_store_stat(b, "shared/one", &meta, NULL), 0);
    assert_int_equal(meta.frames, size);
    assert_int_equal(count_below(a, ""), 1);
    lathe_store_close(a);
    lathe_store_close(b);
}

struct absent {
    struct lathe_store *store;
    char *path;
    int r;
};

static void *put_if_absent(void *arg)
{
    struct absent *absent = arg;
    absent->r = lathe_store_put(absent->store, "only/one", absent->path, NULL,
                                LATHE_STORE_IF_ABSENT, NULL, NULL);
    return NULL;
}

static void test_if_absent_has_one_winner(void **state)
{
    (void)state;
    struct lathe_store *stores[2] = {open_store(), open_store()};
    char *path = contract_path("local");
    make_file(path, 1000, 'i');
    for (int round = 0; round < 10; round++) {
        struct absent writers[4];
        int winners = 0;
        for (int i = 0; i < 4; i++)
            writers[i] = (struct absent){stores[i % 2], path, 0};
        contract_threads(4, put_if_absent, writers, sizeof(writers[0]));
        for (int i = 0; i < 4; i++) {
            assert_true(writers[i].r == 0 || writers[i].r == -EEXIST);
            winners += writers[i].r == 0;
        }
        assert_int_equal(winners, 1);
        assert_int_equal(lathe_store_remove(stores[0], "only/one", NULL), 0);
    }
    unlink(path);
    free(path);
    lathe_store_close(stores[0]);
    lathe_store_close(stores[1]);
}

/* --- files on this host --- */

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

static void test_dir_leftovers_are_swept(void **state)
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

static void test_dir_links_and_reserved_names(void **state)
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

static void test_dir_no_room(void **state)
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

static void test_dir_full_disk(void **state)
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, contract_setup, contract_teardown)
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
        cmocka_unit_test_setup_teardown(test_dir_full_disk, contract_setup, unmount_and_teardown),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
