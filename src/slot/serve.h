/* SPDX-License-Identifier: MIT */
/*
 * The message loop of a slot, apart from what the orders do.
 */
#ifndef LATHE_SLOT_SERVE_H
#define LATHE_SLOT_SERVE_H

#include "lathe/media.h"

typedef int (*lathe_slot_verb)(const struct lathe_order *order, lathe_media_progress progress,
                               void *opaque, json_t **ret_body, struct lathe_error *err);

struct lathe_slot_service {
    lathe_slot_verb verbs[LATHE_VERB_COUNT];
    /* Called with each process's first order; 1 when its files are now all it can reach: then only
     * orders of the same reach (lathe_order_reach) may follow. */
    int (*confine)(const struct lathe_order *order, struct lathe_error *err);
};

/* Serves orders from `fd` until its end. 0, or the error that made the conversation impossible. */
int lathe_slot_serve(int fd, const struct lathe_slot_service *service, struct lathe_error *err);

#endif
