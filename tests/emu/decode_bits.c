/* SPDX-License-Identifier: MIT */
/*
 * Bit-level reading and writing for the decoding core. Libavcodec has all of this, but exports
 * none of it.
 */
#include "decode_bits.h"

#include <stdlib.h>
#include <string.h>

void emu_bytes_append(struct emu_bytes *bytes, const void *data, size_t size)
{
    uint8_t *grown;
    size_t capacity = bytes->capacity ? bytes->capacity : 1024;

    if (bytes->failed || size == 0)
        return;
    while (capacity < bytes->size + size)
        capacity *= 2;
    if (capacity != bytes->capacity) {
        grown = realloc(bytes->data, capacity);
        if (!grown) {
            bytes->failed = true;
            return;
        }
        bytes->data = grown;
        bytes->capacity = capacity;
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

void emu_bytes_free(struct emu_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct emu_bytes){0};
}

void emu_put(struct emu_writer *w, int bits, uint32_t value)
{
    uint8_t byte;

    for (int i = bits - 1; i >= 0; i--) {
        w->partial = w->partial << 1 | (value >> i & 1);
        if (++w->num_partial == 8) {
            byte = (uint8_t)w->partial;
            emu_bytes_append(w->bytes, &byte, 1);
            w->partial = 0;
            w->num_partial = 0;
        }
    }
}

int emu_ue_length(uint32_t value)
{
    int length = 0;

    for (uint32_t rest = value + 1; rest > 1; rest >>= 1)
        length++;
    return 2 * length + 1;
}

void emu_put_ue(struct emu_writer *w, uint32_t value)
{
    int length = emu_ue_length(value) / 2;

    emu_put(w, length, 0);
    emu_put(w, length + 1, value + 1);
}

void emu_put_se(struct emu_writer *w, int32_t value)
{
    emu_put_ue(w, value > 0 ? 2 * (uint32_t)value - 1 : 2 * (uint32_t)-value);
}

void emu_put_trailing(struct emu_writer *w)
{
    emu_put(w, 1, 1);
    while (w->num_partial)
        emu_put(w, 1, 0);
}

size_t emu_put_count(const struct emu_writer *w)
{
    return w->bytes->size * 8 + (size_t)w->num_partial;
}

uint32_t emu_get(struct emu_reader *r, int bits)
{
    uint32_t value = 0;

    for (int i = 0; i < bits; i++) {
        if (r->position >= r->bits) {
            r->overrun = true;
            return 0;
        }
        value = value << 1 | (r->data[r->position / 8] >> (7 - r->position % 8) & 1);
        r->position++;
    }
    return value;
}

uint32_t emu_get_ue(struct emu_reader *r)
{
    int zeros = 0;

    while (!r->overrun && zeros < 31 && emu_get(r, 1) == 0)
        zeros++;
    return (UINT32_C(1) << zeros) - 1 + emu_get(r, zeros);
}

void emu_skip(struct emu_reader *r, size_t bits)
{
    r->position += bits;
    if (r->position > r->bits) {
        r->position = r->bits;
        r->overrun = true;
    }
}

int emu_ceil_log2(uint32_t value)
{
    int bits = 0;

    while (bits < 31 && (UINT32_C(1) << bits) < value)
        bits++;
    return bits;
}

void emu_append_nal(struct emu_bytes *out, const uint8_t *header, size_t header_size,
                    const uint8_t *payload, size_t payload_size)
{
    static const uint8_t start[4] = {0, 0, 0, 1}, escape = 3;
    size_t from = 0;
    int zeros = 0;

    emu_bytes_append(out, start, sizeof(start));
    emu_bytes_append(out, header, header_size);
    for (size_t i = 0; i < payload_size; i++) {
        if (zeros >= 2 && payload[i] <= 3) {
            emu_bytes_append(out, payload + from, i - from);
            emu_bytes_append(out, &escape, 1);
            from = i;
            zeros = 0;
        }
        zeros = payload[i] ? 0 : zeros + 1;
    }
    emu_bytes_append(out, payload + from, payload_size - from);
}

void emu_append_unescaped(struct emu_bytes *out, const uint8_t *data, size_t size)
{
    size_t from = 0;
    int zeros = 0;

    for (size_t i = 0; i < size; i++) {
        if (zeros >= 2 && data[i] == 3) {
            emu_bytes_append(out, data + from, i - from);
            from = i + 1;
            zeros = 0;
            continue;
        }
        zeros = data[i] ? 0 : zeros + 1;
    }
    emu_bytes_append(out, data + from, size - from);
}
