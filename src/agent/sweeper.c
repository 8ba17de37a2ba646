/* SPDX-License-Identifier: MIT */
/*
 * Which worker of a fleet sweeps. Nobody has to agree on more than the list of workers, and where
 * two lists differ for a moment, two sweep, which does no harm.
 */
#include <string.h>

#include "parts.h"

/* Above 0: `worker` is older than `version`, or does not say how old it is. */
static int compare_version(const char *version, const struct lathe_worker_view *worker)
{
    json_t *record = worker->record ? json_loads(worker->record, 0, NULL) : NULL;
    const char *other = json_string_value(json_object_get(record, "version"));
    int order = other ? strverscmp(version, other) : 1;
    json_decref(record);
    return order;
}

bool lathe_sweeper_is(const struct lathe_worker_view *workers, size_t count, const char *name,
                      const char *version)
{
    for (size_t i = 0; i < count; i++) {
        int order = strcmp(workers[i].name, name);
        if (order == 0)
            continue;
        int age = compare_version(version, &workers[i]);
        if (age < 0 || (age == 0 && order < 0))
            return false;
    }
    return true;
}
