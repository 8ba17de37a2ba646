/* SPDX-License-Identifier: MIT */
/*
 * Where the brokers are, and the user's own settings of librdkafka: TLS, SASL and intervals. They
 * are a file because passwords are among them, and locations are shown in messages.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kafka_client.h"
#include "lathe/base.h"

#define CONFIG_MAX_BYTES (256u << 10) /* certificates may stand in it */
#define PARTITIONS_MAX 10000

/* What the location says, or what losing no work depends on. */
static const char *const reserved[] = {
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "enable.auto.offset.store",
    "enable.auto.commit",
    "auto.offset.reset",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "allow.auto.create.topics",
    "partition.assignment.strategy",
};

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        text[--length] = '\0';
    return text;
}

static int add_property(struct kafka_address *a, const char *name, const char *value,
                        struct lathe_error *err)
{
    struct kafka_property *larger = realloc(a->properties, (a->n_properties + 1) * sizeof(*larger));
    if (!larger)
        return lathe_error_nomem(err);
    a->properties = larger;
    struct kafka_property *p = &larger[a->n_properties++];
    *p = (struct kafka_property){strdup(name), strdup(value)};
    return p->name && p->value ? 0 : lathe_error_nomem(err);
}

static int read_line(struct kafka_address *a, char *line, int number, struct lathe_error *err)
{
    line = trim(line);
    if (!*line || *line == '#')
        return 0;
    char *value = strchr(line, '=');
    if (!value || value == line)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "Kafka: %s, line %d is not NAME=VALUE", a->config_path, number);
    *value++ = '\0';
    const char *name = trim(line);
    for (size_t i = 0; i < LATHE_COUNT(reserved); i++)
        if (strcmp(name, reserved[i]) == 0)
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                                   "Kafka: %s, line %d: %s is Lathe's to set", a->config_path,
                                   number, name);
    return add_property(a, name, trim(value), err);
}

static int read_config(struct kafka_address *a, const char *path, struct lathe_error *err)
{
    free(a->config_path);
    a->config_path = strdup(path);
    if (!a->config_path)
        return lathe_error_nomem(err);
    char *text = NULL;
    size_t size = 0;
    int r = lathe_read_secret(path, CONFIG_MAX_BYTES, &text, &size, err);
    if (r < 0)
        return r;
    int number = 0;
    char *rest = text;
    for (char *line; r == 0 && (line = strsep(&rest, "\n"));)
        r = read_line(a, line, ++number, err);
    explicit_bzero(text, size);
    free(text);
    return r;
}

static int read_option(struct kafka_address *a, char *option, struct lathe_error *err)
{
    char *value = strchr(option, '=');
    if (value)
        *value++ = '\0';
    if (value && strcmp(option, "config") == 0)
        return read_config(a, value, err);
    if (value && strcmp(option, "prefix") == 0 && strlen(value) < sizeof(a->prefix)) {
        snprintf(a->prefix, sizeof(a->prefix), "%s", value);
        return 0;
    }
    if (value && strcmp(option, "create") == 0) {
        char *end;
        long n = strtol(value, &end, 10);
        if (end != value && !*end && n >= 1 && n <= PARTITIONS_MAX) {
            a->create = (int)n;
            return 0;
        }
    }
    lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                    "the location of Kafka: \"%s\" is not an option, or its value is wrong",
                    option);
    lathe_error_hint(err, "it is BROKER[:PORT][,...][?create=N&prefix=TEXT&config=FILE]");
    return -EINVAL;
}

int kafka_address_parse(const char *location, struct kafka_address *ret, struct lathe_error *err)
{
    ret->brokers = strdup(location);
    if (!ret->brokers)
        return lathe_error_nomem(err);
    char *options = strchr(ret->brokers, '?'), *rest = NULL;
    if (options)
        *options++ = '\0';
    int r = 0;
    for (char *option = options ? strtok_r(options, "&", &rest) : NULL; option && r == 0;
         option = strtok_r(NULL, "&", &rest))
        r = read_option(ret, option, err);
    return r;
}

void kafka_address_clear(struct kafka_address *a)
{
    for (size_t i = 0; i < a->n_properties; i++) {
        free(a->properties[i].name);
        if (a->properties[i].value)
            explicit_bzero(a->properties[i].value, strlen(a->properties[i].value));
        free(a->properties[i].value);
    }
    free(a->properties);
    free(a->config_path);
    free(a->brokers);
    *a = (struct kafka_address){0};
}

void kafka_address_topic(const struct kafka_address *a, enum lathe_topic topic, char *ret,
                         size_t size)
{
    snprintf(ret, size, "%s%s", a->prefix, lathe_topic_name(topic));
}
