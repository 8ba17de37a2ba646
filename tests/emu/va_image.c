/* SPDX-License-Identifier: MIT */
/*
 * Images: how a program reads and writes surfaces. Every transfer is recorded, so that a test can
 * assert that a pipeline kept its pictures on the device.
 */
#include <stdlib.h>
#include <string.h>

#include "va_driver.h"

static const VAImageFormat formats[] = {
    {.fourcc = VA_FOURCC_NV12, .byte_order = VA_LSB_FIRST, .bits_per_pixel = 12},
    {.fourcc = VA_FOURCC_P010, .byte_order = VA_LSB_FIRST, .bits_per_pixel = 24},
};

static void destroy(struct emu_va_object *object)
{
    free(object);
}

static void destroy_buffer(struct emu_va_object *object)
{
    struct emu_va_buffer *buffer = (struct emu_va_buffer *)object;

    if (buffer->surface)
        emu_va_unref(&buffer->surface->object);
    else
        free(buffer->data);
    free(buffer);
}

static VAStatus query_formats(VADriverContextP ctx, VAImageFormat *list, int *count)
{
    (void)ctx;
    memcpy(list, formats, sizeof(formats));
    *count = sizeof(formats) / sizeof(*formats);
    return VA_STATUS_SUCCESS;
}

/* An image with its buffer; with a surface it shares that memory, otherwise it has its own. */
static VAStatus create(struct emu_va *va, const VAImage *shape, struct emu_va_surface *surface,
                       VAImage *ret)
{
    struct emu_va_image *image = calloc(1, sizeof(*image));
    struct emu_va_buffer *buffer = calloc(1, sizeof(*buffer));
    VAStatus status = VA_STATUS_ERROR_ALLOCATION_FAILED;

    if (!image || !buffer)
        goto fail;
    buffer->type = VAImageBufferType;
    buffer->element_bytes = shape->data_size;
    buffer->num_elements = 1;
    buffer->data = surface ? surface->data : calloc(1, shape->data_size);
    if (!buffer->data)
        goto fail;
    if (surface) {
        emu_va_ref(&surface->object);
        buffer->surface = surface;
    }
    status = emu_va_add(va, &buffer->object, EMU_VA_BUFFER, destroy_buffer);
    if (status != VA_STATUS_SUCCESS) {
        free(image);
        return status;
    }
    image->image = *shape;
    image->image.buf = buffer->object.id;
    status = emu_va_add(va, &image->object, EMU_VA_IMAGE, destroy);
    if (status != VA_STATUS_SUCCESS) {
        emu_va_remove(va, buffer->object.id, EMU_VA_BUFFER, status);
        return status;
    }
    image->image.image_id = image->object.id;
    *ret = image->image;
    return VA_STATUS_SUCCESS;
fail:
    free(image);
    free(buffer);
    return status;
}

static VAStatus create_image(VADriverContextP ctx, VAImageFormat *format, int width, int height,
                             VAImage *ret)
{
    unsigned pitch = (unsigned)width;
    VAImage shape = {.format = *format, .width = (uint16_t)width, .height = (uint16_t)height};

    if (format->fourcc != VA_FOURCC_NV12 && format->fourcc != VA_FOURCC_P010)
        return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    if (format->fourcc == VA_FOURCC_P010)
        pitch *= 2;
    pitch = (pitch + 63) & ~63u;
    shape.num_planes = 2;
    shape.pitches[0] = shape.pitches[1] = pitch;
    shape.offsets[1] = pitch * (unsigned)height;
    shape.data_size = shape.offsets[1] + pitch * (unsigned)((height + 1) / 2);
    return create(emu_va_of(ctx), &shape, NULL, ret);
}

