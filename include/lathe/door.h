/* SPDX-License-Identifier: MIT */
/*
 * The door: a unix socket by which people of this host use the worker that runs on it, without
 * access to its files, its database or its servers, and without the worker being able to read
 * theirs. Sources come in, and results go out, as open file descriptors.
 *
 * Who may: root, the worker's own user, and members of the socket's group (file mode 0660, and the
 * peer's credentials are asked of the kernel). All of them share the worker: each sees and may
 * cancel every job.
 *
 * Protocol: SOCK_SEQPACKET, one JSON object a packet, at most LATHE_DOOR_PACKET_MAX bytes. A
 * request {"v": 1, "request": NAME, …} is answered by {"ok": true, …} or
 * {"ok": false, "error": {"what", "hint", "code", "fault", "retriable"}}.
 * Each connection serves any number of requests, one after the other.
 *
 *   submit  "job": as lathe_job_to_json(), its id and source ignored; "name": of the file; and the
 *           source's descriptor. → "id". The source is copied before the answer.
 *   status  "id" → "job": {"id", "status", "priority", "total_chunks", "completed_chunks",
 *           "created_us", "updated_us", "finished_us", "error", "result"}
 *   list    → "jobs": the same without result, the youngest first, at most 200
 *   cancel  "id"                  } as lathe_flow_cancel(), lathe_flow_retry()
 *   retry   "id", "from_start"    } and lathe_flow_forget() say
 *   remove  "id"                  }
 *   fetch   "id", "rendition" → "bytes", and the result's descriptor, which is read-only
 */
#ifndef LATHE_DOOR_H
#define LATHE_DOOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/job.h"

#define LATHE_DOOR_PATH "/run/lathe/door.sock"
#define LATHE_DOOR_PACKET_MAX (120u << 10)

/* --- the worker's side --- */
struct lathe_door;
struct lathe_flow;

struct lathe_door_options {
    const char *path;        /* of the socket; its folder exists. A dead socket is replaced. */
    struct lathe_flow *flow; /* outlives the door */
};

/* Serves on threads of its own. -EADDRINUSE with fault CONFIG when another worker serves there. */
int lathe_door_open(const struct lathe_door_options *options, struct lathe_door **ret,
                    struct lathe_error *err);
/* Ends connections and removes the socket. NULL is allowed. */
void lathe_door_close(struct lathe_door *door);

/* --- the user's side; a client belongs to one thread --- */
struct lathe_door_client;

/* `path` NULL: $LATHE_DOOR, else LATHE_DOOR_PATH. -ENOENT when no worker serves there, -EACCES when
 * the user is not in the group; both with a hint. The first request connects again when the worker
 * was restarted meanwhile. */
int lathe_door_connect(const char *path, struct lathe_door_client **ret, struct lathe_error *err);
void lathe_door_disconnect(struct lathe_door_client *client); /* NULL is allowed */

/* `source_fd`: open for reading, from its beginning; stays the caller's. `name` tells the format of
 * the file to people ("film.mkv"). */
int lathe_door_submit(struct lathe_door_client *client, const struct lathe_job *job, int source_fd,
                      const char *name, char ret_id[LATHE_ID_MAX + 1], struct lathe_error *err);
/* The objects described above; the caller's. */
int lathe_door_status(struct lathe_door_client *client, const char *job_id, json_t **ret,
                      struct lathe_error *err);
int lathe_door_list(struct lathe_door_client *client, json_t **ret, struct lathe_error *err);
int lathe_door_cancel(struct lathe_door_client *client, const char *job_id,
                      struct lathe_error *err);
int lathe_door_retry(struct lathe_door_client *client, const char *job_id, bool from_start,
                     struct lathe_error *err);
int lathe_door_remove(struct lathe_door_client *client, const char *job_id,
                      struct lathe_error *err);
/* A descriptor of the whole result, the caller's. */
int lathe_door_fetch(struct lathe_door_client *client, const char *job_id, const char *rendition,
                     int *ret_fd, uint64_t *ret_bytes, struct lathe_error *err);
/* Waits until the job has ended; `tick` (may be NULL) gets each answer of status on the way. A
 * worker that is away is waited for. -ECANCELED when `cancel` (may be NULL) fired: the job goes on.
 */
int lathe_door_wait(struct lathe_door_client *client, const char *job_id,
                    void (*tick)(void *opaque, const json_t *job), void *opaque,
                    struct lathe_cancel *cancel, json_t **ret, struct lathe_error *err);

#endif
