/* SPDX-License-Identifier: MIT */
/*
 * Contexts, and how a picture is put together: begin, render any number of buffers, end. What it
 * then does is decided by the entry point.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "va_driver.h"

static bool is_encode(const struct emu_va_context *context)
{
    return context->config.entrypoint == VAEntrypointEncSlice ||
           context->config.entrypoint == VAEntrypointEncSliceLP;
}

static const char *entry_name(const struct emu_va_context *context)
{
    switch (context->config.entrypoint) {
    case VAEntrypointVLD:
        return "decode";
    case VAEntrypointVideoProc:
        return "process";
    case VAEntrypointEncSliceLP:
        return "encode-lp";
    default:
        return "encode";
    }
}

static void drop_picture(struct emu_va_context *context)
{
    if (context->target)
        emu_va_unref(&context->target->object);
    context->target = NULL;
    for (int i = 0; i < context->num_buffers; i++)
        emu_va_unref(&context->buffers[i]->object);
    context->num_buffers = 0;
}

static void destroy(struct emu_va_object *object)
{
    struct emu_va_context *context = (struct emu_va_context *)object;

    emu_record("va.context.close", "entry=%s profile=%s pictures=%ld", entry_name(context),
               emu_va_profile_name(context->config.profile), context->pictures);
    drop_picture(context);
    emu_decoder_destroy(context->decoder);
    av_frame_free(&context->last_decoded);
    sws_freeContext(context->scaler);
    free(context->last_scaled);
    emu_va_encode_destroy(context->encode);
    emu_session_close(context->session);
    free(context);
}

static int open_decoder(struct emu_va_context *context)
{
    switch (context->config.profile) {
    case VAProfileHEVCMain:
    case VAProfileHEVCMain10:
        return emu_decoder_create(EMU_HEVC, &context->decoder);
    case VAProfileVP9Profile0:
        return emu_decoder_create(EMU_VP9, &context->decoder);
    default:
        return emu_decoder_create(EMU_H264, &context->decoder);
    }
}

static VAStatus create_context(VADriverContextP ctx, VAConfigID id, int width, int height, int flag,
                               VASurfaceID *targets, int num_targets, VAContextID *ret)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_config *config = emu_va_find(va, id, EMU_VA_CONFIG);
    struct emu_va_context *context;
    VAStatus status = emu_va_point(va, "va.context", NULL);

    (void)flag;
    (void)targets;
    (void)num_targets;
    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    context = calloc(1, sizeof(*context));
    if (!context)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    context->va = va;
    context->config = *config;
    context->width = width;
    context->height = height;
    context->session = -1;
    if (is_encode(context)) {
        /* Counted apart from the devices of NVIDIA. */
        context->session = emu_session_open(100 + va->device);
        if (context->session < 0) {
            emu_record("va.session.refused", "device=%d", va->device);
            free(context);
            return VA_STATUS_ERROR_HW_BUSY;
        }
    }
    if (config->entrypoint == VAEntrypointVLD && open_decoder(context) < 0) {
        free(context);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    emu_record("va.context", "entry=%s profile=%s rc=%s width=%d height=%d device=%d",
               entry_name(context), emu_va_profile_name(config->profile),
               emu_va_rc_name(config->rc), width, height, va->device);
    status = emu_va_add(va, &context->object, EMU_VA_CONTEXT, destroy);
    if (status == VA_STATUS_SUCCESS)
        *ret = context->object.id;
    return status;
}

static VAStatus destroy_context(VADriverContextP ctx, VAContextID id)
{
    emu_va_drain(emu_va_of(ctx));
    return emu_va_remove(emu_va_of(ctx), id, EMU_VA_CONTEXT, VA_STATUS_ERROR_INVALID_CONTEXT);
}

static VAStatus begin_picture(VADriverContextP ctx, VAContextID id, VASurfaceID target)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_context *context = emu_va_find(va, id, EMU_VA_CONTEXT);
    struct emu_va_surface *surface = emu_va_find(va, target, EMU_VA_SURFACE);

    if (!context)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    drop_picture(context);
    emu_va_ref(&surface->object);
    context->target = surface;
    return VA_STATUS_SUCCESS;
}

