/* SPDX-License-Identifier: MIT */
/*
 * Buffers: parameters, slice data, and the coded pictures that come out. Programs destroy them
 * right after vaEndPicture(); a job in flight holds its own reference.
 */
#include <stdlib.h>
#include <string.h>

#include "va_driver.h"

static void destroy(struct emu_va_object *object)
{
    struct emu_va_buffer *buffer = (struct emu_va_buffer *)object;

    free(buffer->data);
    free(buffer);
}

static VAStatus create_buffer(VADriverContextP ctx, VAContextID context, VABufferType type,
                              unsigned size, unsigned num_elements, void *data, VABufferID *ret)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_buffer *buffer;
    VAStatus status = emu_va_point(va, "va.buffer", NULL);

    (void)context;
    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!size || !num_elements)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    buffer = calloc(1, sizeof(*buffer));
    if (!buffer)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    buffer->type = type;
    buffer->element_bytes = size;
    buffer->num_elements = num_elements;
    buffer->data = calloc(num_elements, size);
    if (!buffer->data) {
        free(buffer);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    if (data)
        memcpy(buffer->data, data, (size_t)size * num_elements);
    status = emu_va_add(va, &buffer->object, EMU_VA_BUFFER, destroy);
    if (status == VA_STATUS_SUCCESS)
        *ret = buffer->object.id;
    return status;
}

static VAStatus set_num_elements(VADriverContextP ctx, VABufferID id, unsigned num_elements)
{
    struct emu_va_buffer *buffer = emu_va_find(emu_va_of(ctx), id, EMU_VA_BUFFER);

    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    if (num_elements > buffer->num_elements)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    buffer->num_elements = num_elements;
    return VA_STATUS_SUCCESS;
}

static VAStatus map_buffer(VADriverContextP ctx, VABufferID id, void **ret)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_buffer *buffer = emu_va_find(va, id, EMU_VA_BUFFER);
    VAStatus status;

    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    if (buffer->type == VAEncCodedBufferType || buffer->type == VAImageBufferType) {
        status = emu_va_point(va, "va.map", NULL);
        if (status != VA_STATUS_SUCCESS)
            return status;
    }
    if (buffer->type == VAEncCodedBufferType) {
        emu_va_wait(va, buffer->ticket);
        *ret = &buffer->segment;
        return buffer->status;
    }
    if (buffer->surface)
        emu_record("va.derived.map", "width=%d height=%d", buffer->surface->width,
                   buffer->surface->height);
    *ret = buffer->data;
    return VA_STATUS_SUCCESS;
}

static VAStatus unmap_buffer(VADriverContextP ctx, VABufferID id)
{
    return emu_va_find(emu_va_of(ctx), id, EMU_VA_BUFFER) ? VA_STATUS_SUCCESS
                                                          : VA_STATUS_ERROR_INVALID_BUFFER;
}

static VAStatus destroy_buffer(VADriverContextP ctx, VABufferID id)
{
    return emu_va_remove(emu_va_of(ctx), id, EMU_VA_BUFFER, VA_STATUS_ERROR_INVALID_BUFFER);
}

static VAStatus buffer_info(VADriverContextP ctx, VABufferID id, VABufferType *type, unsigned *size,
                            unsigned *num_elements)
{
    struct emu_va_buffer *buffer = emu_va_find(emu_va_of(ctx), id, EMU_VA_BUFFER);

    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    *type = buffer->type;
    *size = buffer->element_bytes;
    *num_elements = buffer->num_elements;
    return VA_STATUS_SUCCESS;
}

void emu_va_install_buffer(struct VADriverVTable *vtable)
{
    vtable->vaCreateBuffer = create_buffer;
    vtable->vaBufferSetNumElements = set_num_elements;
    vtable->vaMapBuffer = map_buffer;
    vtable->vaUnmapBuffer = unmap_buffer;
    vtable->vaDestroyBuffer = destroy_buffer;
    vtable->vaBufferInfo = buffer_info;
}
