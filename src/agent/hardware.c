/* SPDX-License-Identifier: MIT */
/*
 * Looking for GPUs in the background. Whatever goes wrong with that leaves the work to software,
 * with the reason where people see it.
 */
#include "hardware.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "lathe/base.h"

#define TEND_MS 1000
#define LOOK_MS 60000 /* for devices that come, go or recover; costs two short processes */

struct lathe_agent_hardware {
    struct lathe_placement *placement;
    const char *slot_path;
    struct lathe_cancel *stop;
    int again_fd; /* readable: look anew */
    pthread_t thread;
};

/* Whether there is any device to look after. */
static bool look(struct lathe_agent_hardware *me, bool refresh)
{
    const struct lathe_hardware_options options = {.slot_path = me->slot_path, .refresh = refresh};
    struct lathe_hardware hardware;
    struct lathe_error why = {0};
    bool found = lathe_hardware_load(&options, me->stop, &hardware, &why) == 0;
    lathe_placement_set_hardware(me->placement, found ? &hardware : NULL, why.what);
    bool any = found && hardware.n_devices > 0;
    if (found)
        lathe_hardware_finish(&hardware);
    return any;
}

static void *look_after(void *opaque)
{
    struct lathe_agent_hardware *me = opaque;
    const struct lathe_hardware_options options = {.slot_path = me->slot_path};
    bool any = look(me, false);
    int64_t looked_us = lathe_clock_monotonic_us();
    struct pollfd fds[2] = {{.fd = lathe_cancel_fd(me->stop), .events = POLLIN},
                            {.fd = me->again_fd, .events = POLLIN}};
    while (!lathe_cancel_is_triggered(me->stop)) {
        uint64_t asked;
        poll(fds, 2, any ? TEND_MS : LOOK_MS);
        bool again = read(me->again_fd, &asked, sizeof asked) > 0;
        if (again || lathe_clock_monotonic_us() - looked_us >= LOOK_MS * 1000LL) {
            any = look(me, again);
            looked_us = lathe_clock_monotonic_us();
            continue;
        }
        /* Also after the last chunk: the next command is to find out how the device is by then. */
        if (any && lathe_placement_tend(me->placement, me->stop))
            (void)lathe_hardware_invalidate(&options, NULL);
    }
    return NULL;
}

void lathe_agent_hardware_again(struct lathe_agent_hardware *me)
{
    uint64_t one = 1;
    if (me)
        (void)!write(me->again_fd, &one, sizeof one);
}

int lathe_agent_hardware_start(struct lathe_placement *placement, const char *slot_path,
                               struct lathe_agent_hardware **ret, struct lathe_error *err)
{
    struct lathe_agent_hardware *me = calloc(1, sizeof *me);
    if (!me)
        return lathe_error_nomem(err);
    me->placement = placement;
    me->slot_path = slot_path;
    me->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = me->again_fd < 0 ? -errno : lathe_cancel_create(&me->stop);
    if (r == 0)
        r = -pthread_create(&me->thread, NULL, look_after, me);
    if (r < 0) {
        lathe_cancel_destroy(me->stop);
        if (me->again_fd >= 0)
            close(me->again_fd);
        free(me);
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot look for GPUs: %s",
                               strerror(-r));
    }
    *ret = me;
    return 0;
}

void lathe_agent_hardware_stop(struct lathe_agent_hardware *me)
{
    if (!me)
        return;
    lathe_cancel_trigger(me->stop);
    pthread_join(me->thread, NULL);
    lathe_cancel_destroy(me->stop);
    close(me->again_fd);
    free(me);
}
