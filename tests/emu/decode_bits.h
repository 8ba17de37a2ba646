/* SPDX-License-Identifier: MIT */
/*
 * Bits of H.264 and HEVC headers: a writer for parameter sets, a reader for slice headers, and the
 * escaping of NAL units. Private to the decoding core.
 */
#ifndef LATHE_EMU_DECODE_BITS_H
#define LATHE_EMU_DECODE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow; a failed allocation makes every later call do nothing. */
struct emu_bytes {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
};

void emu_bytes_append(struct emu_bytes *bytes, const void *data, size_t size);
void emu_bytes_free(struct emu_bytes *bytes);

struct emu_writer {
    struct emu_bytes *bytes; /* unescaped payload */
    unsigned partial;        /* bits not yet written */
    int num_partial;
};

void emu_put(struct emu_writer *w, int bits, uint32_t value);
void emu_put_ue(struct emu_writer *w, uint32_t value);
void emu_put_se(struct emu_writer *w, int32_t value);
void emu_put_trailing(struct emu_writer *w); /* stop bit and alignment */
size_t emu_put_count(const struct emu_writer *w);

struct emu_reader {
    const uint8_t *data;
    size_t bits, position;
    bool overrun;
};

uint32_t emu_get(struct emu_reader *r, int bits);
uint32_t emu_get_ue(struct emu_reader *r);
void emu_skip(struct emu_reader *r, size_t bits);

/* Length of value in Exp-Golomb code. */
int emu_ue_length(uint32_t value);
/* Smallest n with 2^n >= value. */
int emu_ceil_log2(uint32_t value);

/* Appends a start code and the NAL unit `header` + `payload`, escaped. */
void emu_append_nal(struct emu_bytes *out, const uint8_t *header, size_t header_size,
                    const uint8_t *payload, size_t payload_size);
/* Appends `size` bytes of a NAL unit with the escapes removed. */
void emu_append_unescaped(struct emu_bytes *out, const uint8_t *data, size_t size);

#endif
