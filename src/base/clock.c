/* SPDX-License-Identifier: MIT */
/*
 * Time for decisions (since boot, monotonic) and time for people (wall clock), kept apart by name.
 * Leases use the first together with the boot id, so that a clock that is set back or a machine
 * that restarts can neither extend a lease nor invent one.
 */
#include "lathe/base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t lathe_clock_monotonic_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

int64_t lathe_clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int lathe_clock_boot_id(char ret_id[37])
{
    _cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char text[37];
    size_t used = 0;
    while (used < 36) {
        ssize_t n = read(fd, text + used, 36 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        used += (size_t)n;
    }
    text[36] = '\0';
    memcpy(ret_id, text, sizeof(text));
    return 0;
}
