/* SPDX-License-Identifier: MIT */
#include "template.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lathe/base.h"
#include "process.h"

struct lathe_template {
    pthread_mutex_t lock;
    const char *slot_path;
    pid_t pid; /* -1: none */
    int fd;
    bool ready;        /* it has said so */
    unsigned failures; /* templates that did not answer; after some no more are started */
};

#define ANSWER_MS 5000 /* of a machine that is very busy; a stopped template costs this once */
#define FAILURES_MAX 3

/* Called with the lock held, as all below. */
static void end(struct lathe_template *template)
{
    if (template->pid < 0)
        return;
    close(template->fd);
    kill(template->pid, SIGKILL);
    waitpid(template->pid, NULL, 0);
    template->pid = template->fd = -1;
    template->ready = false;
}

static void fail(struct lathe_template *template)
{
    end(template);
    template->failures++;
}

static int begin(struct lathe_template *template)
{
    int sockets[2];
    if (template->failures >= FAILURES_MAX || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -ENOTSUP;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int r = nothing < 0 ? -errno : 0;
    if (r == 0)
        r = lathe_process_spawn(template->slot_path, LATHE_SLOT_TEMPLATE, &sockets[1], &nothing,
                                &template->pid);
    if (nothing >= 0)
        close(nothing);
    close(sockets[1]);
    if (r < 0) {
        close(sockets[0]);
        template->pid = -1;
        template->failures++;
        return r;
    }
    template->fd = sockets[0];
    return 0;
}

/* One number from the template: 0 when it is ready, a pid, or a negative errno. */
static int answer(struct lathe_template *template, int32_t *ret)
{
    struct pollfd fd = {.fd = template->fd, .events = POLLIN};
    int r;
    while ((r = poll(&fd, 1, ANSWER_MS)) < 0 && errno == EINTR)
        ;
    if (r <= 0)
        return r < 0 ? -errno : -ETIMEDOUT;
    ssize_t n = recv(template->fd, ret, sizeof *ret, MSG_DONTWAIT);
    return n == (ssize_t)sizeof *ret ? 0 : -ECONNABORTED;
}

static int ask(struct lathe_template *template, int socket_fd, int stderr_fd)
{
    char byte = 0;
    int fds[2] = {socket_fd, stderr_fd};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {0};
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(header), fds, sizeof fds);
    return sendmsg(template->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -errno;
}

static int copy(struct lathe_template *template, int socket_fd, int stderr_fd, pid_t *ret_pid)
{
    int32_t said = 0;
    int r = 0;
    if (template->pid < 0)
        r = begin(template);
    if (r < 0)
        return r;
    if (!template->ready) {
        r = answer(template, &said);
        template->ready = r == 0 && said == 0;
    }
    if (r == 0)
        r = ask(template, socket_fd, stderr_fd);
    if (r == 0)
        r = answer(template, &said);
    if (r < 0) {
        fail(template);
        return r;
    }
    if (said <= 0)
        return said < 0 ? said : -EPROTO;
    *ret_pid = said;
    return 0;
}

struct lathe_template *lathe_template_create(const char *slot_path)
{
    struct lathe_template *template = calloc(1, sizeof *template);
    if (!template)
        return NULL;
    *template = (struct lathe_template){.slot_path = slot_path, .pid = -1, .fd = -1};
    pthread_mutex_init(&template->lock, NULL);
    if (begin(template) == 0)
        return template;
    lathe_template_destroy(template);
    return NULL;
}

void lathe_template_destroy(struct lathe_template *template)
{
    if (!template)
        return;
    end(template);
    pthread_mutex_destroy(&template->lock);
    free(template);
}

int lathe_template_copy(struct lathe_template *template, int socket_fd, int stderr_fd,
                        pid_t *ret_pid)
{
    pthread_mutex_lock(&template->lock);
    int r = copy(template, socket_fd, stderr_fd, ret_pid);
    pthread_mutex_unlock(&template->lock);
    return r;
}

void lathe_template_replace(struct lathe_template *template)
{
    if (!template)
        return;
    pthread_mutex_lock(&template->lock);
    end(template);
    pthread_mutex_unlock(&template->lock);
}
