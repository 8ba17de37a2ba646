/* SPDX-License-Identifier: MIT */
/*
 * File operations with the guarantees that crash safety rests on: content is written beside its
 * destination, synced, and renamed over it, so that a reader (also after a power cut) sees the old
 * or the new file and never a part.
 */
#include "lathe/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* One copy step: small enough that a cancellation is noticed soon, large enough to be cheap. */
#define COPY_STEP_BYTES (8u << 20)
#define COPY_BUFFER_BYTES (256u << 10)

int lathe_mkdir_p(const char *path, struct lathe_error *err)
{
    _cleanup_free_ char *copy = strdup(path);
    if (!copy)
        return lathe_error_nomem(err);
    for (char *p = copy; *p; p++) {
        if (p == copy || *p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST && access(copy, F_OK) < 0)
            return lathe_error_errno(err, -errno, "cannot make directory %s", copy);
        *p = '/';
    }
    if (mkdir(copy, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return lathe_error_errno(err, -errno, "cannot make directory %s", path);
    struct stat st;
    if (stat(copy, &st) < 0)
        return lathe_error_errno(err, -errno, "cannot make directory %s", path);
    if (!S_ISDIR(st.st_mode))
        return lathe_error_errno(err, -ENOTDIR, "cannot make directory %s", path);
    return 0;
}

/* Works on directory descriptors, so that a folder swapped for a link meanwhile is not entered. */
static int remove_at(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int unlink_errno = errno;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno == ENOTDIR ? -unlink_errno : -errno;
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
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            r = remove_at(dirfd(dir), entry->d_name);
    }
    closedir(dir);
    if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

int lathe_remove_tree(const char *path, struct lathe_error *err)
{
    int r = remove_at(AT_FDCWD, path);
    return r < 0 ? lathe_error_errno(err, r, "cannot remove %s", path) : 0;
}

static int read_all(int fd, const char *path, size_t max_bytes, char **ret_data, size_t *ret_size,
                    struct lathe_error *err)
{
    _cleanup_free_ char *data = NULL;
    size_t used = 0, capacity = 0;
    for (;;) {
        if (used + 1 >= capacity) {
            capacity = capacity ? capacity * 2 : 8192;
            char *larger = realloc(data, capacity);
            if (!larger)
                return lathe_error_nomem(err);
            data = larger;
        }
        ssize_t n = read(fd, data + used, capacity - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return lathe_error_errno(err, -errno, "cannot read %s", path);
        if (n == 0)
            break;
        used += (size_t)n;
        if (used > max_bytes)
            return lathe_error_set(err, -EFBIG, LATHE_FAULT_INPUT,
                                   "%s is larger than the %zu bytes allowed", path, max_bytes);
    }
    data[used] = '\0';
    *ret_data = data;
    data = NULL;
    if (ret_size)
        *ret_size = used;
    return 0;
}

int lathe_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size,
                    struct lathe_error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot open %s", path);
    return read_all(fd, path, max_bytes, ret_data, ret_size, err);
}

int lathe_read_secret(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size,
                      struct lathe_error *err)
{
    struct stat st;
    struct lathe_error own = {0};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r;
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = lathe_error_errno(&own, -errno, "cannot open %s", path);
    } else if (S_ISREG(st.st_mode) && (st.st_mode & 0007)) {
        r = lathe_error_set(&own, -EACCES, LATHE_FAULT_CONFIG,
                            "%s holds secrets and can be read by everybody", path);
        lathe_error_hint(&own, "chmod o= %s", path);
    } else {
        r = read_all(fd, path, max_bytes, ret_data, ret_size, &own);
    }
    if (r < 0 && own.code != -ENOMEM) {
        own.fault = LATHE_FAULT_CONFIG;
        own.retriable = false;
    }
    if (r < 0 && err)
        *err = own;
    return r;
}

static int write_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int lathe_fsync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = NULL;
    if (!slash)
        dir = strdup(".");
    else
        dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!dir)
        return -ENOMEM;
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

int lathe_write_file_atomic(const char *path, const void *data, size_t size,
                            struct lathe_error *err)
{
    _cleanup_free_ char *temporary = lathe_format("%s.XXXXXX", path);
    if (!temporary)
        return lathe_error_nomem(err);
    _cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot create a file beside %s", path);
    int r = write_all(fd, data, size);
    if (r == 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
        r = -errno;
    if (r < 0) {
        unlink(temporary);
        return lathe_error_errno(err, r, "cannot write %s", path);
    }
    r = lathe_fsync_parent(path);
    return r < 0 ? lathe_error_errno(err, r, "cannot sync the directory of %s", path) : 0;
}

static int copy_by_hand(int in_fd, int out_fd, const struct lathe_cancel *cancel)
{
    _cleanup_free_ char *buffer = malloc(COPY_BUFFER_BYTES);
    if (!buffer)
        return -ENOMEM;
    for (;;) {
        if (lathe_cancel_is_triggered(cancel))
            return -ECANCELED;
        ssize_t n = read(in_fd, buffer, COPY_BUFFER_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        int r = write_all(out_fd, buffer, (size_t)n);
        if (r < 0)
            return r;
    }
}

int lathe_copy_data(int in_fd, int out_fd, const struct lathe_cancel *cancel)
{
    for (bool first = true;; first = false) {
        if (lathe_cancel_is_triggered(cancel))
            return -ECANCELED;
        ssize_t n = copy_file_range(in_fd, NULL, out_fd, NULL, COPY_STEP_BYTES, 0);
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        if (n == 0 && !first)
            return 0;
        /* Some file systems answer 0 at once or refuse: read(2) then has the last word. */
        if (n == 0 || errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL ||
            errno == EPERM || errno == EBADF)
            return copy_by_hand(in_fd, out_fd, cancel);
        return -errno;
    }
}

static int move_by_copy(const char *src, int src_fd, const char *dst)
{
    _cleanup_free_ char *part = lathe_format("%s.part", dst);
    if (!part)
        return -ENOMEM;
    _cleanup_close_ int fd =
        open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = lathe_copy_data(src_fd, fd, NULL);
    if (r == 0 && (fsync(fd) < 0 || rename(part, dst) < 0))
        r = -errno;
    if (r < 0) {
        unlink(part);
        return r;
    }
    r = lathe_fsync_parent(dst);
    if (r == 0 && unlink(src) < 0)
        r = -errno;
    return r;
}

int lathe_move_file(const char *src, const char *dst, struct lathe_error *err)
{
    _cleanup_close_ int fd = open(src, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot open %s", src);
    int r = 0;
    /* Content first: a renamed name whose blocks were lost would be a whole file of zeros. */
    if (fsync(fd) < 0)
        r = -errno;
    else if (rename(src, dst) == 0)
        r = lathe_fsync_parent(dst);
    else
        r = errno == EXDEV ? move_by_copy(src, fd, dst) : -errno;
    return r < 0 ? lathe_error_errno(err, r, "cannot move %s to %s", src, dst) : 0;
}

int lathe_occupy_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= 2);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}
