/* SPDX-License-Identifier: MIT */
#include "completeness.h"

#include <errno.h>
#include <libavutil/intreadwrite.h>
#include <string.h>
#include <unistd.h>

#include "setup.h"

/* A declared duration may be rounded, or end with a stream that Lathe does not keep. */
#define DURATION_TOLERANCE_US 1000000

static int truncated(const struct media_source *source, int64_t missing_bytes, const char *what,
                     struct lathe_error *err)
{
    if (missing_bytes > 0)
        lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT,
                        "%s is truncated: its last %s lacks %lld bytes", source->path, what,
                        (long long)missing_bytes);
    else
        lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s is truncated: %s", source->path,
                        what);
    lathe_error_hint(err, "copy the file again, or use --damaged conceal to convert what is there");
    return -ENODATA;
}

static bool read_at(const struct media_source *source, int64_t offset, uint8_t *buffer, size_t size)
{
    return pread(source->fd, buffer, size, offset) == (ssize_t)size;
}

/* ISO/IEC 14496-12: a file is a sequence of boxes; each says its size. */
static int check_mp4(const struct media_source *source, struct lathe_error *err)
{
    int64_t at = 0;
    while (at < source->size_bytes) {
        uint8_t head[16];
        if (!read_at(source, at, head, 8))
            return truncated(source, 0, "it ends within a box header", err);
        uint64_t size = AV_RB32(head);
        if (size == 0)
            return 0; /* to the end of the file, whatever that is */
        if (size == 1) {
            if (!read_at(source, at, head, 16))
                return truncated(source, 0, "it ends within a box header", err);
            size = AV_RB64(head + 8);
        }
        if (size < 8)
            return 0; /* not a box: padding written by some cameras */
        if (size > (uint64_t)(source->size_bytes - at)) {
            char what[32];
            snprintf(what, sizeof(what), "\"%.4s\" box", (const char *)head + 4);
            return truncated(source, (int64_t)(size - (uint64_t)(source->size_bytes - at)), what,
                             err);
        }
        at += (int64_t)size;
    }
    return 0;
}

/* An EBML variable-length number (RFC 8794); returns its length or 0. `unknown` = all ones. */
static int read_vint(const uint8_t *p, size_t size, bool keep_marker, uint64_t *ret, bool *unknown)
{
    if (!size || !p[0])
        return 0;
    int length = 1;
    while (!(p[0] & (0x80 >> (length - 1))))
        length++;
    if ((size_t)length > size)
        return 0;
    uint64_t value = keep_marker ? p[0] : p[0] & (0xff >> length);
    bool ones = (p[0] & (0xff >> length)) == (0xff >> length);
    for (int i = 1; i < length; i++) {
        value = value << 8 | p[i];
        ones = ones && p[i] == 0xff;
    }
    *ret = value;
    *unknown = ones;
    return length;
}

static int check_matroska(const struct media_source *source, struct lathe_error *err)
{
    int64_t at = 0;
    while (at < source->size_bytes) {
        uint8_t head[16] = {0};
        ssize_t n = pread(source->fd, head, sizeof(head), at);
        uint64_t id = 0, size = 0;
        bool unknown = false, ignored = false;
        int id_length = n > 0 ? read_vint(head, (size_t)n, true, &id, &ignored) : 0;
        int size_length =
            id_length ? read_vint(head + id_length, (size_t)(n - id_length), false, &size, &unknown)
                      : 0;
        if (!size_length || unknown)
            return 0; /* written live: only the duration can tell */
        if (size > (uint64_t)(source->size_bytes - at - id_length - size_length)) {
            if (id != 0x18538067 && id != 0x1A45DFA3)
                return 0; /* not at top level any more */
            return truncated(
                source,
                (int64_t)(size - (uint64_t)(source->size_bytes - at - id_length - size_length)),
                "segment", err);
        }
        at += id_length + size_length + (int64_t)size;
    }
    return 0;
}

static int check_mpegts(const struct media_source *source, struct lathe_error *err)
{
    /* 188 bytes a packet; 192 with an arrival time, 204 with parity. */
    static const int sizes[] = {188, 192, 204};
    uint8_t head[204 * 2 + 1];
    if (!read_at(source, 0, head, sizeof(head)))
        return 0;
    for (size_t i = 0; i < LATHE_COUNT(sizes); i++) {
        int lead = sizes[i] == 192 ? 4 : 0;
        if (head[lead] != 0x47 || head[lead + sizes[i]] != 0x47)
            continue;
        int64_t rest = source->size_bytes % sizes[i];
        if (rest)
            return truncated(source, sizes[i] - rest, "transport packet", err);
        return 0;
    }
    return 0;
}

int media_completeness_check(const struct media_source *source, struct lathe_error *err)
{
    const char *format = source->format->iformat->name;
    if (strncmp(format, "mov", 3) == 0)
        return check_mp4(source, err);
    if (strncmp(format, "matroska", 8) == 0)
        return check_matroska(source, err);
    if (strcmp(format, "mpegts") == 0)
        return check_mpegts(source, err);
    return 0;
}

int media_completeness_check_duration(const struct media_source *source, int64_t end_us,
                                      struct lathe_error *err)
{
    const AVFormatContext *format = source->format;
    /* Matroska writes the duration when the file is finished. An MP4's may be longer than its
     * pictures (edit lists), and its boxes tell already. */
    if (strncmp(format->iformat->name, "matroska", 8) != 0)
        return 0;
    if (format->duration_estimation_method != AVFMT_DURATION_FROM_STREAM ||
        format->duration == AV_NOPTS_VALUE)
        return 0;
    int64_t missing_us = format->duration - end_us;
    if (missing_us <= DURATION_TOLERANCE_US)
        return 0;
    char what[96];
    snprintf(what, sizeof(what), "it says %.3f s but holds %.3f s", (double)format->duration / 1e6,
             (double)end_us / 1e6);
    return truncated(source, 0, what, err);
}
