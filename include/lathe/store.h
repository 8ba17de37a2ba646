/* SPDX-License-Identifier: MIT */
/*
 * Store port: whole objects under string keys (the names are in job/keys and DESIGN, "Store keys").
 *
 * Guarantee: after put() returned 0, readers see all of the new object; after a failure, or a
 * crash at any instant, what was there before.
 * Deliberately lacks: append, rename, ordered listing.
 * Threads: one lathe_store may be shared by several threads.
 */
#ifndef LATHE_STORE_H
#define LATHE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/finding.h"

#define LATHE_STORE_KEY_MAX 512

/* What is kept beside an object; checked by HEAD before a completion is believed. */
struct lathe_store_meta {
    uint64_t size_bytes; /* filled by stat(); ignored by put() */
    char sha256[65];     /* lower-case hex, or empty */
    uint64_t frames;     /* 0 = not a video result */
};

enum lathe_store_put_flags {
    LATHE_STORE_COPY = 0,
    LATHE_STORE_MOVE = 1 << 0, /* the local file may be consumed (renamed) by a successful put */
    LATHE_STORE_IF_ABSENT = 1 << 1, /* -EEXIST when the key exists, where the driver can tell */
};

struct lathe_store;
struct lathe_patience;

struct lathe_store_driver {
    const char *name; /* "dir", "s3" */
    size_t priv_size;

    int (*open)(void *priv, const char *location, struct lathe_error *err);
    void (*close)(void *priv);
    /* Must provide. Stores local file `path` under `key`. -ECANCELED; -ENOSPC; -EAGAIN. */
    int (*put)(void *priv, const char *key, const char *path, const struct lathe_store_meta *meta,
               unsigned flags, struct lathe_cancel *cancel, struct lathe_error *err);
    /* Must provide. Writes the object to the new local file `path`. -ENOENT. */
    int (*get)(void *priv, const char *key, const char *path, struct lathe_cancel *cancel,
               struct lathe_error *err);
    /* Must provide. -ENOENT. */
    int (*stat)(void *priv, const char *key, struct lathe_store_meta *ret, struct lathe_error *err);
    /* Must provide. Calls `each` for every key that begins with `prefix`, in no order; a non-zero
     * answer ends the walk and is returned. */
    int (*list)(void *priv, const char *prefix,
                int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque,
                struct lathe_error *err);
    /* Must provide. A missing key is success. */
    int (*remove)(void *priv, const char *key, struct lathe_error *err);
    /* May provide: a local path under which the object can be read in place (the caller frees
     * it). Absent: the front answers -EOPNOTSUPP and callers use get(). */
    int (*local_path)(void *priv, const char *key, char **ret_path, struct lathe_error *err);
    /* May provide: a URL that reads (or writes) the object for `expires_s` seconds without keys
     * (the caller frees it). It is as secret as a key. Absent: -EOPNOTSUPP. */
    int (*presign)(void *priv, const char *key, bool is_write, unsigned expires_s, char **ret_url,
                   struct lathe_error *err);
    /* Must provide. Looks its server over. Whether it can be opened at all is the front's to say.
     */
    void (*check)(void *priv, const struct lathe_check *check, struct lathe_findings *ret);
};

#define LATHE_STORE_TRIAL_PREFIX "trial/"

/* The front. Keys are checked: 1…511 characters of [A-Za-z0-9._/-], no empty, "." or ".." part. */
int lathe_store_open(const char *driver, const char *location, struct lathe_store **ret,
                     struct lathe_error *err);
void lathe_store_close(struct lathe_store *store); /* NULL is allowed */
/* For all calls from here on; before other threads use the handle. See port.h. */
void lathe_store_set_patience(struct lathe_store *store, const struct lathe_patience *patience);
/* For people: what is wrong with it, and what cures that. Adds at least one finding,
 * "store.reachable". Writes, reads and removes an object below LATHE_STORE_TRIAL_PREFIX. */
void lathe_store_check(const char *driver, const char *location, const struct lathe_check *check,
                       struct lathe_findings *ret);
/* Whether objects are files that can be read in place. */
bool lathe_store_is_local(const struct lathe_store *store);
int lathe_store_put(struct lathe_store *store, const char *key, const char *path,
                    const struct lathe_store_meta *meta, unsigned flags,
                    struct lathe_cancel *cancel, struct lathe_error *err);
int lathe_store_get(struct lathe_store *store, const char *key, const char *path,
                    struct lathe_cancel *cancel, struct lathe_error *err);
int lathe_store_stat(struct lathe_store *store, const char *key, struct lathe_store_meta *ret,
                     struct lathe_error *err);
int lathe_store_list(struct lathe_store *store, const char *prefix,
                     int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque,
                     struct lathe_error *err);
int lathe_store_remove(struct lathe_store *store, const char *key, struct lathe_error *err);
int lathe_store_local_path(struct lathe_store *store, const char *key, char **ret_path,
                           struct lathe_error *err);
/* `expires_s`: 1 … 604800, a week. */
int lathe_store_presign(struct lathe_store *store, const char *key, bool is_write,
                        unsigned expires_s, char **ret_url, struct lathe_error *err);
/* Removes every object whose key begins with `prefix`. */
int lathe_store_remove_prefix(struct lathe_store *store, const char *prefix,
                              struct lathe_error *err);

#endif
