/* SPDX-License-Identifier: MIT */
/*
 * Preloaded, makes libva take any file for a DRM render node, so that the emulated VA driver can be
 * reached on a machine without a GPU: /dev/null, or empty files named renderD128, renderD129, … in
 * a folder of the test. The kernel driver's name follows from the profile.
 */
#include <stdlib.h>
#include <string.h>
#include <xf86drm.h>

#include "fault.h"

int drmGetNodeTypeFromFd(int fd)
{
    (void)fd;
    return DRM_NODE_RENDER;
}

drmVersionPtr drmGetVersion(int fd)
{
    drmVersionPtr version = calloc(1, sizeof(*version));

    (void)fd;
    if (!version)
        return NULL;
    version->name = strdup(emu_va_profile()->family == EMU_AMD ? "amdgpu" : "i915");
    if (!version->name) {
        free(version);
        return NULL;
    }
    version->name_len = (int)strlen(version->name);
    return version;
}

void drmFreeVersion(drmVersionPtr version)
{
    if (!version)
        return;
    free(version->name);
    free(version);
}
