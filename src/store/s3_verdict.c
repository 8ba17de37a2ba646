/* SPDX-License-Identifier: MIT */
/*
 * What a reply means: good, worth repeating, or an error, said with what to do about it. One table
 * of the codes that servers send, one of the statuses for replies without a code.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "lathe/base.h"
#include "s3.h"

struct meaning {
    const char *name; /* the server's code */
    long status;      /* where there is none */
    int code;
    enum lathe_fault fault;
    bool is_transient;
    const char *hint;
};

#define WAIT LATHE_FAULT_SERVER, true, NULL
#define CONFIG LATHE_FAULT_CONFIG, false
#define INPUT LATHE_FAULT_INPUT, false, NULL
#define FULL LATHE_FAULT_RESOURCE, false, "free some space on the S3 server, or raise the quota"
#define KEYS_HINT "check both keys, and that they belong to this server"

static const struct meaning meanings[] = {
    {"NoSuchKey", 0, -ENOENT, INPUT},
    {"NoSuchBucket", 0, -ENXIO, CONFIG, "make the bucket, or correct its name in the location"},
    {"NoSuchUpload", 0, -ESTALE, INPUT},
    {"PreconditionFailed", 0, -EEXIST, INPUT},
    {"InvalidRange", 0, -ERANGE, INPUT},
    {"InvalidAccessKeyId", 0, -EACCES, CONFIG, "the server does not know this access key"},
    {"SignatureDoesNotMatch", 0, -EACCES, CONFIG,
     "the secret key is not that of the access key; check both, and the region"},
    {"AccessDenied", 0, -EACCES, CONFIG, "the keys are not allowed to do this in this bucket"},
    {"InvalidToken", 0, -EACCES, CONFIG, KEYS_HINT},
    {"ExpiredToken", 0, -EACCES, CONFIG, "the session token has expired; get a new one"},
    {"RequestTimeTooSkewed", 0, -EACCES, CONFIG, "set the clocks: timedatectl set-ntp true"},
    {"RequestExpired", 0, -EACCES, CONFIG, "set the clocks: timedatectl set-ntp true"},
    {"AuthorizationHeaderMalformed", 0, -EACCES, CONFIG, "check region= in the location"},
    {"PermanentRedirect", 0, -EREMOTE, CONFIG,
     "the bucket is elsewhere: check endpoint and region"},
    {"InvalidBucketName", 0, -EINVAL, CONFIG, "correct the bucket's name in the location"},
    {"MethodNotAllowed", 0, -EOPNOTSUPP, CONFIG, "is the endpoint an S3 server?"},
    {"NotImplemented", 0, -EOPNOTSUPP, CONFIG, "this S3 server lacks what is needed"},
    {"EntityTooLarge", 0, -EFBIG, INPUT},
    {"QuotaExceeded", 0, -ENOSPC, FULL},
    {"XMinioStorageFull", 0, -ENOSPC, FULL},
    {"XMinioAdminBucketQuotaExceeded", 0, -ENOSPC, FULL},
    {"ObjectParentIsFile", 0, -ENOTDIR, INPUT},
    /* What was sent did not arrive as it was. */
    {"BadDigest", 0, -EAGAIN, WAIT},
    {"XAmzContentSHA256Mismatch", 0, -EAGAIN, WAIT},
    {"IncompleteBody", 0, -EAGAIN, WAIT},
    {"RequestTimeout", 0, -EAGAIN, WAIT},
    {"ConditionalRequestConflict", 0, -EAGAIN, WAIT},
    {"OperationAborted", 0, -EAGAIN, WAIT},

    {NULL, 301, -EREMOTE, CONFIG, "the bucket is elsewhere: check endpoint and region"},
    {NULL, 307, -EREMOTE, CONFIG, "the bucket is elsewhere: check endpoint and region"},
    {NULL, 401, -EACCES, CONFIG, KEYS_HINT},
    {NULL, 403, -EACCES, CONFIG, KEYS_HINT},
    {NULL, 404, -ENOENT, INPUT},
    {NULL, 405, -EOPNOTSUPP, CONFIG, "is the endpoint an S3 server?"},
    {NULL, 408, -EAGAIN, WAIT},
    {NULL, 409, -EAGAIN, WAIT},
    {NULL, 412, -EEXIST, INPUT},
    {NULL, 413, -EFBIG, INPUT},
    {NULL, 416, -ERANGE, INPUT},
    {NULL, 429, -EAGAIN, WAIT},
    {NULL, 501, -EOPNOTSUPP, CONFIG, "this S3 server lacks what is needed"},
    {NULL, 507, -ENOSPC, FULL},
};

