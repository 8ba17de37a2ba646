/* SPDX-License-Identifier: MIT */
/*
 * Emulated libcuda: the symbols that FFmpeg's loader insists on and transcoding never calls
 * (linking, OpenGL, arrays). Each answers "not supported", which callers must survive anyway.
 */
#include "cuda_emu.h"

tcuLinkCreate cuLinkCreate;
tcuLinkAddData cuLinkAddData;
tcuLinkComplete cuLinkComplete;
tcuLinkDestroy cuLinkDestroy;
tcuGLGetDevices_v2 cuGLGetDevices_v2;
tcuGraphicsGLRegisterImage cuGraphicsGLRegisterImage;
tcuGraphicsUnregisterResource cuGraphicsUnregisterResource;
tcuGraphicsMapResources cuGraphicsMapResources;
tcuGraphicsUnmapResources cuGraphicsUnmapResources;
tcuGraphicsSubResourceGetMappedArray cuGraphicsSubResourceGetMappedArray;
tcuGraphicsResourceGetMappedPointer cuGraphicsResourceGetMappedPointer_v2;
tcuArray3DCreate cuArray3DCreate_v2;
tcuArrayDestroy cuArrayDestroy;

static CUresult unsupported(const char *name)
{
    emu_record("cuda.unsupported", "call=%s", name);
    return (CUresult)EMU_CUDA_NOT_SUPPORTED;
}

#pragma GCC diagnostic ignored "-Wunused-parameter"

CUresult cuLinkCreate(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
    return unsupported(__func__);
}

CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size,
                       const char *name, unsigned int count, CUjit_option *options, void **values)
{
    return unsupported(__func__);
}

CUresult cuLinkComplete(CUlinkState state, void **image, size_t *size)
{
    return unsupported(__func__);
}

CUresult cuLinkDestroy(CUlinkState state)
{
    return unsupported(__func__);
}

CUresult cuGLGetDevices_v2(unsigned int *count, CUdevice *devices, unsigned int limit,
                           CUGLDeviceList list)
{
    return unsupported(__func__);
}

CUresult cuGraphicsGLRegisterImage(CUgraphicsResource *resource, GLuint image, GLenum target,
                                   unsigned int flags)
{
    return unsupported(__func__);
}

CUresult cuGraphicsUnregisterResource(CUgraphicsResource resource)
{
    return unsupported(__func__);
}

CUresult cuGraphicsMapResources(unsigned int count, CUgraphicsResource *resources, CUstream stream)
{
    return unsupported(__func__);
}

CUresult cuGraphicsUnmapResources(unsigned int count, CUgraphicsResource *resources,
                                  CUstream stream)
{
    return unsupported(__func__);
}

CUresult cuGraphicsSubResourceGetMappedArray(CUarray *array, CUgraphicsResource resource,
                                             unsigned int index, unsigned int level)
{
    return unsupported(__func__);
}

CUresult cuGraphicsResourceGetMappedPointer_v2(CUdeviceptr *pointer, size_t *size,
                                               CUgraphicsResource resource)
{
    return unsupported(__func__);
}

CUresult cuArrayCreate_v2(CUarray *array, const void *descriptor)
{
    return unsupported(__func__);
}

CUresult cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
    return unsupported(__func__);
}

CUresult cuArrayDestroy(CUarray array)
{
    return unsupported(__func__);
}
