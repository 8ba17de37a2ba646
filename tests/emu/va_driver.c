/* SPDX-License-Identifier: MIT */
/*
 * Entry of the emulated VA driver, found by libva as lathe_emu_drv_video.so. Decodes, scales and
 * encodes in software behind the real interface, so that FFmpeg's own VAAPI code runs.
 */
#include "va_driver.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va_drmcommon.h>

#include "va_process.h"

VAStatus emu_va_point(struct emu_va *va, const char *point, struct emu_fault *ret)
{
    struct emu_fault fault = emu_point(point, va->device);

    if (ret)
        *ret = fault;
    return emu_fault_code(fault, VA_STATUS_ERROR_ALLOCATION_FAILED,
                          VA_STATUS_ERROR_OPERATION_FAILED, 0);
}

/* The vtable must be complete; nothing that FFmpeg uses is behind these. */
static VAStatus unimplemented(void)
{
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

static VAStatus query_subpicture_formats(VADriverContextP ctx, VAImageFormat *list, unsigned *flags,
                                         unsigned *count)
{
    (void)ctx;
    (void)list;
    (void)flags;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus query_display_attributes(VADriverContextP ctx, VADisplayAttribute *list, int *count)
{
    (void)ctx;
    (void)list;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

#define UNIMPLEMENTED(entry) vtable->entry = (__typeof__(vtable->entry))unimplemented

static void install(struct VADriverVTable *vtable)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-function-type"
    UNIMPLEMENTED(vaQuerySurfaceError);
    UNIMPLEMENTED(vaPutSurface);
    UNIMPLEMENTED(vaCreateSubpicture);
    UNIMPLEMENTED(vaDestroySubpicture);
    UNIMPLEMENTED(vaSetSubpictureImage);
    UNIMPLEMENTED(vaSetSubpictureChromakey);
    UNIMPLEMENTED(vaSetSubpictureGlobalAlpha);
    UNIMPLEMENTED(vaAssociateSubpicture);
    UNIMPLEMENTED(vaDeassociateSubpicture);
    UNIMPLEMENTED(vaGetDisplayAttributes);
    UNIMPLEMENTED(vaSetDisplayAttributes);
    UNIMPLEMENTED(vaLockSurface);
    UNIMPLEMENTED(vaUnlockSurface);
#pragma GCC diagnostic pop
    vtable->vaQuerySubpictureFormats = query_subpicture_formats;
    vtable->vaQueryDisplayAttributes = query_display_attributes;
    emu_va_install_config(vtable);
    emu_va_install_surface(vtable);
    emu_va_install_image(vtable);
    emu_va_install_buffer(vtable);
    emu_va_install_picture(vtable);
}

/* renderD129 is device 1; names without a number, such as /dev/null, are device 0. */
static int device_number(VADriverContextP ctx)
{
    const struct drm_state *drm = ctx->drm_state;
    char link[64], path[256];
    const char *digits;
    ssize_t length;

    if (!drm || drm->fd < 0)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", drm->fd);
    length = readlink(link, path, sizeof(path) - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    digits = path + length;
    while (digits > path && isdigit((unsigned char)digits[-1]))
        digits--;
    return *digits && atoi(digits) >= 128 ? atoi(digits) - 128 : 0;
}

static VAStatus terminate(VADriverContextP ctx)
{
    struct emu_va *va = emu_va_of(ctx);

    emu_va_drain(va);
    emu_va_stop(va);
    emu_va_remove_all(va);
    pthread_cond_destroy(&va->changed);
    pthread_mutex_destroy(&va->lock);
    free(va);
    ctx->pDriverData = NULL;
    return VA_STATUS_SUCCESS;
}

VAStatus __vaDriverInit_1_0(VADriverContextP ctx);

__attribute__((visibility("default"))) VAStatus __vaDriverInit_1_0(VADriverContextP ctx)
{
    const struct emu_profile *profile = emu_va_profile();
    struct emu_va *va;
    VAStatus status;

    if (profile->family == EMU_NVIDIA)
        return VA_STATUS_ERROR_UNKNOWN;
    va = calloc(1, sizeof(*va));
    if (!va)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    va->device = device_number(ctx);
    emu_record("va.init", "profile=%s device=%d", profile->name, va->device);
    status = emu_va_point(va, "device.open", NULL);
    if (status != VA_STATUS_SUCCESS) {
        free(va);
        return status;
    }
    pthread_mutex_init(&va->lock, NULL);
    pthread_cond_init(&va->changed, NULL);
    ctx->pDriverData = va;
    if (emu_va_start(va) < 0) {
        terminate(ctx);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    ctx->version_major = VA_MAJOR_VERSION;
    ctx->version_minor = VA_MINOR_VERSION;
    ctx->max_profiles = 16;
    ctx->max_entrypoints = 8;
    ctx->max_attributes = VAConfigAttribTypeMax;
    ctx->max_image_formats = 2;
    ctx->max_subpic_formats = 1;
    ctx->max_display_attributes = 1;
    ctx->str_vendor = profile->driver;
    install(ctx->vtable);
    ctx->vtable->vaTerminate = terminate;
    emu_va_install_process(ctx->vtable_vpp);
    return VA_STATUS_SUCCESS;
}
