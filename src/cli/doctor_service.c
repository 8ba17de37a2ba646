/* SPDX-License-Identifier: MIT */
/*
 * The installed service, as systemd sees it: does it run, does it start with the host, and may its
 * user open GPUs.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "doctor.h"
#include "lathe/base.h"

#define UNITS_MAX 34 /* the worker, the target, one worker for each of 32 GPUs */
#define GROUPS_MAX 256
#define EXIT_CONFIG "78"

static const char ask[] =
    "systemctl show --property=Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,"
    "ExecMainStatus,User,SupplementaryGroups lathe-worker.service lathe.target "
    "'lathe-worker@*.service' 2>/dev/null";

struct unit {
    char id[128], load[16], active[24], file[24], needs_reload[8], exit_code[8];
    char user[64], groups[256];
};

static void take_line(struct unit *u, const char *line)
{
    const struct {
        const char *key;
        char *value;
        size_t size;
    } fields[] = {
        {"Id=", u->id, sizeof u->id},
        {"LoadState=", u->load, sizeof u->load},
        {"ActiveState=", u->active, sizeof u->active},
        {"UnitFileState=", u->file, sizeof u->file},
        {"NeedDaemonReload=", u->needs_reload, sizeof u->needs_reload},
        {"ExecMainStatus=", u->exit_code, sizeof u->exit_code},
        {"User=", u->user, sizeof u->user},
        {"SupplementaryGroups=", u->groups, sizeof u->groups},
    };
    for (size_t i = 0; i < LATHE_COUNT(fields); i++)
        if (strncmp(line, fields[i].key, strlen(fields[i].key)) == 0)
            snprintf(fields[i].value, fields[i].size, "%.*s", (int)fields[i].size - 1,
                     line + strlen(fields[i].key));
}

/* How many there are; 0 also where systemd does not run. An empty line ends a unit. */
static size_t read_units(struct unit ret[UNITS_MAX])
{
    FILE *said = popen(ask, "re");
    if (!said)
        return 0;
    char line[512];
    size_t count = 0;
    while (fgets(line, sizeof line, said)) {
        line[strcspn(line, "\n")] = '\0';
        if (!line[0] && count < UNITS_MAX && ret[count].id[0])
            count++;
        else if (count < UNITS_MAX)
            take_line(&ret[count], line);
    }
    if (count < UNITS_MAX && ret[count].id[0])
        count++;
    int status = pclose(said);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? count : 0;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].id, id) == 0)
            return &units[i];
    return NULL;
}

/* True when it neither runs nor was meant to stop, which is said. */
static bool check_failed(const struct unit *u, struct lathe_findings *ret)
{
    char cure[320];
    bool is_failed = strcmp(u->active, "failed") == 0;
    if (!is_failed && strcmp(u->active, "activating") != 0)
        return false;
    snprintf(cure, sizeof cure, "journalctl -u %s -n 50    (then systemctl restart %s)", u->id,
             u->id);
    if (!is_failed)
        lathe_findings_add(ret, "host.service", LATHE_FINDING_WARNING, cure,
                           "%s is being started, and does not work yet", u->id);
    else if (strcmp(u->exit_code, EXIT_CONFIG) == 0)
        lathe_findings_add(ret, "host.service", LATHE_FINDING_FAULT, cure,
                           "%s stopped because its configuration is wrong", u->id);
    else
        lathe_findings_add(ret, "host.service", LATHE_FINDING_FAULT, cure,
                           "%s failed, with exit code %s", u->id, u->exit_code);
    return true;
}

static void check_running(const struct unit *u, const struct unit *target,
                          struct lathe_findings *ret)
{
    char cure[320];
    bool is_enabled =
        strcmp(u->file, "enabled") == 0 && target && strcmp(target->file, "enabled") == 0;
    if (strcmp(u->needs_reload, "yes") == 0) {
        snprintf(cure, sizeof cure, "systemctl daemon-reload && systemctl restart %s", u->id);
        lathe_findings_add(ret, "host.service", LATHE_FINDING_WARNING, cure,
                           "%s runs with settings that were changed since", u->id);
    }
    if (is_enabled) {
        lathe_findings_add(ret, "host.service", LATHE_FINDING_GOOD, NULL,
                           "%s runs, and starts with the host", u->id);
        return;
    }
    snprintf(cure, sizeof cure, "systemctl enable lathe.target %s", u->id);
    lathe_findings_add(ret, "host.service", LATHE_FINDING_WARNING, cure,
                       "%s runs, and will not when the host restarts", u->id);
}

