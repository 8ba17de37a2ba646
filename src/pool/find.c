/* SPDX-License-Identifier: MIT */
/*
 * Where the lathe-slot program is. Users never start it, so it is not on PATH; an installed tree,
 * a build tree and a relocated tree must all work without configuration.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/pool.h"

static const char *const beside_me[] = {
    "lathe-slot", "../slot/lathe-slot", /* build tree */
    "../src/slot/lathe-slot",           /* tests of a build tree */
    "../libexec/lathe/lathe-slot",      /* an installed tree that was moved */
};

static int own_folder(char *folder, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", folder, size - 1);
    if (n < 0)
        return -errno;
    folder[n] = '\0';
    char *slash = strrchr(folder, '/');
    if (!slash)
        return -ENOENT;
    *slash = '\0';
    return 0;
}

int lathe_pool_find_slot(char **ret_path, struct lathe_error *err)
{
    const char *named = getenv("LATHE_SLOT");
    if (named && *named) {
        if (access(named, X_OK) < 0) {
            lathe_error_set(err, -errno, LATHE_FAULT_CONFIG,
                            "LATHE_SLOT names \"%s\", which cannot be executed: %s", named,
                            strerror(errno));
            lathe_error_hint(err, "unset LATHE_SLOT, or let it name the lathe-slot program");
            return -ENOENT;
        }
        char *path = strdup(named);
        if (!path)
            return lathe_error_nomem(err);
        *ret_path = path;
        return 0;
    }
    char folder[PATH_MAX];
    if (own_folder(folder, sizeof folder) == 0) {
        for (size_t i = 0; i < LATHE_COUNT(beside_me); i++) {
            char *path = lathe_format("%s/%s", folder, beside_me[i]);
            if (!path)
                return lathe_error_nomem(err);
            if (access(path, X_OK) == 0) {
                *ret_path = path;
                return 0;
            }
            free(path);
        }
    }
    if (access(LATHE_LIBEXECDIR "/lathe-slot", X_OK) == 0) {
        char *path = strdup(LATHE_LIBEXECDIR "/lathe-slot");
        if (!path)
            return lathe_error_nomem(err);
        *ret_path = path;
        return 0;
    }
    lathe_error_set(err, -ENOENT, LATHE_FAULT_CONFIG, "the lathe-slot program was not found");
    lathe_error_hint(err, "reinstall Lathe, or let LATHE_SLOT name the lathe-slot program");
    return -ENOENT;
}
