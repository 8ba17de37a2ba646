/* SPDX-License-Identifier: MIT */
/*
 * The store at servers that know only the old signature (version 2), over libs3. It lacks what
 * that library lacks: uploads in parts, conditional writes, certificates. So the driver s3 is the
 * better one wherever it works, and this one takes http alone.
 *
 * What is kept beside an object is read with a signed URL and our own HTTP: libs3 finds headers
 * only in lower case, as AWS writes them, while servers written in Go have capitals.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libs3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "drivers.h"
#include "lathe/base.h"
#include "s3.h"

#define OBJECT_MAX_BYTES (5ull << 30) /* of one request */
#define LIST_PAGE 1000
#define GET_TRIES 12 /* while it arrives damaged */
#define URL_LASTS_S 300

/* What one request says and brings; the callbacks of libs3 fill it. */
struct exchange {
    struct s3 *s3;
    const struct lathe_cancel *cancel;
    int fd; /* of the local file that is sent or written */
    uint64_t offset, size_bytes;
    int local_error;

    S3Status status;
    char message[160];
    uint64_t length_bytes;

    int (*each)(void *opaque, const char *key, uint64_t size_bytes); /* of a list */
    void *opaque;
    int each_result;
    bool is_cut;
    char last_key[LATHE_STORE_KEY_MAX + 257]; /* and the prefix of the store */
};

static S3BucketContext bucket_of(const struct s3 *s3)
{
    return (S3BucketContext){.hostName = s3->authority,
                             .bucketName = s3->bucket,
                             .protocol = S3ProtocolHTTP,
                             .uriStyle =
                                 s3->is_virtual_host ? S3UriStyleVirtualHost : S3UriStylePath,
                             .accessKeyId = s3->credentials.access_key,
                             .secretAccessKey = s3->credentials.secret_key};
}

/* --- callbacks --- */

static S3Status properties_came(const S3ResponseProperties *properties, void *opaque)
{
    struct exchange *x = opaque;
    x->length_bytes = properties->contentLength;
    return S3StatusOK;
}

static void request_ended(S3Status status, const S3ErrorDetails *details, void *opaque)
{
    struct exchange *x = opaque;
    x->status = status;
    if (details && details->message)
        snprintf(x->message, sizeof(x->message), "%s", details->message);
}
static const S3ResponseHandler on_response = {properties_came, request_ended};

static int send_data(int size, char *buffer, void *opaque)
{
    struct exchange *x = opaque;
    uint64_t left = x->size_bytes - x->offset;
    size_t wanted = left < (uint64_t)size ? (size_t)left : (size_t)size;
    ssize_t n = pread(x->fd, buffer, wanted, (off_t)x->offset);
    if (lathe_cancel_is_triggered(x->cancel))
        x->local_error = -ECANCELED;
    else if (n < 0 || (n == 0 && wanted))
        x->local_error = n < 0 ? -errno : -ESTALE;
    x->offset += n > 0 ? (uint64_t)n : 0;
    return x->local_error ? -1 : (int)n;
}

static S3Status take_data(int size, const char *buffer, void *opaque)
{
    struct exchange *x = opaque;
    for (int at = 0; at < size && !x->local_error;) {
        ssize_t n = pwrite(x->fd, buffer + at, (size_t)(size - at), (off_t)x->offset);
        if (n < 0 && errno != EINTR)
            x->local_error = -errno;
        at += n > 0 ? (int)n : 0;
        x->offset += n > 0 ? (uint64_t)n : 0;
    }
    if (lathe_cancel_is_triggered(x->cancel))
        x->local_error = -ECANCELED;
    return x->local_error ? S3StatusAbortedByCallback : S3StatusOK;
}

static S3Status take_list(int is_cut, const char *next, int count, const S3ListBucketContent *list,
                          int prefix_count, const char **prefixes, void *opaque)
{
    (void)next, (void)prefix_count, (void)prefixes;
    struct exchange *x = opaque;
    x->is_cut = is_cut;
    for (int i = 0; i < count && !x->each_result; i++) {
        const char *key = list[i].key;
        snprintf(x->last_key, sizeof(x->last_key), "%s", key);
        size_t skip = strlen(x->s3->prefix);
        if (x->each && *key && !strncmp(key, x->s3->prefix, skip) && key[strlen(key) - 1] != '/')
            x->each_result = x->each(x->opaque, key + skip, list[i].size);
    }
    return x->each_result ? S3StatusAbortedByCallback : S3StatusOK;
}

/* --- verdicts --- */

