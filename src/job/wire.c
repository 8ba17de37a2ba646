/* SPDX-License-Identifier: MIT */
/*
 * Framing of messages between parent and slot: a length, then JSON.
 *
 * The parent reads from a process that may have been taken over, so the length is bounded, and so
 * is the number of values: jansson spends about a hundred bytes on "[]," and could otherwise be
 * made to eat a gigabyte by one message within the length limit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lathe/base.h"
#include "lathe/slot.h"

#define VALUES_MAX (2u << 20)

static int send_all(int fd, const void *data, size_t size, int flags)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL | flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int lathe_wire_write(int fd, const json_t *message)
{
    _cleanup_free_ char *text = json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text)
        return -ENOMEM;
    size_t size = strlen(text);
    if (size > LATHE_SLOT_MESSAGE_MAX)
        return -EMSGSIZE;
    unsigned char head[4] = {(unsigned char)size, (unsigned char)(size >> 8),
                             (unsigned char)(size >> 16), (unsigned char)(size >> 24)};
    int r = send_all(fd, head, sizeof(head), MSG_MORE);
    return r < 0 ? r : send_all(fd, text, size, 0);
}

/* Returns the number of bytes, less than size only at end of file. */
static ssize_t read_all(int fd, void *data, size_t size)
{
    char *p = data;
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, p + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static size_t count_values(const char *text, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++)
        count += text[i] == ',' || text[i] == '[' || text[i] == '{';
    return count;
}

static int fail(struct lathe_error *err, int code, const char *why)
{
    return lathe_error_set(err, code, LATHE_FAULT_INTERNAL, "message of the peer: %s", why);
}

int lathe_wire_parse(const char *text, size_t size, json_t **ret, struct lathe_error *err)
{
    if (count_values(text, size) > VALUES_MAX)
        return fail(err, -EMSGSIZE, "it holds too many values");
    json_t *message = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (!message)
        return fail(err, -EPROTO, "it is not JSON");
    *ret = message;
    return 0;
}

int lathe_wire_read(int fd, json_t **ret, struct lathe_error *err)
{
    unsigned char head[4];
    ssize_t n = read_all(fd, head, sizeof(head));
    if (n == 0)
        return 0;
    if (n < 0)
        return fail(err, (int)n, strerror((int)-n));
    if (n < (ssize_t)sizeof(head))
        return fail(err, -EPROTO, "it ends within the length");
    size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (size == 0 || size > LATHE_SLOT_MESSAGE_MAX)
        return fail(err, -EMSGSIZE, "its length is out of bounds");

    _cleanup_free_ char *text = malloc(size);
    if (!text)
        return lathe_error_nomem(err);
    n = read_all(fd, text, size);
    if (n < 0)
        return fail(err, (int)n, strerror((int)-n));
    if ((size_t)n < size)
        return fail(err, -EPROTO, "it ends too early");
    int r = lathe_wire_parse(text, size, ret, err);
    return r < 0 ? r : 1;
}
