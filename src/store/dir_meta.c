/* SPDX-License-Identifier: MIT */
/*
 * Metadata sidecars of the directory store. A sidecar says which inode, size and time of change it
 * describes; one that does not fit the object in place is as good as absent.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "dir.h"

#define TEXT_MAX_BYTES 256

static char *sidecar_key(const char *key, ino_t inode)
{
    return lathe_format("%s@%016" PRIx64, key, (uint64_t)inode);
}

int dir_meta_write(struct dir_store *st, const char *key, const struct stat *object,
                   const struct lathe_store_meta *meta)
{
    _cleanup_free_ char *name = sidecar_key(key, object->st_ino);
    if (!name)
        return -ENOMEM;
    /* A sidecar of an earlier file with this inode number must not be taken for the new one's. */
    dir_meta_remove(st, key, object->st_ino);
    if (!meta->sha256[0] && !meta->frames)
        return 0;
    char text[TEXT_MAX_BYTES];
    int length =
        snprintf(text, sizeof(text), "1 %jd %jd %ld %s %" PRIu64 "\n", (intmax_t)object->st_size,
                 (intmax_t)object->st_mtim.tv_sec, object->st_mtim.tv_nsec,
                 meta->sha256[0] ? meta->sha256 : "-", meta->frames);
    const char *leaf;
    _cleanup_close_ int parent = dir_open_parent(st->meta_fd, name, true, &leaf);
    if (parent < 0)
        return parent;
    _cleanup_close_ int fd =
        openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, (size_t)length);
    if (n == length && fsync(fd) == 0 && fsync(parent) == 0)
        return 0;
    int r = n >= 0 && n < length ? -ENOSPC : -errno;
    unlinkat(parent, leaf, 0);
    return r;
}

int dir_meta_read(struct dir_store *st, const char *key, const struct stat *object,
                  struct lathe_store_meta *ret)
{
    _cleanup_free_ char *name = sidecar_key(key, object->st_ino);
    if (!name)
        return -ENOMEM;
    struct stat sidecar;
    _cleanup_close_ int fd = dir_open_object(st->meta_fd, name, &sidecar);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    char text[TEXT_MAX_BYTES] = {0};
    ssize_t n = read(fd, text, sizeof(text) - 1);
    if (n < 0)
        return -errno;
    intmax_t size, seconds;
    long nanoseconds;
    char sha256[65];
    uint64_t frames;
    if (sscanf(text, "1 %jd %jd %ld %64s %" SCNu64, &size, &seconds, &nanoseconds, sha256,
               &frames) != 5)
        return 0;
    if (size != (intmax_t)object->st_size || seconds != (intmax_t)object->st_mtim.tv_sec ||
        nanoseconds != object->st_mtim.tv_nsec)
        return 0;
    snprintf(ret->sha256, sizeof(ret->sha256), "%s", strcmp(sha256, "-") ? sha256 : "");
    ret->frames = frames;
    return 0;
}

void dir_meta_remove(struct dir_store *st, const char *key, ino_t inode)
{
    _cleanup_free_ char *name = sidecar_key(key, inode);
    const char *leaf;
    _cleanup_close_ int parent = name ? dir_open_parent(st->meta_fd, name, false, &leaf) : -1;
    if (parent < 0 || unlinkat(parent, leaf, 0) < 0)
        return; /* what stays here is found by the next sweep and describes nothing meanwhile */
    dir_prune_parents(st->meta_fd, name);
}

static int sweep_one(void *opaque, const char *name, uint64_t size_bytes)
{
    (void)size_bytes;
    struct dir_store *st = opaque;
    char key[LATHE_STORE_KEY_MAX];
    const char *at = strrchr(name, '@');
    if (!at || (size_t)(at - name) >= sizeof(key))
        return 0;
    memcpy(key, name, (size_t)(at - name));
    key[at - name] = '\0';
    uint64_t inode = strtoull(at + 1, NULL, 16);
    struct stat object;
    _cleanup_close_ int fd = dir_open_object(st->root_fd, key, &object);
    if (fd == -ENOENT || (fd >= 0 && (uint64_t)object.st_ino != inode))
        dir_meta_remove(st, key, (ino_t)inode);
    return 0;
}

int dir_meta_sweep(struct dir_store *st)
{
    return dir_walk(st->meta_fd, "", sweep_one, st);
}
