/* SPDX-License-Identifier: MIT */
/* The verb inspect: what a source is, from its headers, without reading it whole. */
#include <libavutil/pixdesc.h>
#include <math.h>
#include <string.h>

#include "setup.h"
#include "source.h"

static json_t *rational_json(AVRational r)
{
    return json_sprintf("%d/%d", r.num, r.den);
}

static json_t *video_json(const AVStream *stream)
{
    const AVCodecParameters *par = stream->codecpar;
    AVRational sar =
        stream->sample_aspect_ratio.num ? stream->sample_aspect_ratio : par->sample_aspect_ratio;
    double shown_width = sar.num > 0 && sar.den > 0 ? par->width * av_q2d(sar) : (double)par->width;
    int short_side = (int)fmin(round(shown_width), par->height);
    const char *pix_fmt = av_get_pix_fmt_name(par->format);
    return json_pack("{s:i, s:s, s:i, s:i, s:i, s:s, s:o, s:o, s:o}", "stream", stream->index,
                     "codec", avcodec_get_name(par->codec_id), "width", par->width, "height",
                     par->height, "short_side", short_side, "pix_fmt",
                     pix_fmt ? pix_fmt : "unknown", "frame_rate",
                     rational_json(stream->avg_frame_rate), "sample_aspect_ratio",
                     rational_json(sar), "time_base", rational_json(stream->time_base));
}

static json_t *audio_json(const AVFormatContext *format)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < format->nb_streams && list; i++) {
        const AVStream *stream = format->streams[i];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
            continue;
        const AVDictionaryEntry *language = av_dict_get(stream->metadata, "language", NULL, 0);
        json_t *track = json_pack(
            "{s:i, s:s, s:i, s:i, s:s%}", "stream", (int)i, "codec",
            avcodec_get_name(stream->codecpar->codec_id), "sample_rate",
            stream->codecpar->sample_rate, "channels", stream->codecpar->ch_layout.nb_channels,
            "language", language ? language->value : "", language ? strlen(language->value) : 0);
        if (!track)
            track = json_pack("{s:i, s:s}", "stream", (int)i, "codec",
                              avcodec_get_name(stream->codecpar->codec_id));
        if (!track || json_array_append_new(list, track) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

int lathe_media_inspect(const struct lathe_order *order, lathe_media_progress progress,
                        void *opaque, json_t **ret_body, struct lathe_error *err)
{
    (void)progress, (void)opaque;
    struct media_source source;
    int r = media_source_open(&source, order->source_path, err);
    if (r < 0)
        return r;
    const AVFormatContext *format = source.format;
    json_t *video = video_json(media_source_video(&source)), *audio = audio_json(format);
    *ret_body =
        video && audio
            ? json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "container", format->iformat->name,
                        "container_name", format->iformat->long_name, "bytes",
                        (json_int_t)source.size_bytes, "duration_us",
                        (json_int_t)(format->duration == AV_NOPTS_VALUE ? -1 : format->duration),
                        "video", video, "audio", audio)
            : NULL;
    media_source_close(&source);
    return *ret_body ? 0 : lathe_error_nomem(err);
}
