/* SPDX-License-Identifier: MIT */
/*
 * One HTTP request and its reply, over libcurl. A good reply's body goes straight to its place in a
 * file; whatever else a server says is kept in memory, bounded, to be read. Handles are kept with
 * their connections. A transfer ends by stalling, not by being long.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lathe/base.h"
#include "s3.h"

#define CONNECT_TIMEOUT_S 10
#define MEMORY_BODY_MAX_BYTES (8u << 20)

struct transfer {
    const struct s3_exchange *exchange;
    struct s3_reply *reply;
    CURL *curl;
    uint64_t sent;
    int local_error; /* of reading or writing our own file */
    bool is_too_long;
};

static int global_result;
static void global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM;
}

int s3_http_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    return global_result;
}

static CURL *take_handle(struct s3 *s3)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&s3->mutex);
    if (s3->idle_count)
        curl = s3->idle[--s3->idle_count];
    pthread_mutex_unlock(&s3->mutex);
    return curl ? curl : curl_easy_init();
}

static void give_handle(struct s3 *s3, CURL *curl)
{
    curl_easy_reset(curl);
    pthread_mutex_lock(&s3->mutex);
    bool is_kept = s3->idle_count < S3_IDLE_MAX;
    if (is_kept)
        s3->idle[s3->idle_count++] = curl;
    pthread_mutex_unlock(&s3->mutex);
    if (!is_kept)
        curl_easy_cleanup(curl);
}

void s3_http_done(struct s3 *s3)
{
    while (s3->idle_count)
        curl_easy_cleanup(s3->idle[--s3->idle_count]);
}

void s3_reply_done(struct s3_reply *reply)
{
    free(reply->body);
    reply->body = NULL;
    reply->body_size = 0;
}

static size_t on_read(char *buffer, size_t size, size_t count, void *opaque)
{
    struct transfer *t = opaque;
    const struct s3_body *body = t->exchange->body;
    uint64_t left = body->size_bytes - t->sent;
    size_t wanted = size * count;
    if (wanted > left)
        wanted = (size_t)left;
    if (wanted == 0)
        return 0;
    ssize_t n = (ssize_t)wanted;
    if (body->data)
        memcpy(buffer, body->data + t->sent, wanted);
    else
        n = pread(body->fd, buffer, wanted, (off_t)(body->offset + t->sent));
    if (n <= 0) {
        t->local_error = n < 0 ? -errno : -ESTALE;
        return CURL_READFUNC_ABORT;
    }
    t->sent += (uint64_t)n;
    return (size_t)n;
}

