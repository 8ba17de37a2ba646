/* SPDX-License-Identifier: MIT */
/*
 * The socket, who may come in, and a thread for each who did. A user cannot keep others out: each
 * has a share of the connections, and a connection that asks nothing is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "door.h"
#include "lathe/base.h"
#include "lathe/log.h"
#include "packet.h"

#define GUESTS_MAX 64
#define GUESTS_OF_USER_MAX 16
#define IDLE_MS 60000
#define GROUPS_MAX 65536

struct guest {
    struct lathe_door *door;
    struct lathe_door_peer peer;
    int fd; /* -1: the place is free */
};

struct lathe_door {
    struct lathe_flow *flow;
    struct lathe_cancel *stop;
    char *path;
    int fd;
    gid_t group; /* of the socket */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t left;
    struct guest guests[GUESTS_MAX];
    unsigned n_guests;
};

/* --- who --- */

static bool is_in_group(int fd, gid_t group)
{
    socklen_t size = 64 * sizeof(gid_t);
    gid_t *groups = malloc(size);
    int r = groups ? getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) : -1;
    if (r < 0 && groups && errno == ERANGE && size <= GROUPS_MAX * sizeof(gid_t)) {
        gid_t *larger = realloc(groups, size);
        if (larger) {
            groups = larger;
            r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
        }
    }
    bool found = false;
    for (size_t i = 0; r == 0 && i < size / sizeof(gid_t) && !found; i++)
        found = groups[i] == group;
    free(groups);
    return found;
}

static int ask_kernel(const struct lathe_door *door, int fd, struct lathe_door_peer *ret,
                      struct lathe_error *err)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return lathe_error_errno(err, -errno, "who asks cannot be told");
    *ret = (struct lathe_door_peer){.uid = peer.uid, .pid = peer.pid};
    if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == door->group ||
        is_in_group(fd, door->group))
        return 0;
    lathe_error_set(err, -EACCES, LATHE_FAULT_INPUT,
                    "user %u is not in the group that may use this worker", (unsigned)peer.uid);
    lathe_error_hint(err, "as root: adduser USER lathe; then log in anew");
    return -EACCES;
}

/* --- a guest's requests --- */

static int send_answer(int fd, int r, json_t *answer, int passed_fd, const struct lathe_error *why)
{
    if (r < 0) {
        json_t *error = NULL;
        json_decref(answer);
        if (lathe_door_error_to_json(why, &error) < 0)
            return -ENOMEM;
        answer = json_pack("{s:b, s:o}", "ok", 0, "error", error);
    } else if (json_object_set_new(answer, "ok", json_true()) < 0) {
        json_decref(answer);
        return -ENOMEM;
    }
    if (!answer)
        return -ENOMEM;
    int sent = lathe_door_send(fd, answer, r < 0 ? -1 : passed_fd);
    json_decref(answer);
    return sent;
}

static int serve_request(struct lathe_door *door, const struct lathe_door_peer *peer, int fd)
{
    json_t *request = NULL, *answer = NULL;
    int passed_fd = -1, result_fd = -1;
    struct lathe_error why = {0};
    int r = lathe_door_receive(fd, &request, &passed_fd);
    if (r == 0 || (r < 0 && r != -EPROTO))
        return -EPIPE;
    if (r == -EPROTO)
        lathe_error_set(&why, r, LATHE_FAULT_INPUT, "the packet is no request");
    else
        r = lathe_door_answer(door->flow, door->stop, peer, request, passed_fd, &answer, &result_fd,
                              &why);
    r = send_answer(fd, r, answer, result_fd, &why);
    json_decref(request);
    if (passed_fd >= 0)
        close(passed_fd);
    if (result_fd >= 0)
        close(result_fd);
    return r;
}

static void *serve_guest(void *opaque)
{
    struct guest *me = opaque;
    struct lathe_door *door = me->door;
    struct pollfd what[] = {{.fd = me->fd, .events = POLLIN},
                            {.fd = lathe_cancel_fd(door->stop), .events = POLLIN}};
    for (;;) {
        int n = poll(what, 2, IDLE_MS);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || what[1].revents || serve_request(door, &me->peer, me->fd) < 0)
            break;
    }
    pthread_mutex_lock(&door->lock);
    close(me->fd);
    me->fd = -1;
    door->n_guests--;
    pthread_cond_signal(&door->left);
    pthread_mutex_unlock(&door->lock);
    return NULL;
}

/* --- letting in --- */

static int find_place(struct lathe_door *door, int fd, const struct lathe_door_peer *peer,
                      struct guest **ret)
{
    struct guest *free_place = NULL;
    unsigned of_user = 0;
    pthread_mutex_lock(&door->lock);
    for (unsigned i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &door->guests[i];
        if (guest->fd < 0)
            free_place = guest;
        else
            of_user += guest->peer.uid == peer->uid;
    }
    if (of_user >= GUESTS_OF_USER_MAX)
        free_place = NULL;
    if (free_place) {
        *free_place = (struct guest){.door = door, .peer = *peer, .fd = fd};
        door->n_guests++;
    }
    pthread_mutex_unlock(&door->lock);
    *ret = free_place;
    return free_place ? 0 : -EBUSY;
}

