/* SPDX-License-Identifier: MIT */
#include "template.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lathe/slot.h"

static int say(int32_t number)
{
    return send(LATHE_SLOT_FD, &number, sizeof number, MSG_NOSIGNAL) == sizeof number ? 0 : -errno;
}

/* 1 with the descriptors, 0 at the end of file. */
static int hear(int fds[2])
{
    char byte;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t n;
    while ((n = recvmsg(LATHE_SLOT_FD, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (n <= 0)
        return n < 0 ? -errno : 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return -EPROTO;
    memcpy(fds, CMSG_DATA(header), 2 * sizeof(int));
    return 1;
}

/* In the copy. Its own process group, as if it had been started; and the parent that it is to die
 * with must be the real one, not the one that only made it an orphan. */
static int become_slot(const int fds[2], pid_t between)
{
    const struct timespec moment = {.tv_nsec = 50000};
    while (getppid() == between)
        nanosleep(&moment, NULL);
    if (setpgid(0, 0) < 0 || dup2(fds[1], STDOUT_FILENO) < 0 || dup2(fds[1], STDERR_FILENO) < 0 ||
        dup2(fds[0], LATHE_SLOT_FD) < 0)
        return -errno;
    close(fds[0]);
    close(fds[1]);
    prctl(PR_SET_NAME, "lathe-slot");
    return 0;
}

/* 1 in the copy, 0 with its pid in the template. */
static int copy(const int fds[2], pid_t *ret_pid)
{
    int pipes[2];
    if (pipe(pipes) < 0)
        return -errno;
    pid_t between = fork();
    if (between == 0) {
        const pid_t self = getpid();
        pid_t pid = fork();
        if (pid == 0) {
            close(pipes[0]);
            close(pipes[1]);
            if (become_slot(fds, self) < 0)
                _exit(1);
            return 1;
        }
        _exit(pid > 0 && write(pipes[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    close(pipes[1]);
    int r = between < 0 ? -EAGAIN : 0;
    if (r == 0 && read(pipes[0], ret_pid, sizeof *ret_pid) != sizeof *ret_pid)
        r = -EAGAIN;
    close(pipes[0]);
    while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}

int lathe_slot_template(void)
{
    prctl(PR_SET_NAME, "lathe-template"); /* so that people see which are at work */
    int r = say(0);
    while (r == 0) {
        int fds[2];
        pid_t pid = 0;
        r = hear(fds);
        if (r <= 0)
            return r;
        r = copy(fds, &pid);
        if (r > 0)
            return r;
        close(fds[0]);
        close(fds[1]);
        r = say(r < 0 ? r : pid);
    }
    return r;
}
