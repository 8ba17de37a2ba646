/* SPDX-License-Identifier: MIT */
/*
 * Finds the keys of the store: a file named in the location or in LATHE_S3_CREDENTIALS, the systemd
 * credential "s3", AWS's variables, AWS's file; the first of these that is there counts. What is
 * read never appears in an error.
 */
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "s3.h"

#define FILE_MAX_BYTES (64u << 10)

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        text[--length] = '\0';
    return text;
}

static int take(char **member, const char *value)
{
    free(*member);
    *member = strdup(value);
    return *member ? 0 : -ENOMEM;
}

static int take_line(struct sigv4_credentials *keys, char *line)
{
    char *value = strchr(line, '=');
    if (!value)
        return 0;
    *value++ = '\0';
    const char *name = trim(line);
    value = trim(value);
    if (!strcmp(name, "aws_access_key_id"))
        return take(&keys->access_key, value);
    if (!strcmp(name, "aws_secret_access_key"))
        return take(&keys->secret_key, value);
    if (!strcmp(name, "aws_session_token") && *value)
        return take(&keys->session_token, value);
    return 0;
}

/* The form of ~/.aws/credentials; without any [section], all of it is meant. */
static int parse_file(struct sigv4_credentials *keys, char *text, const char *profile)
{
    bool is_ours = true;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        line = trim(line);
        size_t length = strlen(line);
        if (*line == '[' && line[length - 1] == ']') {
            line[length - 1] = '\0';
            is_ours = !strcmp(trim(line + 1), profile);
        } else if (is_ours && *line && *line != '#' && *line != ';') {
            int r = take_line(keys, line);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int from_file(struct s3 *s3, const char *path, struct lathe_error *err)
{
    char *text = NULL;
    size_t size = 0;
    int r = lathe_read_secret(path, FILE_MAX_BYTES, &text, &size, err);
    if (r < 0)
        return r;
    r = parse_file(&s3->credentials, text, s3->credentials_profile);
    explicit_bzero(text, size);
    free(text);
    if (r < 0)
        return lathe_error_nomem(err);
    if (s3->credentials.access_key && s3->credentials.secret_key)
        return 0;
    lathe_error_set(err, -EACCES, LATHE_FAULT_CONFIG,
                    "%s has no aws_access_key_id and aws_secret_access_key for [%s]", path,
                    s3->credentials_profile);
    return -EACCES;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int from_variables(struct sigv4_credentials *keys, struct lathe_error *err)
{
    const char *token = variable("AWS_SESSION_TOKEN");
    if (take(&keys->access_key, getenv("AWS_ACCESS_KEY_ID")) < 0 ||
        take(&keys->secret_key, getenv("AWS_SECRET_ACCESS_KEY")) < 0 ||
        (token && take(&keys->session_token, token) < 0))
        return lathe_error_nomem(err);
    return 0;
}

int s3_keys_find(struct s3 *s3, struct lathe_error *err)
{
    const char *path =
        s3->credentials_path ? s3->credentials_path : variable("LATHE_S3_CREDENTIALS");
    const char *systemd = variable("CREDENTIALS_DIRECTORY"), *home = variable("HOME");
    _cleanup_free_ char *of_unit = systemd ? lathe_format("%s/s3", systemd) : NULL;
    _cleanup_free_ char *of_user = home ? lathe_format("%s/.aws/credentials", home) : NULL;
    if ((systemd && !of_unit) || (home && !of_user))
        return lathe_error_nomem(err);
    if (path)
        return from_file(s3, path, err);
    if (of_unit && access(of_unit, F_OK) == 0)
        return from_file(s3, of_unit, err);
    if (variable("AWS_ACCESS_KEY_ID") && variable("AWS_SECRET_ACCESS_KEY"))
        return from_variables(&s3->credentials, err);
    path = variable("AWS_SHARED_CREDENTIALS_FILE");
    if (path)
        return from_file(s3, path, err);
    if (of_user && access(of_user, F_OK) == 0)
        return from_file(s3, of_user, err);
    lathe_error_set(err, -EACCES, LATHE_FAULT_CONFIG, "no keys for the bucket %s", s3->bucket);
    lathe_error_hint(err, "name a file in LATHE_S3_CREDENTIALS, or set AWS_ACCESS_KEY_ID and "
                          "AWS_SECRET_ACCESS_KEY");
    return -EACCES;
}
