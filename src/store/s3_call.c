/* SPDX-License-Identifier: MIT */
/*
 * A call to the server: a request that is signed anew for each attempt, repeated a bounded number
 * of times with growing, jittered waits while that can help, and turned into an error that says
 * who can do something.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lathe/base.h"
#include "s3.h"

#define WAIT_FIRST_MS 200u
#define WAIT_MAX_MS 5000u
#define RETRY_AFTER_MAX_S 30u

void s3_call_query(struct s3_call *call, const char *name, const char *value)
{
    call->query[call->query_count++] = (struct sigv4_pair){name, value};
}

void s3_call_header(struct s3_call *call, const char *name, const char *value)
{
    call->headers[call->header_count++] = (struct sigv4_pair){name, value};
}

char *s3_where(const struct s3 *s3)
{
    return lathe_format("s3://%s/%s at %s://%s", s3->bucket, s3->prefix, s3->scheme, s3->authority);
}

int s3_stopped(struct lathe_error *err)
{
    return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "stopped on request");
}

/* Host and path by the two ways of naming a bucket. */
static char *host_of(const struct s3 *s3)
{
    return s3->is_virtual_host ? lathe_format("%s.%s", s3->bucket, s3->authority)
                               : strdup(s3->authority);
}

static char *path_of(const struct s3 *s3, const char *key)
{
    if (s3->is_virtual_host)
        return lathe_format("/%s", key ? key : "");
    return lathe_format("/%s%s%s", s3->bucket, key ? "/" : "", key ? key : "");
}

char *s3_presigned_url(struct s3 *s3, const char *method, const char *key, unsigned expires_s)
{
    _cleanup_free_ char *host = host_of(s3), *path = path_of(s3, key);
    _cleanup_free_ char *encoded = path ? sigv4_encode_path(path) : NULL;
    if (!host || !encoded)
        return NULL;
    const struct sigv4_pair header = {"host", host};
    const struct sigv4_request request = {.method = method,
                                          .path = path,
                                          .headers = &header,
                                          .header_count = 1,
                                          .payload_sha256 = SIGV4_UNSIGNED_PAYLOAD};
    const struct sigv4_scope scope = {s3->region, "s3", (int64_t)time(NULL)};
    _cleanup_free_ char *query =
        sigv4_presigned_query(&s3->credentials, &scope, &request, expires_s);
    return query ? lathe_format("%s://%s%s?%s", s3->scheme, host, encoded, query) : NULL;
}

/* One attempt. What is signed here is what s3_http.c sends. */
static int attempt(struct s3 *s3, const struct s3_call *call, struct s3_reply *reply,
                   bool *ret_is_unsent, char why[256])
{
    struct sigv4_pair headers[S3_PAIRS_MAX + 5];
    size_t count = call->header_count;
    memcpy(headers, call->headers, count * sizeof(headers[0]));
    char date[SIGV4_DATE_SIZE];
    const struct sigv4_scope scope = {s3->region, "s3", (int64_t)time(NULL)};
    sigv4_date(scope.time_s, date);
    const char *hash = call->payload_sha256 ? call->payload_sha256 : SIGV4_EMPTY_SHA256;
    _cleanup_free_ char *host = host_of(s3), *path = path_of(s3, call->key);
    headers[count++] = (struct sigv4_pair){"host", host};
    headers[count++] = (struct sigv4_pair){"x-amz-content-sha256", hash};
    headers[count++] = (struct sigv4_pair){"x-amz-date", date};
    if (s3->credentials.session_token)
        headers[count++] =
            (struct sigv4_pair){"x-amz-security-token", s3->credentials.session_token};

    _cleanup_free_ char *encoded = path ? sigv4_encode_path(path) : NULL;
    _cleanup_free_ char *query = sigv4_encode_query(call->query, call->query_count);
    *ret_is_unsent = true;
    if (!host || !encoded || !query)
        return -ENOMEM;
    const struct sigv4_request request = {call->method, path,  call->query, call->query_count,
                                          headers,      count, hash};
    _cleanup_free_ char *authorization = sigv4_authorization(&s3->credentials, &scope, &request);
    _cleanup_free_ char *url =
        lathe_format("%s://%s%s%s%s", s3->scheme, host, encoded, *query ? "?" : "", query);
    if (!authorization || !url)
        return -ENOMEM;
    headers[count++] = (struct sigv4_pair){"authorization", authorization};
    const struct s3_exchange exchange = {
        .method = call->method,
        .url = url,
        .headers = headers,
        .header_count = count,
        .body = &call->body,
        .sink = call->sink,
        .stall_s = s3->stall_s * (call->patience ? call->patience : 1),
        .cancel = call->cancel,
        .stop = call->stop,
    };
    return s3_http_exchange(s3, &exchange, reply, ret_is_unsent, why);
}

