/* SPDX-License-Identifier: MIT */
/*
 * Emulated libnvidia-encode.so.1: the entry points, encode sessions and their life.
 *
 * Faults are met at nvenc.open, .init, .encode (here) and .buffer, .register, .lock
 * (nvenc_buffers.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"
#include "nvenc_emu.h"

NVENCSTATUS NvEncodeAPIGetMaxSupportedVersion(uint32_t *version);

static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;
static struct emu_nvenc_session *sessions;
static int sessions_opened;

struct emu_nvenc_session *emu_nvenc_session(void *handle)
{
    struct emu_nvenc_session *s;

    pthread_mutex_lock(&sessions_lock);
    for (s = sessions; s && s != handle; s = s->next)
        ;
    pthread_mutex_unlock(&sessions_lock);
    return s;
}

NVENCSTATUS emu_nvenc_result(struct emu_fault fault)
{
    return (NVENCSTATUS)emu_fault_code(fault, NV_ENC_ERR_OUT_OF_MEMORY, NV_ENC_ERR_DEVICE_NOT_EXIST,
                                       NV_ENC_ERR_GENERIC);
}

NVENCSTATUS emu_nvenc_fail(struct emu_nvenc_session *s, NVENCSTATUS status, const char *reason)
{
    snprintf(s->error, sizeof(s->error), "emulated: %s", reason);
    return status;
}

/* --- opening --- */

static NVENCSTATUS refuse(int device, NVENCSTATUS status)
{
    emu_record("nvenc.refused", "device=%d status=%d", device, (int)status);
    return status;
}

