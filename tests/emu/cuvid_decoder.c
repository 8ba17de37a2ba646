/* SPDX-License-Identifier: MIT */
/*
 * Emulated libnvcuvid.so.1: capabilities, decoders and mapped pictures.
 *
 * Like NVDEC, mapping says nothing about success: a surface into which nothing was decoded maps
 * with whatever it held before, which is how a failing decoder goes unnoticed.
 */
#include <errno.h>
#include <libavutil/frame.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"
#include "cuvid_emu.h"

#define PITCH_ALIGNMENT 512
#define MAX_SURFACES 32
#define MAX_MAPPED 64
#define MAP_FAILED_CODE 205

extern tcuMemAlloc_v2 cuMemAlloc_v2;
extern tcuMemFree_v2 cuMemFree_v2;

tcuvidGetDecoderCaps cuvidGetDecoderCaps;
tcuvidCreateDecoder cuvidCreateDecoder;
tcuvidDestroyDecoder cuvidDestroyDecoder;
tcuvidDecodePicture cuvidDecodePicture;
tcuvidGetDecodeStatus cuvidGetDecodeStatus;
tcuvidMapVideoFrame64 cuvidMapVideoFrame64;
tcuvidUnmapVideoFrame64 cuvidUnmapVideoFrame64;

struct surface {
    AVFrame *frame; /* NULL: nothing decoded yet, or green */
    cuvidDecodeStatus status;
};

struct decoder {
    int device;
    pthread_mutex_t lock;
    CUVIDDECODECREATEINFO info;
    struct emu_decoder *core;
    CUdeviceptr surface_memory; /* what the decoded pictures would take */
    struct surface surfaces[MAX_SURFACES];
    CUdeviceptr mapped[MAX_MAPPED], spare[MAX_MAPPED];
    int num_mapped, num_spare;
    int latest; /* surface decoded last, -1 at first */
    int pictures, maps;
    struct emu_slice slices[EMU_CUVID_MAX_SLICES];
};

static bool ten_bit(const struct decoder *d)
{
    return d->info.OutputFormat == cudaVideoSurfaceFormat_P016;
}

static bool supported(cudaVideoCodec codec, cudaVideoChromaFormat chroma, unsigned depth_minus8)
{
    if (chroma != cudaVideoChromaFormat_420)
        return false;
    switch (codec) {
    case cudaVideoCodec_H264:
    case cudaVideoCodec_VP9:
        return depth_minus8 == 0;
    case cudaVideoCodec_HEVC:
        return depth_minus8 == 0 || (depth_minus8 == 2 && emu_profile()->ten_bit_decode);
    default:
        return false; /* MPEG-2, VC-1 and AV1: real, not emulated */
    }
}

CUresult cuvidGetDecoderCaps(CUVIDDECODECAPS *caps)
{
    int device = emu_cuda_current_device();
    CUresult ret;

    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if ((ret = emu_cuda_point("cuvid.caps", device)))
        return ret;
    caps->bIsSupported = supported(caps->eCodecType, caps->eChromaFormat, caps->nBitDepthMinus8);
    caps->nNumNVDECs = caps->bIsSupported;
    caps->nOutputFormatMask =
        caps->bIsSupported
            ? (unsigned short)(1u << (caps->nBitDepthMinus8 ? cudaVideoSurfaceFormat_P016
                                                            : cudaVideoSurfaceFormat_NV12))
            : 0;
    caps->nMaxWidth = caps->nMaxHeight = !caps->bIsSupported                       ? 0
                                         : caps->eCodecType == cudaVideoCodec_H264 ? 4096
                                                                                   : 8192;
    caps->nMaxMBCount = caps->nMaxWidth / 16 * (caps->nMaxHeight / 16);
    caps->nMinWidth = caps->bIsSupported ? 48 : 0;
    caps->nMinHeight = caps->bIsSupported ? 16 : 0;
    return CUDA_SUCCESS;
}

