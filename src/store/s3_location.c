/* SPDX-License-Identifier: MIT */
/*
 * Reads s3://BUCKET[/PREFIX][?endpoint=URL&style=path|virtual&…]: all about a store in one word,
 * but for its keys, which have no place in a configuration that people show each other.
 */
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "s3.h"

#define MIB (1u << 20)

static int refuse(struct lathe_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int refuse(struct lathe_error *err, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s", text);
    lathe_error_hint(err, "the form is s3://BUCKET/PREFIX?endpoint=URL&style=path");
    return -EINVAL;
}

static int set_text(char **member, const char *value)
{
    free(*member);
    *member = strdup(value);
    return *member ? 0 : -ENOMEM;
}

/* "http://host:port" into its two parts. */
static int set_endpoint(struct s3 *s3, const char *value, struct lathe_error *err)
{
    const char *host = strstr(value, "://");
    size_t scheme_length = host ? (size_t)(host - value) : 0;
    bool is_known = (scheme_length == 4 && !strncmp(value, "http", 4)) ||
                    (scheme_length == 5 && !strncmp(value, "https", 5));
    if (!is_known)
        return refuse(err, "the endpoint must begin with http:// or https://");
    host += 3;
    if (strchr(host, '@'))
        return refuse(err, "the endpoint must not hold keys");
    size_t length = strcspn(host, "/?#");
    if (length == 0 || (host[length] && strcmp(host + length, "/")))
        return refuse(err, "the endpoint %s is not scheme://host[:port]", value);
    free(s3->scheme);
    free(s3->authority);
    s3->scheme = strndup(value, scheme_length);
    s3->authority = strndup(host, length);
    return s3->scheme && s3->authority ? 0 : lathe_error_nomem(err);
}

struct number_option {
    const char *name;
    unsigned min, max, standard;
    size_t offset;
};
static const struct number_option numbers[] = {
    {"connections", 1, 16, 4, offsetof(struct s3, connections)},
    {"attempts", 1, 100, 8, offsetof(struct s3, attempts)},
    {"stall_seconds", 1, 3600, 30, offsetof(struct s3, stall_s)},
    {"stale_upload_hours", 0, 8760, 24, offsetof(struct s3, stale_upload_hours)},
};

static int set_number(unsigned *ret, const char *name, const char *value, unsigned min,
                      unsigned max, struct lathe_error *err)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number < min || number > max)
        return refuse(err, "%s=%s is not a number from %u to %u", name, value, min, max);
    *ret = (unsigned)number;
    return 0;
}

static int set_option(struct s3 *s3, const char *name, const char *value, struct lathe_error *err)
{
    const struct {
        const char *name;
        char **member;
    } texts[] = {{"region", &s3->region},
                 {"ca", &s3->ca_path},
                 {"credentials", &s3->credentials_path},
                 {"profile", &s3->credentials_profile}};
    if (!strcmp(name, "endpoint"))
        return set_endpoint(s3, value, err);
    if (!strcmp(name, "style")) {
        s3->is_virtual_host = !strcmp(value, "virtual");
        return s3->is_virtual_host || !strcmp(value, "path")
                   ? 0
                   : refuse(err, "style=%s is neither path nor virtual", value);
    }
    if (!strcmp(name, "part_mib")) {
        unsigned mib = 0;
        int r = set_number(&mib, name, value, 5, 1024, err);
        if (r == 0)
            s3->part_bytes = (uint64_t)mib * MIB;
        return r;
    }
    for (size_t i = 0; i < LATHE_COUNT(texts); i++)
        if (!strcmp(name, texts[i].name))
            return set_text(texts[i].member, value) < 0 ? lathe_error_nomem(err) : 0;
    for (size_t i = 0; i < LATHE_COUNT(numbers); i++)
        if (!strcmp(name, numbers[i].name))
            return set_number((unsigned *)((char *)s3 + numbers[i].offset), name, value,
                              numbers[i].min, numbers[i].max, err);
    if (strstr(name, "key") || strstr(name, "secret"))
        return refuse(err,
                      "keys do not belong into the location of a store (%s); they come from "
                      "a file or the environment",
                      name);
    return refuse(err, "a store at S3 has no option \"%s\"", name);
}

