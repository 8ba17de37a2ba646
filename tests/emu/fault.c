/* SPDX-License-Identifier: MIT */
/*
 * Reads the plan once and decides at every point whether something goes wrong there.
 *
 * Counters that reach beyond a process are files under the state directory, held by flock(), so
 * that a killed process leaves nothing behind that blocks others.
 */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault_plan.h"

#define SESSIONS_MAX 64
#define DEVICES_MAX 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct emu_fault sticky[DEVICES_MAX];

/* Adds one to a counter file and says what it held before; -errno when that is not possible. */
static int count_up(const char *name)
{
    char path[512], text[16];
    int fd, count = 0;
    ssize_t length;

    if (emu_plan_state_path(name, path, sizeof(path)) < 0)
        return -ENAMETOOLONG;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX) < 0) {
        close(fd);
        return -EIO;
    }
    length = pread(fd, text, sizeof(text) - 1, 0);
    if (length > 0) {
        text[length] = 0;
        count = atoi(text);
    }
    length = snprintf(text, sizeof(text), "%d\n", count + 1);
    if (pwrite(fd, text, (size_t)length, 0) != length)
        count = -EIO;
    close(fd);
    return count;
}

static bool names(const struct emu_plan_fault *line, const char *point)
{
    return line->prefix ? strncmp(line->point, point, strlen(line->point)) == 0
                        : strcmp(line->point, point) == 0;
}

bool emu_planned(const char *point)
{
    struct emu_plan *plan = emu_plan_get();

    for (int i = 0; i < plan->num_faults; i++)
        if (names(&plan->faults[i], point))
            return true;
    return false;
}

static bool fires(struct emu_plan_fault *line, const char *point, int device)
{
    char name[32];
    int before;

    if ((line->device >= 0 && line->device != device) || !names(line, point))
        return false;
    snprintf(name, sizeof(name), "calls-%d", line->number);
    line->calls = line->shared ? count_up(name) + 1 : line->calls + 1;
    if (line->at ? line->calls != line->at : line->calls < line->from)
        return false;
    if (line->when[0] && access(line->when, F_OK) != 0)
        return false;
    if (line->until[0] && access(line->until, F_OK) == 0)
        return false;
    if (line->times) {
        snprintf(name, sizeof(name), "line-%d", line->number);
        before = count_up(name);
        if (before < 0 || before >= line->times)
            return false;
    }
    return true;
}

static void touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

    if (fd >= 0)
        close(fd);
    else
        emu_record("emu.error", "touch=%s errno=%d", path, errno);
}

/* What is left to the caller of the point; hang, crash and the rest happen here. */
static struct emu_fault act(const struct emu_plan_fault *line)
{
    struct emu_fault fault = {.code = line->code};

    switch (line->action) {
    case EMU_PLAN_HANG:
        for (;;)
            pause();
    case EMU_PLAN_CRASH:
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        break;
    case EMU_PLAN_EXIT:
        _exit(line->code);
    case EMU_PLAN_DELAY:
        usleep((useconds_t)line->ms * 1000);
        break;
    case EMU_PLAN_FAIL:
        fault.action = EMU_FAIL;
        break;
    case EMU_PLAN_OOM:
        fault.action = EMU_OOM;
        break;
    case EMU_PLAN_LOST:
        fault.action = EMU_LOST;
        break;
    case EMU_PLAN_SILENT:
        fault.action = EMU_SILENT;
        break;
    case EMU_PLAN_GREEN:
        fault.action = EMU_GREEN;
        break;
    case EMU_PLAN_STALE:
        fault.action = EMU_STALE;
        break;
    }
    return fault;
}

struct emu_fault emu_point(const char *point, int device)
{
    struct emu_plan *plan = emu_plan_get();
    struct emu_plan_fault *line = NULL, found;
    struct emu_fault fault = {0};
    int slot = device >= 0 && device < DEVICES_MAX ? device : 0;

    if (plan->num_faults == 0)
        return fault;
    pthread_mutex_lock(&lock);
    fault = sticky[slot];
    for (int i = 0; i < plan->num_faults && !line && fault.action == EMU_NONE; i++)
        if (fires(&plan->faults[i], point, device))
            line = &plan->faults[i];
    if (line) {
        found = *line;
        if (line->sticky || line->action == EMU_PLAN_LOST) {
            sticky[slot].action = line->action == EMU_PLAN_LOST ? EMU_LOST : EMU_FAIL;
            sticky[slot].code = line->code;
            sticky[slot].sticky = true;
        }
    }
    pthread_mutex_unlock(&lock);
    if (!line)
        return fault;
    emu_record("fault", "point=%s device=%d call=%d action=%s code=%d line=%d", point, device,
               found.calls, emu_plan_action_name(found.action), found.code, found.number);
    if (found.touch[0])
        touch(found.touch);
    return act(&found);
}

int emu_fault_code(struct emu_fault fault, int oom, int lost, int sticky_code)
{
    switch (fault.action) {
    case EMU_FAIL:
        return fault.sticky && sticky_code ? sticky_code : fault.code;
    case EMU_OOM:
        return oom;
    case EMU_LOST:
        return lost;
    default:
        return 0;
    }
}

int emu_session_open(int device)
{
    char name[48], path[512];
    int limit = emu_profile()->sessions, fd;

    if (limit <= 0 || limit > SESSIONS_MAX)
        limit = SESSIONS_MAX;
    for (int i = 0; i < limit; i++) {
        snprintf(name, sizeof(name), "session-%d-%d", device, i);
        /* Nowhere to count: as if there were no limit. A descriptor is still the handle. */
        if (emu_plan_state_path(name, path, sizeof(path)) < 0)
            return open("/dev/null", O_RDONLY | O_CLOEXEC);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        close(fd);
    }
    return emu_profile()->sessions > 0 ? -EMFILE : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void emu_session_close(int session)
{
    if (session >= 0)
        close(session);
}

bool emu_recording(void)
{
    return emu_plan_get()->record_fd >= 0;
}

void emu_record(const char *event, const char *format, ...)
{
    char line[1024];
    int used, fd = emu_plan_get()->record_fd;
    va_list args;

    if (fd < 0)
        return;
    used = snprintf(line, sizeof(line) - 1, "event=%s pid=%d", event, (int)getpid());
    if (used < 0)
        return;
    if (format && (size_t)used < sizeof(line) - 2) {
        line[used++] = ' ';
        va_start(args, format);
        used += vsnprintf(line + used, sizeof(line) - 1 - (size_t)used, format, args);
        va_end(args);
    }
    if ((size_t)used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    line[used++] = '\n';
    if (write(fd, line, (size_t)used) != used)
        abort(); /* a test that reads an incomplete record would draw wrong conclusions */
}
