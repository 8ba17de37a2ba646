/* SPDX-License-Identifier: MIT */
/*
 * The signature of sigv4.h, in the steps and words of AWS's description: canonical request, string
 * to sign, signing key.
 */
#include "sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

#include "lathe/base.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define SHA256_BYTES 32

void sigv4_credentials_done(struct sigv4_credentials *credentials)
{
    char **members[] = {&credentials->access_key, &credentials->secret_key,
                        &credentials->session_token};
    for (size_t i = 0; i < LATHE_COUNT(members); i++) {
        if (*members[i])
            explicit_bzero(*members[i], strlen(*members[i]));
        free(*members[i]);
        *members[i] = NULL;
    }
}

void sigv4_date(int64_t time_s, char ret[SIGV4_DATE_SIZE])
{
    time_t seconds = (time_t)time_s;
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    strftime(ret, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

static void put_encoded(FILE *out, const char *text, const char *also_plain)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool is_plain = (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
                        (*p >= '0' && *p <= '9') || strchr("-._~", *p) || strchr(also_plain, *p);
        fprintf(out, is_plain ? "%c" : "%%%02X", *p);
    }
}

/* Ends a stream that was built in memory. */
static char *finish(FILE *out, char **text)
{
    bool is_bad = ferror(out) != 0;
    if (fclose(out) != 0 || is_bad) {
        free(*text);
        return NULL;
    }
    return *text;
}

char *sigv4_encode_path(const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    put_encoded(out, path, "/");
    return finish(out, &text);
}

struct encoded {
    char *name, *value;
};

static int compare_encoded(const void *a, const void *b)
{
    const struct encoded *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : strcmp(left->value, right->value);
}

static char *encode(const char *text)
{
    char *encoded = NULL;
    size_t size;
    FILE *out = open_memstream(&encoded, &size);
    if (!out)
        return NULL;
    put_encoded(out, text, "");
    return finish(out, &encoded);
}

char *sigv4_encode_query(const struct sigv4_pair *query, size_t count)
{
    char *text = NULL;
    size_t size;
    struct encoded *pairs = calloc(count ? count : 1, sizeof(*pairs));
    FILE *out = pairs ? open_memstream(&text, &size) : NULL;
    bool is_whole = out != NULL;
    for (size_t i = 0; i < count && is_whole; i++) {
        pairs[i] = (struct encoded){encode(query[i].name), encode(query[i].value)};
        is_whole = pairs[i].name && pairs[i].value;
    }
    if (is_whole) {
        qsort(pairs, count, sizeof(*pairs), compare_encoded);
        for (size_t i = 0; i < count; i++)
            fprintf(out, "%s%s=%s", i ? "&" : "", pairs[i].name, pairs[i].value);
    }
    for (size_t i = 0; pairs && i < count; i++) {
        free(pairs[i].name);
        free(pairs[i].value);
    }
    free(pairs);
    if (out && finish(out, &text) && !is_whole) {
        free(text);
        text = NULL;
    }
    return is_whole ? text : NULL;
}

static int compare_headers(const void *a, const void *b)
{
    return strcmp((*(const struct sigv4_pair *const *)a)->name,
                  (*(const struct sigv4_pair *const *)b)->name);
}

/* Blanks at the ends are dropped, and those within are one. */
static void put_trimmed(FILE *out, const char *value)
{
    bool is_pending = false, is_first = true;
    for (; *value; value++) {
        if (*value == ' ' || *value == '\t') {
            is_pending = !is_first;
            continue;
        }
        if (is_pending)
            fputc(' ', out);
        fputc(*value, out);
        is_pending = is_first = false;
    }
}

static void put_header_names(FILE *out, const struct sigv4_pair *const *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%s", i ? ";" : "", headers[i]->name);
}

static const struct sigv4_pair **sorted_headers(const struct sigv4_request *request)
{
    const struct sigv4_pair **headers = calloc(request->header_count + 1, sizeof(const void *));
    for (size_t i = 0; headers && i < request->header_count; i++)
        headers[i] = &request->headers[i];
    if (headers)
        qsort(headers, request->header_count, sizeof(const void *), compare_headers);
    return headers;
}

static char *canonical_request(const struct sigv4_request *request, const char *query,
                               const struct sigv4_pair *const *headers)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "%s\n", request->method);
    put_encoded(out, request->path, "/");
    fprintf(out, "\n%s\n", query);
    for (size_t i = 0; i < request->header_count; i++) {
        fprintf(out, "%s:", headers[i]->name);
        put_trimmed(out, headers[i]->value);
        fputc('\n', out);
    }
    fputc('\n', out);
    put_header_names(out, headers, request->header_count);
    fprintf(out, "\n%s", request->payload_sha256);
    return finish(out, &text);
}

