/* SPDX-License-Identifier: MIT */
/*
 * Emulated libnvcuvid.so.1: the parser, for FFmpeg's h264_cuvid, hevc_cuvid and vp9_cuvid. It
 * decodes in software and hands the finished picture through the caller to the decoder, so that the
 * caller sees the real order of callbacks: sequence, decode, display.
 */
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"
#include "cuvid_emu.h"

tcuvidCreateVideoParser cuvidCreateVideoParser;
tcuvidParseVideoData cuvidParseVideoData;
tcuvidDestroyVideoParser cuvidDestroyVideoParser;

#define MIN_SURFACES 20 /* at its end a stream delivers all that was reordered at once */

struct parser {
    CUVIDPARSERPARAMS parameters;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    uint8_t *headers; /* parameter sets that came without a picture */
    size_t headers_bytes;
    int width, height, format; /* of the sequence announced last */
    unsigned next_surface;
};

static void free_parser(struct parser *p)
{
    avcodec_free_context(&p->codec);
    av_packet_free(&p->packet);
    av_frame_free(&p->frame);
    free(p->headers);
    free(p);
}

CUresult cuvidCreateVideoParser(CUvideoparser *ret_parser, CUVIDPARSERPARAMS *parameters)
{
    const char *name = parameters->CodecType == cudaVideoCodec_H264   ? "h264"
                       : parameters->CodecType == cudaVideoCodec_HEVC ? "hevc"
                       : parameters->CodecType == cudaVideoCodec_VP9  ? "vp9"
                                                                      : NULL;
    const AVCodec *codec = name ? avcodec_find_decoder_by_name(name) : NULL;
    struct parser *p;

    if (!codec)
        return (CUresult)EMU_CUDA_NOT_SUPPORTED;
    if (!(p = calloc(1, sizeof(*p))))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    p->parameters = *parameters;
    p->codec = avcodec_alloc_context3(codec);
    p->packet = av_packet_alloc();
    p->frame = av_frame_alloc();
    if (!p->codec || !p->packet || !p->frame) {
        free_parser(p);
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    }
    p->codec->thread_count = 1;
    p->codec->pkt_timebase = (AVRational){1, 10000000};
    if (avcodec_open2(p->codec, codec, NULL) < 0) {
        free_parser(p);
        return (CUresult)EMU_CUDA_NOT_SUPPORTED;
    }
    emu_record("cuvid.parser", "codec=%s", name);
    *ret_parser = p;
    return CUDA_SUCCESS;
}

/* Where these two stand depends on FFmpeg's version. */
#ifdef AV_FRAME_FLAG_INTERLACED
static bool interlaced(const AVFrame *frame)
{
    return frame->flags & AV_FRAME_FLAG_INTERLACED;
}

static bool top_field_first(const AVFrame *frame)
{
    return frame->flags & AV_FRAME_FLAG_TOP_FIELD_FIRST;
}
#else
static bool interlaced(const AVFrame *frame)
{
    return frame->interlaced_frame;
}

static bool top_field_first(const AVFrame *frame)
{
    return frame->top_field_first;
}
#endif

static bool announce(struct parser *p)
{
    AVRational sar = p->frame->sample_aspect_ratio;
    CUVIDEOFORMAT format = {
        .codec = p->parameters.CodecType,
        .frame_rate = {(unsigned)p->codec->framerate.num, (unsigned)p->codec->framerate.den},
        .progressive_sequence = !interlaced(p->frame),
        .bit_depth_luma_minus8 = p->frame->format == AV_PIX_FMT_YUV420P10 ? 2 : 0,
        .bit_depth_chroma_minus8 = p->frame->format == AV_PIX_FMT_YUV420P10 ? 2 : 0,
        .min_num_decode_surfaces = MIN_SURFACES,
        .coded_width = (unsigned)p->codec->coded_width,
        .coded_height = (unsigned)p->codec->coded_height,
        .display_area = {0, 0, p->frame->width, p->frame->height},
        .chroma_format = cudaVideoChromaFormat_420,
        .display_aspect_ratio = {p->frame->width * (sar.num ? sar.num : 1),
                                 p->frame->height * (sar.num ? sar.den : 1)},
        .video_signal_description = {.video_format = 5,
                                     .video_full_range_flag =
                                         p->frame->color_range == AVCOL_RANGE_JPEG,
                                     .color_primaries = (unsigned char)p->frame->color_primaries,
                                     .transfer_characteristics = (unsigned char)p->frame->color_trc,
                                     .matrix_coefficients = (unsigned char)p->frame->colorspace},
    };
    int surfaces;

    if (p->width == p->frame->width && p->height == p->frame->height &&
        p->format == p->frame->format)
        return true;
    p->width = p->frame->width;
    p->height = p->frame->height;
    p->format = p->frame->format;
    p->next_surface = 0;
    surfaces = p->parameters.pfnSequenceCallback(p->parameters.pUserData, &format);
    if (surfaces > 1) /* the caller says how many it has really made */
        p->parameters.ulMaxNumDecodeSurfaces = (unsigned)surfaces;
    return surfaces > 0;
}

