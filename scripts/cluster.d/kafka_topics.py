# SPDX-License-Identifier: MIT
"""Makes topics at a Kafka broker on loopback, in one request of its protocol (CreateTopics 2): the
broker's own tool takes two seconds for each.

usage: kafka_topics.py PORT PARTITIONS TOPIC…
"""
import socket
import struct
import sys
import time

CREATE_TOPICS, VERSION = 19, 2
EXISTS, RETRIABLE = 36, {5, 7, 14, 15, 16, 41}


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def create(port, partitions, names):
    topics = b"".join(
        text(name) + struct.pack(">ihii", partitions, 1, 0, 1)
        + text("max.message.bytes") + text("2097152") for name in names)
    body = (struct.pack(">hhi", CREATE_TOPICS, VERSION, 1) + text("lathe-cluster")
            + struct.pack(">i", len(names)) + topics + struct.pack(">ib", 10000, 0))
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        stream = connection.makefile("rb")
        size, = struct.unpack(">i", stream.read(4))
        reply = stream.read(size)
    at, codes = 12, {}  # behind correlation id, throttle time and count
    for _ in names:
        length, = struct.unpack_from(">h", reply, at)
        name = reply[at + 2:at + 2 + length].decode()
        at += 2 + length
        codes[name], why = struct.unpack_from(">hh", reply, at)
        at += 4 + max(why, 0)
    return codes


def main():
    port, partitions, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    give_up = time.monotonic() + 30
    while True:
        codes = create(port, partitions, names)
        bad = {name: code for name, code in codes.items() if code not in (0, EXISTS)}
        if not bad:
            return 0
        if set(bad.values()) - RETRIABLE or time.monotonic() > give_up:
            print(f"kafka: topics cannot be made: {bad} (error codes of Kafka)", file=sys.stderr)
            return 1
        time.sleep(0.2)


sys.exit(main())
