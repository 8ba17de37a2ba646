/* SPDX-License-Identifier: MIT */
/*
 * A packet is one datagram of a connected socket, so that it comes whole or not at all, and its
 * descriptor with it. What the kernel had to cut off is no packet.
 */
#include "packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lathe/base.h"
#include "lathe/door.h"

int lathe_door_send(int fd, const json_t *message, int passed_fd)
{
    _cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    struct iovec part = {.iov_base = text, .iov_len = strlen(text)};
    if (part.iov_len > LATHE_DOOR_PACKET_MAX)
        return -EMSGSIZE;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (passed_fd >= 0) {
        packet.msg_control = control.bytes;
        packet.msg_controllen = sizeof control.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
        *head = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(head), &passed_fd, sizeof passed_fd);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &packet, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* The first descriptor that came; others are closed. */
static int take_descriptor(struct msghdr *packet)
{
    int ret = -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(packet); head; head = CMSG_NXTHDR(packet, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            if (ret < 0)
                ret = fd;
            else
                close(fd);
        }
    }
    return ret;
}

int lathe_door_receive(int fd, json_t **ret, int *ret_passed_fd)
{
    *ret_passed_fd = -1;
    _cleanup_free_ char *text = malloc(LATHE_DOOR_PACKET_MAX);
    if (!text)
        return -ENOMEM;
    struct iovec part = {.iov_base = text, .iov_len = LATHE_DOOR_PACKET_MAX};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(fd, &packet, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    int passed = take_descriptor(&packet);
    json_t *json = packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
                       ? NULL
                       : json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        if (passed >= 0)
            close(passed);
        return -EPROTO;
    }
    *ret = json;
    *ret_passed_fd = passed;
    return 1;
}

int lathe_door_error_to_json(const struct lathe_error *err, json_t **ret)
{
    *ret = json_pack("{s:s, s:s, s:i, s:s, s:b}", "what", err->what, "hint", err->hint, "code",
                     err->code, "fault", lathe_fault_name(err->fault), "retriable", err->retriable);
    return *ret ? 0 : -ENOMEM;
}

int lathe_door_error_from_json(const json_t *error, struct lathe_error *err)
{
    const char *what = json_string_value(json_object_get(error, "what"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    const char *fault = json_string_value(json_object_get(error, "fault"));
    json_int_t code = json_integer_value(json_object_get(error, "code"));
    if (!what || code >= 0 || code < -4095)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_SERVER,
                               "the worker's answer is no answer");
    lathe_error_set(err, (int)code, lathe_fault_from_name(fault ? fault : ""), "%s", what);
    if (err)
        err->retriable = json_is_true(json_object_get(error, "retriable"));
    if (hint && *hint)
        lathe_error_hint(err, "%s", hint);
    return (int)code;
}
