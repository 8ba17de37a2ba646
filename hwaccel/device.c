/* SPDX-License-Identifier: MIT */
/*
 * What every GPU family does the same way through libav: decoders on a device, pools of surfaces.
 */
#include <libavutil/hwcontext.h>

#include "lathe/base.h"
#include "lathe/hwaccel.h"

/* Enough for B-frames, a little lookahead and what filters hold; only VA-API counts them. */
#define POOL_SURFACES 32

void lathe_hwaccel_close_device(struct lathe_hwaccel_device *device)
{
    if (device)
        av_buffer_unref(&device->context);
}

static enum AVPixelFormat surface_of(const AVBufferRef *device)
{
    enum AVHWDeviceType type = ((const AVHWDeviceContext *)device->data)->type;
    for (const struct lathe_hwaccel *const *h = lathe_hwaccels; *h; h++)
        if ((*h)->device_type == type && type != AV_HWDEVICE_TYPE_NONE)
            return (*h)->surface_format;
    return AV_PIX_FMT_NONE;
}

/* The surface if it is offered, else what software decodes to, which libav lists last. When the
 * device refuses the stream libav asks again without the surface. */
static enum AVPixelFormat choose_format(AVCodecContext *c, const enum AVPixelFormat *offered)
{
    enum AVPixelFormat wanted = c->hw_device_ctx ? surface_of(c->hw_device_ctx) : AV_PIX_FMT_NONE;
    enum AVPixelFormat last = AV_PIX_FMT_NONE;
    for (; *offered != AV_PIX_FMT_NONE; offered++) {
        if (*offered == wanted)
            return wanted;
        last = *offered;
    }
    return last;
}

int lathe_hwaccel_setup_decoder(AVCodecContext *decoder, const struct lathe_hwaccel_device *device,
                                int extra_frames)
{
    decoder->hw_device_ctx = av_buffer_ref(device->context);
    if (!decoder->hw_device_ctx)
        return AVERROR(ENOMEM);
    decoder->get_format = choose_format;
    decoder->extra_hw_frames = extra_frames;
    /* Each thread takes surfaces of its own, and beyond 32 NVDEC fails. */
    decoder->thread_count = 1;
    return 0;
}

const AVCodec *lathe_hwaccel_decoder(const struct lathe_hwaccel *family, enum AVCodecID id)
{
    void *at = NULL;
    const AVCodec *codec;
    while ((codec = av_codec_iterate(&at))) {
        if (codec->id != id || !av_codec_is_decoder(codec))
            continue;
        const AVCodecHWConfig *config;
        for (int i = 0; (config = avcodec_get_hw_config(codec, i)); i++)
            if (config->device_type == family->device_type &&
                config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX &&
                config->pix_fmt == family->surface_format)
                return codec;
    }
    return NULL;
}

AVBufferRef *lathe_hwaccel_pool(const struct lathe_hwaccel_device *device,
                                enum AVPixelFormat format, int width, int height)
{
    AVBufferRef *ref = av_hwframe_ctx_alloc(device->context);
    if (!ref)
        return NULL;
    AVHWFramesContext *frames = (AVHWFramesContext *)ref->data;
    frames->format = device->family->surface_format;
    frames->sw_format = format;
    frames->width = width;
    frames->height = height;
    frames->initial_pool_size = POOL_SURFACES;
    if (av_hwframe_ctx_init(ref) < 0)
        av_buffer_unref(&ref);
    return ref;
}
