/* SPDX-License-Identifier: MIT */
/*
 * Presence by open-file-description locks: unlike classic POSIX locks they belong to the handle and
 * not to the process, so two handles of one process do not hide each other.
 *
 * Agreeing on a boot and taking a lock are one step for all others, since else two that come first
 * at once would each take the other for one that has been here, and believe the id of an old boot.
 */
#include "presence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "lathe/base.h"

#define AGREE_TRIES 500 /* whoever holds that lock for longer is a stopped process */
#define AGREE_WAIT_NS 10000000

static struct flock lock_of(int64_t start, int64_t n_bytes)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)start, .l_len = (off_t)n_bytes};
}

/* No token is 0: that byte guards the text of the file while a boot is agreed on. */
static bool lock_text(int fd)
{
    for (int i = 0; i < AGREE_TRIES; i++) {
        struct flock lock = lock_of(0, 1);
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            return true;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = AGREE_WAIT_NS}, NULL);
    }
    return false;
}

static void unlock_text(int fd)
{
    struct flock lock = lock_of(0, 1);
    lock.l_type = F_UNLCK;
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

/* The boot id of those who are here already, or else this process's own for those who come. */
static int agree_on_boot(struct lathe_presence *presence)
{
    struct flock others = lock_of(1, 0);
    char known[37];
    bool anyone = fcntl(presence->fd, F_OFD_GETLK, &others) == 0 && others.l_type != F_UNLCK;
    if (anyone && pread(presence->fd, known, 36, 0) == 36) {
        memcpy(presence->boot_id, known, 36);
        return 0;
    }
    ssize_t n = pwrite(presence->fd, presence->boot_id, 36, 0);
    return n == 36 ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int take_token(struct lathe_presence *presence)
{
    for (;;) {
        uint64_t random;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        int64_t token = (int64_t)(random >> 2) + 1;
        struct flock lock = lock_of(token, 1);
        if (fcntl(presence->fd, F_OFD_SETLK, &lock) == 0) {
            presence->token = token;
            return 0;
        }
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return 0;
    }
}

int lathe_presence_open(struct lathe_presence *presence, const char *path, struct lathe_error *err)
{
    presence->token = -1;
    presence->fd = -1;
    int r = lathe_clock_boot_id(presence->boot_id);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot read the boot id");
    presence->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (presence->fd < 0)
        return lathe_error_errno(err, -errno, "cannot open %s", path);
    bool locked = lock_text(presence->fd);
    if (locked)
        r = agree_on_boot(presence);
    if (r == 0)
        r = take_token(presence);
    if (locked)
        unlock_text(presence->fd);
    if (r < 0) {
        lathe_presence_close(presence);
        return lathe_error_errno(err, r, "cannot use %s", path);
    }
    return 0;
}

void lathe_presence_close(struct lathe_presence *presence)
{
    if (presence->fd >= 0)
        close(presence->fd);
    presence->fd = -1;
    presence->token = -1;
}

bool lathe_presence_is_alive(const struct lathe_presence *presence, int64_t token)
{
    if (token <= 0 || token == presence->token || presence->fd < 0)
        return true;
    struct flock lock = lock_of(token, 1);
    return fcntl(presence->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}
