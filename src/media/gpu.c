/* SPDX-License-Identifier: MIT */
#include "gpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "setup.h"

static struct media_gpu warm; /* device.context NULL: none */

bool media_gpu_decodes(const struct media_gpu *gpu)
{
    return gpu && (gpu->step == LATHE_STEP_ALL_GPU || gpu->step == LATHE_STEP_GPU_UNTIL_SCALE);
}

bool media_gpu_scales(const struct media_gpu *gpu)
{
    return gpu && gpu->step != LATHE_STEP_GPU_ENCODE;
}

bool media_gpu_encodes(const struct media_gpu *gpu)
{
    return gpu && gpu->step != LATHE_STEP_GPU_UNTIL_SCALE;
}

static void cool(void)
{
    lathe_hwaccel_close_device(&warm.device);
    warm = (struct media_gpu){0};
}

/* Only devices that opened before get orders, so one that does not is gone, unless it is full. */
static int judge_opening(const struct lathe_hwaccel *family, int code, struct lathe_error *err)
{
    char log[1024], reason[256];
    lathe_hwaccel_log_read(log, sizeof(log));
    enum lathe_hw_verdict verdict =
        lathe_hwaccel_classify(family, code, true, log, reason, sizeof(reason));
    if (verdict != LATHE_HW_BUSY && verdict != LATHE_HW_STICKY)
        verdict = LATHE_HW_LOST;
    if (err)
        err->gpu_verdict = verdict;
    return code;
}

int media_gpu_open(const struct lathe_order *order, struct media_gpu **ret, struct lathe_error *err)
{
    *ret = NULL;
    if (order->gpu_family == LATHE_ENCODER_AUTO || order->gpu_step == LATHE_STEP_NONE ||
        order->gpu_step == LATHE_STEP_ALL_SOFTWARE)
        return 0;
    const struct lathe_hwaccel *family = lathe_hwaccel_find(lathe_encoder_name(order->gpu_family));
    if (!family || !family->open_device || !order->gpu_path ||
        strlen(order->gpu_path) >= sizeof(warm.path))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL, "this is no GPU");
    lathe_hwaccel_log_start();
    bool same = warm.device.context && warm.device.family == family &&
                strcmp(warm.path, order->gpu_path) == 0;
    if (!same) {
        cool();
        int r = family->open_device(order->gpu_path, &warm.device, err);
        if (r < 0)
            return judge_opening(family, r, err);
        snprintf(warm.path, sizeof(warm.path), "%s", order->gpu_path);
    }
    warm.step = order->gpu_step;
    warm.features = order->gpu_features;
    warm.working = false;
    *ret = &warm;
    return 0;
}

json_t *media_gpu_load(const struct media_gpu *gpu)
{
    struct lathe_hw_load load;
    json_t *json = NULL;
    if (!gpu || gpu->device.family->read_load(gpu->path, &load) < 0)
        return json_null();
    return lathe_hw_load_to_json(&load, &json) < 0 ? NULL : json;
}

int media_gpu_refuse(struct lathe_error *err, enum lathe_hw_verdict verdict, const char *format,
                     ...)
{
    char what[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    lathe_error_set(err, verdict == LATHE_HW_UNSUPPORTED ? -EOPNOTSUPP : -EIO, LATHE_FAULT_INTERNAL,
                    "%s", what);
    if (err)
        err->gpu_verdict = verdict;
    return verdict == LATHE_HW_UNSUPPORTED ? -EOPNOTSUPP : -EIO;
}

/* A source that is damaged or changed, a disk that is full and a user who is impatient would fail
 * anywhere. */
static bool is_to_blame(const struct lathe_error *err)
{
    if (err->gpu_verdict)
        return true;
    if (err->code == -ESTALE || err->code == -ECANCELED)
        return false;
    if (err->fault == LATHE_FAULT_RESOURCE)
        return err->code == -ENOMEM || err->code == -EBUSY;
    return err->fault == LATHE_FAULT_INTERNAL;
}

static bool is_gone(const struct media_gpu *gpu)
{
    struct lathe_hwaccel_device again = {0};
    struct lathe_error ignored = {0};
    int r = gpu->device.family->open_device(gpu->path, &again, &ignored);
    lathe_hwaccel_close_device(&again);
    return r < 0 && r != -ENOMEM;
}

static void blame(const struct media_gpu *gpu, struct lathe_error *err)
{
    char log[1024], reason[256];
    lathe_hwaccel_log_read(log, sizeof(log));
    enum lathe_hw_verdict verdict = lathe_hwaccel_classify(
        gpu->device.family, err->code, !gpu->working, log, reason, sizeof(reason));
    /* What was already known stays, unless the log names what lies beneath it. */
    enum lathe_hw_verdict known = (enum lathe_hw_verdict)err->gpu_verdict;
    bool beneath = verdict == LATHE_HW_STICKY || verdict == LATHE_HW_LOST ||
                   (verdict == LATHE_HW_BUSY && known == LATHE_HW_UNSUPPORTED);
    if (known && !beneath)
        verdict = known;
    if (verdict != LATHE_HW_STICKY && verdict != LATHE_HW_BUSY && is_gone(gpu))
        verdict = LATHE_HW_LOST;
    char what[sizeof(err->what)];
    snprintf(what, sizeof(what), "%s", err->what);
    /* Without a word of the driver's there is only libav's name of the code. */
    bool says_more = log[0] || !known;
    int rendition = err->gpu_rendition;
    if (says_more && !strstr(what, reason))
        lathe_error_set(err, err->code,
                        verdict == LATHE_HW_BUSY ? LATHE_FAULT_RESOURCE : LATHE_FAULT_INTERNAL,
                        "%.220s: %.250s", what, reason);
    err->gpu_verdict = verdict;
    err->gpu_rendition = rendition;
}

int media_gpu_judge(struct media_gpu *gpu, int result, struct lathe_error *err)
{
    if (!gpu)
        return result;
    struct lathe_error own = {0};
    struct lathe_error *e = err ? err : &own;
    unsigned calls = lathe_hwaccel_failed_calls();
    if (result >= 0 && calls)
        result = media_gpu_refuse(
            e, LATHE_HW_WRONG, "%u calls of the driver failed while libav reported success", calls);
    if (result < 0 && is_to_blame(e)) {
        blame(gpu, e);
        cool();
    }
    return result;
}
