/* SPDX-License-Identifier: MIT */
/*
 * The plan as read from its file; the grammar is described in fault.h. Private to the fault
 * library.
 */
#ifndef LATHE_EMU_FAULT_PLAN_H
#define LATHE_EMU_FAULT_PLAN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "fault.h"

enum emu_plan_action {
    EMU_PLAN_FAIL,
    EMU_PLAN_OOM,
    EMU_PLAN_LOST,
    EMU_PLAN_HANG,
    EMU_PLAN_CRASH,
    EMU_PLAN_EXIT,
    EMU_PLAN_DELAY,
    EMU_PLAN_SILENT,
    EMU_PLAN_GREEN,
    EMU_PLAN_STALE,
};

struct emu_plan_fault {
    char point[48];
    bool prefix; /* the point ended in "*" */
    int at, from, device, code, ms, times;
    bool sticky, shared;
    enum emu_plan_action action;
    char when[256], until[256], touch[256];
    int number; /* line in the file */
    int calls;  /* matching calls so far, under the lock of emu_point() */
};

struct emu_plan {
    struct emu_plan_fault faults[64];
    int num_faults;
    struct {
        char key[32], value[64];
    } settings[32];
    int num_settings;
    char state[256]; /* directory; empty = none */
    int record_fd;   /* -1 = nobody reads */
    struct emu_profile profile, va_profile;
};

/* The plan of this process, read at the first call. A plan that cannot be read or understood ends
 * the process with a message: a test must not run without its faults. */
struct emu_plan *emu_plan_get(void);

/* Path of a file that processes share. -ENOENT when there is no state directory. */
int emu_plan_state_path(const char *name, char *path, size_t size);

const char *emu_plan_action_name(enum emu_plan_action action);

/* Fills in the profile of a name; unknown or NULL: "ada". */
void emu_profile_lookup(const char *name, struct emu_profile *ret);

#endif
