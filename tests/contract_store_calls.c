/* SPDX-License-Identifier: MIT */
/*
 * The short forms of contract_store.h.
 */
#include "contract_store.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "lathe/base.h"

struct lathe_store *open_store(void)
{
    struct lathe_store *store = NULL;
    struct lathe_error err = {0};
    if (lathe_store_open(contract.driver, contract.location, &store, &err) < 0)
        fail_msg("%s", err.what);
    return store;
}

void make_file(const char *path, size_t size, char fill)
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

void put_bytes(struct lathe_store *store, const char *key, size_t size, char fill,
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

int64_t get_bytes(struct lathe_store *store, const char *key, char *ret_fill)
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

int count_below(struct lathe_store *store, const char *prefix)
{
    struct listing listing = {.prefix = prefix};
    assert_int_equal(lathe_store_list(store, prefix, count_key, &listing, NULL), 0);
    return listing.count;
}
