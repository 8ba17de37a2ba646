/* SPDX-License-Identifier: MIT */
/*
 * Emulated NVENC: input buffers, registered device pictures and output buffers.
 *
 * Input buffers are device memory, so that they count against the device's memory and a caller's
 * upload shows in the record. A registered picture's chroma stands below the registered height,
 * which is the frame pool's and not the encode size.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"
#include "nvenc_emu.h"

#define PITCH_ALIGNMENT 256
#define BITSTREAM_BYTES (1 << 20) /* what a real output buffer takes at least */

extern tcuMemAlloc_v2 cuMemAlloc_v2;
extern tcuMemFree_v2 cuMemFree_v2;

struct emu_nvenc_input {
    struct emu_nvenc_input *next;
    uint8_t *data;
    CUdeviceptr owned; /* 0 for a registered picture */
    int width, height, pitch_bytes;
    NV_ENC_BUFFER_FORMAT format;
    bool mapped, locked;
};

struct emu_nvenc_output {
    struct emu_nvenc_output *next, *next_waiting;
    CUdeviceptr device_memory;
    struct emu_nvenc_packet packet;
    uint64_t time_stamp, duration;
    uint32_t index;
    bool filled, waiting;
};

static bool known_format(NV_ENC_BUFFER_FORMAT format)
{
    return format == NV_ENC_BUFFER_FORMAT_NV12 || format == NV_ENC_BUFFER_FORMAT_YV12 ||
           format == NV_ENC_BUFFER_FORMAT_IYUV || format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT;
}

static struct emu_nvenc_input **find_input(struct emu_nvenc_session *s, const void *handle)
{
    struct emu_nvenc_input **at = &s->inputs;

    while (*at && *at != handle)
        at = &(*at)->next;
    return at;
}

static struct emu_nvenc_output **find_output(struct emu_nvenc_session *s, const void *handle)
{
    struct emu_nvenc_output **at = &s->outputs;

    while (*at && *at != handle)
        at = &(*at)->next;
    return at;
}

static void free_input(struct emu_nvenc_input *input)
{
    if (input->owned)
        cuMemFree_v2(input->owned);
    free(input);
}

static void free_output(struct emu_nvenc_output *output)
{
    cuMemFree_v2(output->device_memory);
    free(output->packet.data);
    free(output);
}

void emu_nvenc_free_buffers(struct emu_nvenc_session *s)
{
    while (s->inputs) {
        struct emu_nvenc_input *input = s->inputs;

        s->inputs = input->next;
        free_input(input);
    }
    while (s->outputs) {
        struct emu_nvenc_output *output = s->outputs;

        s->outputs = output->next;
        free_output(output);
    }
}