static VAStatus derive_image(VADriverContextP ctx, VASurfaceID id, VAImage *ret)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_surface *surface = emu_va_find(va, id, EMU_VA_SURFACE);
    VAStatus status = emu_va_point(va, "va.derive", NULL);
    VAImage shape = {.num_planes = 2};

    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    shape.format = formats[surface->fourcc == VA_FOURCC_P010];
    shape.width = (uint16_t)surface->width;
    shape.height = (uint16_t)surface->height;
    shape.pitches[0] = shape.pitches[1] = surface->pitch;
    shape.offsets[1] = (uint32_t)surface->luma_bytes;
    shape.data_size = (uint32_t)surface->total_bytes;
    return create(va, &shape, surface, ret);
}

static VAStatus destroy_image(VADriverContextP ctx, VAImageID id)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_image *image = emu_va_find(va, id, EMU_VA_IMAGE);

    if (!image)
        return VA_STATUS_ERROR_INVALID_IMAGE;
    emu_va_remove(va, image->image.buf, EMU_VA_BUFFER, VA_STATUS_SUCCESS);
    return emu_va_remove(va, id, EMU_VA_IMAGE, VA_STATUS_ERROR_INVALID_IMAGE);
}

/* Copies the common part of both; `up` from the image to the surface. */
static VAStatus transfer(struct emu_va *va, VASurfaceID surface_id, VAImageID image_id,
                         unsigned width, unsigned height, bool up)
{
    struct emu_va_surface *surface = emu_va_find(va, surface_id, EMU_VA_SURFACE);
    struct emu_va_image *image = emu_va_find(va, image_id, EMU_VA_IMAGE);
    struct emu_va_buffer *buffer = image ? emu_va_find(va, image->image.buf, EMU_VA_BUFFER) : NULL;
    struct emu_fault fault;
    VAStatus status = emu_va_point(va, "va.image", &fault);
    size_t row;

    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!surface || !buffer)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    if (surface->fourcc != image->image.format.fourcc)
        return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    if ((int)width > surface->width || (int)height > surface->height ||
        width > image->image.width || height > image->image.height)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    emu_va_wait(va, surface->ticket);
    row = (size_t)((width + 1) & ~1u) * (surface->fourcc == VA_FOURCC_P010 ? 2 : 1);
    emu_record(up ? "va.upload" : "va.download", "width=%u height=%u bytes=%zu", width, height,
               row * height * 3 / 2);
    if (fault.action == EMU_SILENT)
        return VA_STATUS_SUCCESS;
    for (int plane = 0; plane < 2; plane++) {
        uint8_t *a = surface->data + (plane ? surface->luma_bytes : 0);
        uint8_t *b = buffer->data + image->image.offsets[plane];

        for (unsigned y = 0; y < (plane ? (height + 1) / 2 : height); y++) {
            memcpy(up ? a : b, up ? b : a, row);
            a += surface->pitch;
            b += image->image.pitches[plane];
        }
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus get_image(VADriverContextP ctx, VASurfaceID surface, int x, int y, unsigned width,
                          unsigned height, VAImageID image)
{
    if (x || y)
        return VA_STATUS_ERROR_UNIMPLEMENTED;
    return transfer(emu_va_of(ctx), surface, image, width, height, false);
}

static VAStatus put_image(VADriverContextP ctx, VASurfaceID surface, VAImageID image, int src_x,
                          int src_y, unsigned src_width, unsigned src_height, int dst_x, int dst_y,
                          unsigned dst_width, unsigned dst_height)
{
    if (src_x || src_y || dst_x || dst_y || src_width != dst_width || src_height != dst_height)
        return VA_STATUS_ERROR_UNIMPLEMENTED;
    return transfer(emu_va_of(ctx), surface, image, src_width, src_height, true);
}

static VAStatus set_palette(VADriverContextP ctx, VAImageID image, unsigned char *palette)
{
    (void)ctx;
    (void)image;
    (void)palette;
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

void emu_va_install_image(struct VADriverVTable *vtable)
{
    vtable->vaQueryImageFormats = query_formats;
    vtable->vaCreateImage = create_image;
    vtable->vaDeriveImage = derive_image;
    vtable->vaDestroyImage = destroy_image;
    vtable->vaSetImagePalette = set_palette;
    vtable->vaGetImage = get_image;
    vtable->vaPutImage = put_image;
}