static void free_decoder(struct decoder *d)
{
    for (int i = 0; i < MAX_SURFACES; i++)
        av_frame_free(&d->surfaces[i].frame);
    for (int i = 0; i < d->num_mapped; i++)
        cuMemFree_v2(d->mapped[i]);
    for (int i = 0; i < d->num_spare; i++)
        cuMemFree_v2(d->spare[i]);
    if (d->surface_memory)
        cuMemFree_v2(d->surface_memory);
    emu_decoder_destroy(d->core);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static CUresult check_request(const CUVIDDECODECREATEINFO *info)
{
    long width = info->display_area.right - info->display_area.left;
    long height = info->display_area.bottom - info->display_area.top;

    if (!supported(info->CodecType, info->ChromaFormat, (unsigned)info->bitDepthMinus8))
        return (CUresult)EMU_CUDA_NOT_SUPPORTED;
    if (!info->ulNumDecodeSurfaces || info->ulNumDecodeSurfaces > MAX_SURFACES ||
        !info->ulNumOutputSurfaces || info->ulNumOutputSurfaces > MAX_MAPPED ||
        (info->OutputFormat != cudaVideoSurfaceFormat_NV12 &&
         info->OutputFormat != cudaVideoSurfaceFormat_P016))
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    /* The decoder's own scaler and cropping at the left or top are not emulated. */
    if (width > 0 && (info->display_area.left || info->display_area.top ||
                      (unsigned long)(width + 1) / 2 * 2 != info->ulTargetWidth ||
                      (unsigned long)(height + 1) / 2 * 2 != info->ulTargetHeight))
        return (CUresult)EMU_CUDA_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

CUresult cuvidCreateDecoder(CUvideodecoder *ret_decoder, CUVIDDECODECREATEINFO *info)
{
    int device = emu_cuda_current_device();
    enum emu_codec codec = info->CodecType == cudaVideoCodec_H264   ? EMU_H264
                           : info->CodecType == cudaVideoCodec_HEVC ? EMU_HEVC
                                                                    : EMU_VP9;
    struct decoder *d;
    CUresult ret;

    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if ((ret = emu_cuda_point("cuvid.create", device)) || (ret = check_request(info)))
        return ret;
    if (!(d = calloc(1, sizeof(*d))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    d->device = device;
    d->info = *info;
    d->latest = -1;
    pthread_mutex_init(&d->lock, NULL);
    if (cuMemAlloc_v2(&d->surface_memory, info->ulWidth * info->ulHeight * 3 / 2 *
                                              (ten_bit(d) ? 2 : 1) * info->ulNumDecodeSurfaces) ||
        emu_decoder_create(codec, &d->core) < 0) {
        free_decoder(d);
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    }
    emu_record(
        "cuvid.create", "device=%d codec=%s bits=%d size=%lux%lu surfaces=%lu outputs=%lu", device,
        codec == EMU_H264   ? "h264"
        : codec == EMU_HEVC ? "hevc"
                            : "vp9",
        (int)info->bitDepthMinus8 + 8, (unsigned long)info->ulWidth, (unsigned long)info->ulHeight,
        (unsigned long)info->ulNumDecodeSurfaces, (unsigned long)info->ulNumOutputSurfaces);
    *ret_decoder = d;
    return CUDA_SUCCESS;
}

CUresult cuvidDestroyDecoder(CUvideodecoder handle)
{
    struct decoder *d = handle;

    if (!d)
        return (CUresult)EMU_CUDA_INVALID_HANDLE;
    emu_record("cuvid.close", "device=%d pictures=%d maps=%d", d->device, d->pictures, d->maps);
    free_decoder(d);
    return CUDA_SUCCESS;
}

/* With the decoder's lock held. Keeps a reference, since the core's frame lives until its next
 * call only. */
static CUresult store(struct decoder *d, int index, const AVFrame *frame)
{
    struct surface *s = &d->surfaces[index];
    AVFrame *copy = frame ? av_frame_clone(frame) : NULL;

    if (frame && !copy)
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    av_frame_free(&s->frame);
    s->frame = copy;
    s->status = cuvidDecodeStatus_Success;
    d->latest = index;
    d->pictures++;
    return CUDA_SUCCESS;
}

/* With the decoder's lock held. */
static CUresult decode(struct decoder *d, const CUVIDPICPARAMS *p, enum emu_action action)
{
    const AVFrame *frame = emu_cuvid_attached_frame(p);
    const AVFrame *before = d->latest >= 0 ? d->surfaces[d->latest].frame : NULL;
    struct emu_decode_picture picture = {0};
    int ret = 0;

    if (!frame) {
        ret = emu_cuvid_translate(d->info.CodecType, p, d->slices, &picture);
        if (!ret)
            ret = emu_decoder_decode(d->core, &picture, &frame);
    }
    if (ret == -EIO) { /* damaged data: hardware conceals and reports success */
        ret = (int)store(d, p->CurrPicIdx, before);
        d->surfaces[p->CurrPicIdx].status = cuvidDecodeStatus_Error_Concealed;
        return (CUresult)ret;
    }
    if (ret) {
        emu_record("cuvid.unsupported", "errno=%d", -ret);
        return (CUresult)(ret == -ENOMEM    ? EMU_CUDA_OUT_OF_MEMORY
                          : ret == -ENOTSUP ? EMU_CUDA_NOT_SUPPORTED
                                            : EMU_CUDA_INVALID_VALUE);
    }
    if (action == EMU_STALE && before)
        frame = before;
    return store(d, p->CurrPicIdx, action == EMU_GREEN ? NULL : frame);
}

CUresult cuvidDecodePicture(CUvideodecoder handle, CUVIDPICPARAMS *p)
{
    struct decoder *d = handle;
    struct emu_fault fault;
    CUresult ret;

    if (!d)
        return (CUresult)EMU_CUDA_INVALID_HANDLE;
    fault = emu_point("cuvid.decode", d->device);
    if ((ret = emu_cuda_result(fault)))
        return ret;
    if (p->CurrPicIdx < 0 || p->CurrPicIdx >= (int)d->info.ulNumDecodeSurfaces)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    pthread_mutex_lock(&d->lock);
    ret = decode(d, p, fault.action);
    pthread_mutex_unlock(&d->lock);
    return ret;
}

CUresult cuvidGetDecodeStatus(CUvideodecoder handle, int index, CUVIDGETDECODESTATUS *status)
{
    struct decoder *d = handle;

    if (!d || index < 0 || index >= (int)d->info.ulNumDecodeSurfaces)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    pthread_mutex_lock(&d->lock);
    status->decodeStatus = d->surfaces[index].status;
    pthread_mutex_unlock(&d->lock);
    return CUDA_SUCCESS;
}

/* With the decoder's lock held: a buffer for a mapped picture, cleared when it is new. */
static CUresult take_buffer(struct decoder *d, size_t size_bytes, CUdeviceptr *ret_pointer)
{
    CUresult ret;

    if (d->num_mapped == (int)d->info.ulNumOutputSurfaces)
        return (CUresult)MAP_FAILED_CODE;
    if (d->num_spare) {
        *ret_pointer = d->spare[--d->num_spare];
    } else {
        if ((ret = cuMemAlloc_v2(ret_pointer, size_bytes)))
            return ret;
        memset((void *)(uintptr_t)*ret_pointer, 0, size_bytes);
    }
    d->mapped[d->num_mapped++] = *ret_pointer;
    d->maps++;
    return CUDA_SUCCESS;
}

CUresult cuvidMapVideoFrame64(CUvideodecoder handle, int index, unsigned long long *ret_pointer,
                              unsigned int *ret_pitch, CUVIDPROCPARAMS *process)
{
    struct decoder *d = handle;
    struct emu_semiplanar dst;
    size_t pitch, luma_bytes;
    CUdeviceptr pointer = 0;
    CUresult ret;

    (void)process; /* progressive or woven; the decoder's deinterlacer is not emulated */
    if (!d)
        return (CUresult)EMU_CUDA_INVALID_HANDLE;
    if ((ret = emu_cuda_point("cuvid.map", d->device)))
        return ret;
    if (index < 0 || index >= (int)d->info.ulNumDecodeSurfaces)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    pitch = (d->info.ulTargetWidth * (ten_bit(d) ? 2 : 1) + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT *
            PITCH_ALIGNMENT;
    luma_bytes = pitch * d->info.ulTargetHeight;
    emu_cuda_drain(); /* a spare buffer may still be read by work that was submitted */
    pthread_mutex_lock(&d->lock);
    ret = take_buffer(d, luma_bytes + luma_bytes / 2, &pointer);
    if (!ret) {
        dst = (struct emu_semiplanar){
            .luma = (uint8_t *)(uintptr_t)pointer,
            .chroma = (uint8_t *)(uintptr_t)pointer + luma_bytes,
            .luma_pitch = pitch,
            .chroma_pitch = pitch,
            .width = (int)d->info.ulTargetWidth,
            .height = (int)d->info.ulTargetHeight,
            .ten_bit = ten_bit(d),
        };
        if (!d->surfaces[index].frame)
            memset(dst.luma, 0, luma_bytes + luma_bytes / 2);
        else if (emu_frame_to_semiplanar(d->surfaces[index].frame, &dst) < 0)
            emu_record("cuvid.broken", "reason=depth");
    }
    pthread_mutex_unlock(&d->lock);
    *ret_pointer = pointer;
    *ret_pitch = (unsigned)pitch;
    return ret;
}

CUresult cuvidUnmapVideoFrame64(CUvideodecoder handle, unsigned long long pointer)
{
    struct decoder *d = handle;
    CUresult ret = (CUresult)EMU_CUDA_INVALID_VALUE;

    if (!d)
        return (CUresult)EMU_CUDA_INVALID_HANDLE;
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < d->num_mapped; i++) {
        if (d->mapped[i] != pointer)
            continue;
        d->mapped[i] = d->mapped[--d->num_mapped];
        d->spare[d->num_spare++] = pointer;
        ret = CUDA_SUCCESS;
        break;
    }
    pthread_mutex_unlock(&d->lock);
    return ret;
}
