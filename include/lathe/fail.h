/* SPDX-License-Identifier: MIT */
/*
 * Points at which a test can have a process die, between any two steps whose order matters. Only in
 * builds with -DLATHE_FAIL_POINTS=ON; elsewhere nothing of them is left.
 */
#ifndef LATHE_FAIL_H
#define LATHE_FAIL_H

#ifdef LATHE_FAIL_POINTS
/* Kills this process (SIGKILL) when LATHE_FAIL_AT names the point: "stored", or "stored:3" for the
 * third time it is passed. */
void lathe_fail_point(const char *name);
#else
#define lathe_fail_point(name) ((void)0)
#endif

#endif
