/* SPDX-License-Identifier: MIT */
/*
 * The store of one host: a directory. An object is written below .tmp/, synced, and renamed to its
 * key, and the folder is synced, so readers see the old or the new object and what put()
 * acknowledged survives a power cut. The layout and the place of the metadata are described in
 * dir.h.
 */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "drivers.h"

static void store_close(void *priv)
{
    struct dir_store *st = priv;
    if (!st->is_open)
        return;
    dir_tmp_close(st);
    if (st->tmp_fd >= 0)
        close(st->tmp_fd);
    if (st->meta_fd >= 0)
        close(st->meta_fd);
    if (st->root_fd >= 0)
        close(st->root_fd);
    pthread_mutex_destroy(&st->commit_mutex);
    free(st->root);
    st->is_open = false;
}

static int open_below(int at_fd, const char *name, mode_t mode)
{
    if (mkdirat(at_fd, name, mode) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int store_open(void *priv, const char *location, struct lathe_error *err)
{
    struct dir_store *st = priv;
    st->root_fd = st->meta_fd = st->tmp_fd = st->own_fd = st->own_lock_fd = st->commit_fd = -1;
    int r = -pthread_mutex_init(&st->commit_mutex, NULL);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot make a mutex");
    st->is_open = true;
    r = lathe_mkdir_p(location, err);
    if (r < 0)
        return r;
    st->root = realpath(location, NULL);
    if (!st->root)
        return lathe_error_errno(err, -errno, "cannot open %s", location);
    st->root_fd = open(st->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = st->root_fd < 0 ? -errno : 0;
    if (r == 0)
        r = st->meta_fd = open_below(st->root_fd, DIR_META, 0755);
    if (r >= 0)
        r = st->tmp_fd = open_below(st->root_fd, DIR_TMP, 0755);
    if (r >= 0)
        r = dir_tmp_open(st);
    return r < 0 ? lathe_error_errno(err, r, "cannot use %s as a store", st->root) : 0;
}

/* The two folders of the store itself are not objects. */
static bool is_reserved(const char *key)
{
    size_t length = strcspn(key, "/");
    return (length == strlen(DIR_TMP) && !strncmp(key, DIR_TMP, length)) ||
           (length == strlen(DIR_META) && !strncmp(key, DIR_META, length));
}

static int refuse_reserved(const char *key, struct lathe_error *err)
{
    return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "key %s is the store's own", key);
}

/* A file on its way into the store. */
struct incoming {
    int at_fd; /* AT_FDCWD: the source itself is moved */
    char name[PATH_MAX];
    struct stat st;
};

static int copy_in(struct dir_store *st, int source_fd, struct incoming *in,
                   const struct lathe_cancel *cancel)
{
    in->at_fd = st->own_fd;
    snprintf(in->name, sizeof(in->name), "%" PRIu64,
             (uint64_t)atomic_fetch_add(&st->next_number, 1));
    _cleanup_close_ int fd =
        openat(in->at_fd, in->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = lathe_copy_data(source_fd, fd, cancel);
    if (r == 0 && (fsync(fd) < 0 || fstat(fd, &in->st) < 0))
        r = -errno;
    if (r < 0)
        unlinkat(in->at_fd, in->name, 0);
    return r;
}

/* A file with a second name could be changed through it after it became an object. */
static bool can_move(const struct dir_store *st, const char *path, const struct stat *source)
{
    struct stat root;
    return source->st_nlink == 1 && strlen(path) < PATH_MAX && fstat(st->root_fd, &root) == 0 &&
           root.st_dev == source->st_dev;
}

/* Under the commit lock. Returns the folder, still to be synced, or a negative errno. */
static int commit_object(struct dir_store *st, const char *key, const struct incoming *in,
                         const struct lathe_store_meta *meta, unsigned flags)
{
    const char *leaf;
    int parent = dir_open_parent(st->root_fd, key, true, &leaf);
    if (parent < 0)
        return parent;
    struct stat old;
    bool had_old = fstatat(parent, leaf, &old, AT_SYMLINK_NOFOLLOW) == 0;
    int r = had_old && (flags & LATHE_STORE_IF_ABSENT) ? -EEXIST : 0;
    if (r == 0 && had_old && S_ISDIR(old.st_mode))
        r = -EISDIR;
    if (r == 0)
        r = dir_meta_write(st, key, &in->st, meta);
    if (r == 0) {
        if (renameat(in->at_fd, in->name, parent, leaf) < 0)
            r = -errno;
        if (r < 0)
            dir_meta_remove(st, key, in->st.st_ino);
        else if (had_old)
            dir_meta_remove(st, key, old.st_ino);
    }
    if (r == 0)
        return parent;
    close(parent);
    if (!had_old)
        dir_prune_parents(st->root_fd, key);
    return r;
}

static int put_object(struct dir_store *st, const char *key, const char *path,
                      const struct lathe_store_meta *meta, unsigned flags,
                      const struct lathe_cancel *cancel)
{
    struct incoming in = {.at_fd = AT_FDCWD};
    _cleanup_close_ int source = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (source < 0 || fstat(source, &in.st) < 0)
        return -errno;
    if (!S_ISREG(in.st.st_mode))
        return -EINVAL;
    struct stat existing;
    int fd = flags & LATHE_STORE_IF_ABSENT ? dir_open_object(st->root_fd, key, &existing) : -1;
    if (fd >= 0) {
        close(fd);
        return -EEXIST;
    }

    bool is_moved = (flags & LATHE_STORE_MOVE) && can_move(st, path, &in.st);
    if (is_moved) {
        snprintf(in.name, sizeof(in.name), "%s", path);
        if (fsync(source) < 0)
            return -errno;
    } else {
        int r = copy_in(st, source, &in, cancel);
        if (r < 0)
            return r;
    }
    int r = dir_commit_lock(st);
    if (r == 0) {
        r = commit_object(st, key, &in, meta, flags);
        dir_commit_unlock(st);
    }
    if (r < 0) {
        if (!is_moved)
            unlinkat(in.at_fd, in.name, 0);
        return r;
    }
    _cleanup_close_ int parent = r;
    if (fsync(parent) < 0)
        return -errno;
    if ((flags & LATHE_STORE_MOVE) && !is_moved)
        unlink(path);
    return 0;
}

static int store_put(void *priv, const char *key, const char *path,
                     const struct lathe_store_meta *meta, unsigned flags,
                     struct lathe_cancel *cancel, struct lathe_error *err)
{
    struct dir_store *st = priv;
    if (is_reserved(key))
        return refuse_reserved(key, err);
    int r = put_object(st, key, path, meta, flags, cancel);
    if (r == -ECANCELED)
        return lathe_error_set(err, r, LATHE_FAULT_INTERRUPTED, "stopped on request");
    if (r < 0)
        lathe_error_errno(err, r, "cannot store %s as %s in %s", path, key, st->root);
    if (r == -ENOSPC || r == -EDQUOT)
        lathe_error_hint(err, "free some space in %s or choose another folder", st->root);
    return r;
}

static int store_get(void *priv, const char *key, const char *path, struct lathe_cancel *cancel,
                     struct lathe_error *err)
{
    struct dir_store *st = priv;
    struct stat object;
    _cleanup_close_ int source =
        is_reserved(key) ? -ENOENT : dir_open_object(st->root_fd, key, &object);
    if (source < 0)
        return lathe_error_errno(err, source, "cannot read object %s", key);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot create %s", path);
    int r = lathe_copy_data(source, fd, cancel);
    if (r == 0)
        return 0;
    unlink(path);
    if (r == -ECANCELED)
        return lathe_error_set(err, r, LATHE_FAULT_INTERRUPTED, "stopped on request");
    return lathe_error_errno(err, r, "cannot copy object %s to %s", key, path);
}

static int store_stat(void *priv, const char *key, struct lathe_store_meta *ret,
                      struct lathe_error *err)
{
    struct dir_store *st = priv;
    for (;;) {
        struct stat object, again;
        _cleanup_close_ int fd =
            is_reserved(key) ? -ENOENT : dir_open_object(st->root_fd, key, &object);
        if (fd < 0)
            return lathe_error_errno(err, fd, "cannot read object %s", key);
        struct lathe_store_meta meta = {.size_bytes = (uint64_t)object.st_size};
        int r = dir_meta_read(st, key, &object, &meta);
        if (r < 0)
            return lathe_error_errno(err, r, "cannot read what is known of object %s", key);
        /* The object was replaced meanwhile: its sidecar may have gone before we read it. */
        _cleanup_close_ int check = dir_open_object(st->root_fd, key, &again);
        if (check >= 0 && again.st_ino != object.st_ino)
            continue;
        if (check < 0)
            return lathe_error_errno(err, check, "cannot read object %s", key);
        *ret = meta;
        return 0;
    }
}

static int store_list(void *priv, const char *prefix,
                      int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque,
                      struct lathe_error *err)
{
    struct dir_store *st = priv;
    if (is_reserved(prefix))
        return 0;
    int r = dir_walk(st->root_fd, prefix, each, opaque);
    if (r < 0)
        lathe_error_errno(err, r, "cannot list %s in %s", prefix, st->root);
    return r;
}

static int remove_object(struct dir_store *st, const char *key)
{
    const char *leaf;
    _cleanup_close_ int parent = dir_open_parent(st->root_fd, key, false, &leaf);
    if (parent < 0)
        return parent == -ENOENT || parent == -ENOTDIR ? 0 : parent;
    struct stat old;
    if (fstatat(parent, leaf, &old, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(old.st_mode))
        return 0;
    if (unlinkat(parent, leaf, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    dir_meta_remove(st, key, old.st_ino);
    int r = fsync(parent) < 0 ? -errno : 0;
    dir_prune_parents(st->root_fd, key);
    return r;
}

static int store_remove(void *priv, const char *key, struct lathe_error *err)
{
    struct dir_store *st = priv;
    if (is_reserved(key))
        return refuse_reserved(key, err);
    int r = dir_commit_lock(st);
    if (r == 0) {
        r = remove_object(st, key);
        dir_commit_unlock(st);
    }
    return r < 0 ? lathe_error_errno(err, r, "cannot remove object %s", key) : 0;
}

static int store_local_path(void *priv, const char *key, char **ret_path, struct lathe_error *err)
{
    struct dir_store *st = priv;
    struct stat object;
    _cleanup_close_ int fd =
        is_reserved(key) ? -ENOENT : dir_open_object(st->root_fd, key, &object);
    if (fd < 0)
        return lathe_error_errno(err, fd, "cannot read object %s", key);
    char *path = lathe_format("%s/%s", st->root, key);
    if (!path)
        return lathe_error_nomem(err);
    *ret_path = path;
    return 0;
}

static void store_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret)
{
    struct dir_store *st = priv;
    lathe_findings_add_space(ret, "store.space", "the disk of the store", st->root);
    lathe_findings_add_one_host(ret, check, "store",
                                "set store.driver to s3, and store.location    (or let all hosts "
                                "share the folder)");
}

const struct lathe_store_driver lathe_store_dir = {
    .name = "dir",
    .priv_size = sizeof(struct dir_store),
    .open = store_open,
    .close = store_close,
    .put = store_put,
    .get = store_get,
    .stat = store_stat,
    .list = store_list,
    .remove = store_remove,
    .local_path = store_local_path,
    .check = store_check,
};
