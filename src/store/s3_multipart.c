/* SPDX-License-Identifier: MIT */
/*
 * A large file as one object: parts on several connections, seen by nobody until the upload is
 * completed. An upload that fails is aborted; one whose process died is aborted by whoever opens
 * the store a day later, since servers keep and charge for its parts.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "lathe/base.h"
#include "s3.h"

#define PARTS_MAX 10000u
#define COMPLETE_PATIENCE 10 /* servers may copy all of it before they answer */

struct multipart {
    struct s3 *s3;
    const struct s3_upload *upload;
    char *id;
    uint64_t part_bytes, part_count;
    char (*etags)[256];
    atomic_bool stop;
};

static int create(struct multipart *m, struct lathe_error *err)
{
    char frames[24];
    struct s3_call call = {.doing = "store",
                           .subject = m->upload->name,
                           .method = "POST",
                           .key = m->upload->key,
                           .root = "UploadId",
                           .cancel = m->upload->cancel};
    s3_call_query(&call, "uploads", "");
    s3_upload_headers(m->upload, &call, frames);
    struct s3_reply reply;
    int r = s3_call_run(m->s3, &call, &reply, err);
    if (r == 0) {
        m->id = s3_xml_text(reply.body, reply.body + reply.body_size, "UploadId");
        r = m->id ? 0 : lathe_error_nomem(err);
    }
    s3_reply_done(&reply);
    return r;
}

static int send_part(void *opaque, uint64_t number, struct lathe_error *err)
{
    struct multipart *m = opaque;
    uint64_t offset = number * m->part_bytes, left = m->upload->size_bytes - offset;
    uint64_t size = left < m->part_bytes ? left : m->part_bytes;
    struct s3_digest digest;
    int r = s3_digest_file(m->upload->fd, offset, size, true, m->upload->cancel, &digest);
    if (r == -ECANCELED)
        return s3_stopped(err);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot read %s", m->upload->path);
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, number + 1);
    struct s3_call call = {.doing = "store",
                           .subject = m->upload->name,
                           .method = "PUT",
                           .key = m->upload->key,
                           .body = {.fd = m->upload->fd, .offset = offset, .size_bytes = size},
                           .payload_sha256 = digest.sha256,
                           .needs_etag = true,
                           .cancel = m->upload->cancel,
                           .stop = &m->stop};
    s3_call_query(&call, "partNumber", text);
    s3_call_query(&call, "uploadId", m->id);
    if (digest.md5_base64[0])
        s3_call_header(&call, "content-md5", digest.md5_base64);
    struct s3_reply reply;
    r = s3_call_run(m->s3, &call, &reply, err);
    if (r == 0)
        memcpy(m->etags[number], reply.etag, sizeof(reply.etag));
    s3_reply_done(&reply);
    return r;
}

static char *list_of_parts(const struct multipart *m, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (!out)
        return NULL;
    fputs("<CompleteMultipartUpload>", out);
    for (uint64_t i = 0; i < m->part_count; i++)
        fprintf(out, "<Part><PartNumber>%" PRIu64 "</PartNumber><ETag>%s</ETag></Part>", i + 1,
                m->etags[i]);
    fputs("</CompleteMultipartUpload>", out);
    bool is_bad = ferror(out);
    if (fclose(out) == 0 && !is_bad)
        return text;
    free(text);
    return NULL;
}

static int complete(struct multipart *m, struct lathe_error *err)
{
    size_t size = 0;
    struct s3_digest digest;
    _cleanup_free_ char *parts = list_of_parts(m, &size);
    if (!parts || s3_digest_data(parts, size, &digest) < 0)
        return lathe_error_nomem(err);
    struct s3_call call = {.doing = "store",
                           .subject = m->upload->name,
                           .method = "POST",
                           .key = m->upload->key,
                           .body = {.data = parts, .size_bytes = size},
                           .payload_sha256 = digest.sha256,
                           .root = "CompleteMultipartUploadResult",
                           .patience = COMPLETE_PATIENCE,
                           .cancel = m->upload->cancel};
    s3_call_query(&call, "uploadId", m->id);
    if (m->upload->is_if_absent)
        s3_call_header(&call, "if-none-match", "*");
    struct s3_reply reply;
    int r = s3_call_run(m->s3, &call, &reply, err);
    if ((r == -ESTALE || r == -EEXIST || r == -ENOENT) && reply.is_repeated &&
        s3_upload_is_ours(m->s3, m->upload))
        r = 0;
    s3_reply_done(&reply);
    return r;
}

static int abort_upload(struct s3 *s3, const char *key, const char *id)
{
    struct s3_call call = {
        .doing = "abort", .subject = "an upload", .method = "DELETE", .key = key};
    s3_call_query(&call, "uploadId", id);
    struct s3_reply reply;
    int r = s3_call_run(s3, &call, &reply, NULL);
    s3_reply_done(&reply);
    return r;
}

int s3_multipart_upload(struct s3 *s3, const struct s3_upload *upload, struct lathe_error *err)
{
    struct multipart m = {.s3 = s3, .upload = upload, .part_bytes = s3->part_bytes};
    while (upload->size_bytes / m.part_bytes >= PARTS_MAX)
        m.part_bytes *= 2;
    m.part_count = (upload->size_bytes + m.part_bytes - 1) / m.part_bytes;
    m.etags = calloc(m.part_count, sizeof(*m.etags));
    if (!m.etags)
        return lathe_error_nomem(err);
    int r = create(&m, err);
    if (r == 0) {
        r = s3_parallel(s3, m.part_count, &m.stop, send_part, &m, err);
        if (r == 0)
            r = complete(&m, err);
        if (r < 0)
            abort_upload(s3, upload->key, m.id);
    }
    free(m.id);
    free(m.etags);
    return r;
}

static void sweep_one(struct s3 *s3, const char *begin, const char *end)
{
    _cleanup_free_ char *key = s3_xml_text(begin, end, "Key");
    _cleanup_free_ char *id = s3_xml_text(begin, end, "UploadId");
    _cleanup_free_ char *since = s3_xml_text(begin, end, "Initiated");
    struct tm tm = {0};
    if (!key || !id || !since || !strptime(since, "%Y-%m-%dT%H:%M:%S", &tm) ||
        strncmp(key, s3->prefix, strlen(s3->prefix)))
        return;
    if (timegm(&tm) + (time_t)s3->stale_upload_hours * 3600 <= time(NULL))
        abort_upload(s3, key, id);
}

/* What is not swept now, because of any error, is swept by the next that opens the store. */
void s3_multipart_sweep(struct s3 *s3)
{
    struct s3_call call = {.doing = "list", .subject = "uploads", .method = "GET"};
    s3_call_query(&call, "uploads", "");
    s3_call_query(&call, "prefix", s3->prefix);
    struct s3_reply reply;
    if (s3_call_run(s3, &call, &reply, NULL) == 0 && reply.body) {
        const char *text = reply.body, *begin, *end;
        while (s3_xml_next(&text, reply.body + reply.body_size, "Upload", &begin, &end))
            sweep_one(s3, begin, end);
    }
    s3_reply_done(&reply);
}
