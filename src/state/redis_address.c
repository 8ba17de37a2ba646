/* SPDX-License-Identifier: MIT */
/*
 * Where the Redis server is. The password comes from a file, never from the location itself, since
 * locations are shown in messages and in lists of processes.
 */
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "redis_link.h"

#define DEFAULT_PORT 6379
#define DEFAULT_RETAIN_S (24 * 3600)
#define DEFAULT_PATIENCE_MS 15000
#define PATIENCE_MIN_MS 100
#define PASSWORD_MAX_BYTES 4096

static int bad(struct lathe_error *err, const char *what, const char *value)
{
    lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "the location of Redis: %s \"%s\"", what,
                    value);
    lathe_error_hint(err, "it is redis[s]://[user@]host[:port][/database][?password_file=FILE]");
    return -EINVAL;
}

static int read_number(const char *text, int64_t max, int64_t *ret)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < 0 || n > max)
        return -EINVAL;
    *ret = n;
    return 0;
}

static int read_password(struct redis_address *a, const char *path, struct lathe_error *err)
{
    size_t size;
    free(a->password);
    a->password = NULL;
    int r = lathe_read_secret(path, PASSWORD_MAX_BYTES, &a->password, &size, err);
    if (r == 0)
        a->password[strcspn(a->password, "\r\n")] = '\0';
    return r;
}

static int read_option(struct redis_address *a, char *option, struct lathe_error *err)
{
    char *value = strchr(option, '=');
    int64_t n;
    if (!value)
        return bad(err, "an option without a value,", option);
    *value++ = '\0';
    if (strcmp(option, "password_file") == 0)
        return read_password(a, value, err);
    if (strcmp(option, "ca") == 0) {
        free(a->ca_path);
        a->ca_path = strdup(value);
        return a->ca_path ? 0 : lathe_error_nomem(err);
    }
    if (strcmp(option, "retain_seconds") == 0) {
        if (read_number(value, 100LL * 365 * 86400, &n) < 0)
            return bad(err, "not a number of seconds,", value);
        a->retain_ms = n * 1000;
        return 0;
    }
    if (strcmp(option, "patience_ms") == 0) {
        if (read_number(value, 3600000, &n) < 0 || n < PATIENCE_MIN_MS)
            return bad(err, "not a number of milliseconds from 100 on,", value);
        a->patience_ms = (int)n;
        return 0;
    }
    return bad(err, "an unknown option,", option);
}

/* Cuts `text` at the last `mark` and returns what follows, or NULL. */
static char *cut(char *text, char mark)
{
    char *at = strrchr(text, mark);
    if (!at)
        return NULL;
    *at = '\0';
    return at + 1;
}

static int read_server(struct redis_address *a, char *text, struct lathe_error *err)
{
    int64_t n;
    if (*text == '/') { /* a socket */
        a->port = 0;
    } else {
        const char *database = cut(text, '/');
        if (database && *database) {
            if (read_number(database, 1 << 20, &n) < 0)
                return bad(err, "not the number of a database,", database);
            a->database = (int)n;
        }
        char *host = cut(text, '@');
        if (host) {
            if (strchr(text, ':'))
                return bad(err, "a password belongs into a file, not into", "user:…");
            if ((size_t)snprintf(a->user, sizeof(a->user), "%s", text) >= sizeof(a->user))
                return bad(err, "too long a user,", text);
            text = host;
        }
        char *port = *text == '[' && strchr(text, ']') ? strstr(text, "]:") : strrchr(text, ':');
        if (port) {
            port += *port == ']';
            *port++ = '\0';
            if (read_number(port, 65535, &n) < 0 || n == 0)
                return bad(err, "not a port,", port);
            a->port = (int)n;
        }
        if (*text == '[') { /* an IPv6 address */
            text++;
            text[strcspn(text, "]")] = '\0';
        }
    }
    if (!*text || (size_t)snprintf(a->host, sizeof(a->host), "%s", text) >= sizeof(a->host))
        return bad(err, "no server, or too long a name,", text);
    return 0;
}

/* The length of "redis://" or "rediss://"; a location may do without. */
static size_t read_scheme(const char *location, bool *ret_is_tls)
{
    *ret_is_tls = strncmp(location, "rediss://", 9) == 0;
    return *ret_is_tls ? 9 : strncmp(location, "redis://", 8) == 0 ? 8 : 0;
}

int redis_address_parse(const char *location, struct redis_address *ret, struct lathe_error *err)
{
    *ret = (struct redis_address){
        .port = DEFAULT_PORT,
        .retain_ms = DEFAULT_RETAIN_S * 1000LL,
        .patience_ms = DEFAULT_PATIENCE_MS,
    };
    location += read_scheme(location, &ret->is_tls);
    if (ret->is_tls && !redis_tls_is_built_in()) {
        lathe_error_set(err, -ENOTSUP, LATHE_FAULT_CONFIG,
                        "this build of Lathe has no TLS for Redis (rediss://)");
        lathe_error_hint(err, "the hiredis of Debian 12 has none: take a build for Debian 13, a "
                              "private network, or a tunnel such as stunnel");
        return -ENOTSUP;
    }
    _cleanup_free_ char *copy = strdup(location);
    if (!copy)
        return lathe_error_nomem(err);
    char *options = strchr(copy, '?'), *rest = NULL;
    if (options)
        *options++ = '\0';
    int r = read_server(ret, copy, err);
    for (char *option = options ? strtok_r(options, "&", &rest) : NULL; option && r == 0;
         option = strtok_r(NULL, "&", &rest))
        r = read_option(ret, option, err);
    if (r == 0 && *ret->user && !ret->password)
        return bad(err, "no password_file for the user", ret->user);
    if (r == 0 && ret->ca_path && !ret->is_tls)
        return bad(err, "ca= goes with rediss://, not with", location);
    return r;
}

void redis_address_clear(struct redis_address *address)
{
    if (address->password)
        explicit_bzero(address->password, strlen(address->password));
    free(address->password);
    free(address->ca_path);
    address->password = address->ca_path = NULL;
}

void redis_address_describe(const struct redis_address *address, char *ret, size_t size)
{
    if (address->port)
        snprintf(ret, size, strchr(address->host, ':') ? "[%s]:%d" : "%s:%d", address->host,
                 address->port);
    else
        snprintf(ret, size, "%s", address->host);
}