static NVENCSTATUS create_input(void *handle, NV_ENC_CREATE_INPUT_BUFFER *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input *input;
    int bytes = p->bufferFmt == NV_ENC_BUFFER_FORMAT_YUV420_10BIT ? 2 : 1;
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!known_format(p->bufferFmt))
        return emu_nvenc_fail(s, NV_ENC_ERR_UNSUPPORTED_PARAM, "input format");
    if ((status = emu_nvenc_result(emu_point("nvenc.buffer", s->device))))
        return emu_nvenc_fail(s, status, "input buffer");
    if (!(input = calloc(1, sizeof(*input))))
        return NV_ENC_ERR_OUT_OF_MEMORY;
    input->width = (int)p->width;
    input->height = (int)p->height;
    input->pitch_bytes =
        ((int)p->width * bytes + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT * PITCH_ALIGNMENT;
    input->format = p->bufferFmt;
    if (cuMemAlloc_v2(&input->owned,
                      (size_t)input->pitch_bytes * ((size_t)p->height + (p->height + 1) / 2))) {
        free(input);
        return emu_nvenc_fail(s, NV_ENC_ERR_OUT_OF_MEMORY, "input buffer");
    }
    input->data = (uint8_t *)(uintptr_t)input->owned;
    pthread_mutex_lock(&s->lock);
    input->next = s->inputs;
    s->inputs = input;
    pthread_mutex_unlock(&s->lock);
    p->inputBuffer = input;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS remove_input(void *handle, const void *buffer, NVENCSTATUS unknown)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input **at, *input;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    pthread_mutex_lock(&s->lock);
    at = find_input(s, buffer);
    input = *at;
    if (input)
        *at = input->next;
    pthread_mutex_unlock(&s->lock);
    if (!input)
        return emu_nvenc_fail(s, unknown, "unknown input");
    free_input(input);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_input(void *handle, NV_ENC_INPUT_PTR buffer)
{
    return remove_input(handle, buffer, NV_ENC_ERR_INVALID_PARAM);
}

static NVENCSTATUS lock_input(void *handle, NV_ENC_LOCK_INPUT_BUFFER *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input *input = s ? *find_input(s, p->inputBuffer) : NULL;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!input || input->locked)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "input buffer to lock");
    input->locked = true;
    p->bufferDataPtr = input->data;
    p->pitch = (uint32_t)input->pitch_bytes;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unlock_input(void *handle, NV_ENC_INPUT_PTR buffer)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input *input = s ? *find_input(s, buffer) : NULL;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!input || !input->locked)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "input buffer to unlock");
    input->locked = false;
    emu_record("nvenc.upload", "session=%d bytes=%d", s->number,
               input->pitch_bytes * (input->height + (input->height + 1) / 2));
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS register_resource(void *handle, NV_ENC_REGISTER_RESOURCE *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input *input;
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if ((status = emu_nvenc_result(emu_point("nvenc.register", s->device))))
        return emu_nvenc_fail(s, status, "register");
    if (p->resourceType != NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR || !p->resourceToRegister ||
        !known_format(p->bufferFormat) || p->pitch % 4)
        return emu_nvenc_fail(s, NV_ENC_ERR_RESOURCE_REGISTER_FAILED, "register");
    if (!(input = calloc(1, sizeof(*input))))
        return NV_ENC_ERR_OUT_OF_MEMORY;
    input->data = p->resourceToRegister;
    input->width = (int)p->width;
    input->height = (int)p->height;
    input->pitch_bytes = (int)p->pitch;
    input->format = p->bufferFormat;
    pthread_mutex_lock(&s->lock);
    input->next = s->inputs;
    s->inputs = input;
    pthread_mutex_unlock(&s->lock);
    p->registeredResource = input;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unregister_resource(void *handle, NV_ENC_REGISTERED_PTR resource)
{
    return remove_input(handle, resource, NV_ENC_ERR_RESOURCE_NOT_REGISTERED);
}

static NVENCSTATUS map_input(void *handle, NV_ENC_MAP_INPUT_RESOURCE *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input *input = s ? *find_input(s, p->registeredResource) : NULL;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!input || input->mapped)
        return emu_nvenc_fail(s, NV_ENC_ERR_MAP_FAILED, "map");
    input->mapped = true;
    p->mappedResource = input;
    p->mappedBufferFmt = input->format;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unmap_input(void *handle, NV_ENC_INPUT_PTR mapped)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_input *input = s ? *find_input(s, mapped) : NULL;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!input || !input->mapped)
        return emu_nvenc_fail(s, NV_ENC_ERR_RESOURCE_NOT_MAPPED, "unmap");
    input->mapped = false;
    return NV_ENC_SUCCESS;
}

/* --- pictures into the encoder --- */

static void copy_plane(uint8_t *dst, int dst_pitch, const uint8_t *src, int src_pitch, int width,
                       int height)
{
    for (int y = 0; y < height; y++)
        memcpy(dst + (size_t)y * (size_t)dst_pitch, src + (size_t)y * (size_t)src_pitch,
               (size_t)width);
}

