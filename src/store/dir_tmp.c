/* SPDX-License-Identifier: MIT */
/*
 * Objects being written, and who is writing them. Each open handle has a folder with a lock file;
 * the kernel drops the lock when the process dies, so the next open knows which folders are
 * leftovers and removes them with all they hold.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "dir.h"

#define OWNER_LOCK "lock"
#define COMMIT_LOCK "commit"

static int flock_retry(int fd, int operation)
{
    int r;
    do
        r = flock(fd, operation);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

int dir_commit_lock(struct dir_store *st)
{
    pthread_mutex_lock(&st->commit_mutex);
    int r = flock_retry(st->commit_fd, LOCK_EX);
    if (r < 0)
        pthread_mutex_unlock(&st->commit_mutex);
    return r;
}

void dir_commit_unlock(struct dir_store *st)
{
    flock_retry(st->commit_fd, LOCK_UN);
    pthread_mutex_unlock(&st->commit_mutex);
}

/* True when nobody holds the lock of this owner's folder. */
static bool owner_is_dead(int tmp_fd, const char *name)
{
    _cleanup_close_ int folder =
        openat(tmp_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return false;
    _cleanup_close_ int lock = openat(folder, OWNER_LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0)
        return errno == ENOENT; /* killed between making the folder and the lock */
    return flock_retry(lock, LOCK_EX | LOCK_NB) == 0;
}

/* Called under the commit lock, which also covers the making of new owners' folders. */
static int sweep_dead_owners(struct dir_store *st, bool *ret_found)
{
    int fd = openat(st->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    int r = 0;
    while (r == 0) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            r = -errno;
            break;
        }
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, COMMIT_LOCK) ||
            !owner_is_dead(st->tmp_fd, entry->d_name))
            continue;
        *ret_found = true;
        _cleanup_free_ char *path = lathe_format("%s/%s/%s", st->root, DIR_TMP, entry->d_name);
        r = path ? lathe_remove_tree(path, NULL) : -ENOMEM;
    }
    closedir(dir);
    return r;
}

static int make_own_folder(struct dir_store *st)
{
    char id[37];
    int r = lathe_uuid7(id);
    if (r < 0)
        return r;
    memcpy(st->own_name, id, sizeof(st->own_name));
    if (mkdirat(st->tmp_fd, st->own_name, 0700) < 0)
        return -errno;
    st->own_fd = openat(st->tmp_fd, st->own_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (st->own_fd < 0)
        return -errno;
    st->own_lock_fd = openat(st->own_fd, OWNER_LOCK, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return st->own_lock_fd < 0 ? -errno : flock_retry(st->own_lock_fd, LOCK_EX | LOCK_NB);
}

int dir_tmp_open(struct dir_store *st)
{
    st->commit_fd =
        openat(st->tmp_fd, COMMIT_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (st->commit_fd < 0)
        return -errno;
    int r = dir_commit_lock(st);
    if (r < 0)
        return r;
    bool found = false;
    r = sweep_dead_owners(st, &found);
    if (r == 0 && found)
        r = dir_meta_sweep(st); /* a put that was killed may have left a sidecar too */
    if (r == 0)
        r = make_own_folder(st);
    dir_commit_unlock(st);
    return r;
}

void dir_tmp_close(struct dir_store *st)
{
    if (st->own_fd >= 0) {
        unlinkat(st->own_fd, OWNER_LOCK, 0);
        unlinkat(st->tmp_fd, st->own_name, AT_REMOVEDIR);
        close(st->own_fd);
    }
    if (st->own_lock_fd >= 0)
        close(st->own_lock_fd);
    if (st->commit_fd >= 0)
        close(st->commit_fd);
}