static void decode_percent(char *text)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        unsigned value;
        if (*in == '%' && strspn(in + 1, "0123456789abcdefABCDEF") >= 2 &&
            sscanf(in + 1, "%2x", &value) == 1 && value) {
            *out++ = (char)value;
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

static int set_options(struct s3 *s3, char *options, struct lathe_error *err)
{
    char *rest = options;
    for (char *option; (option = strsep(&rest, "&"));) {
        char *value = strchr(option, '=');
        if (!value || !value[1])
            return refuse(err, "\"%s\" is not NAME=VALUE", option);
        *value++ = '\0';
        decode_percent(value);
        int r = set_option(s3, option, value, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_bucket(struct s3 *s3, const char *text, struct lathe_error *err)
{
    size_t length = strcspn(text, "/");
    const char *prefix = text + length + (text[length] == '/');
    size_t prefix_length = strlen(prefix);
    while (prefix_length && prefix[prefix_length - 1] == '/')
        prefix_length--;
    if (length < 3 || length > 63 ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") != length)
        return refuse(err, "\"%.*s\" is not the name of a bucket (3 to 63 of a-z 0-9 . -)",
                      (int)length, text);
    if (prefix_length > 256)
        return refuse(err, "the prefix is longer than 256 characters");
    s3->bucket = strndup(text, length);
    s3->prefix = lathe_format("%.*s%s", (int)prefix_length, prefix, prefix_length ? "/" : "");
    return s3->bucket && s3->prefix ? 0 : lathe_error_nomem(err);
}

/* What was not said comes from the environment, then from AWS's own naming. */
static int set_defaults(struct s3 *s3, bool is_style_given, struct lathe_error *err)
{
    const char *region = getenv("AWS_REGION"), *endpoint = getenv("LATHE_S3_ENDPOINT");
    if (!s3->region && set_text(&s3->region, region && *region ? region : "us-east-1") < 0)
        return lathe_error_nomem(err);
    if (!s3->credentials_profile && set_text(&s3->credentials_profile, "default") < 0)
        return lathe_error_nomem(err);
    if (s3->authority)
        return 0;
    if (endpoint && *endpoint)
        return set_endpoint(s3, endpoint, err);
    s3->scheme = strdup("https");
    s3->authority = lathe_format("s3.%s.amazonaws.com", s3->region);
    if (!is_style_given)
        s3->is_virtual_host = !strchr(s3->bucket, '.'); /* certificates do not cover more dots */
    return s3->scheme && s3->authority ? 0 : lathe_error_nomem(err);
}

int s3_location_parse(struct s3 *s3, const char *location, struct lathe_error *err)
{
    if (strncmp(location, "s3://", 5))
        return refuse(err, "the location of a store at S3 begins with s3://");
    _cleanup_free_ char *text = strdup(location + 5);
    if (!text)
        return lathe_error_nomem(err);
    char *options = strchr(text, '?');
    if (options)
        *options++ = '\0';
    s3->part_bytes = 16 * MIB;
    for (size_t i = 0; i < LATHE_COUNT(numbers); i++)
        *(unsigned *)((char *)s3 + numbers[i].offset) = numbers[i].standard;
    bool is_style_given = strstr(location, "style=") != NULL;
    int r = set_bucket(s3, text, err);
    if (r == 0 && options && *options)
        r = set_options(s3, options, err);
    return r < 0 ? r : set_defaults(s3, is_style_given, err);
}

void s3_location_done(struct s3 *s3)
{
    char **members[] = {&s3->bucket, &s3->prefix,  &s3->scheme,           &s3->authority,
                        &s3->region, &s3->ca_path, &s3->credentials_path, &s3->credentials_profile};
    for (size_t i = 0; i < LATHE_COUNT(members); i++) {
        free(*members[i]);
        *members[i] = NULL;
    }
    sigv4_credentials_done(&s3->credentials);
}
