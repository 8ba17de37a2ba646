/* SPDX-License-Identifier: MIT */
/*
 * AWS Signature Version 4, computed here because libcurl's own has changed its canonical form in
 * nearly every release since 8.0: names and values come in plain and are encoded in one place,
 * which also makes the URL, so what is signed is what is sent.
 * No network, no clock: everything is an argument, so AWS's published examples are unit tests.
 */
#ifndef LATHE_STORE_SIGV4_H
#define LATHE_STORE_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SIGV4_DATE_SIZE 17

struct sigv4_credentials {
    char *access_key;
    char *secret_key;
    char *session_token; /* NULL: none */
};
void sigv4_credentials_done(struct sigv4_credentials *credentials); /* wipes them, too */

/* A query parameter or a header, not encoded. Names of headers are in lower case. */
struct sigv4_pair {
    const char *name, *value;
};

struct sigv4_request {
    const char *method;
    const char *path; /* not encoded; begins with "/" */
    const struct sigv4_pair *query;
    size_t query_count;
    const struct sigv4_pair *headers; /* all that are to be signed, "host" among them */
    size_t header_count;
    const char *payload_sha256; /* hex, or SIGV4_UNSIGNED_PAYLOAD */
};

struct sigv4_scope {
    const char *region, *service;
    int64_t time_s; /* since 1970 */
};

/* The value of x-amz-date, "20150830T123600Z". */
void sigv4_date(int64_t time_s, char ret[SIGV4_DATE_SIZE]);

/* The value of the Authorization header. NULL: no memory. */
char *sigv4_authorization(const struct sigv4_credentials *credentials,
                          const struct sigv4_scope *scope, const struct sigv4_request *request);
/* The query, signature included, of a URL that works without a header until it expires. The
 * request has an unsigned payload and only the header "host". NULL: no memory. */
char *sigv4_presigned_query(const struct sigv4_credentials *credentials,
                            const struct sigv4_scope *scope, const struct sigv4_request *request,
                            unsigned expires_s);

char *sigv4_encode_path(const char *path); /* "/" stays; NULL: no memory */
/* In the order of the signature, "a=1&b="; NULL: no memory. */
char *sigv4_encode_query(const struct sigv4_pair *query, size_t count);

#endif