static void put_hex(const unsigned char *bytes, char ret[2 * SHA256_BYTES + 1])
{
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

static bool hmac(const void *key, size_t key_size, const char *text,
                 unsigned char ret[SHA256_BYTES])
{
    return HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), ret,
                NULL) != NULL;
}

/* Day, region and service one after another, so that a leaked key is of little use elsewhere. */
static bool sign(const char *secret, const struct sigv4_scope *scope, const char *date,
                 const char *text, char ret[2 * SHA256_BYTES + 1])
{
    char *first = lathe_format("AWS4%s", secret);
    unsigned char key[SHA256_BYTES], next[SHA256_BYTES];
    char day[9];
    snprintf(day, sizeof(day), "%.8s", date);
    bool is_good = first && hmac(first, strlen(first), day, key) &&
                   hmac(key, sizeof(key), scope->region, next) &&
                   hmac(next, sizeof(next), scope->service, key) &&
                   hmac(key, sizeof(key), "aws4_request", next) &&
                   hmac(next, sizeof(next), text, key);
    if (is_good)
        put_hex(key, ret);
    if (first)
        explicit_bzero(first, strlen(first));
    explicit_bzero(key, sizeof(key));
    explicit_bzero(next, sizeof(next));
    free(first);
    return is_good;
}

/* Writes the signature of a request whose encoded query is `query`. */
static bool signature_of(const struct sigv4_credentials *credentials,
                         const struct sigv4_scope *scope, const struct sigv4_request *request,
                         const char *query, const struct sigv4_pair *const *headers,
                         char ret[2 * SHA256_BYTES + 1])
{
    char date[SIGV4_DATE_SIZE], digest[2 * SHA256_BYTES + 1];
    unsigned char hash[SHA256_BYTES];
    sigv4_date(scope->time_s, date);
    _cleanup_free_ char *canonical = canonical_request(request, query, headers);
    if (!canonical || !EVP_Digest(canonical, strlen(canonical), hash, NULL, EVP_sha256(), NULL))
        return false;
    put_hex(hash, digest);
    _cleanup_free_ char *text = lathe_format("%s\n%s\n%.8s/%s/%s/aws4_request\n%s", ALGORITHM, date,
                                             date, scope->region, scope->service, digest);
    return text && sign(credentials->secret_key, scope, date, text, ret);
}

char *sigv4_authorization(const struct sigv4_credentials *credentials,
                          const struct sigv4_scope *scope, const struct sigv4_request *request)
{
    char date[SIGV4_DATE_SIZE], signature[2 * SHA256_BYTES + 1];
    sigv4_date(scope->time_s, date);
    _cleanup_free_ char *query = sigv4_encode_query(request->query, request->query_count);
    _cleanup_free_ const struct sigv4_pair **headers = sorted_headers(request);
    if (!query || !headers || !signature_of(credentials, scope, request, query, headers, signature))
        return NULL;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "%s Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=", ALGORITHM,
            credentials->access_key, date, scope->region, scope->service);
    put_header_names(out, headers, request->header_count);
    fprintf(out, ", Signature=%s", signature);
    return finish(out, &text);
}

char *sigv4_presigned_query(const struct sigv4_credentials *credentials,
                            const struct sigv4_scope *scope, const struct sigv4_request *request,
                            unsigned expires_s)
{
    char date[SIGV4_DATE_SIZE], expires[16], signature[2 * SHA256_BYTES + 1];
    sigv4_date(scope->time_s, date);
    snprintf(expires, sizeof(expires), "%u", expires_s);
    _cleanup_free_ char *credential = lathe_format(
        "%s/%.8s/%s/%s/aws4_request", credentials->access_key, date, scope->region, scope->service);
    if (!credential)
        return NULL;
    const struct sigv4_pair query[] = {
        {"X-Amz-Algorithm", ALGORITHM},
        {"X-Amz-Credential", credential},
        {"X-Amz-Date", date},
        {"X-Amz-Expires", expires},
        {"X-Amz-SignedHeaders", "host"},
        {"X-Amz-Security-Token", credentials->session_token},
    };
    size_t count = LATHE_COUNT(query) - (credentials->session_token ? 0 : 1);
    _cleanup_free_ char *encoded = sigv4_encode_query(query, count);
    _cleanup_free_ const struct sigv4_pair **headers = sorted_headers(request);
    if (!encoded || !headers ||
        !signature_of(credentials, scope, request, encoded, headers, signature))
        return NULL;
    return lathe_format("%s&X-Amz-Signature=%s", encoded, signature);
}
