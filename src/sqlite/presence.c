/* SPDX-License-Identifier: MIT */
/*
 * Presence by open-file-description locks: unlike classic POSIX locks they belong to the handle and
 * not to the process, so two handles of one process do not hide each other.
 */
#include "presence.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "lathe/base.h"

static struct flock byte_lock(int64_t token)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)token, .l_len = 1};
}

int lathe_presence_open(struct lathe_presence *presence, const char *path, struct lathe_error *err)
{
    presence->token = -1;
    presence->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (presence->fd < 0)
        return lathe_error_errno(err, -errno, "cannot open %s", path);
    for (;;) {
        uint64_t random;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
            if (errno == EINTR)
                continue;
            return lathe_error_errno(err, -errno, "cannot get random bytes");
        }
        int64_t token = (int64_t)(random >> 2) + 1;
        struct flock lock = byte_lock(token);
        if (fcntl(presence->fd, F_OFD_SETLK, &lock) == 0) {
            presence->token = token;
            return 0;
        }
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return 0;
    }
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
    struct flock lock = byte_lock(token);
    return fcntl(presence->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}