/* libcurl goes back when a kept connection turns out to be dead. */
static int on_seek(void *opaque, curl_off_t offset, int origin)
{
    struct transfer *t = opaque;
    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t to_memory(struct transfer *t, const char *data, size_t size)
{
    struct s3_reply *reply = t->reply;
    if (size > MEMORY_BODY_MAX_BYTES - reply->body_size) {
        t->is_too_long = true;
        return 0;
    }
    char *larger = realloc(reply->body, reply->body_size + size + 1);
    if (!larger) {
        t->local_error = -ENOMEM;
        return 0;
    }
    memcpy(larger + reply->body_size, data, size);
    reply->body = larger;
    reply->body_size += size;
    larger[reply->body_size] = '\0';
    return size;
}

static size_t on_write(char *data, size_t unit, size_t count, void *opaque)
{
    struct transfer *t = opaque;
    const struct s3_sink *sink = t->exchange->sink;
    size_t size = unit * count;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (!sink || (status != 200 && status != 206))
        return to_memory(t, data, size);
    if (size > sink->max_bytes - t->reply->received_bytes) {
        t->is_too_long = true;
        return 0;
    }
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(sink->fd, data + done, size - done,
                           (off_t)(sink->offset + t->reply->received_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            t->local_error = n < 0 ? -errno : -EIO;
            return 0;
        }
        done += (size_t)n;
    }
    t->reply->received_bytes += size;
    return size;
}

static void forget_headers(struct s3_reply *reply)
{
    *reply = (struct s3_reply){.body = reply->body,
                               .body_size = reply->body_size,
                               .length_bytes = -1,
                               .total_bytes = -1,
                               .date_s = -1};
}

static void take_sha256(char ret[S3_SHA256_HEX], const char *value)
{
    if (strlen(value) == 64 && strspn(value, "0123456789abcdef") == 64)
        snprintf(ret, S3_SHA256_HEX, "%s", value);
}

void s3_object_read(struct s3_object *object, const char *name, const char *value)
{
    if (!strcasecmp(name, "sha256"))
        take_sha256(object->sha256, value);
    else if (!strcasecmp(name, "frames"))
        object->frames = strtoull(value, NULL, 10);
    else if (!strcasecmp(name, "lathe-content-sha256"))
        take_sha256(object->content_sha256, value);
    else if (!strcasecmp(name, "lathe-put-id"))
        snprintf(object->put_id, sizeof(object->put_id), "%s", value);
}

static void take_header(struct s3_reply *reply, const char *name, const char *value)
{
    if (!strcasecmp(name, "content-length"))
        reply->length_bytes = strtoll(value, NULL, 10);
    else if (!strcasecmp(name, "content-range") && strrchr(value, '/'))
        reply->total_bytes = strtoll(strrchr(value, '/') + 1, NULL, 10);
    else if (!strcasecmp(name, "etag"))
        snprintf(reply->etag, sizeof(reply->etag), "%s", value);
    else if (!strcasecmp(name, "date"))
        reply->date_s = curl_getdate(value, NULL);
    else if (!strcasecmp(name, "retry-after"))
        reply->retry_after_s = (unsigned)strtoul(value, NULL, 10);
    else if (!strncasecmp(name, "x-amz-meta-", 11))
        s3_object_read(&reply->object, name + 11, value);
}

static size_t on_header(char *data, size_t unit, size_t count, void *opaque)
{
    struct transfer *t = opaque;
    size_t size = unit * count;
    char line[1024];
    if (size >= sizeof(line))
        return size; /* none of ours is that long */
    memcpy(line, data, size);
    line[size] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (!strncmp(line, "HTTP/", 5)) { /* "100 Continue" is followed by the real one */
        forget_headers(t->reply);
        return size;
    }
    char *value = strchr(line, ':');
    if (value) {
        *value++ = '\0';
        value += strspn(value, " \t");
        take_header(t->reply, line, value);
    }
    return size;
}

static int on_progress(void *opaque, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const struct transfer *t = opaque;
    return lathe_cancel_is_triggered(t->exchange->cancel) ||
           (t->exchange->stop && atomic_load(t->exchange->stop));
}

static bool set_up(struct s3 *s3, struct transfer *t, struct curl_slist *headers)
{
    const struct s3_exchange *x = t->exchange;
    CURL *curl = t->curl;
    bool is_head = !strcmp(x->method, "HEAD"), is_get = !strcmp(x->method, "GET");
    bool has_body = !strcmp(x->method, "PUT") || !strcmp(x->method, "POST");
    int bad = 0;
#define SET(option, value) bad |= curl_easy_setopt(curl, option, value) != CURLE_OK
    SET(CURLOPT_URL, x->url);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PATH_AS_IS, 1L); /* as it was signed */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (s3->ca_path)
        SET(CURLOPT_CAINFO, s3->ca_path);
    SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)x->stall_s);
    SET(CURLOPT_BUFFERSIZE, 256L << 10);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, t);
    if (is_head)
        SET(CURLOPT_NOBODY, 1L);
    if (has_body) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body->size_bytes);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, t);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, t);
    }
    if (!is_head && !is_get)
        SET(CURLOPT_CUSTOMREQUEST, x->method);
#undef SET
    return !bad;
}

static struct curl_slist *make_headers(const struct s3_exchange *x)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < x->header_count; i++) {
        _cleanup_free_ char *line = lathe_format("%s: %s", x->headers[i].name, x->headers[i].value);
        struct curl_slist *longer = line ? curl_slist_append(list, line) : NULL;
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

static int judge_transport(const struct transfer *t, CURLcode code, const char *detail,
                           char why[256])
{
    if (t->local_error)
        return t->local_error;
    if (t->is_too_long) {
        snprintf(why, 256, "the reply is longer than what was asked for");
        return -EAGAIN;
    }
    snprintf(why, 256, "%s", *detail ? detail : curl_easy_strerror(code));
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_ABORTED_BY_CALLBACK:
        return -ECANCELED;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return -EACCES;
    default:
        return -EAGAIN;
    }
}

int s3_http_exchange(struct s3 *s3, const struct s3_exchange *exchange, struct s3_reply *ret,
                     bool *ret_is_unsent, char why[256])
{
    char detail[CURL_ERROR_SIZE] = "";
    struct transfer t = {.exchange = exchange, .reply = ret, .curl = take_handle(s3)};
    forget_headers(ret);
    *ret_is_unsent = true;
    struct curl_slist *headers = t.curl ? make_headers(exchange) : NULL;
    int r = -ENOMEM;
    if (headers && set_up(s3, &t, headers)) {
        curl_easy_setopt(t.curl, CURLOPT_ERRORBUFFER, detail);
        CURLcode code = curl_easy_perform(t.curl);
        curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &ret->status);
        long request_bytes = 0;
        curl_easy_getinfo(t.curl, CURLINFO_REQUEST_SIZE, &request_bytes);
        *ret_is_unsent = request_bytes == 0;
        r = judge_transport(&t, code, detail, why);
    }
    curl_slist_free_all(headers);
    if (t.curl)
        give_handle(s3, t.curl);
    return r;
}
