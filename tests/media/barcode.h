/* SPDX-License-Identifier: MIT */
/*
 * The frame number as a picture: 24 big black or white blocks, eight across and three down, over
 * the upper half of the frame. 16 bits of number and 8 of CRC, so that a lossy, scaled or blended
 * frame either reads back as its own number or not at all.
 */
#ifndef LATHE_TEST_BARCODE_H
#define LATHE_TEST_BARCODE_H

#include <stdint.h>

#define BARCODE_COLUMNS 8
#define BARCODE_ROWS 3
#define BARCODE_BITS (BARCODE_COLUMNS * BARCODE_ROWS)

/* 16 bits of number, then 8 of CRC, most significant first in reading order. */
uint32_t barcode_encode(uint16_t number);

/* The colour (0 black, 1 white) at a pixel, or -1 below the barcode. */
int barcode_pixel(uint32_t code, int x, int y, int width, int height);

/* Reads an 8-bit luma plane. Returns the number, or -1 where it cannot be read. */
int barcode_read(const uint8_t *luma, int stride, int width, int height);

#endif