static const struct meaning *find(const char *name, long status)
{
    for (size_t i = 0; i < LATHE_COUNT(meanings); i++)
        if (name ? meanings[i].name && !strcmp(meanings[i].name, name)
                 : !meanings[i].name && meanings[i].status == status)
            return &meanings[i];
    return NULL;
}

static struct s3_verdict unlike_s3(const struct s3_reply *reply, const char *why)
{
    struct s3_verdict verdict = {-EAGAIN, LATHE_FAULT_SERVER, true, "", ""};
    snprintf(verdict.why, sizeof(verdict.why), "the reply with status %ld %s", reply->status, why);
    return verdict;
}

/* A good status is not yet a good reply. */
static struct s3_verdict judge_good_status(const struct s3_call *call, const struct s3_reply *reply)
{
    if (call->needs_etag && !reply->etag[0])
        return unlike_s3(reply, "lacks the object's ETag");
    if (call->root) {
        const char *text = reply->body ? reply->body : "", *begin, *end;
        if (!s3_xml_next(&text, text + reply->body_size, call->root, &begin, &end))
            return unlike_s3(reply, "is cut or not what was asked for");
    }
    if (call->sink && reply->length_bytes >= 0 &&
        (uint64_t)reply->length_bytes != reply->received_bytes)
        return unlike_s3(reply, "was cut");
    return (struct s3_verdict){0};
}

static void explain_skew(struct s3_verdict *verdict, const struct s3_reply *reply)
{
    if (reply->date_s < 0)
        return;
    long long skew_s = (long long)time(NULL) - (long long)reply->date_s;
    size_t length = strlen(verdict->why);
    snprintf(verdict->why + length, sizeof(verdict->why) - length,
             "; this host's clock is %lld s %s the server's", skew_s < 0 ? -skew_s : skew_s,
             skew_s < 0 ? "behind" : "ahead of");
}

struct s3_verdict s3_explain(const struct s3 *s3, const char *name, const char *message,
                             long status)
{
    const struct meaning *meaning = name ? find(name, 0) : NULL;
    if (!meaning)
        meaning = find(NULL, status);
    struct s3_verdict verdict = {-EAGAIN, LATHE_FAULT_SERVER, true, "", ""};
    char number[24] = "";
    if (status)
        snprintf(number, sizeof(number), " %ld", status);
    if (meaning)
        verdict = (struct s3_verdict){meaning->code, meaning->fault, meaning->is_transient, "", ""};
    else if (status >= 300 && status < 500)
        verdict = (struct s3_verdict){-EPROTO, LATHE_FAULT_INTERNAL, false, "", ""};
    if (name && !strcmp(name, "NoSuchBucket"))
        snprintf(verdict.why, sizeof(verdict.why), "the bucket \"%s\" is not there (NoSuchBucket)",
                 s3->bucket);
    else
        snprintf(verdict.why, sizeof(verdict.why), "the server says%s%s%s%s%.160s", number,
                 name ? " " : "", name ? name : "", message && *message ? ": " : "",
                 message ? message : "");
    if (meaning && meaning->hint)
        snprintf(verdict.hint, sizeof(verdict.hint), "%s", meaning->hint);
    return verdict;
}

struct s3_verdict s3_judge(const struct s3 *s3, const struct s3_call *call,
                           const struct s3_reply *reply)
{
    const char *text = reply->body ? reply->body : "", *end = text + reply->body_size;
    const char *begin = text, *until = end;
    bool is_error = s3_xml_next(&text, end, "Error", &begin, &until);
    if (reply->status >= 200 && reply->status < 300 && !is_error)
        return judge_good_status(call, reply);

    _cleanup_free_ char *name = is_error ? s3_xml_text(begin, until, "Code") : NULL;
    _cleanup_free_ char *message = is_error ? s3_xml_text(begin, until, "Message") : NULL;
    struct s3_verdict verdict = s3_explain(s3, name, message, reply->status);
    if (name && (!strcmp(name, "RequestTimeTooSkewed") || !strcmp(name, "RequestExpired")))
        explain_skew(&verdict, reply);
    return verdict;
}
