/* SPDX-License-Identifier: MIT */
/*
 * Waiting for servers. Pauses are jittered, so that a fleet does not come back to a server that has
 * just returned all at once.
 */
#include <errno.h>
#include <poll.h>
#include <sys/random.h>

#include "lathe/port.h"

#define FIRST_MS 100
#define LONGEST_MS 5000

static _Thread_local bool is_impatient;

void lathe_patience_suspend(bool impatient)
{
    is_impatient = impatient;
}

bool lathe_patience_is_for(const struct lathe_error *why)
{
    /* A replica that takes no writes may be a primary soon. */
    return why->fault == LATHE_FAULT_SERVER && (why->code == -EAGAIN || why->code == -EROFS);
}

void lathe_backoff(unsigned attempt, struct lathe_cancel *cancel)
{
    unsigned ms = attempt < 6 ? FIRST_MS << attempt : LONGEST_MS;
    if (ms > LONGEST_MS)
        ms = LONGEST_MS;
    uint32_t chance = 0;
    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance)
        chance = (uint32_t)lathe_clock_monotonic_us();
    struct pollfd fd = {.fd = cancel ? lathe_cancel_fd(cancel) : -1, .events = POLLIN};
    poll(&fd, 1, (int)(ms / 2 + chance % (ms / 2 + 1)));
}

bool lathe_patience_wait(const struct lathe_patience *patience, unsigned *tries, int result,
                         const struct lathe_error *why)
{
    if (!patience->cancel)
        return false;
    if (result >= 0 || !lathe_patience_is_for(why)) {
        if (*tries && patience->waiting)
            patience->waiting(patience->opaque, NULL);
        return false;
    }
    if (lathe_cancel_is_triggered(patience->cancel))
        return false;
    if (patience->waiting)
        patience->waiting(patience->opaque, why);
    if (is_impatient)
        return false;
    lathe_backoff((*tries)++, patience->cancel);
    return !lathe_cancel_is_triggered(patience->cancel);
}