static void split_chroma(struct emu_nvenc_session *s, const struct emu_nvenc_input *input,
                         const uint8_t *chroma, bool ten_bit)
{
    int width = (s->settings.width + 1) / 2, height = (s->settings.height + 1) / 2;

    for (int y = 0; y < height; y++) {
        const uint8_t *in = chroma + (size_t)y * (size_t)input->pitch_bytes;
        uint8_t *u = s->planes[1] + (size_t)y * (size_t)s->pitch_bytes[1];
        uint8_t *v = s->planes[2] + (size_t)y * (size_t)s->pitch_bytes[2];

        for (int x = 0; x < width; x++) {
            if (ten_bit) {
                ((uint16_t *)(void *)u)[x] = ((const uint16_t *)(const void *)in)[2 * x] >> 6;
                ((uint16_t *)(void *)v)[x] = ((const uint16_t *)(const void *)in)[2 * x + 1] >> 6;
            } else {
                u[x] = in[2 * x];
                v[x] = in[2 * x + 1];
            }
        }
    }
}

static void take_ten_bit_luma(struct emu_nvenc_session *s, const struct emu_nvenc_input *input)
{
    for (int y = 0; y < s->settings.height; y++) {
        const uint16_t *in = (const void *)(input->data + (size_t)y * (size_t)input->pitch_bytes);
        uint16_t *out = (void *)(s->planes[0] + (size_t)y * (size_t)s->pitch_bytes[0]);

        for (int x = 0; x < s->settings.width; x++)
            out[x] = in[x] >> 6;
    }
}

static void take_planes(struct emu_nvenc_session *s, const struct emu_nvenc_input *input)
{
    int width = (s->settings.width + 1) / 2, height = (s->settings.height + 1) / 2;
    const uint8_t *below = input->data + (size_t)input->pitch_bytes * (size_t)input->height;
    const uint8_t *second =
        below + (size_t)input->pitch_bytes / 2 * (size_t)((input->height + 1) / 2);
    bool yv12 = input->format == NV_ENC_BUFFER_FORMAT_YV12;

    if (input->format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT)
        take_ten_bit_luma(s, input);
    else
        copy_plane(s->planes[0], s->pitch_bytes[0], input->data, input->pitch_bytes,
                   s->settings.width, s->settings.height);
    if (input->format == NV_ENC_BUFFER_FORMAT_NV12 ||
        input->format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT) {
        split_chroma(s, input, below, input->format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT);
        return;
    }
    copy_plane(s->planes[1], s->pitch_bytes[1], yv12 ? second : below, input->pitch_bytes / 2,
               width, height);
    copy_plane(s->planes[2], s->pitch_bytes[2], yv12 ? below : second, input->pitch_bytes / 2,
               width, height);
}

NVENCSTATUS emu_nvenc_take_picture(struct emu_nvenc_session *s, void *handle,
                                   enum emu_action action)
{
    struct emu_nvenc_input *input = *find_input(s, handle);

    if (!input || input->locked || (!input->owned && !input->mapped))
        return emu_nvenc_fail(s, NV_ENC_ERR_RESOURCE_NOT_MAPPED, "input not mapped");
    if (input->width < s->settings.width || input->height < s->settings.height ||
        (input->format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT) != s->settings.ten_bit)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "input size or depth");
    if (action == EMU_GREEN) {
        for (int i = 0; i < 3; i++)
            memset(s->planes[i], 0,
                   (size_t)s->pitch_bytes[i] *
                       (size_t)(i ? (s->settings.height + 1) / 2 : s->settings.height));
    } else if (action != EMU_STALE) {
        emu_cuda_drain();
        take_planes(s, input);
    }
    return NV_ENC_SUCCESS;
}

/* --- bitstream out of it --- */

static NVENCSTATUS create_output(void *handle, NV_ENC_CREATE_BITSTREAM_BUFFER *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_output *output;
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if ((status = emu_nvenc_result(emu_point("nvenc.buffer", s->device))))
        return emu_nvenc_fail(s, status, "output buffer");
    if (!(output = calloc(1, sizeof(*output))))
        return NV_ENC_ERR_OUT_OF_MEMORY;
    if (cuMemAlloc_v2(&output->device_memory, BITSTREAM_BYTES)) {
        free(output);
        return emu_nvenc_fail(s, NV_ENC_ERR_OUT_OF_MEMORY, "output buffer");
    }
    pthread_mutex_lock(&s->lock);
    output->next = s->outputs;
    s->outputs = output;
    pthread_mutex_unlock(&s->lock);
    p->bitstreamBuffer = output;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_output(void *handle, NV_ENC_OUTPUT_PTR buffer)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_output **at, *output;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    pthread_mutex_lock(&s->lock);
    at = find_output(s, buffer);
    output = *at;
    if (output && !output->waiting)
        *at = output->next;
    pthread_mutex_unlock(&s->lock);
    if (!output || output->waiting)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "output buffer unknown or in use");
    free_output(output);
    return NV_ENC_SUCCESS;
}

