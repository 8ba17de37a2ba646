/* SPDX-License-Identifier: MIT */
/*
 * The ladder as a table: what the device can, what is wanted, which step, and the reasons.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/ladder.h"

/* What works on the device of a case. */
enum {
    OPENS = 1 << 0,
    ENC264 = 1 << 1,
    ENC265 = 1 << 2,
    ENC265_10 = 1 << 3,
    DEC264 = 1 << 4,
    DEC265_10 = 1 << 5,
    SCALE8 = 1 << 6,
    SCALE10 = 1 << 7,
    HANGS = 1 << 8,     /* opening hangs */
    ENC_BUSY = 1 << 9,  /* h264 encoding is busy */
    DEC_CRASH = 1 << 10 /* h264 decoding crashes */
};
#define FULL (OPENS | ENC264 | ENC265 | ENC265_10 | DEC264 | DEC265_10 | SCALE8 | SCALE10)
#define NO_ENCODER (OPENS | DEC264 | DEC265_10 | SCALE8 | SCALE10)

static void add(struct lathe_hw_device *d, enum lathe_hw_kind kind, const char *codec, int bits,
                enum lathe_hw_verdict verdict, const char *reason)
{
    struct lathe_hw_trial *t = &d->trials[d->n_trials++];
    *t = (struct lathe_hw_trial){.kind = kind, .bits = bits, .verdict = verdict};
    snprintf(t->codec, sizeof(t->codec), "%s", codec);
    snprintf(t->reason, sizeof(t->reason), "%s", verdict == LATHE_HW_WORKS ? "" : reason);
    t->features = kind == LATHE_HW_ENCODE ? LATHE_HW_B_FRAMES : 0;
}

static struct lathe_hw_device device(enum lathe_encoder family, unsigned can)
{
    struct lathe_hw_device d = {.family = family, .path = "0", .driver = "1"};
    const enum lathe_hw_verdict yes = LATHE_HW_WORKS, not = LATHE_HW_UNSUPPORTED;
    add(&d, LATHE_HW_OPEN, "", 0,
        can & OPENS   ? yes
        : can & HANGS ? LATHE_HW_HANGS
                      : LATHE_HW_LOST,
        "no answer");
    add(&d, LATHE_HW_ENCODE, "h264", 8,
        can & ENC264     ? yes
        : can & ENC_BUSY ? LATHE_HW_BUSY
                         : LATHE_HW_ABSENT,
        can & ENC_BUSY ? "all sessions are taken" : "this GPU has no encoder");
    add(&d, LATHE_HW_ENCODE, "hevc", 8, can & ENC265 ? yes : LATHE_HW_ABSENT, "no encoder");
    add(&d, LATHE_HW_ENCODE, "hevc", 10, can & ENC265_10 ? yes : not, "10 bit not supported");
    add(&d, LATHE_HW_DECODE, "h264", 8,
        can & DEC264      ? yes
        : can & DEC_CRASH ? LATHE_HW_CRASHES
                          : not,
        "signal 11");
    add(&d, LATHE_HW_DECODE, "hevc", 10, can & DEC265_10 ? yes : not, "not this profile");
    add(&d, LATHE_HW_SCALE, "", 8, can & SCALE8 ? yes : not, "no video processing");
    add(&d, LATHE_HW_SCALE, "", 10, can & SCALE10 ? yes : not, "no 10 bit");
    return d;
}

/* 1080p H.264 to 720p H.264, as wished. */
static struct lathe_ladder_request request(void)
{
    return (struct lathe_ladder_request){
        .source_codec = "h264",
        .source_width = 1920,
        .source_height = 1080,
        .source_bits = 8,
        .source_is_420 = true,
        .codec = LATHE_CODEC_H264,
        .bits = 8,
        .renditions = {{1280, 720}},
        .n_renditions = 1,
    };
}

