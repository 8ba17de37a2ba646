/* SPDX-License-Identifier: MIT */
/*
 * A cancellation token on an eventfd: one object that loops can test, that poll(2) can wait for,
 * and that a signal handler may trigger.
 */
#include "lathe/cancel.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lathe_cancel {
    atomic_bool triggered;
    int fd; /* never read, so it stays readable for ever */
};

int lathe_cancel_create(struct lathe_cancel **ret_cancel)
{
    struct lathe_cancel *cancel = calloc(1, sizeof(*cancel));
    if (!cancel)
        return -ENOMEM;
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd < 0) {
        int r = -errno;
        free(cancel);
        return r;
    }
    *ret_cancel = cancel;
    return 0;
}

void lathe_cancel_destroy(struct lathe_cancel *cancel)
{
    if (!cancel)
        return;
    close(cancel->fd);
    free(cancel);
}

void lathe_cancel_trigger(struct lathe_cancel *cancel)
{
    if (!cancel || atomic_exchange(&cancel->triggered, true))
        return;
    int saved_errno = errno;
    const uint64_t one = 1;
    ssize_t n;
    do
        n = write(cancel->fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    errno = saved_errno;
}

bool lathe_cancel_is_triggered(const struct lathe_cancel *cancel)
{
    return cancel && atomic_load(&cancel->triggered);
}

int lathe_cancel_fd(const struct lathe_cancel *cancel)
{
    return cancel ? cancel->fd : -1;
}