static struct s3_verdict judge(const struct exchange *x)
{
    const char *name = S3_get_status_name(x->status);
    switch (x->status) {
    case S3StatusHttpErrorNotFound:
        return s3_explain(x->s3, NULL, x->message, 404);
    case S3StatusHttpErrorForbidden:
        return s3_explain(x->s3, NULL, x->message, 403);
    case S3StatusHttpErrorConflict:
        return s3_explain(x->s3, NULL, x->message, 409);
    case S3StatusHttpErrorMovedTemporarily:
        return s3_explain(x->s3, NULL, x->message, 307);
    default:
        break;
    }
    struct s3_verdict verdict;
    if (x->status >= S3StatusErrorAccessDenied && !strncmp(name, "Error", 5)) {
        verdict = s3_explain(x->s3, name + 5, x->message, 0);
        /* libs3 takes the date with gmtime(): it may be a mixture with another thread's. */
        verdict.is_transient |= x->status == S3StatusErrorRequestTimeTooSkewed;
        return verdict;
    }
    verdict = (struct s3_verdict){-EAGAIN, LATHE_FAULT_SERVER, true, "",
                                  "check that the server runs and that the endpoint is right"};
    snprintf(verdict.why, sizeof(verdict.why), "%s", name);
    return verdict;
}

/* 1: it may be tried again. */
static int settle(struct s3 *s3, const struct s3_verdict *verdict, const char *doing,
                  const char *subject, const struct lathe_cancel *cancel, unsigned attempt,
                  struct lathe_error *err)
{
    if (verdict->code == 0)
        return 0;
    if (verdict->is_transient && attempt < s3->attempts)
        return s3_wait(attempt, 0, cancel, NULL) < 0 ? s3_stopped(err) : 1;
    _cleanup_free_ char *where = s3_where(s3);
    lathe_error_set(err, verdict->code, verdict->fault, "cannot %s %s in %s: %s", doing, subject,
                    where ? where : s3->bucket, verdict->why);
    if (verdict->hint[0])
        lathe_error_hint(err, "%s", verdict->hint);
    return verdict->code;
}

static int conclude(struct exchange *x, const char *doing, const char *subject, unsigned attempt,
                    struct lathe_error *err)
{
    if (x->local_error == -ECANCELED || lathe_cancel_is_triggered(x->cancel))
        return s3_stopped(err);
    if (x->local_error)
        return lathe_error_errno(err, x->local_error, "cannot %s %s: the file on this host", doing,
                                 subject);
    struct s3_verdict verdict = {0};
    if (x->status != S3StatusOK)
        verdict = judge(x);
    return settle(x->s3, &verdict, doing, subject, x->cancel, attempt, err);
}

/* --- calls --- */

/* Its first byte, or with `is_empty` all of it, and what is kept beside it. */
static int look_once(struct s3 *s3, const char *key, bool is_empty, struct s3_reply *ret,
                     struct s3_verdict *ret_verdict, struct lathe_error *err)
{
    const S3BucketContext bucket = bucket_of(s3);
    char url[S3_MAX_AUTHENTICATED_QUERY_STRING_SIZE], why[256] = "";
    if (S3_generate_authenticated_query_string(url, &bucket, key, time(NULL) + URL_LASTS_S, NULL) !=
        S3StatusOK)
        return lathe_error_set(err, -ENAMETOOLONG, LATHE_FAULT_INPUT, "the key %s is too long",
                               key);
    const struct sigv4_pair range = {"range", "bytes=0-0"}, any = {"accept", "*/*"};
    const struct s3_body nothing = {0};
    const struct s3_exchange exchange = {.method = "GET",
                                         .url = url,
                                         .headers = is_empty ? &any : &range,
                                         .header_count = 1,
                                         .body = &nothing,
                                         .stall_s = s3->stall_s};
    const struct s3_call call = {.method = "GET", .key = key, .needs_etag = true};
    bool is_unsent;
    int r = s3_http_exchange(s3, &exchange, ret, &is_unsent, why);
    if (r == 0) {
        *ret_verdict = s3_judge(s3, &call, ret);
    } else {
        *ret_verdict = (struct s3_verdict){r, LATHE_FAULT_SERVER, r == -EAGAIN, "", ""};
        snprintf(ret_verdict->why, sizeof(ret_verdict->why), "%s", why);
    }
    return 0;
}

