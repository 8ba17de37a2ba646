/* SPDX-License-Identifier: MIT */
/* Pictures of the plan: what the first decoded frames say, and what becomes of them. */
#include <libavutil/display.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <string.h>

#include "decode.h"
#include "lathe/hwaccel.h"
#include "setup.h"
#include "split.h"

#define LEAD_IN_DEINTERLACE 2
#define PEEK_FRAMES 8

static void read_hdr(const AVFrame *frame, struct split_peek *p)
{
    const AVFrameSideData *sd =
        av_frame_get_side_data(frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    if (sd) {
        const AVMasteringDisplayMetadata *m = (const void *)sd->data;
        if (m->has_primaries && m->has_luminance) /* x265 syntax: units of 0.00002 and 0.0001 */
            snprintf(p->mastering_display, sizeof(p->mastering_display),
                     "G(%.0f,%.0f)B(%.0f,%.0f)R(%.0f,%.0f)WP(%.0f,%.0f)L(%.0f,%.0f)",
                     av_q2d(m->display_primaries[1][0]) * 50000,
                     av_q2d(m->display_primaries[1][1]) * 50000,
                     av_q2d(m->display_primaries[2][0]) * 50000,
                     av_q2d(m->display_primaries[2][1]) * 50000,
                     av_q2d(m->display_primaries[0][0]) * 50000,
                     av_q2d(m->display_primaries[0][1]) * 50000, av_q2d(m->white_point[0]) * 50000,
                     av_q2d(m->white_point[1]) * 50000, av_q2d(m->max_luminance) * 10000,
                     av_q2d(m->min_luminance) * 10000);
    }
    sd = av_frame_get_side_data(frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    if (sd) {
        const AVContentLightMetadata *l = (const void *)sd->data;
        snprintf(p->content_light, sizeof(p->content_light), "%u,%u", l->MaxCLL, l->MaxFALL);
    }
}

static void read_picture(const AVFrame *frame, struct split_peek *p)
{
    p->format = frame->format;
    p->width = frame->width;
    p->height = frame->height;
    p->sar = frame->sample_aspect_ratio;
    p->range = frame->color_range;
    p->primaries = frame->color_primaries;
    p->transfer = frame->color_trc;
    p->matrix = frame->colorspace;
    p->chroma = frame->chroma_location;
    if (p->format == AV_PIX_FMT_YUVJ420P || p->format == AV_PIX_FMT_YUVJ422P ||
        p->format == AV_PIX_FMT_YUVJ444P)
        p->range = AVCOL_RANGE_JPEG;
    read_hdr(frame, p);
}

int split_peek(const struct media_source *source, const struct media_scan *scan,
               struct lathe_plan *plan, struct split_peek *ret, struct lathe_error *err)
{
    struct media_decoder decoder;
    _cleanup_frame_ AVFrame *frame = av_frame_alloc();
    if (!frame)
        return lathe_error_nomem(err);
    const struct media_decoder_input input = {.path = source->path,
                                              .parameters = media_source_video(source)->codecpar};
    int r =
        media_decoder_open(&decoder, &input, plan, &scan->index, INT64_MIN, INT64_MAX, NULL, err);
    if (r < 0)
        return r;
    int n = 0, interlaced = 0;
    while (n < PEEK_FRAMES) {
        int64_t time = 0;
        uint32_t packet = 0;
        r = media_decoder_next(&decoder, frame, &time, &packet, err);
        if (r <= 0)
            break;
        if (n == 0) {
            ret->first_time = time;
            read_picture(frame, ret);
            ret->top_field_first = media_frame_is_top_field_first(frame);
        }
        interlaced += media_frame_is_interlaced(frame);
        n++;
        av_frame_unref(frame);
    }
    media_decoder_close(&decoder);
    if (r < 0)
        return r;
    if (!n) {
        lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s: no picture could be decoded",
                        source->path);
        lathe_error_hint(err, "the file is damaged, or not what its header says");
        return -ENODATA;
    }
    ret->interlaced = interlaced * 2 > n;
    return 0;
}

static const int32_t *display_matrix(const AVStream *stream)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 29, 100)
    const AVPacketSideData *sd =
        av_packet_side_data_get(stream->codecpar->coded_side_data,
                                stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return sd && sd->size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)sd->data : NULL;
#else
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data && size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data : NULL;
#endif
}

