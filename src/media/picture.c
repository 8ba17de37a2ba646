/* SPDX-License-Identifier: MIT */
#include "picture.h"

#include <libavutil/adler32.h>
#include <libavutil/hwcontext.h>
#include <libavutil/imgutils.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Devices hand out luma and interleaved chroma, 10 bits in the upper part of 16. */
static enum AVPixelFormat planar_of(int format)
{
    return format == AV_PIX_FMT_NV12   ? AV_PIX_FMT_YUV420P
           : format == AV_PIX_FMT_P010 ? AV_PIX_FMT_YUV420P10
                                       : AV_PIX_FMT_NONE;
}

static void copy_samples(uint8_t *to, const uint8_t *from, int count, int step, bool wide)
{
    for (int x = 0; x < count; x++) {
        if (wide)
            AV_WL16(to + 2 * x, AV_RL16(from + 2 * (ptrdiff_t)x * step) >> 6);
        else
            to[x] = from[(ptrdiff_t)x * step];
    }
}

static int to_planar(const AVFrame *from, AVFrame *to)
{
    bool wide = from->format == AV_PIX_FMT_P010;
    to->format = planar_of(from->format);
    to->width = from->width;
    to->height = from->height;
    if (to->format == AV_PIX_FMT_NONE)
        return AVERROR(ENOSYS);
    int r = av_frame_get_buffer(to, 0);
    if (r < 0)
        return r;
    int chroma_width = -(-from->width >> 1), chroma_height = -(-from->height >> 1);
    for (int y = 0; y < from->height; y++)
        copy_samples(to->data[0] + (ptrdiff_t)y * to->linesize[0],
                     from->data[0] + (ptrdiff_t)y * from->linesize[0], from->width, 1, wide);
    for (int plane = 1; plane < 3; plane++)
        for (int y = 0; y < chroma_height; y++)
            copy_samples(to->data[plane] + (ptrdiff_t)y * to->linesize[plane],
                         from->data[1] + (ptrdiff_t)y * from->linesize[1] +
                             (plane - 1) * (wide ? 2 : 1),
                         chroma_width, 2, wide);
    return 0;
}

int media_picture_fetch(const AVFrame *frame, AVFrame **ret)
{
    AVFrame *picture = av_frame_alloc();
    if (!picture)
        return AVERROR(ENOMEM);
    int r;
    if (!frame->hw_frames_ctx) {
        r = av_frame_ref(picture, frame);
    } else {
        AVFrame *copy = av_frame_alloc();
        r = copy ? av_hwframe_transfer_data(copy, frame, 0) : AVERROR(ENOMEM);
        if (r >= 0) {
            copy->width = frame->width; /* the surface may be larger */
            copy->height = frame->height;
            r = to_planar(copy, picture);
        }
        av_frame_free(&copy);
    }
    if (r < 0)
        av_frame_free(&picture);
    else
        *ret = picture;
    return r;
}

void media_picture_hash(const AVFrame *frame, char ret[MEDIA_HASH_BYTES])
{
    size_t n = 0;
    ret[0] = '\0';
    for (int plane = 0; plane < 3 && frame->data[plane]; plane++) {
        int bytes = av_image_get_linesize(frame->format, frame->width, plane);
        int rows = plane ? -(-frame->height >> 1) : frame->height;
        if (bytes <= 0)
            break;
        if (plane && (frame->format == AV_PIX_FMT_YUV444P || frame->format == AV_PIX_FMT_YUV422P))
            rows = frame->height;
        AVAdler sum = 1;
        for (int y = 0; y < rows; y++)
            sum = av_adler32_update(sum, frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane],
                                    (size_t)bytes);
        n += (size_t)snprintf(ret + n, MEDIA_HASH_BYTES - n, "%s%08x", plane ? "-" : "",
                              (unsigned)sum);
    }
}

bool media_picture_thumb(const AVFrame *frame, struct media_thumb *ret)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    if (!d || d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_HWACCEL) ||
        frame->width < MEDIA_THUMB_WIDTH || frame->height < MEDIA_THUMB_HEIGHT)
        return false;
    const AVComponentDescriptor *luma = &d->comp[0];
    bool wide = luma->depth + luma->shift > 8;
    float scale = 1.0F / (float)(1 << (luma->depth - 8));
    for (int row = 0; row < MEDIA_THUMB_HEIGHT; row++) {
        int top = row * frame->height / MEDIA_THUMB_HEIGHT;
        int bottom = (row + 1) * frame->height / MEDIA_THUMB_HEIGHT;
        for (int column = 0; column < MEDIA_THUMB_WIDTH; column++) {
            int left = column * frame->width / MEDIA_THUMB_WIDTH;
            int right = (column + 1) * frame->width / MEDIA_THUMB_WIDTH;
            uint64_t sum = 0;
            for (int y = top; y < bottom; y++) {
                const uint8_t *line =
                    frame->data[luma->plane] + (ptrdiff_t)y * frame->linesize[luma->plane];
                for (int x = left; x < right; x++)
                    sum += wide ? AV_RL16(line + (ptrdiff_t)x * luma->step) >> luma->shift
                                : line[(ptrdiff_t)x * luma->step];
            }
            ret->cells[row * MEDIA_THUMB_WIDTH + column] =
                (float)sum * scale / (float)((bottom - top) * (right - left));
        }
    }
    return true;
}

double media_thumb_distance(const struct media_thumb *a, const struct media_thumb *b)
{
    double sum = 0;
    const int n = MEDIA_THUMB_WIDTH * MEDIA_THUMB_HEIGHT;
    for (int i = 0; i < n; i++)
        sum += fabsf(a->cells[i] - b->cells[i]);
    return sum / n;
}
