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
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lathe_cancel {
    atomic_bool triggered;
    int fd; /* never read, so it stays readable for ever */
    const struct lathe_cancel *parent;
    int both_fd; /* with a parent: an epoll of both descriptors */
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

int lathe_cancel_create_below(const struct lathe_cancel *parent, struct lathe_cancel **ret_cancel)
{
    struct lathe_cancel *cancel = NULL;
    int r = lathe_cancel_create(&cancel);
    if (r == 0 && parent) {
        struct epoll_event event = {.events = EPOLLIN};
        cancel->parent = parent;
        cancel->both_fd = epoll_create1(EPOLL_CLOEXEC);
        if (cancel->both_fd < 0 ||
            epoll_ctl(cancel->both_fd, EPOLL_CTL_ADD, cancel->fd, &event) < 0 ||
            epoll_ctl(cancel->both_fd, EPOLL_CTL_ADD, lathe_cancel_fd(parent), &event) < 0)
            r = -errno;
    }
    if (r < 0) {
        lathe_cancel_destroy(cancel);
        return r;
    }
    *ret_cancel = cancel;
    return 0;
}

void lathe_cancel_destroy(struct lathe_cancel *cancel)
{
    if (!cancel)
        return;
    if (cancel->parent && cancel->both_fd >= 0)
        close(cancel->both_fd);
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
    return cancel && (atomic_load(&cancel->triggered) || lathe_cancel_is_triggered(cancel->parent));
}

int lathe_cancel_fd(const struct lathe_cancel *cancel)
{
    return !cancel ? -1 : cancel->parent ? cancel->both_fd : cancel->fd;
}
