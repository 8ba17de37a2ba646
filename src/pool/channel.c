/* SPDX-License-Identifier: MIT */
/*
 * Non-blocking framing towards a slot. Everything that arrives is from a process that parses
 * hostile bytes: the buffer grows with what really came, never with what a header promises.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "channel.h"
#include "lathe/base.h"

#define HEADER_BYTES 4
#define READ_STEP_BYTES (64u << 10)
#define READ_ROUND_BYTES (1u << 20) /* then the caller looks at its clock again */

void lathe_channel_finish(struct lathe_channel *channel)
{
    if (channel->fd >= 0)
        close(channel->fd);
    free(channel->out);
    free(channel->in);
    *channel = (struct lathe_channel){.fd = -1};
}

int lathe_channel_queue(struct lathe_channel *channel, const json_t *message)
{
    _cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    size_t size = strlen(text);
    if (size > LATHE_SLOT_MESSAGE_MAX)
        return -EMSGSIZE;
    char *out = malloc(HEADER_BYTES + size);
    if (!out)
        return -ENOMEM;
    for (int i = 0; i < HEADER_BYTES; i++)
        out[i] = (char)(size >> (8 * i) & 0xff);
    memcpy(out + HEADER_BYTES, text, size);
    free(channel->out);
    channel->out = out;
    channel->out_size = HEADER_BYTES + size;
    channel->out_sent = 0;
    return 0;
}

bool lathe_channel_pending(const struct lathe_channel *channel)
{
    return channel->out_sent < channel->out_size;
}

int lathe_channel_flush(struct lathe_channel *channel)
{
    while (lathe_channel_pending(channel)) {
        ssize_t n = send(channel->fd, channel->out + channel->out_sent,
                         channel->out_size - channel->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            channel->out_sent += (size_t)n;
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            channel->out_sent = channel->out_size;
            return 0;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int reserve(struct lathe_channel *channel, size_t more)
{
    if (channel->in_capacity - channel->in_size >= more)
        return 0;
    size_t capacity = channel->in_capacity ? channel->in_capacity * 2 : READ_STEP_BYTES;
    while (capacity - channel->in_size < more)
        capacity *= 2;
    char *in = realloc(channel->in, capacity);
    if (!in)
        return -ENOMEM;
    channel->in = in;
    channel->in_capacity = capacity;
    return 0;
}

int lathe_channel_fill(struct lathe_channel *channel)
{
    for (size_t round = 0; round < READ_ROUND_BYTES && !channel->ended;) {
        int r = reserve(channel, READ_STEP_BYTES);
        if (r < 0)
            return r;
        ssize_t n =
            recv(channel->fd, channel->in + channel->in_size, READ_STEP_BYTES, MSG_DONTWAIT);
        if (n > 0) {
            channel->in_size += (size_t)n;
            round += (size_t)n;
        } else if (n == 0 || errno == ECONNRESET) {
            channel->ended = true;
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int lathe_channel_next(struct lathe_channel *channel, struct lathe_slot_message *ret,
                       struct lathe_error *err)
{
    if (channel->in_size < HEADER_BYTES)
        return 0;
    uint32_t size = 0;
    for (int i = 0; i < HEADER_BYTES; i++)
        size |= (uint32_t)(unsigned char)channel->in[i] << (8 * i);
    if (size > LATHE_SLOT_MESSAGE_MAX)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "it announced a message of %u bytes", size);
    if (channel->in_size - HEADER_BYTES < size)
        return 0;
    json_t *json = NULL;
    int r = lathe_wire_parse(channel->in + HEADER_BYTES, size, &json, NULL);
    if (r < 0)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "it sent something that is not JSON, or far too much of it");
    struct lathe_error inner = {0};
    r = lathe_slot_message_from_json(json, ret, &inner);
    json_decref(json);
    if (r == -ENOMEM)
        return lathe_error_nomem(err);
    if (r < 0)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL, "%s",
                               inner.code ? inner.what : "it sent a message of unknown shape");
    channel->in_size -= HEADER_BYTES + size;
    memmove(channel->in, channel->in + HEADER_BYTES + size, channel->in_size);
    return 1;
}
