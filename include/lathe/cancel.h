/* SPDX-License-Identifier: MIT */
/*
 * A cancellation token that can be polled as a file descriptor.
 *
 * Threads: any thread may trigger or test. `lathe_cancel_trigger` is async-signal-safe.
 */
#ifndef LATHE_CANCEL_H
#define LATHE_CANCEL_H

#include <stdbool.h>

struct lathe_cancel;

/* Returns 0 and a token, or -ENOMEM / -EMFILE. */
int lathe_cancel_create(struct lathe_cancel **ret_cancel);
/* A token that is triggered, too, when `parent` (which outlives it; may be NULL) is. */
int lathe_cancel_create_below(const struct lathe_cancel *parent, struct lathe_cancel **ret_cancel);
void lathe_cancel_destroy(struct lathe_cancel *cancel); /* NULL is allowed */

void lathe_cancel_trigger(struct lathe_cancel *cancel);
bool lathe_cancel_is_triggered(const struct lathe_cancel *cancel); /* NULL: false */
/* Readable (POLLIN) for ever once triggered; owned by the token. */
int lathe_cancel_fd(const struct lathe_cancel *cancel);

#endif
