#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes an H.264 elementary stream of field pictures (PAFF), which no free encoder makes.

Every field is one I_PCM picture, so a frame is two access units and two packets. 64x64 frames
carry their number as the same barcode that barcode.c draws.

usage: paff.py FRAMES OUTPUT [--reorder]
--reorder: decode order differs from display order (non-reference pictures come later).
"""
import sys

WIDTH = HEIGHT = 64
GOP = 12


class Bits:
    """A bit string in the syntax of H.264 section 7."""

    def __init__(self):
        self.bits = []

    def u(self, count, value):
        self.bits += [value >> i & 1 for i in range(count - 1, -1, -1)]

    def ue(self, value):
        length = (value + 1).bit_length()
        self.u(2 * length - 1, value + 1)

    def se(self, value):
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def align(self):
        while len(self.bits) % 8:
            self.bits.append(0)

    def trailing(self):
        self.bits.append(1)
        self.align()

    def data(self):
        out = bytearray()
        for i in range(0, len(self.bits), 8):
            out.append(int("".join(map(str, self.bits[i:i + 8])), 2))
        return bytes(out)


def nal(ref_idc, kind, payload):
    out, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([ref_idc << 5 | kind]) + bytes(out)


def sequence_set(reorder):
    b = Bits()
    for count, value in ((8, 77), (8, 0), (8, 30)):
        b.u(count, value)
    for value in (0, 4, 0, 4, 2):  # id, frame_num and POC of 8 bits, POC type 0, references
        b.ue(value)
    b.u(1, 0)
    b.ue(WIDTH // 16 - 1)
    b.ue(HEIGHT // 32 - 1)
    for flag in (0, 0, 1, 0, 1):  # field coding, no MBAFF, direct 8x8, no crop, VUI
        b.u(1, flag)
    for flag in (0, 0, 0, 0, 1):  # only timing is present
        b.u(1, flag)
    b.u(32, 1)
    b.u(32, 50)
    for flag in (1, 0, 0, 0, 1):  # fixed rate, no HRD, no pic_struct, restrictions follow
        b.u(1, flag)
    b.u(1, 1)
    for value in (0, 0, 10, 10, 1 if reorder else 0, 3):
        b.ue(value)
    b.trailing()
    return nal(3, 7, b.data())


def picture_set():
    b = Bits()
    b.ue(0)
    b.ue(0)
    b.u(2, 0)
    for _ in range(3):
        b.ue(0)
    b.u(3, 0)
    for _ in range(3):
        b.se(0)
    b.u(3, 0b100)  # deblocking control present
    b.trailing()
    return nal(3, 8, b.data())


def barcode(number):
    crc = 0xa5
    for bit in range(15, -1, -1):
        top = crc >> 7 ^ number >> bit & 1
        crc = crc << 1 & 0xff ^ (7 if top else 0)
    return number << 8 | crc


def luma(code, number, x, y):
    row = y * 6 // HEIGHT
    if row < 3:
        return 235 if code >> (23 - row * 8 - x * 8 // WIDTH) & 1 else 16
    return 60 + (x * 2 + number * 3) % 100


def field(number, poc, frame_num, bottom, reference, idr):
    b = Bits()
    b.ue(0)
    b.ue(7)
    b.ue(0)
    b.u(8, frame_num)
    b.u(2, 0b11 if bottom else 0b10)
    if idr:
        b.ue(0)
    b.u(8, poc & 0xff)
    if reference:
        b.u(2 if idr else 1, 0)
    b.se(0)
    b.ue(1)
    out = bytearray()
    code = barcode(number)
    for mb in range(WIDTH // 16 * HEIGHT // 32):
        b.ue(25)
        b.align()
        out += b.data()
        b = Bits()
        x0, y0 = mb % (WIDTH // 16) * 16, mb // (WIDTH // 16) * 16
        for y in range(y0, y0 + 16):
            out += bytes(luma(code, number, x, 2 * y + bottom) for x in range(x0, x0 + 16))
        out += bytes([128]) * 128
    b.trailing()
    return nal(1 if reference else 0, 5 if idr else 1, bytes(out) + b.data())


def decode_order(count, reorder):
    """(number, is a reference) of each frame of a GOP."""
    if not reorder:
        return [(i, True) for i in range(count)]
    order, at = [(0, True)], 1
    while at < count:
        if at + 1 < count:
            order += [(at + 1, True), (at, False)]
        else:
            order.append((at, True))
        at += 2
    return order


def main():
    frames, path, reorder = int(sys.argv[1]), sys.argv[2], "--reorder" in sys.argv
    with open(path, "wb") as f:
        for start in range(0, frames, GOP):
            frame_num = 0
            for i, reference in decode_order(min(GOP, frames - start), reorder):
                for bottom in (0, 1):
                    f.write(nal(0, 9, b"\xf0"))
                    if i == 0 and not bottom:
                        f.write(sequence_set(reorder) + picture_set())
                    f.write(field(start + i, 2 * i + bottom, frame_num, bottom, reference,
                                  i == 0 and not bottom))
                frame_num += reference


if __name__ == "__main__":
    main()
