/* SPDX-License-Identifier: MIT */
/*
 * Stores a file as an object: one request where it is small, multipart where it is not. Beside the
 * caller's metadata go the hash of what was really read, so that get() can tell a damaged
 * body, and an id of this put, so that a repeated request can tell its own success from another's.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"
#include "s3.h"

void s3_upload_headers(const struct s3_upload *upload, struct s3_call *call, char frames[24])
{
    s3_call_header(call, "content-type", "application/octet-stream");
    s3_call_header(call, "x-amz-meta-lathe-content-sha256", upload->digest.sha256);
    s3_call_header(call, "x-amz-meta-lathe-put-id", upload->put_id);
    if (upload->meta->sha256[0])
        s3_call_header(call, "x-amz-meta-sha256", upload->meta->sha256);
    if (upload->meta->frames) {
        snprintf(frames, 24, "%" PRIu64, upload->meta->frames);
        s3_call_header(call, "x-amz-meta-frames", frames);
    }
}

bool s3_upload_is_ours(struct s3 *s3, const struct s3_upload *upload)
{
    struct s3_reply reply;
    bool is_ours =
        s3_head(s3, upload->key, &reply, NULL) == 0 && !strcmp(reply.object.put_id, upload->put_id);
    s3_reply_done(&reply);
    return is_ours;
}

static int put_whole(struct s3 *s3, const struct s3_upload *upload, struct lathe_error *err)
{
    char frames[24];
    struct s3_call call = {.doing = "store",
                           .subject = upload->name,
                           .method = "PUT",
                           .key = upload->key,
                           .body = {.fd = upload->fd, .size_bytes = upload->size_bytes},
                           .payload_sha256 = upload->digest.sha256,
                           .cancel = upload->cancel};
    s3_upload_headers(upload, &call, frames);
    if (upload->digest.md5_base64[0])
        s3_call_header(&call, "content-md5", upload->digest.md5_base64);
    if (upload->is_if_absent)
        s3_call_header(&call, "if-none-match", "*");
    struct s3_reply reply;
    int r = s3_call_run(s3, &call, &reply, err);
    if (r == -EEXIST && reply.is_repeated && s3_upload_is_ours(s3, upload))
        r = 0;
    s3_reply_done(&reply);
    return r;
}

/* Puts one small object twice under a condition that the second cannot meet. */
static int probe_conditional(struct s3 *s3, struct lathe_error *err)
{
    char id[37];
    int r = lathe_uuid7(id);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot make an id");
    _cleanup_free_ char *key = lathe_format("%s.lathe-probe/%s", s3->prefix, id);
    if (!key)
        return lathe_error_nomem(err);
    struct s3_reply reply;
    struct s3_call call = {
        .doing = "try", .subject = "a conditional write", .method = "PUT", .key = key};
    s3_call_header(&call, "if-none-match", "*");
    for (int i = 0; i < 2 && r == 0; i++) {
        r = s3_call_run(s3, &call, &reply, err);
        s3_reply_done(&reply);
    }
    bool is_honoured = r == -EEXIST, is_ignored = r == 0 || r == -EOPNOTSUPP;
    call = (struct s3_call){
        .doing = "remove", .subject = "the trial object", .method = "DELETE", .key = key};
    s3_call_run(s3, &call, &reply, NULL);
    s3_reply_done(&reply);
    if (!is_honoured && !is_ignored)
        return r;
    pthread_mutex_lock(&s3->mutex);
    s3->conditional = is_honoured ? S3_CONDITIONAL_YES : S3_CONDITIONAL_NO;
    pthread_mutex_unlock(&s3->mutex);
    return 0;
}

/* Looks before it sends, so that a large file is not sent in vain; where the server ignores
 * conditions, looking is all there is. */
static int check_absent(struct s3 *s3, struct s3_upload *upload, struct lathe_error *err)
{
    struct s3_reply reply;
    int r = s3_head(s3, upload->key, &reply, err);
    s3_reply_done(&reply);
    if (r == 0)
        return lathe_error_set(err, -EEXIST, LATHE_FAULT_INPUT, "%s is there already",
                               upload->name);
    if (r != -ENOENT)
        return r;
    pthread_mutex_lock(&s3->mutex);
    bool is_known = s3->conditional != S3_CONDITIONAL_UNKNOWN;
    pthread_mutex_unlock(&s3->mutex);
    r = is_known ? 0 : probe_conditional(s3, err);
    pthread_mutex_lock(&s3->mutex);
    upload->is_if_absent = s3->conditional == S3_CONDITIONAL_YES;
    pthread_mutex_unlock(&s3->mutex);
    return r;
}

static int put_open_file(struct s3 *s3, struct s3_upload *upload, unsigned flags,
                         struct lathe_error *err)
{
    int r = flags & LATHE_STORE_IF_ABSENT ? check_absent(s3, upload, err) : 0;
    if (r < 0)
        return r;
    const bool in_parts = upload->size_bytes > 2 * s3->part_bytes;
    r = lathe_uuid7(upload->put_id);
    if (r == 0)
        r = s3_digest_file(upload->fd, 0, upload->size_bytes, !in_parts, upload->cancel,
                           &upload->digest);
    if (r == -ECANCELED)
        return s3_stopped(err);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot read %s", upload->path);
    r = in_parts ? s3_multipart_upload(s3, upload, err) : put_whole(s3, upload, err);
    if (r == 0 && (flags & LATHE_STORE_MOVE))
        unlink(upload->path);
    return r;
}

int s3_put(struct s3 *s3, const char *key, const char *path, const struct lathe_store_meta *meta,
           unsigned flags, const struct lathe_cancel *cancel, struct lathe_error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return lathe_error_errno(err, -errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "%s is not a file", path);
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    struct s3_upload upload = {.key = full,
                               .name = key,
                               .path = path,
                               .fd = fd,
                               .size_bytes = (uint64_t)st.st_size,
                               .meta = meta,
                               .cancel = cancel};
    return put_open_file(s3, &upload, flags, err);
}
