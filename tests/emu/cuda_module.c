/* SPDX-License-Identifier: MIT */
/*
 * Emulated libcuda: modules, textures and kernel launches. A module's PTX is never looked at; a
 * function is one of the scale kernels of cuda_kernels.c or does not exist.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"
#include "cuda_kernels.h"

tcuModuleLoadData cuModuleLoadData;
tcuModuleUnload cuModuleUnload;
tcuModuleGetFunction cuModuleGetFunction;
tcuModuleGetGlobal cuModuleGetGlobal;
tcuTexObjectCreate cuTexObjectCreate;
tcuTexObjectDestroy cuTexObjectDestroy;
tcuLaunchKernel cuLaunchKernel;

struct CUfunc_st {
    struct CUfunc_st *next;
    struct emu_scale_kernel kernel;
    char name[80];
    uint8_t *last; /* what the latest launch produced, for stale pictures */
    size_t last_bytes;
};

struct CUmod_st {
    struct CUfunc_st *functions;
};

/* A launch as it is queued: textures may be destroyed before it runs. */
struct launch {
    CUfunction function;
    enum emu_action action;
    struct emu_texture textures[4];
    bool has_texture[4];
    struct emu_scale_arguments arguments;
};

/* How FFmpeg with libavutil 60 and newer passes its arguments: as one structure. */
struct packed_arguments {
    CUtexObject textures[4];
    CUdeviceptr dst[4];
    int dst_width, dst_height, dst_pitch, src_left, src_top, src_width, src_height;
    float param;
    int mpeg_range;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    if (emu_cuda_current_device() < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (!image)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    *module = calloc(1, sizeof(**module));
    return *module ? CUDA_SUCCESS : (CUresult)EMU_CUDA_OUT_OF_MEMORY;
}

CUresult cuModuleUnload(CUmodule module)
{
    emu_cuda_drain();
    while (module->functions) {
        CUfunction function = module->functions;

        module->functions = function->next;
        free(function->last);
        free(function);
    }
    free(module);
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *ret_function, CUmodule module, const char *name)
{
    struct emu_scale_kernel kernel;
    CUfunction function;

    if (!emu_scale_kernel_find(name, &kernel) || strlen(name) >= sizeof(function->name)) {
        emu_record("cuda.function", "name=%s found=0", name);
        return (CUresult)EMU_CUDA_NOT_FOUND;
    }
    if (!(function = calloc(1, sizeof(*function))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    function->kernel = kernel;
    strcpy(function->name, name);
    pthread_mutex_lock(&lock);
    function->next = module->functions;
    module->functions = function;
    pthread_mutex_unlock(&lock);
    *ret_function = function;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal(CUdeviceptr *pointer, size_t *size_bytes, CUmodule module,
                           const char *name)
{
    (void)pointer;
    (void)size_bytes;
    (void)module;
    (void)name;
    return (CUresult)EMU_CUDA_NOT_FOUND; /* scale kernels have no globals */
}

CUresult cuTexObjectCreate(CUtexObject *ret_texture, const CUDA_RESOURCE_DESC *resource,
                           const CUDA_TEXTURE_DESC *texture, const CUDA_RESOURCE_VIEW_DESC *view)
{
    struct emu_texture *t;

    (void)texture; /* the kernel's name already says how it reads */
    (void)view;
    if (emu_cuda_current_device() < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (resource->resType != CU_RESOURCE_TYPE_PITCH2D)
        return (CUresult)EMU_CUDA_NOT_SUPPORTED;
    if (!(t = calloc(1, sizeof(*t))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    *t = (struct emu_texture){
        .data = (const uint8_t *)(uintptr_t)resource->res.pitch2D.devPtr,
        .pitch_bytes = resource->res.pitch2D.pitchInBytes,
        .width = (int)resource->res.pitch2D.width,
        .height = (int)resource->res.pitch2D.height,
        .channels = (int)resource->res.pitch2D.numChannels,
        .bytes = resource->res.pitch2D.format == CU_AD_FORMAT_UNSIGNED_INT8 ? 1 : 2,
    };
    *ret_texture = (CUtexObject)(uintptr_t)t;
    return CUDA_SUCCESS;
}

CUresult cuTexObjectDestroy(CUtexObject texture)
{
    free((void *)(uintptr_t)texture);
    return CUDA_SUCCESS;
}

/* The library that called tells by its version how it passes arguments; it is loaded already. */
static bool packed(void)
{
    unsigned (*version)(void);

    *(void **)&version = dlsym(RTLD_DEFAULT, "avutil_version");
    return version && version() >> 16 >= 60;
}

static void take_texture(struct launch *launch, int i, CUtexObject texture)
{
    if (!texture)
        return;
    launch->textures[i] = *(const struct emu_texture *)(uintptr_t)texture;
    launch->has_texture[i] = true;
}

static void read_packed(struct launch *launch, const struct packed_arguments *p)
{
    for (int i = 0; i < 4; i++) {
        take_texture(launch, i, p->textures[i]);
        launch->arguments.dst[i] = (uint8_t *)(uintptr_t)p->dst[i];
    }
    launch->arguments.dst_width = p->dst_width;
    launch->arguments.dst_height = p->dst_height;
    launch->arguments.dst_pitch_bytes = p->dst_pitch;
    launch->arguments.src_left = p->src_left;
    launch->arguments.src_top = p->src_top;
    launch->arguments.src_width = p->src_width;
    launch->arguments.src_height = p->src_height;
    launch->arguments.param = p->param;
}

static void read_list(struct launch *launch, void *const *list)
{
    for (int i = 0; i < 4; i++) {
        take_texture(launch, i, *(const CUtexObject *)list[i]);
        launch->arguments.dst[i] = (uint8_t *)(uintptr_t) * (const CUdeviceptr *)list[4 + i];
    }
    launch->arguments.dst_width = *(const int *)list[8];
    launch->arguments.dst_height = *(const int *)list[9];
    launch->arguments.dst_pitch_bytes = *(const int *)list[10];
    launch->arguments.src_width = *(const int *)list[11];
    launch->arguments.src_height = *(const int *)list[12];
    launch->arguments.param = *(const float *)list[13];
}

/* Calls `visit` for each line of the picture that the launch writes. */
static size_t visit_lines(const struct launch *launch, size_t line_offset,
                          void (*visit)(uint8_t *line, uint8_t *kept, size_t bytes))
{
    const struct emu_scale_kernel *kernel = &launch->function->kernel;
    const struct emu_scale_arguments *a = &launch->arguments;
    bool interleaved = kernel->chroma && kernel->out->interleaved;
    int first = kernel->chroma ? 1 : 0, planes = kernel->chroma && !interleaved ? 2 : 1;
    size_t bytes = (size_t)a->dst_width * (size_t)kernel->out->bytes * (interleaved ? 2 : 1);

    for (int plane = first; plane < first + planes; plane++) {
        for (int y = 0; y < a->dst_height; y++) {
            if (visit)
                visit(a->dst[plane] + (size_t)y * (size_t)a->dst_pitch_bytes,
                      launch->function->last ? launch->function->last + line_offset : NULL, bytes);
            line_offset += bytes;
        }
    }
    return line_offset;
}

static void keep_line(uint8_t *line, uint8_t *kept, size_t bytes)
{
    memcpy(kept, line, bytes);
}

static void restore_line(uint8_t *line, uint8_t *kept, size_t bytes)
{
    memcpy(line, kept, bytes);
}

static void clear_line(uint8_t *line, uint8_t *kept, size_t bytes)
{
    (void)kept;
    memset(line, 0, bytes);
}

static void keep_picture(struct launch *launch)
{
    size_t bytes = visit_lines(launch, 0, NULL);
    CUfunction function = launch->function;

    if (bytes != function->last_bytes) {
        free(function->last);
        function->last = malloc(bytes);
        function->last_bytes = function->last ? bytes : 0;
    }
    if (function->last)
        visit_lines(launch, 0, keep_line);
}

static void run_launch(void *arguments)
{
    struct launch *launch = arguments;
    bool stale = launch->action == EMU_STALE && launch->function->last &&
                 visit_lines(launch, 0, NULL) == launch->function->last_bytes;

    for (int i = 0; i < 4; i++)
        if (launch->has_texture[i])
            launch->arguments.textures[i] = &launch->textures[i];
    if (launch->action == EMU_GREEN) {
        visit_lines(launch, 0, clear_line);
    } else if (stale) {
        visit_lines(launch, 0, restore_line);
    } else {
        /* A launch that goes wrong later is seen by nobody, as on a GPU without a sync. */
        if (emu_scale_kernel_run(&launch->function->kernel, &launch->arguments))
            emu_record("cuda.broken", "kernel=%s", launch->function->name);
        if (getenv("LATHE_EMU_PLAN"))
            keep_picture(launch);
    }
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                        unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                        unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                        void **parameters, void **extra)
{
    struct launch launch = {.function = function};
    int device = emu_cuda_current_device();
    struct emu_fault fault;
    CUresult ret;

    (void)shared_bytes;
    (void)stream;
    if (device < 0)
        return (CUresult)EMU_CUDA_INVALID_CONTEXT;
    if (!function || !parameters || extra)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    fault = emu_point("cuda.launch", device);
    if ((ret = emu_cuda_result(fault)))
        return ret;
    launch.action = fault.action;
    if (packed())
        read_packed(&launch, parameters[0]);
    else
        read_list(&launch, parameters);
    if (grid_x * block_x < (unsigned)launch.arguments.dst_width ||
        grid_y * block_y < (unsigned)launch.arguments.dst_height || grid_z * block_z != 1)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    emu_record("cuda.launch", "device=%d kernel=%s src=%dx%d dst=%dx%d", device, function->name,
               launch.arguments.src_width, launch.arguments.src_height, launch.arguments.dst_width,
               launch.arguments.dst_height);
    return emu_cuda_submit(run_launch, &launch, sizeof(launch));
}
