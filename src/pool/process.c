/* SPDX-License-Identifier: MIT */
/*
 * Starting and ending one lathe-slot. The child gets its socket, a pipe for stderr and nothing
 * else: no other descriptor, no terminal signals (own process group), and only those environment
 * variables that libraries and drivers need, so that credentials of the parent stay there.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "lathe/base.h"
#include "template.h"

extern char **environ;

/* Names, or prefixes where they end in '*'. FFREPORT and the like stay out: they write files. */
static const char *const passed_on[] = {
    "PATH",           "LANG",          "LC_*",         "TZ",           "TMPDIR",
    "LATHE_LOG",      "LATHE_SLOT_*",  "CUDA_*",       "NVIDIA_*",     "LIBVA_*",
    "ASAN_OPTIONS",   "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH",
    "GLIBC_TUNABLES", "MALLOC_*",
};

/* Drivers have settings that nobody can list beforehand: names, separated by colons. */
#define ENV_PASS "LATHE_SLOT_PASS"

static bool is_listed(const char *names, const char *entry)
{
    size_t size = strcspn(entry, "=");
    while (names && *names) {
        size_t n = strcspn(names, ":");
        if (n == size && strncmp(names, entry, n) == 0)
            return true;
        names += n + (names[n] == ':');
    }
    return false;
}

static bool is_passed_on(const char *entry)
{
    if (is_listed(getenv(ENV_PASS), entry))
        return true;
    for (size_t i = 0; i < LATHE_COUNT(passed_on); i++) {
        size_t n = strlen(passed_on[i]);
        if (passed_on[i][n - 1] == '*' ? strncmp(entry, passed_on[i], n - 1) == 0
                                       : strncmp(entry, passed_on[i], n) == 0 && entry[n] == '=')
            return true;
    }
    return false;
}

/* An array of pointers into `environ`; the caller frees the array only. */
static char **slot_environment(void)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **ret = calloc(count + 1, sizeof *ret);
    if (!ret)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (is_passed_on(environ[i]))
            ret[kept++] = environ[i];
    return ret;
}

/* Moves a descriptor out of the range that the child's 0 to 3 are made in. */
static int move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, LATHE_SLOT_FD + 1);
    if (moved < 0)
        return -errno;
    close(*fd);
    *fd = moved;
    return 0;
}

