/* SPDX-License-Identifier: MIT */
/*
 * Surfaces: plain memory in NV12 or P010. Rows are padded and planes start on multiples of 32 rows,
 * so that code which takes the width for the pitch is caught.
 */
#include <stdlib.h>
#include <string.h>

#include "va_driver.h"

#define SIZE_MIN 16
#define SIZE_MAX_PIXELS 4096

static void destroy(struct emu_va_object *object)
{
    struct emu_va_surface *surface = (struct emu_va_surface *)object;

    free(surface->data);
    free(surface);
}

static VAStatus create_one(struct emu_va *va, int width, int height, uint32_t fourcc,
                           VASurfaceID *ret)
{
    struct emu_va_surface *surface = calloc(1, sizeof(*surface));
    int sample = fourcc == VA_FOURCC_P010 ? 2 : 1;
    VAStatus status;

    if (!surface)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    surface->width = width;
    surface->height = height;
    surface->fourcc = fourcc;
    surface->pitch = (unsigned)(width * sample + 127) & ~127u;
    surface->luma_bytes = (size_t)surface->pitch * ((size_t)(height + 31) & ~(size_t)31);
    surface->total_bytes = surface->luma_bytes * 3 / 2;
    surface->data = calloc(1, surface->total_bytes);
    if (!surface->data) {
        free(surface);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    status = emu_va_add(va, &surface->object, EMU_VA_SURFACE, destroy);
    if (status == VA_STATUS_SUCCESS)
        *ret = surface->object.id;
    return status;
}

static VAStatus destroy_surfaces(VADriverContextP ctx, VASurfaceID *list, int count)
{
    struct emu_va *va = emu_va_of(ctx);
    VAStatus status = VA_STATUS_SUCCESS, one;

    for (int i = 0; i < count; i++) {
        one = emu_va_remove(va, list[i], EMU_VA_SURFACE, VA_STATUS_ERROR_INVALID_SURFACE);
        if (one != VA_STATUS_SUCCESS)
            status = one;
    }
    return status;
}

static VAStatus create_surfaces2(VADriverContextP ctx, unsigned format, unsigned width,
                                 unsigned height, VASurfaceID *list, unsigned count,
                                 VASurfaceAttrib *attributes, unsigned num_attributes)
{
    struct emu_va *va = emu_va_of(ctx);
    uint32_t fourcc = format == VA_RT_FORMAT_YUV420_10 ? VA_FOURCC_P010 : VA_FOURCC_NV12;
    VAStatus status;

    if (format != VA_RT_FORMAT_YUV420 && format != VA_RT_FORMAT_YUV420_10)
        return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    if (!width || !height || width > 2 * SIZE_MAX_PIXELS || height > 2 * SIZE_MAX_PIXELS)
        return VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
    for (unsigned i = 0; i < num_attributes; i++) {
        if (attributes[i].type == VASurfaceAttribPixelFormat)
            fourcc = (uint32_t)attributes[i].value.value.i;
        if (attributes[i].type == VASurfaceAttribMemoryType &&
            attributes[i].value.value.i != VA_SURFACE_ATTRIB_MEM_TYPE_VA)
            return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    }
    if (fourcc != VA_FOURCC_NV12 && fourcc != VA_FOURCC_P010)
        return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    for (unsigned i = 0; i < count; i++) {
        status = emu_va_point(va, "va.surface", NULL);
        if (status == VA_STATUS_SUCCESS)
            status = create_one(va, (int)width, (int)height, fourcc, &list[i]);
        if (status != VA_STATUS_SUCCESS) {
            destroy_surfaces(ctx, list, (int)i);
            return status;
        }
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus create_surfaces(VADriverContextP ctx, int width, int height, int format, int count,
                                VASurfaceID *list)
{
    return create_surfaces2(ctx, (unsigned)format, (unsigned)width, (unsigned)height, list,
                            (unsigned)count, NULL, 0);
}

static void add_attribute(VASurfaceAttrib *list, unsigned *count, VASurfaceAttribType type,
                          uint32_t flags, int value)
{
    list[(*count)++] = (VASurfaceAttrib){
        .type = type,
        .flags = flags,
        .value = {.type = VAGenericValueTypeInteger, .value.i = value},
    };
}

/* Encoders refuse small pictures; Mesa says from which size on they work. */
static void smallest(const struct emu_va_config *config, int *ret_width, int *ret_height)
{
    bool encodes =
        config->entrypoint == VAEntrypointEncSlice || config->entrypoint == VAEntrypointEncSliceLP;
    bool hevc = config->profile == VAProfileHEVCMain || config->profile == VAProfileHEVCMain10;
    bool mesa = strcmp(emu_va_profile()->name, "amd-new") == 0;

    *ret_width = *ret_height = SIZE_MIN;
    if (!encodes)
        return;
    *ret_width = (int)emu_setting("min_width", !mesa ? SIZE_MIN : hevc ? 384 : 256);
    *ret_height = (int)emu_setting("min_height", mesa ? 128 : SIZE_MIN);
}

/* Called twice: without a list for the number, then with it. */
static VAStatus query_attributes(VADriverContextP ctx, VAConfigID id, VASurfaceAttrib *list,
                                 unsigned *num)
{
    struct emu_va_config *config = emu_va_find(emu_va_of(ctx), id, EMU_VA_CONFIG);
    const uint32_t both = VA_SURFACE_ATTRIB_GETTABLE | VA_SURFACE_ATTRIB_SETTABLE;
    VASurfaceAttrib all[8];
    unsigned count = 0;
    int min_width, min_height;

    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    if (config->profile != VAProfileHEVCMain10)
        add_attribute(all, &count, VASurfaceAttribPixelFormat, both, VA_FOURCC_NV12);
    if (config->profile == VAProfileHEVCMain10 || config->profile == VAProfileNone)
        add_attribute(all, &count, VASurfaceAttribPixelFormat, both, VA_FOURCC_P010);
    smallest(config, &min_width, &min_height);
    add_attribute(all, &count, VASurfaceAttribMinWidth, VA_SURFACE_ATTRIB_GETTABLE, min_width);
    add_attribute(all, &count, VASurfaceAttribMinHeight, VA_SURFACE_ATTRIB_GETTABLE, min_height);
    add_attribute(all, &count, VASurfaceAttribMaxWidth, VA_SURFACE_ATTRIB_GETTABLE,
                  SIZE_MAX_PIXELS);
    add_attribute(all, &count, VASurfaceAttribMaxHeight, VA_SURFACE_ATTRIB_GETTABLE,
                  SIZE_MAX_PIXELS);
    add_attribute(all, &count, VASurfaceAttribMemoryType, both, VA_SURFACE_ATTRIB_MEM_TYPE_VA);
    if (list && *num < count) {
        *num = count;
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    }
    if (list)
        memcpy(list, all, count * sizeof(*all));
    *num = count;
    return VA_STATUS_SUCCESS;
}

void emu_va_install_surface(struct VADriverVTable *vtable)
{
    vtable->vaCreateSurfaces = create_surfaces;
    vtable->vaCreateSurfaces2 = create_surfaces2;
    vtable->vaDestroySurfaces = destroy_surfaces;
    vtable->vaQuerySurfaceAttributes = query_attributes;
}