static int look(struct s3 *s3, const char *key, struct s3_object *ret, uint64_t *ret_bytes,
                struct lathe_error *err)
{
    bool is_empty = false;
    int r = 1;
    for (unsigned n = 1; r == 1; n++) {
        struct s3_reply reply = {0};
        struct s3_verdict verdict;
        r = look_once(s3, key, is_empty, &reply, &verdict, err);
        if (r < 0)
            return r;
        if (verdict.code == -ERANGE && !is_empty) {
            is_empty = true; /* it has no first byte */
            r = 1;
        } else {
            r = settle(s3, &verdict, "look at", key + strlen(s3->prefix), NULL, n, err);
        }
        if (r == 0) {
            *ret = reply.object;
            *ret_bytes =
                reply.total_bytes >= 0 ? (uint64_t)reply.total_bytes : (uint64_t)reply.body_size;
        }
        s3_reply_done(&reply);
    }
    return r;
}

static int check_absent(struct s3 *s3, const char *key, struct lathe_error *err)
{
    struct s3_object object;
    uint64_t size_bytes;
    int r = look(s3, key, &object, &size_bytes, err);
    if (r == 0)
        return lathe_error_set(err, -EEXIST, LATHE_FAULT_INPUT, "%s is there already",
                               key + strlen(s3->prefix));
    return r == -ENOENT ? 0 : r;
}

static int send_file(struct s3 *s3, const char *key, int fd, uint64_t size_bytes,
                     const struct lathe_store_meta *meta, const struct lathe_cancel *cancel,
                     struct lathe_error *err)
{
    const char *name = key + strlen(s3->prefix);
    const S3BucketContext bucket = bucket_of(s3);
    const S3PutObjectHandler handler = {on_response, send_data};
    struct s3_digest digest;
    char frames[24];
    int r = s3_digest_file(fd, 0, size_bytes, true, cancel, &digest);
    if (r == -ECANCELED)
        return s3_stopped(err);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot read the file for %s", name);
    snprintf(frames, sizeof(frames), "%" PRIu64, meta->frames);
    const S3NameValue beside[] = {
        {"lathe-content-sha256", digest.sha256}, {"frames", frames}, {"sha256", meta->sha256}};
    const S3PutProperties properties = {.contentType = "application/octet-stream",
                                        .md5 = digest.md5_base64[0] ? digest.md5_base64 : NULL,
                                        .expires = -1,
                                        .cannedAcl = S3CannedAclPrivate,
                                        .metaDataCount = meta->sha256[0] ? 3 : 2,
                                        .metaData = beside};
    r = 1;
    for (unsigned n = 1; r == 1; n++) {
        struct exchange x = {.s3 = s3, .cancel = cancel, .fd = fd, .size_bytes = size_bytes};
        S3_put_object(&bucket, key, size_bytes, &properties, NULL, &handler, &x);
        r = conclude(&x, "store", name, n, err);
    }
    return r;
}

static int store_put(void *priv, const char *key, const char *path,
                     const struct lathe_store_meta *meta, unsigned flags,
                     struct lathe_cancel *cancel, struct lathe_error *err)
{
    struct s3 *s3 = priv;
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return lathe_error_errno(err, -errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "%s is not a file", path);
    if ((uint64_t)st.st_size > OBJECT_MAX_BYTES) {
        lathe_error_set(err, -EFBIG, LATHE_FAULT_INPUT,
                        "cannot store %s: libs3 sends no more than 5 GiB", key);
        lathe_error_hint(err, "use the driver s3, which sends large files in parts");
        return -EFBIG;
    }
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    int r = flags & LATHE_STORE_IF_ABSENT ? check_absent(s3, full, err) : 0;
    if (r == 0)
        r = send_file(s3, full, fd, (uint64_t)st.st_size, meta, cancel, err);
    if (r == 0 && (flags & LATHE_STORE_MOVE))
        unlink(path);
    return r;
}

/* -EBADMSG: it came damaged, or was replaced meanwhile. */
static int fetch(struct s3 *s3, const char *key, int fd, const struct lathe_cancel *cancel,
                 struct lathe_error *err)
{
    const char *name = key + strlen(s3->prefix);
    const S3BucketContext bucket = bucket_of(s3);
    const S3GetObjectHandler handler = {on_response, take_data};
    struct exchange x;
    struct s3_object object;
    uint64_t size_bytes;
    int r = look(s3, key, &object, &size_bytes, err);
    if (r < 0)
        return r;
    r = 1;
    for (unsigned n = 1; r == 1; n++) {
        if (ftruncate(fd, 0) < 0)
            return lathe_error_errno(err, -errno, "cannot write the file for %s", name);
        x = (struct exchange){.s3 = s3, .cancel = cancel, .fd = fd};
        S3_get_object(&bucket, key, NULL, 0, 0, NULL, &handler, &x);
        r = conclude(&x, "fetch", name, n, err);
    }
    if (r < 0)
        return r;
    if (x.offset != x.length_bytes)
        return -EBADMSG;
    if (!object.content_sha256[0])
        return 0; /* stored by another program */
    struct s3_digest digest;
    r = s3_digest_file(fd, 0, x.offset, false, cancel, &digest);
    if (r == -ECANCELED)
        return s3_stopped(err);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot read back %s", name);
    return strcmp(digest.sha256, object.content_sha256) ? -EBADMSG : 0;
}

