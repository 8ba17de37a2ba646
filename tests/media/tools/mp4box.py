#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Edits the moov box of an MP4 whose moov comes last, for what no muxer option makes.

usage: mp4box.py edits  IN OUT "0.4+1.2 empty+0.5 2.4+1.6"   edit list of every track, in seconds
       mp4box.py rotate IN OUT 90|180|270                    display matrix of the video track
"""
import struct
import sys

CONTAINERS = {b"moov", b"trak", b"mdia", b"edts"}


def parse(data):
    """[(type, payload or list of children)…]"""
    boxes, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + size]
        boxes.append([kind, parse(body) if kind in CONTAINERS else body])
        at += size
    return boxes


def build(boxes):
    out = b""
    for kind, body in boxes:
        payload = build(body) if isinstance(body, list) else body
        out += struct.pack(">I4s", len(payload) + 8, kind) + payload
    return out


def find(boxes, *path):
    for kind, body in boxes:
        if kind == path[0]:
            return body if len(path) == 1 else find(body, *path[1:])
    return None


def timescale(header):
    return struct.unpack_from(">I", header, 20 if header[0] else 12)[0]


def first_media_time(trak):
    """Where the presentation began before the edit: encoder delay, reordering delay."""
    elst = find(trak, b"edts", b"elst")
    if elst is None:
        return 0
    count = struct.unpack_from(">I", elst, 4)[0]
    for i in range(count):
        _, time, _ = struct.unpack_from(">IiI", elst, 8 + 12 * i)
        if time >= 0:
            return time
    return 0


def set_edits(moov, text):
    movie = timescale(find(moov, b"mvhd"))
    for kind, trak in moov:
        if kind != b"trak":
            continue
        media = timescale(find(trak, b"mdia", b"mdhd"))
        base = first_media_time(trak)
        entries = []
        for part in text.split():
            start, length = part.split("+")
            at = -1 if start == "empty" else base + round(float(start) * media)
            entries.append(struct.pack(">IiI", round(float(length) * movie), at, 1 << 16))
        elst = struct.pack(">II", 0, len(entries)) + b"".join(entries)
        trak[:] = [box for box in trak if box[0] != b"edts"]
        trak.insert(1, [b"edts", [[b"elst", elst]]])


def set_rotation(moov, degrees):
    one = 1 << 16
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    for kind, trak in moov:
        if kind == b"trak" and b"vide" in find(trak, b"mdia", b"hdlr")[:16]:
            box = next(box for box in trak if box[0] == b"tkhd")
            at = len(box[1]) - 8 - 36
            a, b, c, d = matrix
            box[1] = box[1][:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) \
                + box[1][at + 36:]


def main():
    verb, source, output, argument = sys.argv[1:5]
    with open(source, "rb") as f:
        data = f.read()
    at = 0
    while data[at + 4:at + 8] != b"moov":
        at += struct.unpack_from(">I", data, at)[0]
    moov = parse(data[at:])
    assert len(moov) == 1, "moov must be the last box"
    if verb == "edits":
        set_edits(moov[0][1], argument)
    else:
        set_rotation(moov[0][1], int(argument))
    with open(output, "wb") as f:
        f.write(data[:at] + build(moov))


if __name__ == "__main__":
    main()