int lathe_process_spawn(const char *path, const char *argument, int *socket_fd, int *stderr_fd,
                        pid_t *ret_pid)
{
    _cleanup_free_ char **environment = slot_environment();
    if (!environment)
        return -ENOMEM;
    int r = move_up(socket_fd);
    if (r == 0)
        r = move_up(stderr_fd);
    if (r < 0)
        return r;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -ENOMEM;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    char *const argv[] = {(char *)"lathe-slot", (char *)argument, NULL};
    if ((r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, *stderr_fd, 1)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, *stderr_fd, 2)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, *socket_fd, LATHE_SLOT_FD)) == 0 &&
        (r = posix_spawn_file_actions_addclosefrom_np(&actions, LATHE_SLOT_FD + 1)) == 0 &&
        (r = posix_spawnattr_setpgroup(&attributes, 0)) == 0 &&
        (r = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
        (r = posix_spawnattr_setsigdefault(&attributes, &all)) == 0 &&
        (r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                       POSIX_SPAWN_SETSIGDEF)) == 0)
        r = posix_spawn(ret_pid, path, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

/* A slot made anew, or (`template` not NULL) copied. */
static int start(struct lathe_process *process, const char *path, struct lathe_template *template)
{
    *process = (struct lathe_process){.pid = -1, .pidfd = -1, .stderr_fd = -1};
    process->channel.fd = -1;
    int sockets[2] = {-1, -1}, pipes[2] = {-1, -1};
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0 ||
                    pipe2(pipes, O_CLOEXEC) < 0 || fcntl(pipes[0], F_SETFL, O_NONBLOCK) < 0
                ? -errno
                : 0;
    if (r == 0)
        r = template ? lathe_template_copy(template, sockets[1], pipes[1], &process->pid)
                     : lathe_process_spawn(path, NULL, &sockets[1], &pipes[1], &process->pid);
    if (r == 0) {
        process->pidfd = pidfd_open(process->pid, 0);
        if (process->pidfd < 0) {
            r = -errno;
            lathe_process_kill(process);
            waitpid(process->pid, NULL, 0); /* just started: nothing can hold it in the kernel */
        }
    }
    int mine[] = {sockets[1], pipes[1], r < 0 ? sockets[0] : -1, r < 0 ? pipes[0] : -1};
    for (size_t i = 0; i < LATHE_COUNT(mine); i++)
        if (mine[i] >= 0)
            close(mine[i]);
    if (r == 0) {
        process->channel.fd = sockets[0];
        process->stderr_fd = pipes[0];
    }
    return r;
}

int lathe_process_start(struct lathe_process *process, const char *path,
                        struct lathe_template *template, struct lathe_error *err)
{
    /* After a failure nobody knows who holds its socket: the new process gets another. */
    if (template && start(process, path, template) == 0)
        return 0;
    int r = start(process, path, NULL);
    if (r < 0)
        return lathe_error_set(
            err, r, r == -ENOENT || r == -EACCES ? LATHE_FAULT_CONFIG : LATHE_FAULT_RESOURCE,
            "%s cannot be started: %s", path, strerror(-r));
    return 0;
}

void lathe_process_read_stderr(struct lathe_process *process)
{
    char piece[1024];
    while (process->stderr_fd >= 0) {
        ssize_t n = read(process->stderr_fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close(process->stderr_fd);
            process->stderr_fd = -1;
            return;
        }
        size_t got = (size_t)n;
        size_t room = sizeof process->tail - 1;
        if (process->tail_size + got > room) {
            size_t drop = process->tail_size + got - room;
            memmove(process->tail, process->tail + drop, process->tail_size - drop);
            process->tail_size -= drop;
        }
        memcpy(process->tail + process->tail_size, piece, got);
        process->tail_size += got;
    }
}

void lathe_process_kill(const struct lathe_process *process)
{
    kill(-process->pid, SIGKILL);
}

bool lathe_process_wait(struct lathe_process *process, int ms)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    bool was_told = false;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t deadline_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
    while (!process->ended) {
        pid_t r = wait4(process->pid, &process->status, WNOHANG, &process->usage);
        if (r == process->pid || (r < 0 && errno == ECHILD)) {
            process->ended = true;
            break;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left_ms = deadline_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
        if (left_ms <= 0)
            return false;
        /* stderr is emptied too, so that a child that says a lot before it ends can end */
        struct pollfd fds[2] = {{.fd = process->pidfd, .events = POLLIN},
                                {.fd = process->stderr_fd, .events = POLLIN}};
        poll(fds, 2, (int)left_ms);
        lathe_process_read_stderr(process);
        /* Ended, but a debugger is told first: the kernel would say so again and again. */
        if (was_told)
            nanosleep(&moment, NULL);
        was_told = fds[0].revents != 0;
    }
    lathe_process_read_stderr(process);
    return true;
}

const char *lathe_process_last_words(struct lathe_process *process)
{
    process->tail[process->tail_size] = '\0';
    for (char *p = process->tail; *p; p++)
        if ((unsigned char)*p < ' ' && *p != '\n')
            *p = ' ';
    char *best = NULL;
    char *state = NULL;
    for (char *line = strtok_r(process->tail, "\n", &state); line;
         line = strtok_r(NULL, "\n", &state)) {
        if (strstr(line, "SUMMARY:") || strstr(line, "Assertion"))
            return line;
        if (line[strspn(line, " ")])
            best = line;
    }
    return best ? best : "";
}

void lathe_process_finish(struct lathe_process *process)
{
    lathe_channel_finish(&process->channel);
    if (process->stderr_fd >= 0)
        close(process->stderr_fd);
    if (process->pidfd >= 0)
        close(process->pidfd);
    process->stderr_fd = process->pidfd = -1;
}

void lathe_process_add_usage(struct lathe_usage *sum, const struct rusage *usage)
{
    uint64_t max_rss_bytes = (uint64_t)usage->ru_maxrss * 1024;
    sum->user_us += (uint64_t)usage->ru_utime.tv_sec * 1000000 + (uint64_t)usage->ru_utime.tv_usec;
    sum->system_us +=
        (uint64_t)usage->ru_stime.tv_sec * 1000000 + (uint64_t)usage->ru_stime.tv_usec;
    if (max_rss_bytes > sum->max_rss_bytes)
        sum->max_rss_bytes = max_rss_bytes;
}
