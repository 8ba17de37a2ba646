/* SPDX-License-Identifier: MIT */
/*
 * The store of a fleet: a bucket of any S3 server. A PUT, or the completion of an upload, shows an
 * object whole with its metadata or not at all, which is the port's guarantee. Opening looks
 * into the bucket, so that wrong keys, names and clocks are told at once and in words.
 */
#include "s3.h"

#include <errno.h>
#include <string.h>

#include "drivers.h"
#include "lathe/base.h"

char *s3_key(const struct s3 *s3, const char *key)
{
    return lathe_format("%s%s", s3->prefix, key);
}

int s3_head(struct s3 *s3, const char *key, struct s3_reply *ret, struct lathe_error *err)
{
    const char *name = key + strlen(s3->prefix);
    struct s3_call call = {
        .doing = "look at", .subject = name, .method = "HEAD", .key = key, .needs_etag = true};
    int r = s3_call_run(s3, &call, ret, err);
    if (r == 0 || r == -ENOENT || r == -EAGAIN || ret->status == 0)
        return r;
    /* A reply to HEAD has no body that says why: ask again in a way that has. */
    struct s3_reply reply;
    call.method = "GET";
    s3_call_header(&call, "range", "bytes=0-0");
    int again = s3_call_run(s3, &call, &reply, err);
    s3_reply_done(&reply);
    return again < 0 ? again : r;
}

/* One page. *token is replaced by that of the next one, NULL at the end. */
static int list_page(struct s3 *s3, const char *prefix, unsigned max_keys, char **token,
                     struct s3_reply *reply, struct lathe_error *err)
{
    char max[16];
    snprintf(max, sizeof(max), "%u", max_keys);
    struct s3_call call = {.doing = "list",
                           .subject = *prefix ? prefix : "the bucket",
                           .method = "GET",
                           .root = "ListBucketResult"};
    s3_call_query(&call, "list-type", "2");
    s3_call_query(&call, "prefix", prefix);
    s3_call_query(&call, "max-keys", max);
    if (*token)
        s3_call_query(&call, "continuation-token", *token);
    int r = s3_call_run(s3, &call, reply, err);
    free(*token);
    *token = NULL;
    if (r < 0)
        return r;
    const char *end = reply->body + reply->body_size;
    _cleanup_free_ char *is_cut = s3_xml_text(reply->body, end, "IsTruncated");
    if (is_cut && !strcmp(is_cut, "true")) {
        *token = s3_xml_text(reply->body, end, "NextContinuationToken");
        if (!*token)
            return lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER,
                                   "the server's list ends in the middle");
    }
    return 0;
}

static int store_list(void *priv, const char *prefix,
                      int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque,
                      struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, prefix), *token = NULL;
    if (!full)
        return lathe_error_nomem(err);
    int r = 0;
    do {
        struct s3_reply reply;
        r = list_page(s3, full, 1000, &token, &reply, err);
        const char *text = reply.body, *begin, *end;
        while (r == 0 &&
               s3_xml_next(&text, reply.body + reply.body_size, "Contents", &begin, &end)) {
            _cleanup_free_ char *key = s3_xml_text(begin, end, "Key");
            _cleanup_free_ char *size = s3_xml_text(begin, end, "Size");
            if (!key || !size)
                r = lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER,
                                    "the server's list has an object without name or size");
            else if (!strncmp(key, full, strlen(full)) && key[strlen(key) - 1] != '/')
                r = each(opaque, key + strlen(s3->prefix), strtoull(size, NULL, 10));
        }
        s3_reply_done(&reply);
    } while (r == 0 && token);
    return r;
}

static void store_close(void *priv)
{
    struct s3 *s3 = priv;
    if (!s3->is_open)
        return;
    s3_http_done(s3);
    s3_location_done(s3);
    pthread_mutex_destroy(&s3->mutex);
    s3->is_open = false;
}

static int store_open(void *priv, const char *location, struct lathe_error *err)
{
    struct s3 *s3 = priv;
    if (s3_http_init() < 0 || pthread_mutex_init(&s3->mutex, NULL))
        return lathe_error_nomem(err);
    s3->is_open = true;
    int r = s3_location_parse(s3, location, err);
    if (r == 0)
        r = s3_keys_find(s3, err);
    if (r < 0)
        return r;
    struct s3_reply reply;
    _cleanup_free_ char *token = NULL;
    r = list_page(s3, s3->prefix, 1, &token, &reply, err);
    s3_reply_done(&reply);
    if (r == 0)
        s3_multipart_sweep(s3);
    return r;
}

