/* SPDX-License-Identifier: MIT */
/*
 * Drawing and reading of the frame number. Kept apart so that the generator and the checker
 * cannot disagree.
 */
#include "barcode.h"

static uint8_t crc8(uint16_t number)
{
    /* Non-zero start: neither a black nor a white picture is a valid code. */
    uint8_t crc = 0xa5;
    for (int bit = 15; bit >= 0; bit--) {
        int top = (crc >> 7) ^ ((number >> bit) & 1);
        crc = (uint8_t)((crc << 1) ^ (top ? 0x07 : 0));
    }
    return crc;
}

uint32_t barcode_encode(uint16_t number)
{
    return (uint32_t)number << 8 | crc8(number);
}

int barcode_pixel(uint32_t code, int x, int y, int width, int height)
{
    int row = y * BARCODE_ROWS * 2 / height;
    int column = x * BARCODE_COLUMNS / width;
    if (row >= BARCODE_ROWS)
        return -1;
    return (code >> (BARCODE_BITS - 1 - row * BARCODE_COLUMNS - column)) & 1;
}

/* Mean of the inner half of a block: edges are blurred by scaling and coding. */
static int block_mean(const uint8_t *luma, int stride, int x0, int x1, int y0, int y1)
{
    int dx = (x1 - x0) / 4, dy = (y1 - y0) / 4;
    int sum = 0, count = 0;
    for (int y = y0 + dy; y < y1 - dy; y++)
        for (int x = x0 + dx; x < x1 - dx; x++, count++)
            sum += luma[y * stride + x];
    return count ? sum / count : 128;
}

int barcode_read(const uint8_t *luma, int stride, int width, int height)
{
    uint32_t code = 0;
    for (int i = 0; i < BARCODE_BITS; i++) {
        int row = i / BARCODE_COLUMNS, column = i % BARCODE_COLUMNS;
        int mean = block_mean(
            luma, stride, width * column / BARCODE_COLUMNS, width * (column + 1) / BARCODE_COLUMNS,
            height * row / (BARCODE_ROWS * 2), height * (row + 1) / (BARCODE_ROWS * 2));
        if (mean > 96 && mean < 150)
            return -1;
        code = code << 1 | (mean >= 150);
    }
    uint16_t number = (uint16_t)(code >> 8);
    return barcode_encode(number) == code ? number : -1;
}
