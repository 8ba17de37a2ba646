/* SPDX-License-Identifier: MIT */
/*
 * Lists of findings, and the two that every kind of server may have: a clock that is off, and a
 * disk that is nearly full.
 */
#include "lathe/finding.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "lathe/base.h"

#define SPACE_WARNING_PERCENT 10
#define SPACE_FAULT_BYTES (1e9) /* less than one rendition of a film */

const char *lathe_severity_name(enum lathe_severity severity)
{
    static const char *const names[] = {"good", "note", "warning", "fault"};
    return (unsigned)severity < LATHE_COUNT(names) ? names[severity] : "unknown";
}

void lathe_findings_add(struct lathe_findings *f, const char *id, enum lathe_severity severity,
                        const char *cure, const char *format, ...)
{
    if (f->count == f->capacity) {
        size_t capacity = f->capacity ? f->capacity * 2 : 16;
        struct lathe_finding *larger = realloc(f->list, capacity * sizeof *larger);
        if (!larger) {
            f->is_cut = true;
            return;
        }
        f->list = larger;
        f->capacity = capacity;
    }
    struct lathe_finding *one = &f->list[f->count++];
    *one = (struct lathe_finding){.severity = severity};
    snprintf(one->id, sizeof one->id, "%s", id);
    snprintf(one->cure, sizeof one->cure, "%s", cure ? cure : "");
    va_list args;
    va_start(args, format);
    vsnprintf(one->what, sizeof one->what, format, args);
    va_end(args);
}

void lathe_findings_add_error(struct lathe_findings *f, const char *id,
                              const struct lathe_error *err)
{
    lathe_findings_add(f, id, LATHE_FINDING_FAULT, err->hint, "%s", err->what);
}

void lathe_findings_clear(struct lathe_findings *f)
{
    free(f->list);
    *f = (struct lathe_findings){0};
}

enum lathe_severity lathe_findings_worst(const struct lathe_findings *f)
{
    enum lathe_severity worst = LATHE_FINDING_GOOD;
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].severity > worst)
            worst = f->list[i].severity;
    return worst;
}

void lathe_findings_add_skew(struct lathe_findings *f, const char *id, const char *server,
                             double ahead_s)
{
    double off_s = fabs(ahead_s);
    if (off_s < LATHE_SKEW_WARNING_S)
        lathe_findings_add(f, id, LATHE_FINDING_GOOD, NULL, "the clock agrees with that of %s",
                           server);
    else
        lathe_findings_add(
            f, id, off_s < LATHE_SKEW_FAULT_S ? LATHE_FINDING_WARNING : LATHE_FINDING_FAULT,
            "timedatectl set-ntp true    (on both)", "this host's clock is %.0f s %s that of %s",
            off_s, ahead_s < 0 ? "behind" : "ahead of", server);
}

void lathe_findings_add_one_host(struct lathe_findings *f, const struct lathe_check *check,
                                 const char *port, const char *cure)
{
    char id[40];
    snprintf(id, sizeof id, "%s.one-host", port);
    if (check->is_production)
        lathe_findings_add(f, id, LATHE_FINDING_WARNING, cure,
                           "the %s is on this host alone: no second host can work, and when this "
                           "one is lost, so are its jobs",
                           port);
}

void lathe_findings_add_space(struct lathe_findings *f, const char *id, const char *what,
                              const char *path)
{
    struct statvfs fs;
    char at[4096];
    snprintf(at, sizeof at, "%s", path);
    int r = statvfs(at, &fs);
    for (char *slash = strrchr(at, '/'); r < 0 && slash && slash > at; slash = strrchr(at, '/')) {
        *slash = '\0';
        r = statvfs(at, &fs);
    }
    if (r < 0 || fs.f_blocks == 0) {
        lathe_findings_add(f, id, LATHE_FINDING_WARNING, NULL,
                           "it cannot be seen how much room %s has (%s)", what, path);
        return;
    }
    double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
    double percent = 100.0 * (double)fs.f_bavail / (double)fs.f_blocks;
    enum lathe_severity severity = free_bytes < SPACE_FAULT_BYTES    ? LATHE_FINDING_FAULT
                                   : percent < SPACE_WARNING_PERCENT ? LATHE_FINDING_WARNING
                                                                     : LATHE_FINDING_GOOD;
    char cure[320];
    snprintf(cure, sizeof cure, "df -h %.200s    (and free some of it)", at);
    lathe_findings_add(f, id, severity, severity == LATHE_FINDING_GOOD ? NULL : cure,
                       "%s has %.1f GB free, %.0f %% (%s)", what, free_bytes / 1e9, percent, path);
}
