/* SPDX-License-Identifier: MIT */
/*
 * What the worker's side shares: who is asking, and the requests.
 */
#ifndef LATHE_DOOR_INTERNAL_H
#define LATHE_DOOR_INTERNAL_H

#include <sys/types.h>

#include "lathe/door.h"
#include "lathe/flow.h"

struct lathe_door_peer {
    uid_t uid;
    pid_t pid;
};

/* Carries one request out. `passed_fd` stays the caller's. 0, an answer without "ok" (the caller's
 * reference) and a descriptor to pass (the caller closes it), or -1; else why not. */
int lathe_door_answer(struct lathe_flow *flow, struct lathe_cancel *stop,
                      const struct lathe_door_peer *peer, const json_t *request, int passed_fd,
                      json_t **ret, int *ret_fd, struct lathe_error *err);

#endif
