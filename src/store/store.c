/* SPDX-License-Identifier: MIT */
/*
 * The front of the store port: chooses the driver and checks keys, so that no driver ever sees one
 * that could leave its root or mean two things. Adding a driver: its file, and a line in `drivers`.
 */
#include "lathe/store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "drivers.h"
#include "lathe/base.h"
#include "lathe/port.h"

static const struct lathe_store_driver *const drivers[] = {
    &lathe_store_dir,
    &lathe_store_s3,
#ifdef LATHE_STORE_LIBS3
    &lathe_store_libs3,
#endif
};

struct lathe_store {
    const struct lathe_store_driver *driver;
    struct lathe_patience patience;
    max_align_t priv[];
};

#define CALL(op, ...) LATHE_PORT_CALL(store, op, __VA_ARGS__)

int lathe_store_open(const char *driver, const char *location, struct lathe_store **ret,
                     struct lathe_error *err)
{
    if (!driver || !location || !*location)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "the store needs a driver and a location");
    for (size_t i = 0; i < LATHE_COUNT(drivers); i++) {
        if (strcmp(drivers[i]->name, driver))
            continue;
        struct lathe_store *store = calloc(1, sizeof(*store) + drivers[i]->priv_size);
        if (!store)
            return lathe_error_nomem(err);
        store->driver = drivers[i];
        int r = store->driver->open(store->priv, location, err);
        if (r < 0) {
            lathe_store_close(store);
            lathe_error_prefix(err, "store");
            return r;
        }
        *ret = store;
        return 0;
    }
    return lathe_error_set(err, -ENOENT, LATHE_FAULT_CONFIG,
                           "this build has no store driver named \"%s\"", driver);
}

/* What the keys allow is only known by doing it. */
static int try_object(struct lathe_store *store, const char *dir, struct lathe_error *err)
{
    char id[37];
    int r = lathe_uuid7(id);
    if (r < 0)
        return lathe_error_errno(err, r, "no random numbers");
    _cleanup_free_ char *key = lathe_format(LATHE_STORE_TRIAL_PREFIX "%s", id);
    _cleanup_free_ char *there = lathe_format("%s/there", dir);
    _cleanup_free_ char *back = lathe_format("%s/back", dir);
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    if (!key || !there || !back)
        return lathe_error_nomem(err);
    r = lathe_write_file_atomic(there, id, strlen(id), err);
    if (r == 0)
        r = lathe_store_put(store, key, there, NULL, LATHE_STORE_COPY, NULL, err);
    if (r < 0)
        return r;
    r = lathe_store_get(store, key, back, NULL, err);
    if (r == 0)
        r = lathe_read_file(back, sizeof(id), &text, &size, err);
    if (r == 0 && strcmp(text, id) != 0)
        r = lathe_error_set(err, -EIO, LATHE_FAULT_SERVER,
                            "an object comes back from the store otherwise than it went");
    struct lathe_error later = {0};
    int removed = lathe_store_remove(store, key, r < 0 ? &later : err);
    return r < 0 ? r : removed;
}

static void check_trial(struct lathe_store *store, struct lathe_findings *ret)
{
    struct lathe_error err = {0};
    const char *tmp = getenv("TMPDIR");
    _cleanup_free_ char *dir = lathe_format("%s/lathe-trial-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    int r = dir ? 0 : lathe_error_nomem(&err);
    if (r == 0 && !mkdtemp(dir))
        r = lathe_error_errno(&err, -errno, "cannot make %s", dir);
    if (r == 0) {
        r = try_object(store, dir, &err);
        (void)lathe_remove_tree(dir, NULL);
    }
    if (r < 0)
        lathe_findings_add_error(ret, "store.trial", &err);
    else
        lathe_findings_add(ret, "store.trial", LATHE_FINDING_GOOD, NULL,
                           "an object was written, read and removed");
}

void lathe_store_check(const char *driver, const char *location, const struct lathe_check *check,
                       struct lathe_findings *ret)
{
    struct lathe_store *store = NULL;
    struct lathe_error err = {0};
    if (lathe_store_open(driver, location, &store, &err) < 0) {
        lathe_findings_add_error(ret, "store.reachable", &err);
        return;
    }
    lathe_findings_add(ret, "store.reachable", LATHE_FINDING_GOOD, NULL, "the store answers (%s)",
                       driver);
    store->driver->check(store->priv, check, ret);
    check_trial(store, ret);
    lathe_store_close(store);
}

void lathe_store_close(struct lathe_store *store)
{
    if (!store)
        return;
    store->driver->close(store->priv);
    free(store);
}

void lathe_store_set_patience(struct lathe_store *store, const struct lathe_patience *patience)
{
    store->patience = *patience;
}

static bool is_key_character(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* `is_prefix`: the last part may be empty or cut off, as in "chunks/" and "chunks/a-job/ch". */
static bool key_is_valid(const char *key, bool is_prefix)
{
    if (!key || strlen(key) >= LATHE_STORE_KEY_MAX)
        return false;
    for (const char *part = key;;) {
        size_t length = 0;
        while (is_key_character(part[length]))
            length++;
        char end = part[length];
        if (end != '/' && end != '\0')
            return false;
        bool is_dots =
            (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.');
        if (end == '\0')
            return (length > 0 || is_prefix) && !is_dots;
        if (length == 0 || is_dots)
            return false;
        part += length + 1;
    }
}

static int check_key(const char *key, struct lathe_error *err)
{
    if (key_is_valid(key, false))
        return 0;
    return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "\"%s\" is not a valid object key",
                           key ? key : "");
}

static int check_prefix(const char *prefix, struct lathe_error *err)
{
    if (key_is_valid(prefix, true))
        return 0;
    return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "\"%s\" is not a valid key prefix",
                           prefix ? prefix : "");
}

static bool sha256_is_valid(const char *hex)
{
    size_t length = strspn(hex, "0123456789abcdef");
    return hex[length] == '\0' && (length == 0 || length == 64);
}

int lathe_store_put(struct lathe_store *store, const char *key, const char *path,
                    const struct lathe_store_meta *meta, unsigned flags,
                    struct lathe_cancel *cancel, struct lathe_error *err)
{
    static const struct lathe_store_meta none;
    int r = check_key(key, err);
    if (r < 0)
        return r;
    if (!meta)
        meta = &none;
    if (!sha256_is_valid(meta->sha256))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT,
                               "the hash given for %s is not a SHA-256 in lower-case hex", key);
    if (lathe_cancel_is_triggered(cancel))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "stopped on request");
    struct stat file = {0};
    (void)stat(path, &file); /* before it is moved; whether it can be read is the driver's to say */
    r = CALL(put, key, path, meta, flags, cancel, err);
    if (r == 0)
        lathe_metrics_add(LATHE_METRIC_STORE_WRITTEN, NULL, (double)file.st_size);
    return r;
}

