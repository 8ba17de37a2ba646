/* SPDX-License-Identifier: MIT */
/*
 * A daemon's scratch folder has a folder for each job that it had a part in, with what the job's
 * steps share. Only the state knows when a job has ended, maybe by the work of another host; then
 * its folder goes.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "parts.h"

static bool is_worked_on(const json_t *leases, const char *job_id)
{
    size_t i;
    json_t *lease;
    json_array_foreach (leases, i, lease) {
        const char *id = json_string_value(json_object_get(lease, "job_id"));
        if (id && strcmp(id, job_id) == 0)
            return true;
    }
    return false;
}

/* False too when the state cannot be asked: the next round may know. */
static bool has_ended(struct lathe_agent *agent, const char *job_id)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(agent->flow.state, job_id, &view, NULL);
    bool ended = r == -ENOENT || (r == 0 && view.status >= LATHE_JOB_COMPLETED);
    lathe_job_view_clear(&view);
    return ended;
}

void lathe_leftovers_remove(struct lathe_agent *agent)
{
    json_t *leases = lathe_leases_list(agent->flow.leases);
    DIR *folder = leases ? opendir(agent->scratch_dir) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (!lathe_job_id_is_valid(entry->d_name) || is_worked_on(leases, entry->d_name) ||
            !has_ended(agent, entry->d_name))
            continue;
        _cleanup_free_ char *path = lathe_format("%s/%s", agent->scratch_dir, entry->d_name);
        if (path)
            (void)lathe_remove_tree(path, NULL); /* what stays is tried again */
    }
    if (folder)
        closedir(folder);
    json_decref(leases);
}