/* Half of the wait is chance, so that a fleet does not come back in one wave. */
int s3_wait(unsigned repeat, unsigned retry_after_s, const struct lathe_cancel *cancel,
            const atomic_bool *stop)
{
    unsigned ms = WAIT_FIRST_MS, chance = 0;
    while (--repeat && ms < WAIT_MAX_MS)
        ms *= 2;
    if (ms > WAIT_MAX_MS)
        ms = WAIT_MAX_MS;
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
        chance = (unsigned)lathe_clock_monotonic_us();
    ms = ms / 2 + chance % (ms / 2);
    if (retry_after_s > RETRY_AFTER_MAX_S)
        retry_after_s = RETRY_AFTER_MAX_S;
    if (ms < retry_after_s * 1000)
        ms = retry_after_s * 1000;
    struct pollfd poll_fd = {cancel ? lathe_cancel_fd(cancel) : -1, POLLIN, 0};
    poll(&poll_fd, 1, (int)ms);
    bool is_stopped = stop && atomic_load(stop);
    return is_stopped || lathe_cancel_is_triggered(cancel) ? -ECANCELED : 0;
}

static int say_unreachable(struct s3 *s3, const struct s3_call *call, int code, unsigned attempts,
                           const char *why, struct lathe_error *err)
{
    if (code == -ECANCELED)
        return s3_stopped(err);
    if (code == -ENOMEM)
        return lathe_error_nomem(err);
    if (code == -EACCES) {
        lathe_error_set(err, code, LATHE_FAULT_CONFIG, "%s://%s is not to be trusted: %s",
                        s3->scheme, s3->authority, why);
        lathe_error_hint(err, "name the file with the authority's certificate: ca=FILE");
        return code;
    }
    if (code != -EAGAIN)
        return lathe_error_errno(err, code, "cannot %s %s: the file on this host", call->doing,
                                 call->subject);
    _cleanup_free_ char *where = s3_where(s3);
    lathe_error_set(err, code, LATHE_FAULT_SERVER, "cannot %s %s in %s: %s (%u attempts)",
                    call->doing, call->subject, where ? where : s3->bucket, why, attempts);
    lathe_error_hint(err, "check that the server runs and that the endpoint is right");
    return code;
}

static int say_refused(struct s3 *s3, const struct s3_call *call, const struct s3_verdict *verdict,
                       unsigned attempts, struct lathe_error *err)
{
    _cleanup_free_ char *where = s3_where(s3);
    char times[32] = "";
    if (verdict->is_transient)
        snprintf(times, sizeof(times), " (%u attempts)", attempts);
    lathe_error_set(err, verdict->code, verdict->fault, "cannot %s %s in %s: %s%s", call->doing,
                    call->subject, where ? where : s3->bucket, verdict->why, times);
    if (verdict->hint[0])
        lathe_error_hint(err, "%s", verdict->hint);
    return verdict->code;
}

int s3_call_run(struct s3 *s3, const struct s3_call *call, struct s3_reply *ret,
                struct lathe_error *err)
{
    bool is_repeated = false;
    *ret = (struct s3_reply){0};
    for (unsigned n = 1;; n++) {
        char why[256] = "";
        bool is_unsent, is_last = n >= s3->attempts;
        int r = attempt(s3, call, ret, &is_unsent, why);
        ret->is_repeated = is_repeated;
        struct s3_verdict verdict = {0};
        if (r == 0)
            verdict = s3_judge(s3, call, ret);
        if (r == 0 && verdict.code == 0)
            return 0;
        if (r < 0 && (r != -EAGAIN || is_last))
            return say_unreachable(s3, call, r, n, why, err);
        if (r == 0 && (!verdict.is_transient || is_last))
            return say_refused(s3, call, &verdict, n, err);
        is_repeated |= r == 0 || !is_unsent;
        unsigned retry_after_s = ret->retry_after_s;
        s3_reply_done(ret);
        if (s3_wait(n, retry_after_s, call->cancel, call->stop) < 0)
            return s3_stopped(err);
    }
}
