/* SPDX-License-Identifier: MIT */
/*
 * The journal's native protocol: a datagram of FIELD=value lines. Used only when the service
 * manager says that stderr is a stream of the journal ($JOURNAL_STREAM), so that what a person or
 * a test redirects stays where it was redirected to.
 */
#include "log_journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define ENTRY_MAX_BYTES 4096

static int is_for_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static int send_entry(const char *entry, size_t size)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t sent =
        sendto(fd, entry, size, MSG_NOSIGNAL, (const struct sockaddr *)&address, sizeof address);
    int r = sent < 0 ? -errno : 0;
    close(fd);
    return r;
}

struct entry {
    char text[ENTRY_MAX_BYTES];
    size_t used;
};

/* A field that does not fit is left out; none holds a line feed, since none is a whole text. */
static void add(struct entry *entry, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct entry *entry, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(entry->text + entry->used, sizeof entry->text - entry->used, format, args);
    va_end(args);
    if (n > 0 && (size_t)n + 1 < sizeof entry->text - entry->used) {
        entry->used += (size_t)n;
        entry->text[entry->used++] = '\n';
    }
}

int lathe_log_to_journal(enum lathe_log_level level, const struct lathe_log_fields *fields,
                         const char *message)
{
    static const int priorities[] = {3, 4, 6, 7}; /* as syslog's */
    if (!is_for_journal())
        return -EAGAIN;
    struct entry entry = {.used = 0};
    add(&entry, "MESSAGE=%s", message);
    add(&entry, "PRIORITY=%d", priorities[level]);
    add(&entry, "SYSLOG_IDENTIFIER=%s", program_invocation_short_name);
    if (fields->job)
        add(&entry, "LATHE_JOB=%s", fields->job);
    if (fields->task)
        add(&entry, "LATHE_TASK=%s", fields->task);
    if (fields->chunk >= 0)
        add(&entry, "LATHE_CHUNK=%lld", fields->chunk);
    if (fields->attempt >= 0)
        add(&entry, "LATHE_ATTEMPT=%lld", fields->attempt);
    if (fields->device)
        add(&entry, "LATHE_DEVICE=%s", fields->device);
    return send_entry(entry.text, entry.used) < 0 ? -EAGAIN : 0;
}
