/* SPDX-License-Identifier: MIT */
/*
 * Packets of the door, both ways: JSON, and perhaps one descriptor.
 */
#ifndef LATHE_DOOR_PACKET_H
#define LATHE_DOOR_PACKET_H

#include <jansson.h>

#include "lathe/error.h"

/* `passed_fd` negative: none. -EPIPE, -EMSGSIZE, … */
int lathe_door_send(int fd, const json_t *message, int passed_fd);
/* 1 with an object (the caller's) and *ret_passed_fd (the caller's, or -1), 0 when the peer is
 * gone; -EPROTO for what is no object. A second descriptor is closed. */
int lathe_door_receive(int fd, json_t **ret, int *ret_passed_fd);

int lathe_door_error_to_json(const struct lathe_error *err, json_t **ret);
/* Fills `err` from "error" of an answer, and returns its code. */
int lathe_door_error_from_json(const json_t *error, struct lathe_error *err);

#endif
