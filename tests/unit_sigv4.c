/* SPDX-License-Identifier: MIT */
/*
 * Signatures against the values that AWS publishes: the SigV4 test suite, and the examples of the
 * S3 manual. A signature that is wrong in any byte of its input is wrong altogether.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lathe/base.h"
#include "sigv4.h"

#define MAX 6
#define EMPTY SIGV4_EMPTY_SHA256

struct vector {
    const char *name, *method, *path;
    struct sigv4_pair query[MAX], headers[MAX]; /* up to the first without a name */
    const char *payload_sha256, *signature;
};

#define SUITE_HEADERS                                                                              \
    {                                                                                              \
        {"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"},                     \
    }

/* AWS SigV4 test suite (aws-sig-v4-test-suite), 2015-08-30, service "service". */
static const struct vector suite[] = {
    {"get-vanilla",
     "GET",
     "/",
     {{0}},
     SUITE_HEADERS,
     EMPTY,
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     {{"Param2", "value2"}, {"Param1", "value1"}},
     SUITE_HEADERS,
     EMPTY,
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-query-unreserved",
     "GET",
     "/",
     {{"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
       "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}},
     SUITE_HEADERS,
     EMPTY,
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-utf8",
     "GET",
     "/\xe1\x88\xb4",
     {{0}},
     SUITE_HEADERS,
     EMPTY,
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-header-value-trim",
     "GET",
     "/",
     {{0}},
     {{"host", "example.amazonaws.com"},
      {"my-header1", " value1"},
      {"my-header2", " \"a   b   c\""},
      {"x-amz-date", "20150830T123600Z"}},
     EMPTY,
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"post-vanilla",
     "POST",
     "/",
     {{0}},
     SUITE_HEADERS,
     EMPTY,
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-vanilla-query",
     "POST",
     "/",
     {{"Param1", "value1"}},
     SUITE_HEADERS,
     EMPTY,
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
};

/* Amazon S3 API reference, "Signature Calculations for the Authorization Header", 2013-05-24. */
static const struct vector s3_manual[] = {
    {"GET object",
     "GET",
     "/test.txt",
     {{0}},
     {{"range", "bytes=0-9"},
      {"x-amz-date", "20130524T000000Z"},
      {"host", "examplebucket.s3.amazonaws.com"},
      {"x-amz-content-sha256", EMPTY}},
     EMPTY,
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT object",
     "PUT",
     "/test$file.text",
     {{0}},
     {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
      {"host", "examplebucket.s3.amazonaws.com"},
      {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
      {"x-amz-date", "20130524T000000Z"},
      {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
     "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET lifecycle",
     "GET",
     "/",
     {{"lifecycle", ""}},
     {{"host", "examplebucket.s3.amazonaws.com"},
      {"x-amz-content-sha256", EMPTY},
      {"x-amz-date", "20130524T000000Z"}},
     EMPTY,
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"list",
     "GET",
     "/",
     {{"prefix", "J"}, {"max-keys", "2"}},
     {{"host", "examplebucket.s3.amazonaws.com"},
      {"x-amz-content-sha256", EMPTY},
      {"x-amz-date", "20130524T000000Z"}},
     EMPTY,
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

#define S3_TIME 1369353600    /* 2013-05-24 00:00:00 UTC */
#define SUITE_TIME 1440938160 /* 2015-08-30 12:36:00 UTC */

static struct sigv4_request request_of(const struct vector *v)
{
    struct sigv4_request request = {.method = v->method,
                                    .path = v->path,
                                    .query = v->query,
                                    .headers = v->headers,
                                    .payload_sha256 = v->payload_sha256};
    while (request.query_count < MAX && v->query[request.query_count].name)
        request.query_count++;
    while (request.header_count < MAX && v->headers[request.header_count].name)
        request.header_count++;
    return request;
}

static void check(const struct vector *v, const struct sigv4_credentials *credentials,
                  const struct sigv4_scope *scope)
{
    struct sigv4_request request = request_of(v);
    char *authorization = sigv4_authorization(credentials, scope, &request);
    assert_non_null(authorization);
    const char *signature = strstr(authorization, "Signature=");
    assert_non_null(signature);
    if (strcmp(signature + strlen("Signature="), v->signature))
        fail_msg("%s: %s", v->name, authorization);
    free(authorization);
}

static const struct sigv4_credentials s3_key = {
    .access_key = "AKIAIOSFODNN7EXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
static const struct sigv4_scope s3_scope = {"us-east-1", "s3", S3_TIME};

static void test_published_signatures(void **state)
{
    (void)state;
    const struct sigv4_credentials key = {.access_key = "AKIDEXAMPLE",
                                          .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
    const struct sigv4_scope scope = {"us-east-1", "service", SUITE_TIME};
    for (size_t i = 0; i < LATHE_COUNT(suite); i++)
        check(&suite[i], &key, &scope);
    for (size_t i = 0; i < LATHE_COUNT(s3_manual); i++)
        check(&s3_manual[i], &s3_key, &s3_scope);
}

static void test_published_header(void **state)
{
    (void)state;
    struct sigv4_request request = request_of(&s3_manual[0]);
    char *authorization = sigv4_authorization(&s3_key, &s3_scope, &request);
    assert_string_equal(
        authorization,
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    free(authorization);
}

static void test_published_url(void **state)
{
    (void)state;
    const struct sigv4_pair host = {"host", "examplebucket.s3.amazonaws.com"};
    struct sigv4_request request = {.method = "GET",
                                    .path = "/test.txt",
                                    .headers = &host,
                                    .header_count = 1,
                                    .payload_sha256 = SIGV4_UNSIGNED_PAYLOAD};
    char *query = sigv4_presigned_query(&s3_key, &s3_scope, &request, 86400);
    assert_string_equal(
        query, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524"
               "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
               "X-Amz-SignedHeaders=host&X-Amz-Signature="
               "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    free(query);

    struct sigv4_credentials with_token = s3_key;
    char token[] = "a/b+c=";
    with_token.session_token = token;
    query = sigv4_presigned_query(&with_token, &s3_scope, &request, 86400);
    assert_non_null(strstr(query, "&X-Amz-Security-Token=a%2Fb%2Bc%3D&X-Amz-SignedHeaders=host&"));
    assert_null(strstr(query, "aeeed9bbccd4d02e"));
    free(query);
}

static void test_encoding(void **state)
{
    (void)state;
    char *path = sigv4_encode_path("/b/a b+(1)%~\xc3\xa4.ts");
    assert_string_equal(path, "/b/a%20b%2B%281%29%25~%C3%A4.ts");
    free(path);
    const struct sigv4_pair query[] = {{"uploads", ""}, {"prefix", "a/b c"}, {"max", "2"}};
    char *text = sigv4_encode_query(query, 3);
    assert_string_equal(text, "max=2&prefix=a%2Fb%20c&uploads=");
    free(text);
    text = sigv4_encode_query(NULL, 0);
    assert_string_equal(text, "");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_signatures),
        cmocka_unit_test(test_published_header),
        cmocka_unit_test(test_published_url),
        cmocka_unit_test(test_encoding),
    };
    return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
