/* SPDX-License-Identifier: MIT */
/*
 * What a slot gives up before it touches hostile bytes; one mechanism a file. Each only ever
 * takes rights away, for the rest of the process's life.
 *
 * A kernel without a mechanism is no error: what it has is used, and `lathe-slot --version` says
 * what that is.
 */
#ifndef LATHE_SLOT_SANDBOX_H
#define LATHE_SLOT_SANDBOX_H

#include <stdbool.h>

#include "lathe/error.h"
#include "lathe/slot.h"

/* Under a sanitizer its own machinery needs address space, core rights and ptrace. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LATHE_SLOT_SANITIZED 1
#else
#define LATHE_SLOT_SANITIZED 0
#endif

/* Environment of a slot, set by the parent: most address space, bytes. */
#define LATHE_SLOT_ENV_MEMORY "LATHE_SLOT_MEMORY_BYTES"

/* Set by whoever runs Lathe: files and folders, separated by colons, that drivers of GPUs need
 * besides the usual ones, to read and write. */
#define LATHE_SLOT_ENV_FILES "LATHE_SLOT_FILES"

/* Resource limits, no core dumps, no debugger, and an end together with the parent. */
int lathe_sandbox_limits(struct lathe_error *err);

/* The limit of memory, with the first order: not where drivers of GPUs are loaded, which reserve
 * more addresses than there is memory. */
int lathe_sandbox_memory(const struct lathe_order *order, struct lathe_error *err);

/* System calls that no media work needs answer EPERM. */
int lathe_sandbox_syscalls(struct lathe_error *err);

/* Leaves only the files of `order` and what libraries need; of GPUs nothing unless the order names
 * one. 1: confined; 0: this kernel cannot. */
int lathe_sandbox_files(const struct lathe_order *order, struct lathe_error *err);

/* The version of landlock that this kernel has, or 0. */
int lathe_sandbox_landlock_version(void);

#endif
