/* SPDX-License-Identifier: MIT */
/*
 * Packets of NAL units keep every byte on their way to start codes and back, damaged ones included;
 * and players of what lies between find the units.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "annexb.h"

static unsigned long long seed;

static unsigned next_random(unsigned below)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % below;
}

/* Units of random length, mostly of zeros and ones, so that everything like a start code occurs. */
static size_t make_packet(uint8_t *data, size_t room, int emulation)
{
    size_t at = 0;
    for (unsigned units = 1 + next_random(4); units > 0 && at + 44 < room; units--) {
        size_t length = next_random(40);
        memset(data + at, 0, 4);
        data[at + 3] = (uint8_t)length;
        for (size_t i = 0; i < length; i++) {
            uint8_t *byte = &data[at + 4 + i];
            *byte = (uint8_t)next_random(3);
            if (!emulation && i >= 2 && !byte[-1] && !byte[-2] && *byte < 3)
                *byte = 3; /* as encoders do it */
        }
        at += 4 + length;
    }
    return at;
}

static void round_trip(void **state)
{
    (void)state;
    uint8_t original[256], data[256];
    int refused = 0;
    for (int i = 0; i < 200000; i++) {
        const int emulation = i % 2;
        size_t size = make_packet(original, sizeof(original), emulation);
        memcpy(data, original, size);
        if (media_annexb_from_lengths(data, size)) {
            assert_memory_equal(data, "\0\0\0\1", 4);
            assert_true(media_annexb_to_lengths(data, size));
        } else {
            assert_true(emulation);
            refused++;
        }
        assert_memory_equal(data, original, size);
    }
    assert_true(refused > 1000);
}

static void damaged_packets_stay_as_they_are(void **state)
{
    (void)state;
    static const uint8_t too_long[] = {0, 0, 0, 2, 9, 9, 0, 0, 1, 0, 7};
    static const uint8_t cut_off[] = {0, 0, 0, 2, 9, 9, 0, 0};
    uint8_t data[16];
    memcpy(data, too_long, sizeof(too_long));
    assert_false(media_annexb_from_lengths(data, sizeof(too_long)));
    assert_memory_equal(data, too_long, sizeof(too_long));
    memcpy(data, cut_off, sizeof(cut_off));
    assert_false(media_annexb_from_lengths(data, sizeof(cut_off)));
    assert_memory_equal(data, cut_off, sizeof(cut_off));
    assert_true(media_annexb_from_lengths(data, 0));
}

static void delimiters_are_seen(void **state)
{
    (void)state;
    static const uint8_t h264[] = {0, 0, 0, 1, 9, 0xf0}, hevc[] = {0, 0, 1, 0x46, 1, 0x50};
    assert_true(media_annexb_has_delimiter(AV_CODEC_ID_H264, h264, sizeof(h264)));
    assert_false(media_annexb_has_delimiter(AV_CODEC_ID_HEVC, h264, sizeof(h264)));
    assert_true(media_annexb_has_delimiter(AV_CODEC_ID_HEVC, hevc, sizeof(hevc)));
    assert_false(media_annexb_has_delimiter(AV_CODEC_ID_H264, h264, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(damaged_packets_stay_as_they_are),
        cmocka_unit_test(delimiters_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
