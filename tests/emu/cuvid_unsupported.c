/* SPDX-License-Identifier: MIT */
/*
 * Emulated libnvcuvid.so.1: symbols that FFmpeg's loader insists on. Locks are nothing here, since
 * each decoder has its own; video sources and reconfiguration answer "not supported".
 */
#include <stddef.h>

#include "cuda_emu.h"
#include "cuvid_emu.h"

tcuvidReconfigureDecoder cuvidReconfigureDecoder;
tcuvidCtxLockCreate cuvidCtxLockCreate;
tcuvidCtxLockDestroy cuvidCtxLockDestroy;
tcuvidCtxLock cuvidCtxLock;
tcuvidCtxUnlock cuvidCtxUnlock;
tcuvidCreateVideoSource cuvidCreateVideoSource;
tcuvidCreateVideoSourceW cuvidCreateVideoSourceW;
tcuvidDestroyVideoSource cuvidDestroyVideoSource;
tcuvidSetVideoSourceState cuvidSetVideoSourceState;
tcuvidGetVideoSourceState cuvidGetVideoSourceState;
tcuvidGetSourceVideoFormat cuvidGetSourceVideoFormat;
tcuvidGetSourceAudioFormat cuvidGetSourceAudioFormat;

static CUresult unsupported(const char *name)
{
    emu_record("cuvid.unsupported", "call=%s", name);
    return (CUresult)EMU_CUDA_NOT_SUPPORTED;
}

#pragma GCC diagnostic ignored "-Wunused-parameter"

CUresult cuvidCtxLockCreate(CUvideoctxlock *ret_lock, CUcontext context)
{
    static char any;

    *ret_lock = (CUvideoctxlock)(void *)&any;
    return CUDA_SUCCESS;
}

CUresult cuvidCtxLockDestroy(CUvideoctxlock lock)
{
    return CUDA_SUCCESS;
}

CUresult cuvidCtxLock(CUvideoctxlock lock, unsigned int flags)
{
    return CUDA_SUCCESS;
}

CUresult cuvidCtxUnlock(CUvideoctxlock lock, unsigned int flags)
{
    return CUDA_SUCCESS;
}

CUresult cuvidReconfigureDecoder(CUvideodecoder decoder, CUVIDRECONFIGUREDECODERINFO *info)
{
    return unsupported(__func__);
}

CUresult cuvidCreateVideoSource(CUvideosource *source, const char *file, CUVIDSOURCEPARAMS *params)
{
    return unsupported(__func__);
}

CUresult cuvidCreateVideoSourceW(CUvideosource *source, const wchar_t *file,
                                 CUVIDSOURCEPARAMS *params)
{
    return unsupported(__func__);
}

CUresult cuvidDestroyVideoSource(CUvideosource source)
{
    return unsupported(__func__);
}

CUresult cuvidSetVideoSourceState(CUvideosource source, cudaVideoState state)
{
    return unsupported(__func__);
}

cudaVideoState cuvidGetVideoSourceState(CUvideosource source)
{
    return cudaVideoState_Error;
}

CUresult cuvidGetSourceVideoFormat(CUvideosource source, CUVIDEOFORMAT *format, unsigned int flags)
{
    return unsupported(__func__);
}

CUresult cuvidGetSourceAudioFormat(CUvideosource source, CUAUDIOFORMAT *format, unsigned int flags)
{
    return unsupported(__func__);
}