static int store_get(void *priv, const char *key, const char *path, struct lathe_cancel *cancel,
                     struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot create %s", path);
    int r = -EBADMSG;
    for (int i = 0; i < GET_TRIES && r == -EBADMSG; i++)
        r = fetch(s3, full, fd, cancel, err);
    if (r == -EBADMSG)
        lathe_error_set(err, r, LATHE_FAULT_SERVER,
                        "cannot fetch %s: what arrives is not what was stored (length or SHA-256)",
                        key);
    if (r < 0)
        unlink(path);
    return r;
}

static int store_stat(void *priv, const char *key, struct lathe_store_meta *ret,
                      struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    struct s3_object object;
    int r = look(s3, full, &object, &ret->size_bytes, err);
    if (r < 0)
        return r;
    memcpy(ret->sha256, object.sha256, sizeof(ret->sha256));
    ret->frames = object.frames;
    return 0;
}

static int list(struct s3 *s3, const char *prefix, int page, struct exchange *x,
                struct lathe_error *err)
{
    const S3BucketContext bucket = bucket_of(s3);
    const S3ListBucketHandler handler = {on_response, take_list};
    char marker[sizeof(x->last_key)] = "";
    do {
        int r = 1;
        for (unsigned n = 1; r == 1; n++) {
            x->status = S3StatusOK;
            S3_list_bucket(&bucket, prefix, marker, NULL, page, NULL, &handler, x);
            if (x->each_result)
                return x->each_result;
            /* Keys that were told already are not told again. */
            memcpy(marker, x->last_key, sizeof(marker));
            r = conclude(x, "list", *prefix ? prefix : "the bucket", n, err);
        }
        if (r < 0)
            return r;
    } while (x->is_cut && x->each);
    return 0;
}

static int store_list(void *priv, const char *prefix,
                      int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque,
                      struct lathe_error *err)
{
    struct s3 *s3 = priv;
    _cleanup_free_ char *full = s3_key(s3, prefix);
    if (!full)
        return lathe_error_nomem(err);
    struct exchange x = {.s3 = s3, .each = each, .opaque = opaque};
    return list(s3, full, LIST_PAGE, &x, err);
}

static int store_remove(void *priv, const char *key, struct lathe_error *err)
{
    struct s3 *s3 = priv;
    const S3BucketContext bucket = bucket_of(s3);
    _cleanup_free_ char *full = s3_key(s3, key);
    if (!full)
        return lathe_error_nomem(err);
    int r = 1;
    for (unsigned n = 1; r == 1; n++) {
        struct exchange x = {.s3 = s3};
        S3_delete_object(&bucket, full, NULL, &on_response, &x);
        r = conclude(&x, "remove", key, n, err);
    }
    return r == -ENOENT ? 0 : r;
}

static S3Status global_status;
static void global_init(void)
{
    global_status = S3_initialize("lathe/" LATHE_VERSION, S3_INIT_ALL, NULL);
}

static int store_open(void *priv, const char *location, struct lathe_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct s3 *s3 = priv;
    pthread_once(&once, global_init);
    if (s3_http_init() < 0 || global_status != S3StatusOK || pthread_mutex_init(&s3->mutex, NULL))
        return lathe_error_nomem(err);
    s3->is_open = true;
    int r = s3_location_parse(s3, location, err);
    if (r < 0)
        return r;
    if (strcmp(s3->scheme, "http")) {
        lathe_error_set(err, -ENOTSUP, LATHE_FAULT_CONFIG,
                        "libs3 does not check certificates, so it is not used with https");
        lathe_error_hint(err, "use the driver s3");
        return -ENOTSUP;
    }
    r = s3_keys_find(s3, err);
    if (r == 0 && s3->credentials.session_token)
        r = lathe_error_set(err, -ENOTSUP, LATHE_FAULT_CONFIG,
                            "libs3 knows no session tokens; use the driver s3");
    struct exchange x = {.s3 = s3};
    return r < 0 ? r : list(s3, s3->prefix, 1, &x, err);
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

const struct lathe_store_driver lathe_store_libs3 = {
    .name = "libs3",
    .priv_size = sizeof(struct s3),
    .open = store_open,
    .close = store_close,
    .put = store_put,
    .get = store_get,
    .stat = store_stat,
    .list = store_list,
    .remove = store_remove,
};
