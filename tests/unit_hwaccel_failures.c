/* SPDX-License-Identifier: MIT */
/*
 * What failures of GPUs mean, as a table of what libav and drivers really say; and the collecting
 * of what they say. The texts are those of FFmpeg 5.1 to 8.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/hwaccel.h"

static const struct {
    const struct lathe_hwaccel *family;
    int code;
    bool opening;
    const char *log;
    enum lathe_hw_verdict verdict;
    const char *reason; /* part of it */
} cases[] = {
#define NV &lathe_hwaccel_nvenc
#define VA &lathe_hwaccel_vaapi
    {NV, AVERROR(EPERM), true, "Cannot load libcuda.so.1", LATHE_HW_ABSENT, "no NVIDIA driver"},
    {NV, AVERROR(EPERM), true, "Cannot load libnvidia-encode.so.1", LATHE_HW_ABSENT, "video"},
    {NV, AVERROR(ENOSYS), true,
     "Driver does not support the required nvenc API version. Required: 11.1 Found: 8.1",
     LATHE_HW_ABSENT, "Required: 11.1"},
    {NV, AVERROR(ENOSYS), true, "OpenEncodeSessionEx failed: unsupported device (2): (no details)",
     LATHE_HW_ABSENT, "no encoder"},
    {NV, AVERROR(ENOENT), true, "OpenEncodeSessionEx failed: no encode device (1): (no details)",
     LATHE_HW_ABSENT, "no encoder"},
    {NV, AVERROR(ENOMEM), true, "OpenEncodeSessionEx failed: out of memory (10): (no details)",
     LATHE_HW_BUSY, "sessions"},
    {NV, AVERROR(ENOMEM), true, "", LATHE_HW_BUSY, ""},
    {NV, AVERROR(ENOSYS), true, "Temporal AQ not supported", LATHE_HW_UNSUPPORTED, "Temporal AQ"},
    {NV, AVERROR(ENOSYS), true, "10 bit encode not supported", LATHE_HW_UNSUPPORTED, "10 bit"},
    {NV, AVERROR_UNKNOWN, false, "EncodePicture failed!: generic error (20): ", LATHE_HW_SESSION,
     "EncodePicture"},
    {NV, AVERROR_EXTERNAL, false,
     "cu->cuLaunchKernel(…) failed -> CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access",
     LATHE_HW_STICKY, "700"},
    {NV, AVERROR_UNKNOWN, true, "cu->cuCtxCreate failed -> CUDA_ERROR_OUT_OF_MEMORY: out of memory",
     LATHE_HW_BUSY, "memory"},
    {NV, AVERROR_EXTERNAL, true, "cu->cuInit(0) failed -> CUDA_ERROR_NO_DEVICE: no device",
     LATHE_HW_LOST, "gone"},
    {NV, AVERROR_EXTERNAL, true, "something new", LATHE_HW_ERROR, "something new"},
    {VA, AVERROR(EINVAL), true,
     "Driver does not support ICQ RC mode (supported modes: CQP, CBR, VBR).", LATHE_HW_UNSUPPORTED,
     "supported modes: CQP"},
    {VA, AVERROR(ENOSYS), true, "No usable encoding entrypoint found for profile VAProfileHEVCMain",
     LATHE_HW_UNSUPPORTED, "does not encode"},
    {VA, AVERROR(EINVAL), true, "No VA display found for device /dev/dri/renderD128.",
     LATHE_HW_ABSENT, "render node"},
    {VA, AVERROR(EIO), true, "Failed to initialise VAAPI connection: -1 (unknown libva error).",
     LATHE_HW_ABSENT, "no VA driver"},
    {VA, AVERROR(EIO), false, "Failed to end picture encode issue: 1 (operation failed).",
     LATHE_HW_SESSION, "end picture"},
    {VA, AVERROR(EIO), false, "Failed to create surface: 2 (resource allocation failed).",
     LATHE_HW_BUSY, "memory"},
    {VA, AVERROR(ENODEV), true, "", LATHE_HW_LOST, "No such device"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        char reason[224];
        enum lathe_hw_verdict verdict = lathe_hwaccel_classify(
            cases[i].family, cases[i].code, cases[i].opening, cases[i].log, reason, sizeof(reason));
        if (verdict != cases[i].verdict || !strstr(reason, cases[i].reason))
            fail_msg("\"%s\": %s, \"%s\"", cases[i].log, lathe_hw_verdict_name(verdict), reason);
    }
}

