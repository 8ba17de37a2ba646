/* SPDX-License-Identifier: MIT */
#include "warm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define END_MS 3000 /* drivers may take a while to give a device back */

static struct lathe_warm *take(struct lathe_warm **at)
{
    struct lathe_warm *warm = *at;
    *at = warm->next;
    warm->next = NULL;
    return warm;
}

struct lathe_warm *lathe_warm_take(struct lathe_warm **list, const char *reach)
{
    for (struct lathe_warm **at = list; *at; at = &(*at)->next)
        if (strcmp((*at)->reach, reach) == 0)
            return take(at);
    return NULL;
}

struct lathe_warm *lathe_warm_take_old(struct lathe_warm **list, int64_t since_us,
                                       const char *device)
{
    for (struct lathe_warm **at = list; *at; at = &(*at)->next)
        if ((*at)->since_us <= since_us &&
            (!device || strncmp((*at)->reach, device, strlen(device)) == 0))
            return take(at);
    return NULL;
}

void lathe_warm_end(struct lathe_warm *warm, struct lathe_process *ret)
{
    *ret = warm->process;
    shutdown(ret->channel.fd, SHUT_RDWR);
    if (!lathe_process_wait(ret, END_MS)) {
        lathe_process_kill(ret);
        lathe_process_wait(ret, END_MS);
    }
    free(warm->reach);
    free(warm);
}
