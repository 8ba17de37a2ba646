/* SPDX-License-Identifier: MIT */
/*
 * What the files of the S3 driver share. s3.c is the driver, s3_put.c, s3_multipart.c and s3_get.c
 * its transfers; they make calls (s3_call.c: signed, repeated, judged), a call makes exchanges
 * (s3_http.c: one request, one reply). s3_location.c and s3_keys.c say where to and as whom.
 */
#ifndef LATHE_STORE_S3_H
#define LATHE_STORE_S3_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lathe/store.h"
#include "sigv4.h"

#define S3_IDLE_MAX 16
#define S3_SHA256_HEX 65

enum s3_conditional { S3_CONDITIONAL_UNKNOWN, S3_CONDITIONAL_YES, S3_CONDITIONAL_NO };

struct s3 {
    char *bucket, *prefix;     /* prefix: empty, or ends with "/" */
    char *scheme, *authority;  /* "https", "host:port" of the endpoint */
    char *region, *ca_path;    /* ca_path NULL: the system's certificates */
    char *credentials_path;    /* as given in the location, or NULL */
    char *credentials_profile; /* section of a credentials file */
    bool is_virtual_host;
    unsigned connections, attempts, stall_s, stale_upload_hours;
    uint64_t part_bytes;
    struct sigv4_credentials credentials;

    pthread_mutex_t mutex; /* of what follows */
    bool is_open;
    void *idle[S3_IDLE_MAX]; /* CURL handles, with their connections */
    unsigned idle_count;
    enum s3_conditional conditional;
};

/* --- s3_location.c, s3_keys.c --- */
int s3_location_parse(struct s3 *s3, const char *location, struct lathe_error *err);
void s3_location_done(struct s3 *s3);
int s3_keys_find(struct s3 *s3, struct lathe_error *err);

/* --- s3_http.c: one request --- */
struct s3_body { /* what is sent: memory, or a part of a file */
    const char *data;
    int fd; /* used where data is NULL */
    uint64_t offset, size_bytes;
};

struct s3_sink { /* where a good reply's body goes; other bodies go to memory */
    int fd;
    uint64_t offset, max_bytes;
};

struct s3_object {                      /* what put() keeps beside an object */
    char sha256[S3_SHA256_HEX];         /* of lathe_store_meta */
    char content_sha256[S3_SHA256_HEX]; /* what put() read; see s3_put.c */
    char put_id[37];                    /* which put() made the object */
    uint64_t frames;
};
/* `name` is that of the header without "x-amz-meta-"; others are ignored. */
void s3_object_read(struct s3_object *object, const char *name, const char *value);

struct s3_reply {
    long status;
    char *body; /* NUL-terminated, or NULL */
    size_t body_size;
    uint64_t received_bytes; /* into the sink */
    int64_t length_bytes;    /* Content-Length; -1: not said */
    int64_t total_bytes;     /* of the whole object, by Content-Range; -1: not said */
    int64_t date_s;          /* the server's clock, -1: not said */
    unsigned retry_after_s;
    char etag[256];
    struct s3_object object;
    bool is_repeated; /* an earlier attempt of the same call may have done its work unseen */
};
void s3_reply_done(struct s3_reply *reply);

struct s3_exchange {
    const char *method, *url;
    const struct sigv4_pair *headers;
    size_t header_count;
    const struct s3_body *body;
    const struct s3_sink *sink; /* NULL: memory */
    unsigned stall_s;
    const struct lathe_cancel *cancel;
    const atomic_bool *stop; /* a second reason to stop; may be NULL */
};

/* 0 when there is a reply, whatever it says. -EAGAIN: a repeat may help; -EACCES: the server's
 * certificate is not good; -ECANCELED; or what reading or writing the local file gave. `why` is
 * one line. *ret_is_unsent: the server cannot have seen the request. */
int s3_http_exchange(struct s3 *s3, const struct s3_exchange *exchange, struct s3_reply *ret,
                     bool *ret_is_unsent, char why[256]);
int s3_http_init(void);
void s3_http_done(struct s3 *s3);

/* --- s3_call.c: signed, repeated, judged --- */
#define S3_PAIRS_MAX 12
struct s3_call {
    const char *doing, *subject; /* "store", "jobs/a.json": for people */
    const char *method;
    const char *key; /* with the prefix; NULL: the bucket itself */
    struct sigv4_pair query[S3_PAIRS_MAX], headers[S3_PAIRS_MAX];
    size_t query_count, header_count;
    struct s3_body body;
    const char *payload_sha256; /* NULL: of an empty body */
    const struct s3_sink *sink;
    const char *root;  /* the XML element that a good reply must hold, whole; may be NULL */
    bool needs_etag;   /* a good reply has one */
    unsigned patience; /* stall_s is this many times longer; 0 is 1 */
    const struct lathe_cancel *cancel;
    const atomic_bool *stop;
};
void s3_call_query(struct s3_call *call, const char *name, const char *value);
void s3_call_header(struct s3_call *call, const char *name, const char *value);
/* 0 for a good reply. -ENOENT, -EEXIST (a condition was not met), -ERANGE, -ESTALE (no such
 * upload), -EACCES, -ENXIO (no such bucket), -ENOSPC, -EAGAIN (repeats did not help), … The reply
 * is the last one in any case; the caller frees it. */