static const struct {
    const char *name;
    unsigned can;
    struct {
        const char *source_codec, *filters, *software_encoding;
        int source_bits, bits, width, height;
        enum lathe_codec codec;
        bool chroma_422;
        enum lathe_encoder encoder;
        enum lathe_hw_wish wish;
        unsigned failed;
    } r;
    enum lathe_ladder_step step;
    enum lathe_ladder_step reason_of;
    const char *reason; /* part of the reason why that step was not taken */
} cases[] = {
    {"everything", FULL, {0}, 1, 0, NULL},
    {"ten bit all the way",
     FULL,
     {.source_codec = "hevc", .source_bits = 10, .bits = 10, .codec = LATHE_CODEC_HEVC},
     1,
     0,
     NULL},
    {"ten to eight bit", FULL, {.source_codec = "hevc", .source_bits = 10}, 1, 0, NULL},
    {"ten bit scaler missing",
     FULL & ~(unsigned)SCALE10,
     {.source_codec = "hevc", .source_bits = 10},
     3,
     2,
     "scaling of 10 bit: unsupported, no 10 bit"},
    {"unknown codec", FULL, {.source_codec = "prores"}, 2, 1, "decoding of prores was not tried"},
    {"decoder refuses", FULL & ~(unsigned)DEC264, {0}, 2, 1, "decoding of h264: unsupported"},
    {"decoder crashes", (FULL & ~(unsigned)DEC264) | DEC_CRASH, {0}, 2, 1, "crashes, signal 11"},
    {"4:2:2", FULL, {.chroma_422 = true}, 2, 1, "not 4:2:0"},
    {"deinterlacing",
     FULL,
     {.filters = "deinterlacing"},
     3,
     2,
     "deinterlacing is done in software"},
    {"no scaler", FULL & ~(unsigned)SCALE8, {0}, 3, 1, "no video processing"},
    {"no encoder", NO_ENCODER, {0}, 4, 3, "encoding of h264: absent, this GPU has no encoder"},
    {"no encoder, 10 bit wanted",
     FULL & ~(unsigned)ENC265_10,
     {.bits = 10, .codec = LATHE_CODEC_HEVC},
     4,
     3,
     "encoding of hevc in 10 bit: unsupported"},
    {"no encoder, nothing gained",
     NO_ENCODER,
     {.width = 1920, .height = 1080},
     5,
     4,
     "costs more than decoding"},
    {"no encoder, expensive codec",
     NO_ENCODER,
     {.source_codec = "hevc", .source_bits = 10, .width = 1920, .height = 1080},
     4,
     0,
     NULL},
    {"no encoder, required", NO_ENCODER, {.wish = LATHE_HW_REQUIRE}, 0, 4, "required to encode"},
    {"busy is said so",
     (FULL & ~(unsigned)ENC264) | ENC_BUSY,
     {0},
     4,
     1,
     "busy, all sessions are taken"},
    {"hung at opening",
     HANGS | (FULL & ~(unsigned)OPENS),
     {0},
     5,
     1,
     "opening 0: hangs, no answer"},
    {"lost, required",
     FULL & ~(unsigned)OPENS,
     {.wish = LATHE_HW_REQUIRE},
     0,
     5,
     "a GPU is required"},
    {"software asked for",
     FULL,
     {.encoder = LATHE_ENCODER_SOFTWARE},
     5,
     4,
     "software was asked for"},
    {"this family asked for", FULL, {.encoder = LATHE_ENCODER_NVENC}, 1, 0, NULL},
    {"another family asked for",
     FULL,
     {.encoder = LATHE_ENCODER_VAAPI},
     5,
     1,
     "vaapi was asked for, this device is nvenc"},
    {"another family required",
     FULL,
     {.encoder = LATHE_ENCODER_VAAPI, .wish = LATHE_HW_REQUIRE},
     0,
     3,
     "vaapi was asked for"},
    {"interlaced coding",
     FULL,
     {.software_encoding = "interlaced coding"},
     4,
     1,
     "interlaced coding is done by software only"},
    {"tiny", FULL, {.width = 128, .height = 72}, 4, 1, "128×72 is too small"},
    {"huge h264", FULL, {.width = 7680, .height = 4320}, 5, 3, "7680×4320 is too large"},
    {"huge hevc", FULL, {.width = 7680, .height = 4320, .codec = LATHE_CODEC_HEVC}, 1, 0, NULL},
    {"step 1 failed", FULL, {.failed = 1 << 1}, 2, 1, "it failed before: a test said so"},
    {"steps 1 and 2 failed", FULL, {.failed = 1 << 1 | 1 << 2}, 3, 2, "it failed before"},
    {"all GPU steps failed", FULL, {.failed = 0x1e}, 5, 4, "it failed before"},
    {"all GPU steps failed, required",
     FULL,
     {.failed = 0x1e, .wish = LATHE_HW_REQUIRE},
     0,
     5,
     "a GPU is required"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        struct lathe_hw_device d = device(LATHE_ENCODER_NVENC, cases[i].can);
        struct lathe_ladder_request r = request();
        if (cases[i].r.source_codec)
            r.source_codec = cases[i].r.source_codec;
        if (cases[i].r.source_bits)
            r.source_bits = cases[i].r.source_bits;
        if (cases[i].r.bits)
            r.bits = cases[i].r.bits;
        if (cases[i].r.width)
            r.renditions[0] = (struct lathe_ladder_rendition){cases[i].r.width, cases[i].r.height};
        r.source_is_420 = !cases[i].r.chroma_422;
        r.software_filters = cases[i].r.filters;
        r.software_encoding = cases[i].r.software_encoding;
        r.codec = cases[i].r.codec;
        r.encoder = cases[i].r.encoder;
        r.wish = cases[i].r.wish;
        r.failed_steps = cases[i].r.failed;
        r.failed_reason = "a test said so";
        struct lathe_ladder_choice choice;
        lathe_ladder_decide(&d, &r, &choice);
        if (choice.step != cases[i].step)
            fail_msg("%s: step %d, not %d", cases[i].name, choice.step, cases[i].step);
        if (cases[i].reason && !strstr(choice.reasons[cases[i].reason_of], cases[i].reason))
            fail_msg("%s: step %d was not taken because \"%s\", not \"%s\"", cases[i].name,
                     cases[i].reason_of, choice.reasons[cases[i].reason_of], cases[i].reason);
        int last = choice.step ? (int)choice.step : LATHE_STEP_COUNT;
        for (int s = LATHE_STEP_ALL_GPU; s < LATHE_STEP_COUNT; s++)
            if ((s < last) != (choice.reasons[s][0] != '\0'))
                fail_msg("%s: step %d of %d has the reason \"%s\"", cases[i].name, s, choice.step,
                         choice.reasons[s]);
        bool encodes = choice.step >= 1 && choice.step <= 3;
        assert_int_equal(choice.encoder, encodes ? LATHE_ENCODER_NVENC : LATHE_ENCODER_SOFTWARE);
        assert_int_equal(choice.features, encodes ? LATHE_HW_B_FRAMES : 0);
    }
}

