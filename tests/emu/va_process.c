/* SPDX-License-Identifier: MIT */
/* Video processing: scaling and conversion between NV12 and P010 by swscale. */
#include <libavutil/imgutils.h>
#include <stdlib.h>
#include <string.h>

#include "va_driver.h"
#include "va_process.h"

static VAStatus query_filters(VADriverContextP ctx, VAContextID context, VAProcFilterType *list,
                              unsigned *count)
{
    (void)ctx;
    (void)context;
    (void)list;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus query_filter_caps(VADriverContextP ctx, VAContextID context, VAProcFilterType type,
                                  void *caps, unsigned *count)
{
    (void)ctx;
    (void)context;
    (void)type;
    (void)caps;
    *count = 0;
    return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
}

/* Programs ask for every frame. */
static VAStatus query_pipeline(VADriverContextP ctx, VAContextID context, VABufferID *filters,
                               unsigned count, VAProcPipelineCaps *caps)
{
    static VAProcColorStandardType standards[] = {
        VAProcColorStandardBT601, VAProcColorStandardBT709, VAProcColorStandardExplicit};

    (void)ctx;
    (void)context;
    (void)filters;
    if (count)
        return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
    memset(caps, 0, sizeof(*caps));
    caps->input_color_standards = caps->output_color_standards = standards;
    caps->num_input_color_standards = caps->num_output_color_standards =
        sizeof(standards) / sizeof(*standards);
    return VA_STATUS_SUCCESS;
}

void emu_va_install_process(struct VADriverVTableVPP *vtable)
{
    vtable->version = VA_DRIVER_VTABLE_VPP_VERSION;
    vtable->vaQueryVideoProcFilters = query_filters;
    vtable->vaQueryVideoProcFilterCaps = query_filter_caps;
    vtable->vaQueryVideoProcPipelineCaps = query_pipeline;
}

static enum AVPixelFormat pixel_format(const struct emu_va_surface *surface)
{
    return surface->fourcc == VA_FOURCC_P010 ? AV_PIX_FMT_P010LE : AV_PIX_FMT_NV12;
}

/* The part of a surface that a region (NULL: all) names, as swscale wants it. */
static bool locate(const struct emu_va_surface *surface, const VARectangle *region,
                   uint8_t *planes[4], int pitches[4], int *ret_width, int *ret_height)
{
    int x = region ? region->x : 0, y = region ? region->y : 0;
    int sample = surface->fourcc == VA_FOURCC_P010 ? 2 : 1;

    *ret_width = region ? region->width : surface->width;
    *ret_height = region ? region->height : surface->height;
    if (x < 0 || y < 0 || x & 1 || y & 1 || *ret_width < 2 || *ret_height < 2 ||
        x + *ret_width > surface->width || y + *ret_height > surface->height)
        return false;
    planes[0] = surface->data + (size_t)y * surface->pitch + (size_t)(x * sample);
    planes[1] = surface->data + surface->luma_bytes + (size_t)(y / 2) * surface->pitch +
                (size_t)(x * sample);
    pitches[0] = pitches[1] = (int)surface->pitch;
    return true;
}

static VAStatus scale(struct emu_va_context *context, const struct emu_va_surface *from,
                      const VARectangle *from_region, struct emu_va_surface *to,
                      const VARectangle *to_region)
{
    uint8_t *src[4] = {0}, *dst[4] = {0};
    int src_pitch[4] = {0}, dst_pitch[4] = {0}, src_width, src_height, width, height;

    if (!locate(from, from_region, src, src_pitch, &src_width, &src_height) ||
        !locate(to, to_region, dst, dst_pitch, &width, &height))
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    if (context->recorded_width != width || context->recorded_height != height) {
        context->recorded_width = width;
        context->recorded_height = height;
        emu_record("va.process.open", "from=%dx%d to=%dx%d from_bits=%d to_bits=%d", src_width,
                   src_height, width, height, from->fourcc == VA_FOURCC_P010 ? 10 : 8,
                   to->fourcc == VA_FOURCC_P010 ? 10 : 8);
    }
    /* swscale loses chroma where it has nothing to do. */
    if (src_width == width && src_height == height && from->fourcc == to->fourcc) {
        int bytes = width * (from->fourcc == VA_FOURCC_P010 ? 2 : 1);
        av_image_copy_plane(dst[0], dst_pitch[0], src[0], src_pitch[0], bytes, height);
        av_image_copy_plane(dst[1], dst_pitch[1], src[1], src_pitch[1], bytes, height / 2);
        return VA_STATUS_SUCCESS;
    }
    context->scaler = sws_getCachedContext(context->scaler, src_width, src_height,
                                           pixel_format(from), width, height, pixel_format(to),
                                           SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!context->scaler)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    if (sws_scale(context->scaler, (const uint8_t *const *)src, src_pitch, 0, src_height, dst,
                  dst_pitch) != height)
        return VA_STATUS_ERROR_OPERATION_FAILED;
    return VA_STATUS_SUCCESS;
}

static VAStatus keep(struct emu_va_context *context, const struct emu_va_surface *surface)
{
    uint8_t *grown = realloc(context->last_scaled, surface->total_bytes);

    if (!grown)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    memcpy(grown, surface->data, surface->total_bytes);
    context->last_scaled = grown;
    context->last_scaled_bytes = surface->total_bytes;
    return VA_STATUS_SUCCESS;
}

/* The parameters point into the caller's memory, which is gone when a job runs later. */
VAStatus emu_va_process_prepare(struct emu_va_job *job)
{
    const VAProcPipelineParameterBuffer *p =
        emu_va_parameter(job, VAProcPipelineParameterBufferType, sizeof(*p));

    job->source = p ? emu_va_find(job->context->va, p->surface, EMU_VA_SURFACE) : NULL;
    if (!job->source)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    emu_va_ref(&job->source->object);
    if (p->num_filters)
        return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
    job->has_source_region = p->surface_region;
    if (p->surface_region)
        job->source_region = *p->surface_region;
    job->has_target_region = p->output_region;
    if (p->output_region)
        job->target_region = *p->output_region;
    return VA_STATUS_SUCCESS;
}

VAStatus emu_va_process(struct emu_va_job *job)
{
    struct emu_va_context *context = job->context;
    struct emu_fault fault;
    VAStatus status = emu_va_point(context->va, "va.process", &fault);

    if (status != VA_STATUS_SUCCESS)
        return status;
    if (fault.action == EMU_GREEN) {
        memset(job->target->data, 0, job->target->total_bytes);
        return VA_STATUS_SUCCESS;
    }
    if (fault.action == EMU_STALE && context->last_scaled_bytes == job->target->total_bytes) {
        memcpy(job->target->data, context->last_scaled, context->last_scaled_bytes);
        return VA_STATUS_SUCCESS;
    }
    if (fault.action == EMU_SILENT)
        return VA_STATUS_SUCCESS;
    status = scale(context, job->source, job->has_source_region ? &job->source_region : NULL,
                   job->target, job->has_target_region ? &job->target_region : NULL);
    if (status == VA_STATUS_SUCCESS && emu_planned("va.process"))
        status = keep(context, job->target);
    return status;
}