static int even(double value)
{
    int n = (int)(2 * round(value / 2));
    return n < 2 ? 2 : n;
}

static int plan_rendition(struct lathe_plan *plan, const struct lathe_job *job, int i,
                          const struct split_peek *p, AVRational sar)
{
    const struct lathe_rendition *wish = &job->renditions[i];
    struct lathe_plan_rendition *r = &plan->renditions[i];
    const bool square = sar.num <= 0 || sar.den <= 0 || sar.num == sar.den;
    const double shown_width = square ? p->width : p->width * av_q2d(sar);
    const double short_side = fmin(shown_width, p->height);
    double factor = wish->short_side / short_side;
    snprintf(r->name, sizeof(r->name), "%s", wish->name);
    if (factor > 1 && !job->upscale) {
        if (wish->short_side > (int)short_side + 1 &&
            lathe_plan_warn(
                plan, "%s: the source has only %d lines, and is not enlarged (--upscale does)",
                wish->name, (int)short_side) < 0)
            return -ENOMEM;
        factor = 1;
    }
    if (fabs(factor - 1) * short_side <= 1) {
        r->width = p->width & ~1;
        r->height = p->height & ~1;
        r->width = r->width < 2 ? 2 : r->width;
        r->height = r->height < 2 ? 2 : r->height;
        r->sar = (struct lathe_rational){square ? sar.num > 0 : sar.num, square ? 1 : sar.den};
    } else {
        r->width = even(p->width * factor);
        r->height = even(p->height * factor);
        AVRational out = {1, 1};
        if (!square)
            av_reduce(&out.num, &out.den, (int64_t)sar.num * p->width * r->height,
                      (int64_t)sar.den * p->height * r->width, 4096);
        r->sar = (struct lathe_rational){out.num, out.den};
    }
    r->bitrate_kbps = wish->bitrate_kbps;
    r->maxrate_kbps = wish->maxrate_kbps;
    r->bufsize_kbit = wish->bufsize_kbit;
    r->quality = job->quality;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(p->format);
    int bits = desc ? desc->comp[0].depth : 8;
    enum AVPixelFormat format = lathe_hwaccel_software.pixel_format(job->codec, bits);
    snprintf(r->pix_fmt, sizeof(r->pix_fmt), "%s", av_get_pix_fmt_name(format));
    return 0;
}

int split_plan_pictures(struct lathe_plan *plan, const struct lathe_job *job,
                        const AVStream *stream, const struct split_peek *p)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(p->format);
    const bool rgb = desc && desc->flags & AV_PIX_FMT_FLAG_RGB;
    snprintf(plan->source_pix_fmt, sizeof(plan->source_pix_fmt), "%s",
             desc ? desc->name : "unknown");
    plan->source_width = p->width;
    plan->source_height = p->height;
    plan->color_range = rgb ? AVCOL_RANGE_MPEG : p->range;
    plan->color_primaries = p->primaries;
    plan->color_transfer = p->transfer;
    plan->color_matrix = rgb ? AVCOL_SPC_BT709 : p->matrix;
    plan->chroma_location = p->chroma;
    memcpy(plan->mastering_display, p->mastering_display, sizeof(plan->mastering_display));
    memcpy(plan->content_light, p->content_light, sizeof(plan->content_light));
    const int32_t *matrix = display_matrix(stream);
    for (int i = 0; i < 9 && matrix; i++)
        plan->rotation[i] = matrix[i];
    AVRational sar = stream->sample_aspect_ratio.num ? stream->sample_aspect_ratio : p->sar;
    bool scaled = false;
    plan->n_renditions = job->n_renditions;
    for (int i = 0; i < job->n_renditions; i++) {
        if (plan_rendition(plan, job, i, p, sar) < 0)
            return -ENOMEM;
        scaled = scaled || plan->renditions[i].height != (p->height & ~1);
    }
    /* Interlaced pictures scaled as progressive are garbage; unscaled ones keep their fields, which
     * only H.264 carries in common players. */
    if (p->interlaced) {
        /* x264 codes fields of 4:2:0 only in multiples of four lines. */
        plan->deinterlace = scaled || job->codec != LATHE_CODEC_H264 || p->height % 4 != 0;
        plan->interlaced = !plan->deinterlace;
        plan->top_field_first = p->top_field_first;
        plan->lead_in_frames = plan->deinterlace ? LEAD_IN_DEINTERLACE : 0;
    }
    return 0;
}