int s3_call_run(struct s3 *s3, const struct s3_call *call, struct s3_reply *ret,
                struct lathe_error *err);
/* The URL of a key, presigned. NULL: no memory. */
char *s3_presigned_url(struct s3 *s3, const char *method, const char *key, unsigned expires_s);
char *s3_where(const struct s3 *s3); /* for people */
/* Before repeat 1, 2, …: growing waits, jittered. -ECANCELED; both reasons may be NULL. */
int s3_wait(unsigned repeat, unsigned retry_after_s, const struct lathe_cancel *cancel,
            const atomic_bool *stop);

/* --- s3_verdict.c --- */
struct s3_verdict {
    int code; /* 0: good */
    enum lathe_fault fault;
    bool is_transient;
    char why[320], hint[256];
};
struct s3_verdict s3_judge(const struct s3 *s3, const struct s3_call *call,
                           const struct s3_reply *reply);
/* What a server's refusal means: its code and message, or NULL, and the HTTP status, or 0. */
struct s3_verdict s3_explain(const struct s3 *s3, const char *name, const char *message,
                             long status);

/* --- s3_xml.c --- */
/* The text of the first <name> in [text, end), entities decoded; NULL when there is none (or no
 * memory). */
char *s3_xml_text(const char *text, const char *end, const char *name);
/* The first <name>…</name> in [*text, end): true, its inside in *ret_begin and *ret_end, and *text
 * is moved behind it. */
bool s3_xml_next(const char **text, const char *end, const char *name, const char **ret_begin,
                 const char **ret_end);

/* --- s3_digest.c --- */
struct s3_digest {
    char sha256[S3_SHA256_HEX];
    char md5_base64[25]; /* empty where nobody asked, or the system forbids MD5 */
};
/* Reads a part of a file. MD5 takes 2.4 times as long as SHA-256 where the processor knows the
 * latter (2026-11-29). -ECANCELED, -ESTALE (the file is shorter than that), … */
int s3_digest_file(int fd, uint64_t offset, uint64_t size_bytes, bool with_md5,
                   const struct lathe_cancel *cancel, struct s3_digest *ret);
/* SHA-256 alone. */
int s3_digest_data(const char *data, size_t size, struct s3_digest *ret);

/* --- transfers --- */
struct s3_upload {
    const char *key; /* with the prefix */
    const char *name, *path;
    int fd;
    uint64_t size_bytes;
    const struct lathe_store_meta *meta;
    bool is_if_absent; /* asks the server for it */
    char put_id[37];
    struct s3_digest digest; /* of the whole file */
    const struct lathe_cancel *cancel;
};
/* Adds what is kept beside the object; `frames` holds a number as long as the call lives. */
void s3_upload_headers(const struct s3_upload *upload, struct s3_call *call, char frames[24]);
/* After -EEXIST or -ESTALE of a call that had been repeated: whether the object is ours. */
bool s3_upload_is_ours(struct s3 *s3, const struct s3_upload *upload);
int s3_multipart_upload(struct s3 *s3, const struct s3_upload *upload, struct lathe_error *err);
void s3_multipart_sweep(struct s3 *s3);
int s3_put(struct s3 *s3, const char *key, const char *path, const struct lathe_store_meta *meta,
           unsigned flags, const struct lathe_cancel *cancel, struct lathe_error *err);
int s3_get(struct s3 *s3, const char *key, const char *path, const struct lathe_cancel *cancel,
           struct lathe_error *err);
int s3_head(struct s3 *s3, const char *key, struct s3_reply *ret, struct lathe_error *err);

/* Runs do_part(opaque, n) for n = 0 … count-1 on at most s3->connections threads. The first
 * failure stops the others (they see *stop) and is returned, with its error. */
int s3_parallel(struct s3 *s3, uint64_t count, atomic_bool *stop,
                int (*do_part)(void *opaque, uint64_t number, struct lathe_error *err),
                void *opaque, struct lathe_error *err);
char *s3_key(const struct s3 *s3, const char *key); /* with the prefix; NULL: no memory */
int s3_stopped(struct lathe_error *err);            /* -ECANCELED */

#endif
