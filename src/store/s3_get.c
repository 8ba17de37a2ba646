/* SPDX-License-Identifier: MIT */
/*
 * Fetches an object into a file: the first range says how large it is, the others come on several
 * connections, all under the condition that it is still the same object. What arrived is
 * believed only when its length, and the hash that put() left, are right.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"
#include "s3.h"

#define TRIES 12 /* while others replace the object, or it arrives damaged */

struct download {
    struct s3 *s3;
    const char *key, *name;
    int fd;
    uint64_t total_bytes;
    char etag[256], content_sha256[S3_SHA256_HEX];
    atomic_bool stop;
    const struct lathe_cancel *cancel;
};

static int fetch(struct download *d, uint64_t offset, uint64_t size, bool is_ranged,
                 struct s3_reply *reply, struct lathe_error *err)
{
    char range[64];
    const struct s3_sink sink = {d->fd, offset, is_ranged ? size : UINT64_MAX};
    struct s3_call call = {.doing = "fetch",
                           .subject = d->name,
                           .method = "GET",
                           .key = d->key,
                           .sink = &sink,
                           .needs_etag = true,
                           .cancel = d->cancel,
                           .stop = &d->stop};
    snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, offset, offset + size - 1);
    if (is_ranged)
        s3_call_header(&call, "range", range);
    if (d->etag[0])
        s3_call_header(&call, "if-match", d->etag);
    return s3_call_run(d->s3, &call, reply, err);
}

static int fetch_part(void *opaque, uint64_t number, struct lathe_error *err)
{
    struct download *d = opaque;
    uint64_t offset = (number + 1) * d->s3->part_bytes, left = d->total_bytes - offset;
    uint64_t size = left < d->s3->part_bytes ? left : d->s3->part_bytes;
    struct s3_reply reply;
    int r = fetch(d, offset, size, true, &reply, err);
    bool is_it =
        reply.status == 206 && !strcmp(reply.etag, d->etag) && reply.received_bytes == size;
    s3_reply_done(&reply);
    if (r < 0)
        return r;
    return is_it ? 0 : -EEXIST; /* as when the condition fails: begin again */
}

static int fetch_first(struct download *d, struct lathe_error *err)
{
    struct s3_reply reply;
    d->etag[0] = '\0';
    int r = fetch(d, 0, d->s3->part_bytes, true, &reply, err);
    if (r == -ERANGE) { /* an empty object has no first byte */
        s3_reply_done(&reply);
        r = fetch(d, 0, 0, false, &reply, err);
    }
    if (r == 0) {
        d->total_bytes = reply.status == 206 && reply.total_bytes >= 0 ? (uint64_t)reply.total_bytes
                                                                       : reply.received_bytes;
        memcpy(d->etag, reply.etag, sizeof(d->etag));
        memcpy(d->content_sha256, reply.object.content_sha256, sizeof(d->content_sha256));
        uint64_t expected = d->total_bytes < d->s3->part_bytes ? d->total_bytes : d->s3->part_bytes;
        if (reply.status == 206 && reply.received_bytes != expected)
            r = -EBADMSG;
    }
    s3_reply_done(&reply);
    return r;
}

static int check(const struct download *d)
{
    struct stat st;
    if (fstat(d->fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size != d->total_bytes)
        return -EBADMSG;
    if (!d->content_sha256[0])
        return 0; /* stored by another program */
    struct s3_digest digest;
    int r = s3_digest_file(d->fd, 0, d->total_bytes, false, d->cancel, &digest);
    return r == 0 && strcmp(digest.sha256, d->content_sha256) ? -EBADMSG : r;
}

/* -EEXIST: it was replaced meanwhile. -EBADMSG: it came damaged. */
static int fetch_once(struct download *d, struct lathe_error *err)
{
    if (ftruncate(d->fd, 0) < 0)
        return lathe_error_errno(err, -errno, "cannot write the file for %s", d->name);
    atomic_store(&d->stop, false);
    int r = fetch_first(d, err);
    uint64_t part_bytes = d->s3->part_bytes;
    if (r == 0 && d->total_bytes > part_bytes)
        r = s3_parallel(d->s3, (d->total_bytes - 1) / part_bytes, &d->stop, fetch_part, d, err);
    if (r < 0)
        return r;
    r = check(d);
    if (r == -ECANCELED)
        return s3_stopped(err);
    if (r < 0 && r != -EBADMSG)
        return lathe_error_errno(err, r, "cannot read back %s", d->name);
    return r;
}

int s3_get(struct s3 *s3, const char *key, const char *path, const struct lathe_cancel *cancel,
           struct lathe_error *err)
{
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot create %s", path);
    struct download d = {.s3 = s3, .key = full, .name = key, .fd = fd, .cancel = cancel};
    int r = -EEXIST;
    for (int i = 0; i < TRIES && (r == -EEXIST || r == -EBADMSG); i++)
        r = fetch_once(&d, err);
    if (r == -EEXIST)
        lathe_error_set(err, r = -EAGAIN, LATHE_FAULT_SERVER,
                        "cannot fetch %s: it is replaced again and again", key);
    else if (r == -EBADMSG)
        lathe_error_set(err, r, LATHE_FAULT_SERVER,
                        "cannot fetch %s: what arrives is not what was stored (length or SHA-256)",
                        key);
    if (r < 0)
        unlink(path);
    return r;
}