static NVENCSTATUS open_session(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *p, void **ret)
{
    struct emu_nvenc_session *s;
    int device, slot;
    NVENCSTATUS status;

    *ret = NULL;
    if (p->deviceType != NV_ENC_DEVICE_TYPE_CUDA)
        return NV_ENC_ERR_UNSUPPORTED_DEVICE;
    if ((device = emu_cuda_context_device(p->device)) < 0)
        return NV_ENC_ERR_INVALID_DEVICE;
    if ((status = emu_nvenc_result(emu_point("nvenc.open", device))))
        return refuse(device, status);
    if (((p->apiVersion & 0xff) << 4 | (p->apiVersion >> 24 & 0xf)) > emu_nvenc_api_version())
        return refuse(device, NV_ENC_ERR_INVALID_VERSION);
    if (!emu_profile()->encoder)
        return refuse(device, NV_ENC_ERR_UNSUPPORTED_DEVICE);
    slot = emu_session_open(device);
    if (slot < 0)
        return refuse(device, slot == -EMFILE ? NV_ENC_ERR_OUT_OF_MEMORY : NV_ENC_ERR_GENERIC);
    if (!(s = calloc(1, sizeof(*s)))) {
        emu_session_close(slot);
        return NV_ENC_ERR_OUT_OF_MEMORY;
    }
    s->device = device;
    s->slot = slot;
    s->waiting_last = &s->waiting;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_lock(&sessions_lock);
    s->number = ++sessions_opened;
    s->next = sessions;
    sessions = s;
    pthread_mutex_unlock(&sessions_lock);
    emu_record("nvenc.open", "device=%d session=%d", device, s->number);
    *ret = s;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_encoder(void *handle)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    pthread_mutex_lock(&sessions_lock);
    for (struct emu_nvenc_session **at = &sessions; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    pthread_mutex_unlock(&sessions_lock);
    emu_record("nvenc.close", "device=%d session=%d frames=%lld bytes=%llu", s->device, s->number,
               (long long)s->pictures, (unsigned long long)s->bytes);
    emu_nvenc_free_buffers(s);
    if (s->encoder)
        s->backend->close(s->encoder);
    for (int i = 0; i < 3; i++)
        free(s->planes[i]);
    emu_session_close(s->slot);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NV_ENC_SUCCESS;
}

/* --- what there is --- */

static NVENCSTATUS guid_count(void *handle, uint32_t *count)
{
    if (!emu_nvenc_session(handle))
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    *count = emu_profile()->hevc ? 2 : 1;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS guids(void *handle, GUID *ret, uint32_t size, uint32_t *count)
{
    const GUID *const all[] = {&NV_ENC_CODEC_H264_GUID, &NV_ENC_CODEC_HEVC_GUID};
    NVENCSTATUS status = guid_count(handle, count);

    if (status)
        return status;
    if (*count > size)
        *count = size;
    for (uint32_t i = 0; i < *count; i++)
        ret[i] = *all[i];
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS caps(void *handle, GUID codec, NV_ENC_CAPS_PARAM *p, int *value)
{
    if (!emu_nvenc_session(handle))
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!emu_nvenc_has_codec(&codec))
        return NV_ENC_ERR_UNSUPPORTED_PARAM;
    *value = emu_nvenc_caps(&codec, p->capsToQuery);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS input_format_count(void *handle, GUID codec, uint32_t *count)
{
    if (!emu_nvenc_session(handle))
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    *count = emu_nvenc_caps(&codec, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE) ? 4 : 3;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS input_formats(void *handle, GUID codec, NV_ENC_BUFFER_FORMAT *formats,
                                 uint32_t size, uint32_t *count)
{
    const NV_ENC_BUFFER_FORMAT all[] = {NV_ENC_BUFFER_FORMAT_NV12, NV_ENC_BUFFER_FORMAT_YV12,
                                        NV_ENC_BUFFER_FORMAT_IYUV,
                                        NV_ENC_BUFFER_FORMAT_YUV420_10BIT};
    NVENCSTATUS status = input_format_count(handle, codec, count);

    if (status)
        return status;
    if (*count > size)
        *count = size;
    memcpy(formats, all, *count * sizeof(all[0]));
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset_count(void *handle, GUID codec, uint32_t *count)
{
    if (!emu_nvenc_session(handle))
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    *count = emu_nvenc_has_codec(&codec) ? 7 : 0;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset_guids(void *handle, GUID codec, GUID *ret, uint32_t size, uint32_t *count)
{
    NVENCSTATUS status = preset_count(handle, codec, count);

    if (status)
        return status;
    if (*count > size)
        *count = size;
    for (uint32_t i = 0; i < *count; i++)
        ret[i] = *emu_nvenc_presets[i];
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset_config_ex(void *handle, GUID codec, GUID preset, NV_ENC_TUNING_INFO tune,
                                    NV_ENC_PRESET_CONFIG *ret)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    status = emu_nvenc_preset_config(&codec, &preset, (int)tune, ret);
    return status ? emu_nvenc_fail(s, status, "preset") : status;
}

/* --- encoding --- */

static int make_planes(struct emu_nvenc_session *s)
{
    int sample = s->settings.ten_bit ? 2 : 1;

    for (int i = 0; i < 3; i++) {
        int width = i ? (s->settings.width + 1) / 2 : s->settings.width;
        int height = i ? (s->settings.height + 1) / 2 : s->settings.height;

        s->pitch_bytes[i] = (width * sample + 63) / 64 * 64;
        s->planes[i] = calloc((size_t)s->pitch_bytes[i], (size_t)height);
        if (!s->planes[i])
            return -ENOMEM;
    }
    return 0;
}

static NVENCSTATUS initialize(void *handle, NV_ENC_INITIALIZE_PARAMS *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (s->encoder)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_CALL, "initialised twice");
    if ((status = emu_nvenc_result(emu_point("nvenc.init", s->device))))
        return emu_nvenc_fail(s, status, "initialise");
    status = emu_nvenc_read_settings(p, s->device, s->number, "nvenc.init", &s->settings);
    if (status)
        return emu_nvenc_fail(s, status, "settings");
    s->backend = s->settings.hevc ? &emu_nvenc_x265 : &emu_nvenc_x264;
    if (make_planes(s) < 0)
        return emu_nvenc_fail(s, NV_ENC_ERR_OUT_OF_MEMORY, "planes");
    if (s->backend->open(&s->settings, &s->encoder) < 0) {
        s->encoder = NULL;
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "software encoder refused");
    }
    return NV_ENC_SUCCESS;
}

/* With the session's lock held. */
static NVENCSTATUS feed(struct emu_nvenc_session *s, const struct emu_nvenc_picture *picture)
{
    struct emu_nvenc_packet packet = {0};
    int got = s->backend->encode(s->encoder, picture, &packet);

    if (got < 0)
        return emu_nvenc_fail(s, NV_ENC_ERR_GENERIC, "software encoder failed");
    if (!got)
        return NV_ENC_ERR_NEED_MORE_INPUT;
    emu_nvenc_deliver(s, &packet);
    return NV_ENC_SUCCESS;
}

/* With the session's lock held. */
static NVENCSTATUS finish(struct emu_nvenc_session *s)
{
    NVENCSTATUS status = NV_ENC_SUCCESS;

    while (s->waiting && !status)
        status = feed(s, NULL);
    return status;
}

/* With the session's lock held. The encoder behind cannot change its rate, so another one goes on:
 * what FFmpeg asks for anyway, a reset and an IDR picture. */
static NVENCSTATUS restart(struct emu_nvenc_session *s, const struct emu_nvenc_settings *settings)
{
    NVENCSTATUS status = finish(s);

    if (status)
        return status;
    s->backend->close(s->encoder);
    s->settings = *settings;
    if (s->backend->open(settings, &s->encoder) < 0) {
        s->encoder = NULL;
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "software encoder refused");
    }
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS reconfigure(void *handle, NV_ENC_RECONFIGURE_PARAMS *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    struct emu_nvenc_settings settings;
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!s->encoder)
        return NV_ENC_ERR_ENCODER_NOT_INITIALIZED;
    if (!p->reInitEncodeParams.encodeConfig) {
        emu_record("nvenc.reconfigure", "device=%d session=%d dar=%u/%u", s->device, s->number,
                   p->reInitEncodeParams.darWidth, p->reInitEncodeParams.darHeight);
        return NV_ENC_SUCCESS;
    }
    status = emu_nvenc_read_settings(&p->reInitEncodeParams, s->device, s->number,
                                     "nvenc.reconfigure", &settings);
    if (status)
        return emu_nvenc_fail(s, status, "settings");
    if (settings.width != s->settings.width || settings.height != s->settings.height ||
        settings.gop != s->settings.gop || settings.b_frames != s->settings.b_frames)
        return emu_nvenc_fail(s, NV_ENC_ERR_INVALID_PARAM, "only rates can change");
    pthread_mutex_lock(&s->lock);
    status = restart(s, &settings);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static NVENCSTATUS encode_one(struct emu_nvenc_session *s, const NV_ENC_PIC_PARAMS *p,
                              enum emu_action action)
{
    struct emu_nvenc_picture picture = {
        .force_idr = p->encodePicFlags & NV_ENC_PIC_FLAG_FORCEIDR || !s->pictures,
        .force_intra = p->encodePicFlags & NV_ENC_PIC_FLAG_FORCEINTRA,
        .number = s->pictures,
    };
    size_t slot = (size_t)s->pictures % (sizeof(s->times) / sizeof(s->times[0]));
    NVENCSTATUS status = emu_nvenc_take_picture(s, p->inputBuffer, action);

    if (!status)
        status = emu_nvenc_expect(s, p->outputBitstream);
    if (status)
        return status;
    memcpy(picture.planes, s->planes, sizeof(picture.planes));
    memcpy(picture.pitch_bytes, s->pitch_bytes, sizeof(picture.pitch_bytes));
    s->times[slot].time_stamp = p->inputTimeStamp;
    s->times[slot].duration = p->inputDuration;
    s->pictures++;
    if (p->encodePicFlags & NV_ENC_PIC_FLAG_FORCEIDR)
        emu_record("nvenc.idr", "session=%d frame=%lld", s->number, (long long)picture.number);
    return feed(s, &picture);
}

static NVENCSTATUS encode_picture(void *handle, NV_ENC_PIC_PARAMS *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    bool end = p->encodePicFlags & NV_ENC_PIC_FLAG_EOS;
    struct emu_fault fault = {0};
    NVENCSTATUS status;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!s->encoder)
        return emu_nvenc_fail(s, NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "not initialised");
    if (!end)
        fault = emu_point("nvenc.encode", s->device);
    if ((status = emu_nvenc_result(fault)))
        return emu_nvenc_fail(s, status, "encode");
    pthread_mutex_lock(&s->lock);
    status = end ? finish(s) : encode_one(s, p, fault.action);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static NVENCSTATUS sequence_params(void *handle, NV_ENC_SEQUENCE_PARAM_PAYLOAD *p)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);
    NVENCSTATUS status = NV_ENC_SUCCESS;
    uint8_t *data = NULL;
    size_t size = 0;

    if (!s)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (!s->encoder)
        return NV_ENC_ERR_ENCODER_NOT_INITIALIZED;
    pthread_mutex_lock(&s->lock);
    if (s->backend->headers(s->encoder, &data, &size) < 0)
        status = emu_nvenc_fail(s, NV_ENC_ERR_GENERIC, "headers");
    else if (size > p->inBufferSize)
        status = emu_nvenc_fail(s, NV_ENC_ERR_NOT_ENOUGH_BUFFER, "headers");
    else
        memcpy(p->spsppsBuffer, data, size);
    pthread_mutex_unlock(&s->lock);
    if (!status)
        *p->outSPSPPSPayloadSize = (uint32_t)size;
    free(data);
    return status;
}

static NVENCSTATUS set_streams(void *handle, NV_ENC_CUSTREAM_PTR in, NV_ENC_CUSTREAM_PTR out)
{
    (void)in;
    (void)out; /* a session waits for all streams anyway */
    return emu_nvenc_session(handle) ? NV_ENC_SUCCESS : NV_ENC_ERR_INVALID_ENCODERDEVICE;
}

static const char *last_error(void *handle)
{
    struct emu_nvenc_session *s = emu_nvenc_session(handle);

    return s ? s->error : "";
}

NVENCSTATUS NvEncodeAPIGetMaxSupportedVersion(uint32_t *version)
{
    if (!version)
        return NV_ENC_ERR_INVALID_PTR;
    *version = emu_nvenc_api_version();
    emu_record("nvenc.load", "api=%u.%u", *version >> 4, *version & 0xf);
    return NV_ENC_SUCCESS;
}

/* What is not set stays NULL: statistics, events, motion estimation. FFmpeg never calls it. */
NVENCSTATUS NvEncodeAPICreateInstance(NV_ENCODE_API_FUNCTION_LIST *list)
{
    if (!list)
        return NV_ENC_ERR_INVALID_PTR;
    list->nvEncOpenEncodeSessionEx = open_session;
    list->nvEncDestroyEncoder = destroy_encoder;
    list->nvEncGetEncodeGUIDCount = guid_count;
    list->nvEncGetEncodeGUIDs = guids;
    list->nvEncGetEncodeCaps = caps;
    list->nvEncGetInputFormatCount = input_format_count;
    list->nvEncGetInputFormats = input_formats;
    list->nvEncGetEncodePresetCount = preset_count;
    list->nvEncGetEncodePresetGUIDs = preset_guids;
    list->nvEncGetEncodePresetConfigEx = preset_config_ex;
    list->nvEncInitializeEncoder = initialize;
    list->nvEncReconfigureEncoder = reconfigure;
    list->nvEncEncodePicture = encode_picture;
    list->nvEncGetSequenceParams = sequence_params;
    list->nvEncSetIOCudaStreams = set_streams;
    list->nvEncGetLastErrorString = last_error;
    emu_nvenc_fill_buffer_functions(list);
    return NV_ENC_SUCCESS;
}