int lathe_store_get(struct lathe_store *store, const char *key, const char *path,
                    struct lathe_cancel *cancel, struct lathe_error *err)
{
    int r = check_key(key, err);
    if (r < 0)
        return r;
    if (lathe_cancel_is_triggered(cancel))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "stopped on request");
    r = CALL(get, key, path, cancel, err);
    struct stat file;
    if (r == 0 && stat(path, &file) == 0)
        lathe_metrics_add(LATHE_METRIC_STORE_READ, NULL, (double)file.st_size);
    return r;
}

int lathe_store_stat(struct lathe_store *store, const char *key, struct lathe_store_meta *ret,
                     struct lathe_error *err)
{
    int r = check_key(key, err);
    if (r < 0)
        return r;
    struct lathe_store_meta meta = {0};
    r = CALL(stat, key, &meta, err);
    if (r == 0)
        *ret = meta;
    return r;
}

int lathe_store_list(struct lathe_store *store, const char *prefix,
                     int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque,
                     struct lathe_error *err)
{
    int r = check_prefix(prefix, err);
    return r < 0 ? r : CALL(list, prefix, each, opaque, err);
}

int lathe_store_remove(struct lathe_store *store, const char *key, struct lathe_error *err)
{
    int r = check_key(key, err);
    return r < 0 ? r : CALL(remove, key, err);
}

int lathe_store_local_path(struct lathe_store *store, const char *key, char **ret_path,
                           struct lathe_error *err)
{
    int r = check_key(key, err);
    if (r < 0)
        return r;
    if (!store->driver->local_path)
        return lathe_error_set(err, -EOPNOTSUPP, LATHE_FAULT_INPUT,
                               "objects of this store cannot be read in place");
    return CALL(local_path, key, ret_path, err);
}

bool lathe_store_is_local(const struct lathe_store *store)
{
    return store->driver->local_path != NULL;
}

int lathe_store_presign(struct lathe_store *store, const char *key, bool is_write,
                        unsigned expires_s, char **ret_url, struct lathe_error *err)
{
    int r = check_key(key, err);
    if (r < 0)
        return r;
    if (expires_s < 1 || expires_s > 604800)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT,
                               "a URL lasts from 1 second to a week (604800), not %u", expires_s);
    if (!store->driver->presign)
        return lathe_error_set(err, -EOPNOTSUPP, LATHE_FAULT_INPUT,
                               "objects of this store have no URL");
    return CALL(presign, key, is_write, expires_s, ret_url, err);
}

struct key_list {
    char **keys;
    size_t count, capacity;
};

static int remember_key(void *opaque, const char *key, uint64_t size_bytes)
{
    struct key_list *list = opaque;
    (void)size_bytes;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        char **larger = realloc(list->keys, capacity * sizeof(*larger));
        if (!larger)
            return -ENOMEM;
        list->keys = larger;
        list->capacity = capacity;
    }
    list->keys[list->count] = strdup(key);
    return list->keys[list->count] ? (list->count++, 0) : -ENOMEM;
}

/* Listed first and removed after: what a walk sees of entries removed under it is not defined. */
int lathe_store_remove_prefix(struct lathe_store *store, const char *prefix,
                              struct lathe_error *err)
{
    struct key_list list = {0};
    int r = lathe_store_list(store, prefix, remember_key, &list, err);
    if (r == -ENOMEM)
        lathe_error_nomem(err);
    for (size_t i = 0; i < list.count; i++) {
        if (r == 0)
            r = CALL(remove, list.keys[i], err);
        free(list.keys[i]);
    }
    free(list.keys);
    return r;
}
