/* SPDX-License-Identifier: MIT */
/*
 * Process-wide set-up of libav in the slot: its log is captured rather than printed (one line of
 * it often says why), and only listed formats and codecs are ever opened.
 */
#include "setup.h"

#include <libavutil/avstring.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "lathe/hwaccel.h"

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_line[256];

static void capture_log(void *avcl, int level, const char *format, va_list args)
{
    lathe_hwaccel_log(avcl, level, format, args);
    if (level > AV_LOG_ERROR)
        return;
    char line[sizeof(log_line)];
    int print_prefix = 0;
    int n = av_log_format_line2(avcl, level, format, args, line, sizeof(line), &print_prefix);
    if (n < 0)
        return;
    line[strcspn(line, "\r\n")] = '\0';
    if (!line[0])
        return;
    pthread_mutex_lock(&log_lock);
    memcpy(log_line, line, sizeof(line));
    pthread_mutex_unlock(&log_lock);
}

void lathe_media_setup(void)
{
    av_log_set_callback(capture_log);
}

void media_last_log(char *ret, size_t size)
{
    pthread_mutex_lock(&log_lock);
    snprintf(ret, size, "%s", log_line);
    log_line[0] = '\0';
    pthread_mutex_unlock(&log_lock);
}

int media_error(struct lathe_error *err, int averror, enum lathe_fault fault, const char *format,
                ...)
{
    char what[320], why[AV_ERROR_MAX_STRING_SIZE], logged[sizeof(log_line)];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    av_strerror(averror, why, sizeof(why));
    media_last_log(logged, sizeof(logged));

    /* libav's own codes are large tags; the rest of Lathe speaks errno. */
    int code = averror;
    if (averror < -4095)
        code = -EILSEQ;
    if (averror == AVERROR(ENOMEM) || averror == AVERROR(ENOSPC) || averror == AVERROR(EDQUOT) ||
        averror == AVERROR(EFBIG))
        fault = LATHE_FAULT_RESOURCE;
    return lathe_error_set(err, code, fault, "%s: %s%s%s%s", what, why, logged[0] ? " (" : "",
                           logged, logged[0] ? ")" : "");
}

/* Containers of video files. Playlists, devices, image sequences and subtitles are left out: a
 * playlist would make libavformat open other files. */
static const char *const allowed_formats[] = {
    "mov", "matroska", "mpegts", "mpeg", "mpegvideo", "avi",       "flv",  "asf",
    "mxf", "gxf",      "ogg",    "ivf",  "nut",       "h264",      "hevc", "yuv4mpegpipe",
    "dv",  "wtv",      "vc1",    "m4v",  "obu",       "mxf_opatom"};

bool media_format_is_allowed(const char *name)
{
    size_t len = strcspn(name, ",");
    for (size_t i = 0; i < LATHE_COUNT(allowed_formats); i++)
        if (strlen(allowed_formats[i]) == len && strncmp(allowed_formats[i], name, len) == 0)
            return true;
    return false;
}

/* Decoders that are in wide use and well fuzzed; of FFmpeg's 500 most have never met either. */
static const char codec_whitelist[] =
    "h264,hevc,libdav1d,libaom-av1,av1,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpegvideo,"
    "mpeg4,h263,flv,msmpeg4,msmpeg4v2,msmpeg4v1,wmv1,wmv2,wmv3,vc1,theora,prores,dnxhd,cfhd,ffv1,"
    "ffvhuff,huffyuv,utvideo,mjpeg,rawvideo,v210,dvvideo,"
    "aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,ac3,eac3,dca,truehd,mlp,opus,libopus,"
    "vorbis,libvorbis,flac,alac,wmav1,wmav2,wmapro,amrnb,amrwb,adpcm_ms,adpcm_ima_wav,"
    "adpcm_ima_qt,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_u8,pcm_s8,pcm_alaw,pcm_mulaw,pcm_bluray,pcm_dvd,s302m";

const char *media_codec_whitelist(void)
{
    return codec_whitelist;
}

bool media_codec_is_allowed(enum AVCodecID id)
{
    const AVCodec *codec = avcodec_find_decoder(id);
    return codec && av_match_list(codec->name, codec_whitelist, ',') > 0;
}

int64_t media_cpu_us(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return 0;
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

bool media_frame_is_interlaced(const AVFrame *frame)
{
#ifdef AV_FRAME_FLAG_INTERLACED
    return frame->flags & AV_FRAME_FLAG_INTERLACED;
#else
    return frame->interlaced_frame;
#endif
}

bool media_frame_is_top_field_first(const AVFrame *frame)
{
#ifdef AV_FRAME_FLAG_TOP_FIELD_FIRST
    return frame->flags & AV_FRAME_FLAG_TOP_FIELD_FIRST;
#else
    return frame->top_field_first;
#endif
}