static void test_features_that_are_needed(void **state)
{
    (void)state;
    struct lathe_hw_device d = device(LATHE_ENCODER_VAAPI, FULL);
    struct lathe_ladder_request r = request();
    struct lathe_ladder_choice choice;
    r.any_feature = LATHE_HW_RC_VBR | LATHE_HW_B_FRAMES; /* it has one of them */
    r.any_feature_for = "hold a bitrate";
    lathe_ladder_decide(&d, &r, &choice);
    assert_int_equal(choice.step, LATHE_STEP_ALL_GPU);
    r.any_feature = LATHE_HW_RC_VBR;
    lathe_ladder_decide(&d, &r, &choice);
    assert_int_equal(choice.step, LATHE_STEP_GPU_UNTIL_SCALE);
    assert_string_equal(choice.reasons[1], "this encoder of h264 cannot hold a bitrate");
    assert_string_equal(choice.reasons[3], "this encoder of h264 cannot hold a bitrate");
}

static void test_best_of_several(void **state)
{
    (void)state;
    struct lathe_hw_device devices[] = {
        device(LATHE_ENCODER_NVENC, NO_ENCODER),
        device(LATHE_ENCODER_VAAPI, FULL & ~(unsigned)SCALE8),
        device(LATHE_ENCODER_NVENC, FULL),
        device(LATHE_ENCODER_NVENC, FULL),
    };
    struct lathe_ladder_request r = request();
    struct lathe_ladder_choice choice;
    assert_int_equal(lathe_ladder_best(devices, 4, &r, &choice), 2);
    assert_int_equal(choice.step, LATHE_STEP_ALL_GPU);
    assert_int_equal(lathe_ladder_best(devices, 2, &r, &choice), 1);
    assert_int_equal(choice.step, LATHE_STEP_GPU_ENCODE);
    r.encoder = LATHE_ENCODER_NVENC;
    assert_int_equal(lathe_ladder_best(devices, 2, &r, &choice), 0);
    assert_int_equal(choice.step, LATHE_STEP_GPU_UNTIL_SCALE);
    r.wish = LATHE_HW_REQUIRE;
    assert_int_equal(lathe_ladder_best(devices, 2, &r, &choice), -1);
    assert_int_equal(choice.step, LATHE_STEP_NONE);
    assert_non_null(strstr(choice.reasons[1], "this GPU has no encoder"));
    r.encoder = LATHE_ENCODER_VAAPI; /* the reasons of the wished device, not of the first */
    r.failed_steps = 0xe;
    r.failed_reason = "it hung";
    assert_int_equal(lathe_ladder_best(devices, 4, &r, &choice), -1);
    assert_non_null(strstr(choice.reasons[1], "it hung"));
}

static void test_no_device(void **state)
{
    (void)state;
    struct lathe_ladder_request r = request();
    struct lathe_ladder_choice choice;
    assert_int_equal(lathe_ladder_best(NULL, 0, &r, &choice), -1);
    assert_int_equal(choice.step, LATHE_STEP_ALL_SOFTWARE);
    assert_string_equal(choice.reasons[1], "there is no GPU");
    r.wish = LATHE_HW_REQUIRE;
    lathe_ladder_decide(NULL, &r, &choice);
    assert_int_equal(choice.step, LATHE_STEP_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_features_that_are_needed),
        cmocka_unit_test(test_best_of_several),
        cmocka_unit_test(test_no_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