static int store_put(void *priv, const char *key, const char *path,
                     const struct lathe_store_meta *meta, unsigned flags,
                     struct lathe_cancel *cancel, struct lathe_error *err)
{
    return s3_put(priv, key, path, meta, flags, cancel, err);
}

static int store_get(void *priv, const char *key, const char *path, struct lathe_cancel *cancel,
                     struct lathe_error *err)
{
    return s3_get(priv, key, path, cancel, err);
}

static int store_stat(void *priv, const char *key, struct lathe_store_meta *ret,
                      struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    struct s3_reply reply;
    int r = s3_head(s3, full, &reply, err);
    if (r == 0 && reply.length_bytes < 0)
        r = lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER,
                            "the server does not say how large %s is", key);
    if (r == 0) {
        ret->size_bytes = (uint64_t)reply.length_bytes;
        memcpy(ret->sha256, reply.object.sha256, sizeof(ret->sha256));
        ret->frames = reply.object.frames;
    }
    s3_reply_done(&reply);
    return r;
}

static int store_remove(void *priv, const char *key, struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    struct s3_call call = {.doing = "remove", .subject = key, .method = "DELETE", .key = full};
    struct s3_reply reply;
    int r = s3_call_run(s3, &call, &reply, err);
    s3_reply_done(&reply);
    return r == -ENOENT ? 0 : r;
}

static int store_presign(void *priv, const char *key, bool is_write, unsigned expires_s,
                         char **ret_url, struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, key);
    char *url = full ? s3_presigned_url(s3, is_write ? "PUT" : "GET", full, expires_s) : NULL;
    if (!url)
        return lathe_error_nomem(err);
    *ret_url = url;
    return 0;
}

/* Whether earlier versions of an object are kept. */
static void check_versioning(struct s3 *s3, struct lathe_findings *ret)
{
    struct s3_call call = {
        .doing = "look at", .subject = "the bucket's versioning", .method = "GET"};
    s3_call_query(&call, "versioning", "");
    struct s3_reply reply;
    struct lathe_error err = {0};
    int r = s3_call_run(s3, &call, &reply, &err);
    _cleanup_free_ char *status =
        r == 0 && reply.body ? s3_xml_text(reply.body, reply.body + reply.body_size, "Status")
                             : NULL;
    s3_reply_done(&reply);
    char cure[320];
    snprintf(cure, sizeof cure,
             "aws --endpoint-url %s://%.100s s3api put-bucket-versioning --bucket %.64s "
             "--versioning-configuration Status=Enabled",
             s3->scheme, s3->authority, s3->bucket);
    if (r < 0)
        lathe_findings_add(ret, "store.versioning", LATHE_FINDING_NOTE, NULL, "%s", err.what);
    else if (!status || strcmp(status, "Enabled"))
        lathe_findings_add(ret, "store.versioning", LATHE_FINDING_WARNING, cure,
                           "the bucket %s keeps no earlier versions: what is removed by mistake is "
                           "lost",
                           s3->bucket);
    else
        lathe_findings_add(ret, "store.versioning", LATHE_FINDING_GOOD, NULL,
                           "the bucket %s keeps earlier versions", s3->bucket);
}

static void store_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret)
{
    struct s3 *s3 = priv;
    struct s3_reply reply;
    _cleanup_free_ char *token = NULL;
    struct lathe_error err = {0};
    int64_t before_us = lathe_clock_wall_us();
    int r = list_page(s3, s3->prefix, 1, &token, &reply, &err);
    double here_s = (double)(before_us + lathe_clock_wall_us()) / 2e6;
    if (r < 0)
        lathe_findings_add_error(ret, "store.reachable", &err);
    else if (reply.date_s >= 0) /* which is cut to whole seconds */
        lathe_findings_add_skew(ret, "store.clock", s3->authority,
                                here_s - ((double)reply.date_s + 0.5));
    s3_reply_done(&reply);
    if (r == 0 && check->is_production)
        check_versioning(s3, ret);
}

const struct lathe_store_driver lathe_store_s3 = {
    .name = "s3",
    .priv_size = sizeof(struct s3),
    .open = store_open,
    .close = store_close,
    .put = store_put,
    .get = store_get,
    .stat = store_stat,
    .list = store_list,
    .remove = store_remove,
    .presign = store_presign,
    .check = store_check,
};
