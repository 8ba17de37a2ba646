/* SPDX-License-Identifier: MIT */
/* The families of this build: adding one touches its own file and this array. */
#include <string.h>

#include "lathe/hwaccel.h"

const struct lathe_hwaccel *const lathe_hwaccels[] = {&lathe_hwaccel_nvenc, &lathe_hwaccel_vaapi,
                                                      &lathe_hwaccel_software, NULL};

const struct lathe_hwaccel *lathe_hwaccel_find(const char *name)
{
    for (const struct lathe_hwaccel *const *h = lathe_hwaccels; *h; h++)
        if (strcmp((*h)->name, name) == 0)
            return *h;
    return NULL;
}
