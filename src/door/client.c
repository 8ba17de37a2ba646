/* SPDX-License-Identifier: MIT */
/*
 * The user's side of the door. A worker that is restarted meanwhile (an upgrade, a crash) costs a
 * new connection and nothing else, except for a submission, of which nobody would know whether it
 * was taken.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lathe/base.h"
#include "lathe/door.h"
#include "packet.h"

#define POLL_MS 500
#define AWAY_LIMIT_US (300 * 1000000LL) /* of a worker that is waited for */

struct lathe_door_client {
    char *path;
    int fd; /* -1: to be connected anew */
};

static int connect_client(struct lathe_door_client *client, struct lathe_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(client->path) >= sizeof address.sun_path)
        return lathe_error_set(err, -ENAMETOOLONG, LATHE_FAULT_CONFIG,
                               "the door's path is too long");
    strcpy(address.sun_path, client->path);
    client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return lathe_error_errno(err, -errno, "cannot open a socket");
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return 0;
    int r = errno == ECONNREFUSED ? -ENOENT : -errno;
    close(client->fd);
    client->fd = -1;
    if (r == -EACCES) {
        lathe_error_set(err, r, LATHE_FAULT_INPUT, "%s: you may not use this host's worker",
                        client->path);
        lathe_error_hint(err, "as root: adduser USER lathe; then log in anew");
    } else {
        lathe_error_set(err, r, LATHE_FAULT_SERVER, "%s: no worker runs on this host (%s)",
                        client->path, strerror(-r));
        lathe_error_hint(err, "systemctl status lathe-worker says why; lathe run needs none");
    }
    return r;
}

int lathe_door_connect(const char *path, struct lathe_door_client **ret, struct lathe_error *err)
{
    const char *set = getenv("LATHE_DOOR");
    struct lathe_door_client *client = calloc(1, sizeof *client);
    if (!client)
        return lathe_error_nomem(err);
    client->fd = -1;
    client->path = strdup(path ? path : set && *set ? set : LATHE_DOOR_PATH);
    int r = client->path ? connect_client(client, err) : lathe_error_nomem(err);
    if (r < 0) {
        lathe_door_disconnect(client);
        return r;
    }
    *ret = client;
    return 0;
}

void lathe_door_disconnect(struct lathe_door_client *client)
{
    if (!client)
        return;
    if (client->fd >= 0)
        close(client->fd);
    free(client->path);
    free(client);
}

/* One request on the connection there is: 0, the worker's own error, or -EPIPE when it is gone. */
static int exchange(struct lathe_door_client *client, const json_t *request, int fd, json_t **ret,
                    int *ret_fd, struct lathe_error *err)
{
    json_t *answer = NULL;
    int passed = -1;
    int r = lathe_door_send(client->fd, request, fd);
    if (r == 0 || r == -EPIPE) /* an answer may lie there all the same: why it was closed */
        r = lathe_door_receive(client->fd, &answer, &passed);
    if (r <= 0) {
        close(client->fd);
        client->fd = -1;
        bool gone = r == 0 || r == -EPIPE || r == -ECONNRESET;
        return lathe_error_set(err, gone ? -EPIPE : r, LATHE_FAULT_SERVER,
                               "the worker ended the connection (%s)",
                               gone ? "was it restarted?" : strerror(-r));
    }
    r = json_is_true(json_object_get(answer, "ok"))
            ? 0
            : lathe_door_error_from_json(json_object_get(answer, "error"), err);
    if (r == 0 && ret_fd)
        *ret_fd = passed;
    else if (passed >= 0)
        close(passed);
    if (r == 0 && ret)
        *ret = answer;
    else
        json_decref(answer);
    return r;
}

/* Steals `request`. `repeats`: the request may be sent again on a new connection. */
static int ask(struct lathe_door_client *client, json_t *request, int fd, bool repeats,
               json_t **ret, int *ret_fd, struct lathe_error *err)
{
    if (!request)
        return lathe_error_nomem(err);
    int r = client->fd < 0 ? connect_client(client, err) : 0;
    if (r == 0)
        r = exchange(client, request, fd, ret, ret_fd, err);
    if (r == -EPIPE && repeats && (r = connect_client(client, err)) == 0)
        r = exchange(client, request, fd, ret, ret_fd, err);
    json_decref(request);
    return r;
}

static json_t *about(const char *what, const char *job_id)
{
    return json_pack("{s:i, s:s, s:s}", "v", 1, "request", what, "id", job_id);
}

/* One member of an answer, the caller's reference. */
static int take_member(json_t *answer, const char *name, json_t **ret, struct lathe_error *err)
{
    json_t *member = json_incref(json_object_get(answer, name));
    json_decref(answer);
    if (!member)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER,
                               "the worker's answer has no \"%s\"", name);
    *ret = member;
    return 0;
}

