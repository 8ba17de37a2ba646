/* SPDX-License-Identifier: MIT */
/*
 * From keys to files. Every part of a key is opened below the one before it and never through a
 * symbolic link, so that a link planted in the store cannot lead a read or a write out of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "dir.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int open_folder(int at_fd, const char *name, bool create)
{
    int fd = openat(at_fd, name, FOLDER_FLAGS);
    if (fd >= 0)
        return fd;
    if (errno != ENOENT || !create)
        return errno == ELOOP ? -ENOTDIR : -errno;
    if (mkdirat(at_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (fsync(at_fd) < 0)
        return -errno;
    fd = openat(at_fd, name, FOLDER_FLAGS);
    return fd >= 0 ? fd : -errno;
}

int dir_open_parent(int base_fd, const char *key, bool create, const char **ret_leaf)
{
    int fd = fcntl(base_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const char *slash;
    for (; (slash = strchr(key, '/')); key = slash + 1) {
        char part[NAME_MAX + 1];
        size_t length = (size_t)(slash - key);
        int next = -ENAMETOOLONG;
        if (length <= NAME_MAX) {
            memcpy(part, key, length);
            part[length] = '\0';
            next = open_folder(fd, part, create);
        }
        close(fd);
        if (next < 0)
            return next;
        fd = next;
    }
    *ret_leaf = key;
    return fd;
}

void dir_prune_parents(int base_fd, const char *key)
{
    char folder[LATHE_STORE_KEY_MAX];
    size_t length = strlen(key);
    if (length >= sizeof(folder))
        return;
    memcpy(folder, key, length + 1);
    for (char *slash; (slash = strrchr(folder, '/'));) {
        *slash = '\0';
        const char *leaf;
        _cleanup_close_ int fd = dir_open_parent(base_fd, folder, false, &leaf);
        if (fd < 0 || unlinkat(fd, leaf, AT_REMOVEDIR) < 0)
            return;
    }
}

int dir_open_object(int base_fd, const char *key, struct stat *ret)
{
    const char *leaf;
    _cleanup_close_ int parent = dir_open_parent(base_fd, key, false, &leaf);
    if (parent < 0)
        return parent == -ENOTDIR ? -ENOENT : parent;
    /* O_NONBLOCK: a FIFO with the name of an object must not hold us up. */
    int fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP ? -ENOENT : -errno;
    if (fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode)) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}

struct walk {
    const char *prefix;
    size_t prefix_length;
    int (*each)(void *opaque, const char *key, uint64_t size_bytes);
    void *opaque;
    char key[LATHE_STORE_KEY_MAX + 32]; /* sidecars have an inode number more */
};

static int walk_folder(struct walk *walk, int fd, size_t length);

/* An entry whose key is walk->key; 0 to go on. */
static int walk_entry(struct walk *walk, int folder_fd, const char *name, size_t length)
{
    struct stat st;
    if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    size_t common = length < walk->prefix_length ? length : walk->prefix_length;
    if (memcmp(walk->key, walk->prefix, common))
        return 0;
    if (S_ISREG(st.st_mode))
        return length < walk->prefix_length
                   ? 0
                   : walk->each(walk->opaque, walk->key, (uint64_t)st.st_size);
    if (!S_ISDIR(st.st_mode) || length + 1 >= sizeof(walk->key))
        return 0;
    int fd = openat(folder_fd, name, FOLDER_FLAGS);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
    walk->key[length] = '/';
    walk->key[length + 1] = '\0';
    return walk_folder(walk, fd, length + 1);
}

/* Owns `fd`. */
static int walk_folder(struct walk *walk, int fd, size_t length)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = -errno;
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
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..") ||
            (length == 0 && (!strcmp(name, DIR_TMP) || !strcmp(name, DIR_META))))
            continue;
        size_t name_length = strlen(name);
        if (length + name_length >= sizeof(walk->key))
            continue; /* no key: somebody else's file */
        memcpy(walk->key + length, name, name_length + 1);
        r = walk_entry(walk, dirfd(dir), name, length + name_length);
    }
    closedir(dir);
    return r;
}

int dir_walk(int base_fd, const char *prefix,
             int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque)
{
    struct walk walk = {
        .prefix = prefix, .prefix_length = strlen(prefix), .each = each, .opaque = opaque};
    const char *leaf;
    int parent = dir_open_parent(base_fd, prefix, false, &leaf);
    if (parent < 0)
        return parent == -ENOENT || parent == -ENOTDIR ? 0 : parent;
    /* A descriptor of its own: a duplicate would share the reading position of base_fd. */
    int fd = openat(parent, ".", FOLDER_FLAGS);
    int r = fd < 0 ? -errno : 0;
    close(parent);
    if (r < 0)
        return r;
    size_t length = (size_t)(leaf - prefix);
    memcpy(walk.key, prefix, length);
    walk.key[length] = '\0';
    return walk_folder(&walk, fd, length);
}