/* False when a callback said no; why, the caller knows. */
static bool deliver(struct parser *p)
{
    CUVIDPICPARAMS picture = {
        .PicWidthInMbs = (p->codec->coded_width + 15) / 16,
        .FrameHeightInMbs = (p->codec->coded_height + 15) / 16,
        .intra_pic_flag = p->frame->pict_type == AV_PICTURE_TYPE_I,
    };
    CUVIDPARSERDISPINFO display = {.progressive_frame = !interlaced(p->frame),
                                   .top_field_first = top_field_first(p->frame),
                                   .timestamp = p->frame->best_effort_timestamp};

    if (!announce(p))
        return false;
    picture.CurrPicIdx = (int)(p->next_surface++ % p->parameters.ulMaxNumDecodeSurfaces);
    display.picture_index = picture.CurrPicIdx;
    emu_cuvid_attach_frame(&picture, p->frame);
    return p->parameters.pfnDecodePicture(p->parameters.pUserData, &picture) > 0 &&
           p->parameters.pfnDisplayPicture(p->parameters.pUserData, &display) > 0;
}

static bool has_picture(const struct parser *p, const uint8_t *data, size_t size)
{
    if (p->parameters.CodecType == cudaVideoCodec_VP9)
        return true;
    for (size_t i = 0; i + 3 < size; i++) {
        int type = p->parameters.CodecType == cudaVideoCodec_H264 ? data[i + 3] & 0x1f
                                                                  : data[i + 3] >> 1 & 0x3f;

        if (data[i] || data[i + 1] || data[i + 2] != 1)
            continue;
        if (p->parameters.CodecType == cudaVideoCodec_H264 ? type == 1 || type == 5 : type < 32)
            return true;
    }
    return false;
}

static bool keep_headers(struct parser *p, const uint8_t *data, size_t size)
{
    uint8_t *more = realloc(p->headers, p->headers_bytes + size);

    if (!more)
        return false;
    memcpy(more + p->headers_bytes, data, size);
    p->headers = more;
    p->headers_bytes += size;
    return true;
}

static bool make_packet(struct parser *p, const CUVIDSOURCEDATAPACKET *in)
{
    if (av_new_packet(p->packet, (int)(p->headers_bytes + in->payload_size)) < 0)
        return false;
    if (p->headers_bytes)
        memcpy(p->packet->data, p->headers, p->headers_bytes);
    memcpy(p->packet->data + p->headers_bytes, in->payload, in->payload_size);
    p->headers_bytes = 0;
    p->packet->pts = in->flags & CUVID_PKT_TIMESTAMP ? in->timestamp : AV_NOPTS_VALUE;
    return true;
}

CUresult cuvidParseVideoData(CUvideoparser handle, CUVIDSOURCEDATAPACKET *in)
{
    struct parser *p = handle;
    bool data = in->payload && in->payload_size;

    if (!p)
        return (CUresult)EMU_CUDA_INVALID_HANDLE;
    if (data && !has_picture(p, in->payload, in->payload_size))
        return keep_headers(p, in->payload, in->payload_size) ? CUDA_SUCCESS
                                                              : (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    if (data && !make_packet(p, in))
        return (CUresult)EMU_CUDA_OUT_OF_MEMORY;
    /* Damaged data is no error of the parser's; a second end finds the decoder at its end. */
    if (data || in->flags & CUVID_PKT_ENDOFSTREAM)
        avcodec_send_packet(p->codec, data ? p->packet : NULL);
    av_packet_unref(p->packet);
    while (avcodec_receive_frame(p->codec, p->frame) >= 0) {
        bool more = deliver(p);

        av_frame_unref(p->frame);
        if (!more)
            break;
    }
    return CUDA_SUCCESS;
}

CUresult cuvidDestroyVideoParser(CUvideoparser handle)
{
    if (!handle)
        return (CUresult)EMU_CUDA_INVALID_HANDLE;
    free_parser(handle);
    return CUDA_SUCCESS;
}