int lathe_door_submit(struct lathe_door_client *client, const struct lathe_job *job, int source_fd,
                      const char *name, char ret_id[LATHE_ID_MAX + 1], struct lathe_error *err)
{
    json_t *json = NULL, *answer = NULL, *id = NULL;
    if (lathe_job_to_json(job, &json) < 0)
        return lathe_error_nomem(err);
    int r = ask(
        client,
        json_pack("{s:i, s:s, s:o, s:s}", "v", 1, "request", "submit", "job", json, "name", name),
        source_fd, false, &answer, NULL, err);
    if (r == 0)
        r = take_member(answer, "id", &id, err);
    if (r < 0)
        return r;
    const char *text = json_string_value(id);
    if (text && lathe_job_id_is_valid(text))
        snprintf(ret_id, LATHE_ID_MAX + 1, "%s", text);
    else
        r = lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER, "the worker gave no id for the job");
    json_decref(id);
    return r;
}

int lathe_door_status(struct lathe_door_client *client, const char *job_id, json_t **ret,
                      struct lathe_error *err)
{
    json_t *answer = NULL;
    int r = ask(client, about("status", job_id), -1, true, &answer, NULL, err);
    return r < 0 ? r : take_member(answer, "job", ret, err);
}

int lathe_door_list(struct lathe_door_client *client, json_t **ret, struct lathe_error *err)
{
    json_t *answer = NULL;
    int r = ask(client, json_pack("{s:i, s:s}", "v", 1, "request", "list"), -1, true, &answer, NULL,
                err);
    return r < 0 ? r : take_member(answer, "jobs", ret, err);
}

int lathe_door_cancel(struct lathe_door_client *client, const char *job_id, struct lathe_error *err)
{
    return ask(client, about("cancel", job_id), -1, true, NULL, NULL, err);
}

int lathe_door_retry(struct lathe_door_client *client, const char *job_id, bool from_start,
                     struct lathe_error *err)
{
    json_t *request = about("retry", job_id);
    if (request && json_object_set_new(request, "from_start", json_boolean(from_start)) < 0) {
        json_decref(request);
        request = NULL;
    }
    return ask(client, request, -1, false, NULL, NULL, err); /* a repeat would be refused */
}

int lathe_door_remove(struct lathe_door_client *client, const char *job_id, struct lathe_error *err)
{
    return ask(client, about("remove", job_id), -1, true, NULL, NULL, err);
}

int lathe_door_fetch(struct lathe_door_client *client, const char *job_id, const char *rendition,
                     int *ret_fd, uint64_t *ret_bytes, struct lathe_error *err)
{
    json_t *answer = NULL, *request = about("fetch", job_id);
    int fd = -1;
    if (request && json_object_set_new(request, "rendition", json_string(rendition)) < 0) {
        json_decref(request);
        request = NULL;
    }
    int r = ask(client, request, -1, true, &answer, &fd, err);
    if (r < 0)
        return r;
    *ret_bytes = (uint64_t)json_integer_value(json_object_get(answer, "bytes"));
    json_decref(answer);
    if (fd < 0)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER,
                               "the worker's answer comes without the result");
    *ret_fd = fd;
    return 0;
}

static bool has_ended(const json_t *job)
{
    const char *status = json_string_value(json_object_get(job, "status"));
    return status && (strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 ||
                      strcmp(status, "cancelled") == 0);
}

int lathe_door_wait(struct lathe_door_client *client, const char *job_id,
                    void (*tick)(void *opaque, const json_t *job), void *opaque,
                    struct lathe_cancel *cancel, json_t **ret, struct lathe_error *err)
{
    int64_t away_since_us = 0;
    struct pollfd stop = {.fd = cancel ? lathe_cancel_fd(cancel) : -1, .events = POLLIN};
    for (;;) {
        json_t *job = NULL;
        int r = lathe_door_status(client, job_id, &job, err);
        int64_t now_us = lathe_clock_monotonic_us();
        if (r == 0) {
            away_since_us = 0;
            if (has_ended(job)) {
                *ret = job;
                return 0;
            }
            if (tick)
                tick(opaque, job);
            json_decref(job);
        } else if (client->fd >= 0) { /* the worker is there and says no */
            return r;
        } else if (!away_since_us) {
            away_since_us = now_us;
        } else if (now_us - away_since_us > AWAY_LIMIT_US) {
            return r;
        }
        if (poll(&stop, 1, POLL_MS) > 0)
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED,
                                   "no longer waiting: job %s goes on", job_id);
    }
}
