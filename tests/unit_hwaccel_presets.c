/* SPDX-License-Identifier: MIT */
/*
 * The table of presets: in order, within what a device can, and each driver's own meaning.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "presets.h"

static int passes(const char *multipass)
{
    return strcmp(multipass, "fullres") == 0 ? 2 : strcmp(multipass, "qres") == 0;
}

static void test_nvenc_never_gets_worse(void **state)
{
    (void)state;
    for (int i = LATHE_PRESET_SUPERFAST; i <= LATHE_PRESET_VERYSLOW; i++) {
        const struct lathe_preset_nvenc *a = lathe_preset_nvenc((enum lathe_preset)(i - 1));
        const struct lathe_preset_nvenc *b = lathe_preset_nvenc((enum lathe_preset)i);
        assert_true(strcmp(a->preset, b->preset) <= 0);
        assert_true(passes(a->multipass) <= passes(b->multipass));
        assert_true(a->lookahead <= b->lookahead && a->b_frames <= b->b_frames);
        assert_true(a->b_ref <= b->b_ref && a->spatial_aq <= b->spatial_aq);
        assert_true(a->temporal_aq <= b->temporal_aq);
        char one[160], other[160];
        lathe_preset_nvenc_text(a, one, sizeof(one));
        lathe_preset_nvenc_text(b, other, sizeof(other));
        assert_string_not_equal(one, other);
    }
}

static void test_nvenc_words(void **state)
{
    (void)state;
    static const struct {
        enum lathe_preset preset;
        const char *text;
    } cases[] = {
        {LATHE_PRESET_ULTRAFAST, "preset=p1 tune=hq multipass=disabled rc-lookahead=0 spatial-aq=0 "
                                 "temporal-aq=0 bf=0 b_ref_mode=disabled"},
        {LATHE_PRESET_FAST, "preset=p3 tune=hq multipass=disabled rc-lookahead=0 spatial-aq=1 "
                            "temporal-aq=0 bf=3 b_ref_mode=disabled"},
        {LATHE_PRESET_VERYSLOW, "preset=p7 tune=hq multipass=fullres rc-lookahead=32 spatial-aq=1 "
                                "temporal-aq=1 bf=4 b_ref_mode=middle"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[160];
        lathe_preset_nvenc_text(lathe_preset_nvenc(cases[i].preset), text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static void test_nvenc_within_features(void **state)
{
    (void)state;
    const enum lathe_preset best = LATHE_PRESET_VERYSLOW;
    struct lathe_preset_nvenc p = lathe_preset_nvenc_within(best, LATHE_HW_FEATURES_ALL);
    assert_true(p.b_ref && p.temporal_aq && p.lookahead == 32 && p.b_frames == 4);
    p = lathe_preset_nvenc_within(best, 0);
    assert_false(p.b_ref || p.temporal_aq || p.spatial_aq || p.lookahead || p.b_frames);
    assert_string_equal(p.multipass, "disabled");
    assert_string_equal(p.preset, "p7");
    /* References among B-frames need B-frames. */
    p = lathe_preset_nvenc_within(best, LATHE_HW_FEATURES_ALL & ~(unsigned)LATHE_HW_B_FRAMES);
    assert_false(p.b_ref);
    assert_true(p.temporal_aq && p.lookahead == 32);
    p = lathe_preset_nvenc_within(LATHE_PRESET_FAST, LATHE_HW_FEATURES_ALL);
    assert_false(p.b_ref || p.temporal_aq || p.lookahead);
}

static void test_vaapi_levels(void **state)
{
    (void)state;
    assert_int_equal(lathe_va_driver("Intel iHD driver for Intel(R) Gen Graphics - 23.1.1"),
                     LATHE_VA_IHD);
    assert_int_equal(lathe_va_driver("Intel i965 driver for Skylake - 2.4.1"), LATHE_VA_I965);
    assert_int_equal(lathe_va_driver("Mesa Gallium driver 22.3.6 for AMD Radeon"), LATHE_VA_MESA);
    assert_int_equal(lathe_va_driver("VA-API NVDEC driver"), LATHE_VA_OTHER);
    int before = 8;
    for (int i = LATHE_PRESET_ULTRAFAST; i <= LATHE_PRESET_VERYSLOW; i++) {
        enum lathe_preset preset = (enum lathe_preset)i;
        struct lathe_preset_vaapi ihd =
            lathe_preset_vaapi(LATHE_VA_IHD, preset, LATHE_HW_FEATURES_ALL);
        assert_in_range(ihd.level, 1, 7);
        assert_true(ihd.level <= before);
        before = ihd.level;
        assert_in_range(lathe_preset_vaapi(LATHE_VA_I965, preset, 0).level, 1, 2);
        assert_int_equal(lathe_preset_vaapi(LATHE_VA_MESA, preset, 0).level, 0);
        assert_int_equal(lathe_preset_vaapi(LATHE_VA_OTHER, preset, 0).level, 0);
        assert_int_equal(lathe_preset_vaapi(LATHE_VA_IHD, preset, LATHE_HW_B_REF).b_frames, 0);
        assert_int_equal(lathe_preset_vaapi(LATHE_VA_IHD, preset, LATHE_HW_B_FRAMES).b_depth, 1);
    }
    assert_int_equal(before, 1);
    assert_int_equal(
        lathe_preset_vaapi(LATHE_VA_IHD, LATHE_PRESET_SLOW, LATHE_HW_FEATURES_ALL).b_depth, 2);
}

static void test_vaapi_quality_mode(void **state)
{
    (void)state;
    const unsigned icq = LATHE_HW_RC_ICQ, qvbr = LATHE_HW_RC_QVBR, cqp = LATHE_HW_RC_CQP;
    assert_int_equal(lathe_preset_vaapi_quality_mode(icq | qvbr | cqp, false), icq);
    assert_int_equal(lathe_preset_vaapi_quality_mode(icq | qvbr | cqp, true), qvbr);
    assert_int_equal(lathe_preset_vaapi_quality_mode(cqp, false), cqp);
    assert_int_equal(lathe_preset_vaapi_quality_mode(icq | cqp, true), 0);
    assert_int_equal(lathe_preset_vaapi_quality_mode(qvbr, false), 0);
}

static void test_quality_scales(void **state)
{
    (void)state;
    const enum lathe_encoder nv = LATHE_ENCODER_NVENC, va = LATHE_ENCODER_VAAPI;
    assert_true(lathe_preset_quality(nv, LATHE_CODEC_H264, 23) == 28);
    assert_true(lathe_preset_quality(va, LATHE_CODEC_HEVC, 23) == 26);
    assert_true(lathe_preset_quality(va, LATHE_CODEC_H264, 51) == 51);
    assert_true(lathe_preset_quality(nv, LATHE_CODEC_HEVC, -20) == 1);
    assert_true(lathe_preset_quality(nv, LATHE_CODEC_AV1, 46) == 63);
    assert_true(lathe_preset_quality(va, LATHE_CODEC_AV1, 48) == 255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nvenc_never_gets_worse), cmocka_unit_test(test_nvenc_words),
        cmocka_unit_test(test_nvenc_within_features),  cmocka_unit_test(test_vaapi_levels),
        cmocka_unit_test(test_vaapi_quality_mode),     cmocka_unit_test(test_quality_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
