/* SPDX-License-Identifier: MIT */
/*
 * One lathe-slot process: how it is started and how it is brought to an end.
 */
#ifndef LATHE_POOL_PROCESS_H
#define LATHE_POOL_PROCESS_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "channel.h"
#include "lathe/error.h"
#include "lathe/pool.h"

#define LATHE_SLOT_TAIL_BYTES 4096

struct lathe_process {
    pid_t pid;
    int pidfd;
    struct lathe_channel channel;
    int stderr_fd;
    char tail[LATHE_SLOT_TAIL_BYTES]; /* the end of what it wrote to stderr */
    size_t tail_size;
    bool ended; /* collected; status and usage are valid */
    int status;
    struct rusage usage;
};

struct lathe_template;

/* A copy of the template, or a new process where there is none. */
int lathe_process_start(struct lathe_process *process, const char *path,
                        struct lathe_template *template, struct lathe_error *err);
/* A new process with these as its descriptors; `argument` may be NULL. Both stay the caller's, but
 * may be other numbers afterwards. */
int lathe_process_spawn(const char *path, const char *argument, int *socket_fd, int *stderr_fd,
                        pid_t *ret_pid);
/* Reads what is on stderr now; closes it at its end. */
void lathe_process_read_stderr(struct lathe_process *process);
void lathe_process_kill(const struct lathe_process *process); /* its whole process group */
/* Waits at most `ms` for its end; true once collected. */
bool lathe_process_wait(struct lathe_process *process, int ms);
/* The most telling line of stderr, or "". Points into the process. */
const char *lathe_process_last_words(struct lathe_process *process);
/* All but the number of children. */
void lathe_process_add_usage(struct lathe_usage *sum, const struct rusage *usage);
void lathe_process_finish(struct lathe_process *process); /* closes descriptors */

#endif
