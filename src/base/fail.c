/* SPDX-License-Identifier: MIT */
/*
 * Death on request, for tests.
 */
#include "lathe/fail.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void lathe_fail_point(const char *name)
{
    static atomic_int passed;
    const char *wanted = getenv("LATHE_FAIL_AT");
    size_t length = strlen(name);
    if (!wanted || strncmp(wanted, name, length) != 0 ||
        (wanted[length] != '\0' && wanted[length] != ':'))
        return;
    int turn = wanted[length] == ':' ? atoi(wanted + length + 1) : 1;
    if (atomic_fetch_add(&passed, 1) + 1 == turn)
        kill(getpid(), SIGKILL);
}
