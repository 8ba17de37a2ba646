/* SPDX-License-Identifier: MIT */
/*
 * Contract of the store port where several write at once, and die while they do: whole objects or
 * none, and one winner.
 */
#include "contract_store.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "lathe/base.h"

#define LARGE_BYTES (3u << 20)

int overwrite_forever(void *opaque)
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

void test_readers_see_whole_objects(void **state)
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
        if (strcmp(contract.driver, "dir")) /* a server may still be at what it got whole */
            contract_sleep_ms(300);
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

void test_concurrent_writers(void **state)
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

void test_if_absent_has_one_winner(void **state)
{
    (void)state;
    if (!strcmp(contract.driver, "libs3"))
        skip(); /* it can only look first: see docs/stores.md */
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