static bool is_in_groups(const struct passwd *user, const struct unit *u, const struct group *group)
{
    char listed[sizeof u->groups + 2], name[80];
    snprintf(listed, sizeof listed, " %s ", u->groups);
    snprintf(name, sizeof name, " %.76s ", group->gr_name);
    if (strstr(listed, name))
        return true;
    gid_t ids[GROUPS_MAX];
    int count = GROUPS_MAX;
    if (getgrouplist(user->pw_name, user->pw_gid, ids, &count) < 0)
        return true; /* of too many groups nothing is said */
    for (int i = 0; i < count; i++)
        if (ids[i] == group->gr_gid)
            return true;
    return false;
}

/* Device nodes of GPUs belong to these groups, where a distribution has them. */
static void check_groups(const struct unit *u, struct lathe_findings *ret)
{
    static const char *const wanted[] = {"video", "render"};
    char cure[320];
    bool is_good = true;
    for (size_t i = 0; i < LATHE_COUNT(wanted); i++) {
        const struct group *group = getgrnam(wanted[i]);
        const struct passwd *user = getpwnam(u->user);
        if (!group || !user || is_in_groups(user, u, group))
            continue;
        is_good = false;
        snprintf(cure, sizeof cure, "usermod -aG %s %s && systemctl restart %s", wanted[i], u->user,
                 u->id);
        lathe_findings_add(ret, "host.user", LATHE_FINDING_WARNING, cure,
                           "the service's user %s is not in group %s: it may not use GPUs", u->user,
                           wanted[i]);
    }
    if (is_good)
        lathe_findings_add(ret, "host.user", LATHE_FINDING_GOOD, NULL,
                           "the service's user %s is in the groups of GPUs", u->user);
}

static void check_user(const struct unit *u, struct lathe_findings *ret)
{
    char cure[320];
    if (!u->user[0])
        return;
    const struct passwd *user = getpwnam(u->user);
    if (!user) {
        lathe_findings_add(ret, "host.user", LATHE_FINDING_FAULT, "systemd-sysusers",
                           "the service's user %s does not exist", u->user);
        return;
    }
    bool is_other = user->pw_uid != geteuid();
    check_groups(u, ret);
    if (!is_other)
        return;
    snprintf(cure, sizeof cure,
             "setpriv --reuid=%.64s --regid=%.64s --init-groups lathe doctor    (as root)", u->user,
             u->user);
    lathe_findings_add(ret, "host.user", LATHE_FINDING_NOTE, cure,
                       "this is not the service's user %s: what that may do is not seen", u->user);
}

void lathe_doctor_service(struct lathe_doctor *d, struct lathe_findings *ret)
{
    (void)d;
    struct unit *units = calloc(UNITS_MAX, sizeof *units);
    size_t count = units ? read_units(units) : 0, instances = 0;
    const struct unit *worker = find_unit(units, count, "lathe-worker.service");
    const struct unit *target = find_unit(units, count, "lathe.target");
    for (size_t i = 0; i < count; i++) {
        if (strchr(units[i].id, '@') == NULL || check_failed(&units[i], ret))
            continue;
        instances++;
        check_running(&units[i], target, ret);
    }
    if (worker && strcmp(worker->load, "masked") == 0) {
        lathe_findings_add(ret, "host.service", LATHE_FINDING_WARNING,
                           "systemctl unmask lathe-worker", "lathe-worker is masked");
    } else if (!worker || strcmp(worker->load, "loaded") != 0) {
        lathe_findings_add(ret, "host.service", LATHE_FINDING_GOOD, NULL,
                           "lathe-worker is no service of this host; lathe run needs none");
    } else {
        if (strcmp(worker->active, "active") == 0)
            check_running(worker, target, ret);
        else if (!check_failed(worker, ret) && instances == 0)
            lathe_findings_add(ret, "host.service", LATHE_FINDING_WARNING,
                               "systemctl enable --now lathe.target lathe-worker",
                               "lathe-worker is installed and does not run");
        check_user(worker, ret);
    }
    free(units);
}