NVENCSTATUS emu_nvenc_expect(struct emu_nvenc_session *s, void *handle)
{
    struct emu_nvenc_output *output = *find_output(s, handle);

    if (!output || output->waiting)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "output buffer unknown or in use");
    free(output->packet.data);
    output->packet = (struct emu_nvenc_packet){0};
    output->filled = false;
    output->waiting = true;
    output->next_waiting = NULL;
    *s->waiting_last = output;
    s->waiting_last = &output->next_waiting;
    return NV_ENC_SUCCESS;
}

void emu_nvenc_deliver(struct emu_nvenc_session *s, struct emu_nvenc_packet *packet)
{
    struct emu_nvenc_output *output = s->waiting;
    size_t slot = (size_t)packet->number % (sizeof(s->times) / sizeof(s->times[0]));

    if (!output) { /* cannot be: one packet a picture */
        free(packet->data);
        return;
    }
    s->waiting = output->next_waiting;
    if (!s->waiting)
        s->waiting_last = &s->waiting;
    output->waiting = false;
    output->filled = true;
    output->packet = *packet;
    output->time_stamp = s->times[slot].time_stamp;
    output->duration = s->times[slot].duration;
    output->index = (uint32_t)packet->number;
    s->bytes += packet->size_bytes;
}

static NVENCSTATUS lock_output(void *handle, NV_ENC_LOCK_BITSTREAM *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_output *output;
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if ((status = emu_nvenc_result(emu_point("nvenc.lock", s->device))))
        return emu_nvenc_fail(s, status, "lock");
    pthread_mutex_lock(&s->lock);
    output = *find_output(s, p->outputBitstream);
    status = !output          ? NV_ENC_ERR_INVALID_PARAM
             : output->filled ? NV_ENC_SUCCESS
                              : NV_ENC_ERR_LOCK_BUSY;
    if (!status) {
        p->bitstreamBufferPtr = output->packet.data;
        p->bitstreamSizeInBytes = (uint32_t)output->packet.size_bytes;
        p->outputTimeStamp = output->time_stamp;
        p->outputDuration = output->duration;
        p->frameIdx = output->index;
        p->pictureType = output->packet.type;
        p->pictureStruct = NV_ENC_PIC_STRUCT_FRAME;
        p->frameAvgQP = output->packet.qp > 0 ? (uint32_t)output->packet.qp : 1;
        p->numSlices = 1;
        p->hwEncodeStatus = 2; /* done */
    }
    pthread_mutex_unlock(&s->lock);
    return status ? emu_nvenc_fail(s, status, "output buffer not ready") : status;
}

static NVENCSTATUS unlock_output(void *handle, NV_ENC_OUTPUT_PTR buffer)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    return *find_output(s, buffer) ? NV_ENC_SUCCESS : NV_ENC_ERR_INVALID_PARAM;
}

void emu_nvenc_fill_buffer_functions(NV_ENCODE_API_FUNCTION_LIST *list)
{
    list->nvEncCreateInputBuffer = create_input;
    list->nvEncDestroyInputBuffer = destroy_input;
    list->nvEncLockInputBuffer = lock_input;
    list->nvEncUnlockInputBuffer = unlock_input;
    list->nvEncRegisterResource = register_resource;
    list->nvEncUnregisterResource = unregister_resource;
    list->nvEncMapInputResource = map_input;
    list->nvEncUnmapInputResource = unmap_input;
    list->nvEncCreateBitstreamBuffer = create_output;
    list->nvEncDestroyBitstreamBuffer = destroy_output;
    list->nvEncLockBitstream = lock_output;
    list->nvEncUnlockBitstream = unlock_output;
}
