/* SPDX-License-Identifier: MIT */
#include "library.h"

#include <dlfcn.h>
#include <string.h>

void *lathe_library_open(const char *soname, const struct lathe_library_symbol *symbols,
                         size_t count, void *functions)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < count; i++) {
        void *found = dlsym(library, symbols[i].name);
        memcpy((char *)functions + symbols[i].offset, &found, sizeof(found));
    }
    return library;
}
