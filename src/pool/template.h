/* SPDX-License-Identifier: MIT */
/*
 * The template: a lathe-slot that has only loaded its libraries, and is copied (fork) for each
 * order. Loading and relocating some 170 libraries costs 39 ms of processor time a process
 * (measured); with copies an order takes 37 ms less. It never sees an order, a source or a
 * device, so a copy is as fresh as a new process, but for one thing: copies share their addresses.
 * So that nobody can learn from crashes where things are, a template is replaced after one.
 *
 * The copies are children of this process like any other: it becomes the reaper of orphans
 * (PR_SET_CHILD_SUBREAPER), and the copy's first parent ends at once.
 *
 * Threads: may be shared.
 */
#ifndef LATHE_POOL_TEMPLATE_H
#define LATHE_POOL_TEMPLATE_H

#include <sys/types.h>

struct lathe_template;

/* NULL: there is none (no memory, or it cannot be started), and each slot is started. `slot_path`
 * outlives it. */
struct lathe_template *lathe_template_create(const char *slot_path);
void lathe_template_destroy(struct lathe_template *template); /* NULL is allowed */
/* A copy with this socket and this stderr, as a child of this process. Any error: start a process
 * instead. */
int lathe_template_copy(struct lathe_template *template, int socket_fd, int stderr_fd,
                        pid_t *ret_pid);
/* The next copy comes from a new template. NULL is allowed. */
void lathe_template_replace(struct lathe_template *template);

#endif
