/* SPDX-License-Identifier: MIT */
/*
 * Functions of a driver's library that is used where it is there: nothing links it. Each is found
 * by itself, so that a caller can do without those that an older library lacks.
 */
#ifndef LATHE_HWACCEL_LIBRARY_H
#define LATHE_HWACCEL_LIBRARY_H

#include <stddef.h>

struct lathe_library_symbol {
    const char *name;
    size_t offset; /* of a pointer to a function in the structure that is filled */
};

#define LATHE_LIBRARY_SYMBOL(type, member, name)                                                   \
    {                                                                                              \
        name, offsetof(type, member)                                                               \
    }

/* Fills the pointers, NULL for what is missing, and returns the handle; NULL: there is no such
 * library, and `functions` is left as it is. */
void *lathe_library_open(const char *soname, const struct lathe_library_symbol *symbols,
                         size_t count, void *functions);

#endif
