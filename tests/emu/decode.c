/* SPDX-License-Identifier: MIT */
/*
 * The decoding core: one private software decoder, fed picture by picture.
 *
 * Its own order of output is of no use here, because the caller wants the picture that it just
 * handed over. So the frame is caught where the decoder asks for its buffer; when it has taken the
 * packet, that frame is complete.
 */
#include "decode.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

#include "decode_core.h"

struct emu_decoder {
    enum emu_codec codec;
    AVCodecContext *av;
    AVPacket *packet;
    AVFrame *scratch; /* takes what the decoder puts out in its own order */
    AVFrame *caught;  /* the picture of the last call */
    int num_caught;   /* buffers asked for since the packet was sent */
    struct emu_bytes stream;
    union {
        struct emu_h264_state h264;
        struct emu_hevc_state hevc;
    };
};

static int catch_buffer(AVCodecContext *av, AVFrame *frame, int flags)
{
    struct emu_decoder *decoder = av->opaque;
    int rc = avcodec_default_get_buffer2(av, frame, flags);

    if (rc < 0)
        return rc;
    /* Frames that stand for missing ones: H.264 asks for them before the picture, HEVC after. */
    if (decoder->codec == EMU_HEVC && decoder->num_caught > 0)
        return 0;
    decoder->num_caught++;
    av_frame_unref(decoder->caught);
    return av_frame_ref(decoder->caught, frame);
}

int emu_decoder_create(enum emu_codec codec, struct emu_decoder **ret)
{
    static const char *const names[] = {
        [EMU_H264] = "h264", [EMU_HEVC] = "hevc", [EMU_VP9] = "vp9"};
    const AVCodec *found = avcodec_find_decoder_by_name(names[codec]);
    struct emu_decoder *decoder = calloc(1, sizeof(*decoder));
    int rc = -ENOMEM;

    if (!decoder)
        return -ENOMEM;
    decoder->codec = codec;
    decoder->packet = av_packet_alloc();
    decoder->scratch = av_frame_alloc();
    decoder->caught = av_frame_alloc();
    decoder->av = found ? avcodec_alloc_context3(found) : NULL;
    if (!found)
        rc = -ENOTSUP;
    if (!decoder->packet || !decoder->scratch || !decoder->caught || !decoder->av)
        goto fail;
    decoder->av->thread_count = 1;
    decoder->av->thread_type = FF_THREAD_SLICE;
    decoder->av->opaque = decoder;
    decoder->av->get_buffer2 = catch_buffer;
    decoder->av->log_level_offset = 100; /* its lines are not those of the program */
    rc = avcodec_open2(decoder->av, found, NULL);
    if (rc < 0)
        goto fail;
    *ret = decoder;
    return 0;
fail:
    emu_decoder_destroy(decoder);
    return rc;
}

void emu_decoder_destroy(struct emu_decoder *decoder)
{
    if (!decoder)
        return;
    avcodec_free_context(&decoder->av);
    av_packet_free(&decoder->packet);
    av_frame_free(&decoder->scratch);
    av_frame_free(&decoder->caught);
    emu_bytes_free(&decoder->stream);
    if (decoder->codec == EMU_H264)
        emu_h264_state_free(&decoder->h264);
    else if (decoder->codec == EMU_HEVC)
        emu_hevc_state_free(&decoder->hevc);
    free(decoder);
}

/* A new sequence, or the other side of a seek: what came before must not be mixed in. */
static bool starts_anew(enum emu_codec codec, const struct emu_decode_picture *picture)
{
    switch (codec) {
    case EMU_H264:
        return picture->h264.intra && !picture->h264.references;
    case EMU_HEVC:
        return picture->hevc.intra && picture->hevc.num_refs == 0;
    default:
        return false;
    }
}

static int make_stream(struct emu_decoder *decoder, const struct emu_decode_picture *picture)
{
    decoder->stream.size = 0;
    switch (decoder->codec) {
    case EMU_H264:
        return emu_h264_stream(&decoder->h264, picture, &decoder->stream);
    case EMU_HEVC:
        return emu_hevc_stream(&decoder->hevc, picture, &decoder->stream);
    default:
        emu_bytes_append(&decoder->stream, picture->slices[0].data, picture->slices[0].size);
        return decoder->stream.failed ? -ENOMEM : 0;
    }
}