__attribute__((format(printf, 2, 3))) static void say(int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lathe_hwaccel_log(NULL, level, format, args);
    va_end(args);
}

static void test_log_is_put_together(void **state)
{
    (void)state;
    char text[300];
    lathe_hwaccel_log_start();
    say(AV_LOG_INFO, "nobody cares\n");
    say(AV_LOG_WARNING, "Temporal AQ not supported\n");
    say(AV_LOG_ERROR, "Provided device doesn't support required NVENC features\n");
    say(AV_LOG_ERROR, "same\n");
    say(AV_LOG_ERROR, "same\n");
    assert_int_equal(lathe_hwaccel_failed_calls(), 0);
    /* cuda_check.h writes a failed call in three pieces. */
    say(AV_LOG_ERROR, "%s failed", "cu->cuMemcpy2DAsync(&cpy, stream)");
    say(AV_LOG_ERROR, " -> %s: %s", "CUDA_ERROR_INVALID_VALUE", "invalid argument");
    say(AV_LOG_ERROR, "\n");
    lathe_hwaccel_log_read(text, sizeof(text));
    assert_string_equal(text, "Temporal AQ not supported; same; cu->cuMemcpy2DAsync(&cpy, stream) "
                              "failed -> CUDA_ERROR_INVALID_VALUE: invalid argument");
    assert_int_equal(lathe_hwaccel_failed_calls(), 1);
    lathe_hwaccel_log_start();
    lathe_hwaccel_log_read(text, sizeof(text));
    assert_string_equal(text, "");
    assert_int_equal(lathe_hwaccel_failed_calls(), 0);
}

/* Of too much the end is kept, in whole lines. */
static void test_log_is_bounded(void **state)
{
    (void)state;
    char all[4096], end[40];
    lathe_hwaccel_log_start();
    for (int i = 0; i < 500; i++)
        say(AV_LOG_ERROR, "line number %d\n", i);
    lathe_hwaccel_log_read(all, sizeof(all));
    assert_in_range(strlen(all), 1500, 2047);
    assert_int_equal(strncmp(all, "line number ", 12), 0);
    lathe_hwaccel_log_read(end, sizeof(end));
    assert_string_equal(end, "line number 498; line number 499");
    char word[3000];
    memset(word, 'x', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    say(AV_LOG_ERROR, "%s\n", word);
    lathe_hwaccel_log_read(all, sizeof(all));
    assert_true(strlen(all) < 2048);
}

static void test_stages(void **state)
{
    (void)state;
    static const struct {
        enum lathe_ladder_step step;
        const char *text;
    } steps[] = {
        {LATHE_STEP_ALL_GPU, "scale_cuda=w=640:h=360:format=nv12:passthrough=0"},
        {LATHE_STEP_GPU_FROM_SCALE,
         "format=nv12,hwupload,scale_cuda=w=640:h=360:format=nv12:passthrough=0"},
        {LATHE_STEP_GPU_ENCODE, "scale=640:360,format=nv12,hwupload"},
        {LATHE_STEP_GPU_UNTIL_SCALE,
         "scale_cuda=w=640:h=360:format=nv12:passthrough=0,hwdownload,format=nv12"},
        {LATHE_STEP_ALL_SOFTWARE, "scale=640:360"},
    };
    char text[256];
    if (!avfilter_get_by_name("scale_cuda"))
        skip();
    for (size_t i = 0; i < LATHE_COUNT(steps); i++) {
        assert_int_equal(lathe_hwaccel_stages(&lathe_hwaccel_nvenc, steps[i].step, 640, 360,
                                              AV_PIX_FMT_NV12, "scale=640:360", text, sizeof(text)),
                         0);
        assert_string_equal(text, steps[i].text);
    }
    assert_int_equal(lathe_hwaccel_stages(&lathe_hwaccel_nvenc, LATHE_STEP_ALL_GPU, 640, 360,
                                          AV_PIX_FMT_NV12, "", text, 8),
                     -ENOSPC);
    assert_int_equal(lathe_hwaccel_stages(&lathe_hwaccel_software, LATHE_STEP_ALL_GPU, 640, 360,
                                          AV_PIX_FMT_NV12, "", text, sizeof(text)),
                     -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_log_is_put_together),
        cmocka_unit_test(test_log_is_bounded),
        cmocka_unit_test(test_stages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