static int start_guest(struct guest *guest)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int r = pthread_create(&thread, &attributes, serve_guest, guest);
    pthread_attr_destroy(&attributes);
    if (r == 0)
        return 0;
    struct lathe_door *door = guest->door;
    pthread_mutex_lock(&door->lock);
    guest->fd = -1;
    door->n_guests--;
    pthread_mutex_unlock(&door->lock);
    return -r;
}

/* Says why and closes. A request that had come already must not lie there unread, or the kernel
 * would throw the answer away. */
static void refuse(int fd, const struct lathe_error *why)
{
    char rest[64];
    (void)send_answer(fd, why->code, NULL, -1, why);
    (void)shutdown(fd, SHUT_RD);
    while (recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
    close(fd);
}

static void let_in(struct lathe_door *door, int fd)
{
    struct lathe_door_peer peer = {0};
    struct lathe_error why = {0};
    struct guest *guest = NULL;
    const struct timeval patience = {.tv_sec = IDLE_MS / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int r = ask_kernel(door, fd, &peer, &why);
    if (r == 0 && (find_place(door, fd, &peer, &guest) < 0 || start_guest(guest) < 0))
        r = lathe_error_set(&why, -EBUSY, LATHE_FAULT_RESOURCE,
                            "the worker has too many connections from its door");
    if (r < 0)
        refuse(fd, &why);
}

static void *keep_door(void *opaque)
{
    struct lathe_door *door = opaque;
    struct pollfd what[] = {{.fd = door->fd, .events = POLLIN},
                            {.fd = lathe_cancel_fd(door->stop), .events = POLLIN}};
    for (;;) {
        int n = poll(what, 2, -1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || what[1].revents)
            return NULL;
        int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            let_in(door, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* until others end */
    }
}

/* --- the socket --- */

static int connect_to(const struct sockaddr_un *address)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno
                                                                                        : 0;
}

static int bind_socket(struct lathe_door *door, struct lathe_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(door->path) >= sizeof address.sun_path)
        return lathe_error_set(err, -ENAMETOOLONG, LATHE_FAULT_CONFIG,
                               "the door's path is longer than %zu bytes: %s",
                               sizeof address.sun_path - 1, door->path);
    strcpy(address.sun_path, door->path);
    door->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (door->fd < 0)
        return lathe_error_errno(err, -errno, "cannot open a door");
    if (connect_to(&address) == -ECONNREFUSED)
        unlink(door->path); /* nobody is behind it any more */
    if (bind(door->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int r = -errno;
        lathe_error_set(err, r, LATHE_FAULT_CONFIG, "cannot open the door %s: %s", door->path,
                        r == -EADDRINUSE ? "another worker serves there" : strerror(-r));
        lathe_error_hint(err, "let the option door name another path, or none");
        return r;
    }
    struct stat st;
    if (chmod(door->path, 0660) < 0 || stat(door->path, &st) < 0 || listen(door->fd, 64) < 0)
        return lathe_error_errno(err, -errno, "cannot open the door %s", door->path);
    door->group = st.st_gid;
    return 0;
}

int lathe_door_open(const struct lathe_door_options *options, struct lathe_door **ret,
                    struct lathe_error *err)
{
    struct lathe_door *door = calloc(1, sizeof *door);
    if (!door)
        return lathe_error_nomem(err);
    door->flow = options->flow;
    door->fd = -1;
    pthread_mutex_init(&door->lock, NULL);
    pthread_cond_init(&door->left, NULL);
    for (unsigned i = 0; i < GUESTS_MAX; i++)
        door->guests[i].fd = -1;
    door->path = strdup(options->path);
    int r = door->path && lathe_cancel_create(&door->stop) == 0 ? 0 : lathe_error_nomem(err);
    if (r == 0)
        r = bind_socket(door, err);
    bool bound = r == 0;
    if (r == 0 && (r = -pthread_create(&door->thread, NULL, keep_door, door)) < 0)
        lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot start a thread");
    if (r == 0) {
        *ret = door;
        return 0;
    }
    if (bound)
        unlink(door->path);
    if (door->fd >= 0)
        close(door->fd);
    lathe_cancel_destroy(door->stop);
    free(door->path);
    free(door);
    return r;
}

void lathe_door_close(struct lathe_door *door)
{
    if (!door)
        return;
    lathe_cancel_trigger(door->stop);
    pthread_join(door->thread, NULL);
    unlink(door->path);
    close(door->fd);
    pthread_mutex_lock(&door->lock);
    for (unsigned i = 0; i < GUESTS_MAX; i++)
        if (door->guests[i].fd >= 0)
            (void)shutdown(door->guests[i].fd, SHUT_RD); /* the answer under way still goes out */
    while (door->n_guests)
        pthread_cond_wait(&door->left, &door->lock);
    pthread_mutex_unlock(&door->lock);
    lathe_cancel_destroy(door->stop);
    pthread_cond_destroy(&door->left);
    pthread_mutex_destroy(&door->lock);
    free(door->path);
    free(door);
}