static VAStatus render_picture(VADriverContextP ctx, VAContextID id, VABufferID *list, int count)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_context *context = emu_va_find(va, id, EMU_VA_CONTEXT);

    if (!context || !context->target)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    for (int i = 0; i < count; i++) {
        struct emu_va_buffer *buffer = emu_va_find(va, list[i], EMU_VA_BUFFER);

        if (!buffer)
            return VA_STATUS_ERROR_INVALID_BUFFER;
        if (context->num_buffers == EMU_VA_PICTURE_BUFFERS)
            return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
        emu_va_ref(&buffer->object);
        context->buffers[context->num_buffers++] = buffer;
    }
    return VA_STATUS_SUCCESS;
}

const void *emu_va_parameter(const struct emu_va_job *job, VABufferType type, size_t size)
{
    for (int i = 0; i < job->num_buffers; i++)
        if (job->buffers[i]->type == type && job->buffers[i]->element_bytes >= size)
            return job->buffers[i]->data;
    return NULL;
}

static VABufferID coded_buffer_id(const struct emu_va_job *job)
{
    const VAEncPictureParameterBufferH264 *h264;
    const VAEncPictureParameterBufferHEVC *hevc;

    if (job->context->config.profile == VAProfileHEVCMain ||
        job->context->config.profile == VAProfileHEVCMain10) {
        hevc = emu_va_parameter(job, VAEncPictureParameterBufferType, sizeof(*hevc));
        return hevc ? hevc->coded_buf : VA_INVALID_ID;
    }
    h264 = emu_va_parameter(job, VAEncPictureParameterBufferType, sizeof(*h264));
    return h264 ? h264->coded_buf : VA_INVALID_ID;
}

static void free_job(struct emu_va_job *job)
{
    for (int i = 0; i < job->num_buffers; i++)
        emu_va_unref(&job->buffers[i]->object);
    emu_va_unref(&job->target->object);
    if (job->coded)
        emu_va_unref(&job->coded->object);
    if (job->source)
        emu_va_unref(&job->source->object);
    free(job->buffers);
    free(job);
}

VAStatus emu_va_run(struct emu_va_job *job)
{
    VAStatus status;

    switch (job->context->config.entrypoint) {
    case VAEntrypointVLD:
        status = emu_va_decode(job);
        break;
    case VAEntrypointVideoProc:
        status = emu_va_process(job);
        break;
    default:
        status = emu_va_encode_picture(job);
        break;
    }
    job->context->pictures++;
    return status;
}

/* Takes the picture out of the context. */
static struct emu_va_job *make_job(struct emu_va_context *context)
{
    struct emu_va_job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->buffers = calloc((size_t)context->num_buffers + 1, sizeof(*job->buffers));
    if (!job->buffers) {
        free(job);
        return NULL;
    }
    memcpy(job->buffers, context->buffers, (size_t)context->num_buffers * sizeof(*job->buffers));
    job->num_buffers = context->num_buffers;
    job->target = context->target;
    job->context = context;
    context->num_buffers = 0;
    context->target = NULL;
    return job;
}

/* What must be looked up while the caller's objects are still there. */
static VAStatus prepare(struct emu_va_job *job)
{
    struct emu_va_buffer *coded;

    if (job->context->config.entrypoint == VAEntrypointVideoProc)
        return emu_va_process_prepare(job);
    if (!is_encode(job->context))
        return VA_STATUS_SUCCESS;
    coded = emu_va_find(job->context->va, coded_buffer_id(job), EMU_VA_BUFFER);
    if (!coded || coded->type != VAEncCodedBufferType)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    emu_va_ref(&coded->object);
    job->coded = coded;
    return VA_STATUS_SUCCESS;
}

static void finish(struct emu_va_job *job, VAStatus status)
{
    job->target->status = status;
    if (job->coded)
        job->coded->status = status;
    free_job(job);
}