int emu_decoder_decode(struct emu_decoder *decoder, const struct emu_decode_picture *picture,
                       const AVFrame **ret)
{
    size_t size;
    int rc;

    if (picture->num_slices < 1)
        return -EIO;
    rc = make_stream(decoder, picture);
    if (rc < 0)
        return rc;
    if (starts_anew(decoder->codec, picture))
        avcodec_flush_buffers(decoder->av);
    size = decoder->stream.size;
    rc = av_new_packet(decoder->packet, (int)size);
    if (rc < 0)
        return -ENOMEM;
    memcpy(decoder->packet->data, decoder->stream.data, size);
    decoder->num_caught = 0;
    rc = avcodec_send_packet(decoder->av, decoder->packet);
    av_packet_unref(decoder->packet);
    while (avcodec_receive_frame(decoder->av, decoder->scratch) >= 0)
        av_frame_unref(decoder->scratch);
    if (rc < 0 || !decoder->caught->buf[0])
        return -EIO;
    *ret = decoder->caught;
    return 0;
}

bool emu_send_if_changed(struct emu_bytes *last, struct emu_bytes *out, const uint8_t *header,
                         size_t header_size, const struct emu_bytes *payload)
{
    if (last->size == payload->size && memcmp(last->data, payload->data, last->size) == 0)
        return false;
    last->size = 0;
    emu_bytes_append(last, payload->data, payload->size);
    emu_append_nal(out, header, header_size, payload->data, payload->size);
    if (last->failed)
        out->failed = true;
    return true;
}

static void copy_rows(const uint8_t *src, int src_pitch, uint8_t *dst, size_t dst_pitch, int width,
                      int height, bool ten_bit)
{
    for (int y = 0; y < height; y++) {
        const uint16_t *from = (const uint16_t *)(const void *)(src + (ptrdiff_t)y * src_pitch);
        uint16_t *to = (uint16_t *)(void *)(dst + (size_t)y * dst_pitch);

        if (!ten_bit)
            memcpy(dst + (size_t)y * dst_pitch, src + (ptrdiff_t)y * src_pitch, (size_t)width);
        else
            for (int x = 0; x < width; x++)
                to[x] = (uint16_t)(from[x] << 6);
    }
}

static void interleave(const AVFrame *frame, const struct emu_semiplanar *dst, int width,
                       int height)
{
    for (int y = 0; y < height; y++) {
        const uint8_t *u = frame->data[1] + (ptrdiff_t)y * frame->linesize[1];
        const uint8_t *v = frame->data[2] + (ptrdiff_t)y * frame->linesize[2];
        uint8_t *to = dst->chroma + (size_t)y * dst->chroma_pitch;

        for (int x = 0; x < width; x++) {
            if (dst->ten_bit) {
                ((uint16_t *)(void *)to)[2 * x] =
                    (uint16_t)(((const uint16_t *)(const void *)u)[x] << 6);
                ((uint16_t *)(void *)to)[2 * x + 1] =
                    (uint16_t)(((const uint16_t *)(const void *)v)[x] << 6);
            } else {
                to[2 * x] = u[x];
                to[2 * x + 1] = v[x];
            }
        }
    }
}

int emu_frame_to_semiplanar(const AVFrame *frame, const struct emu_semiplanar *dst)
{
    int width = frame->width < dst->width ? frame->width : dst->width;
    int height = frame->height < dst->height ? frame->height : dst->height;
    bool ten_bit = frame->format == AV_PIX_FMT_YUV420P10;

    if (!ten_bit && frame->format != AV_PIX_FMT_YUV420P && frame->format != AV_PIX_FMT_YUVJ420P)
        return -EINVAL;
    if (ten_bit != dst->ten_bit)
        return -EINVAL;
    copy_rows(frame->data[0], frame->linesize[0], dst->luma, dst->luma_pitch, width, height,
              ten_bit);
    interleave(frame, dst, (width + 1) / 2, (height + 1) / 2);
    return 0;
}