static VAStatus end_picture(VADriverContextP ctx, VAContextID id)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_context *context = emu_va_find(va, id, EMU_VA_CONTEXT);
    struct emu_va_job *job;
    VAStatus status;

    if (!context || !context->target)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    job = make_job(context);
    if (!job)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    status = prepare(job);
    if (status != VA_STATUS_SUCCESS) {
        free_job(job);
        return status;
    }
    if (!va->worker_started) {
        status = emu_va_run(job);
        finish(job, status);
        return status;
    }
    pthread_mutex_lock(&va->lock);
    job->ticket = ++va->submitted;
    job->target->ticket = job->ticket;
    if (job->coded)
        job->coded->ticket = job->ticket;
    *va->last = job;
    va->last = &job->next;
    pthread_cond_broadcast(&va->changed);
    pthread_mutex_unlock(&va->lock);
    return VA_STATUS_SUCCESS;
}

static void *work(void *opaque)
{
    struct emu_va *va = opaque;
    struct emu_va_job *job;
    uint64_t ticket;

    pthread_mutex_lock(&va->lock);
    while (!va->stopping || va->first) {
        if (!va->first) {
            pthread_cond_wait(&va->changed, &va->lock);
            continue;
        }
        job = va->first;
        va->first = job->next;
        if (!va->first)
            va->last = &va->first;
        pthread_mutex_unlock(&va->lock);
        ticket = job->ticket;
        usleep((useconds_t)va->async_ms * 1000);
        finish(job, emu_va_run(job));
        pthread_mutex_lock(&va->lock);
        va->completed = ticket;
        pthread_cond_broadcast(&va->changed);
    }
    pthread_mutex_unlock(&va->lock);
    return NULL;
}

int emu_va_start(struct emu_va *va)
{
    va->async_ms = (int)emu_setting("async_ms", 0);
    va->last = &va->first;
    if (va->async_ms <= 0)
        return 0;
    va->worker_started = pthread_create(&va->worker, NULL, work, va) == 0;
    return va->worker_started ? 0 : -1;
}

void emu_va_stop(struct emu_va *va)
{
    if (!va->worker_started)
        return;
    pthread_mutex_lock(&va->lock);
    va->stopping = true;
    pthread_cond_broadcast(&va->changed);
    pthread_mutex_unlock(&va->lock);
    pthread_join(va->worker, NULL);
}

void emu_va_wait(struct emu_va *va, uint64_t ticket)
{
    pthread_mutex_lock(&va->lock);
    while (va->completed < ticket)
        pthread_cond_wait(&va->changed, &va->lock);
    pthread_mutex_unlock(&va->lock);
}

void emu_va_drain(struct emu_va *va)
{
    uint64_t ticket;

    pthread_mutex_lock(&va->lock);
    ticket = va->submitted;
    pthread_mutex_unlock(&va->lock);
    emu_va_wait(va, ticket);
}

static VAStatus sync_surface(VADriverContextP ctx, VASurfaceID id)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_surface *surface = emu_va_find(va, id, EMU_VA_SURFACE);
    VAStatus status = emu_va_point(va, "va.sync", NULL);

    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    emu_va_wait(va, surface->ticket);
    return surface->status;
}

static VAStatus sync_buffer(VADriverContextP ctx, VABufferID id, uint64_t timeout_ns)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_buffer *buffer = emu_va_find(va, id, EMU_VA_BUFFER);
    VAStatus status = emu_va_point(va, "va.sync", NULL);

    (void)timeout_ns;
    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    emu_va_wait(va, buffer->ticket);
    return buffer->status;
}

static VAStatus query_status(VADriverContextP ctx, VASurfaceID id, VASurfaceStatus *ret)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_surface *surface = emu_va_find(va, id, EMU_VA_SURFACE);

    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    pthread_mutex_lock(&va->lock);
    *ret = va->completed < surface->ticket ? VASurfaceRendering : VASurfaceReady;
    pthread_mutex_unlock(&va->lock);
    return VA_STATUS_SUCCESS;
}

void emu_va_install_picture(struct VADriverVTable *vtable)
{
    vtable->vaCreateContext = create_context;
    vtable->vaDestroyContext = destroy_context;
    vtable->vaBeginPicture = begin_picture;
    vtable->vaRenderPicture = render_picture;
    vtable->vaEndPicture = end_picture;
    vtable->vaSyncSurface = sync_surface;
    vtable->vaSyncBuffer = sync_buffer;
    vtable->vaQuerySurfaceStatus = query_status;
}
