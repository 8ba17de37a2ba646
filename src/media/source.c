/* SPDX-License-Identifier: MIT */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/opt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "setup.h"

#define IO_BUFFER_BYTES (256 * 1024)

static int read_bytes(void *opaque, uint8_t *buffer, int size)
{
    struct media_source *source = opaque;
    ssize_t n;
    do
        n = pread(source->fd, buffer, (size_t)size, source->position);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return AVERROR(errno);
    if (n == 0)
        return AVERROR_EOF;
    source->position += n;
    source->bytes_read += n;
    return (int)n;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    struct media_source *source = opaque;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return source->size_bytes;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += source->position;
        break;
    case SEEK_END:
        offset += source->size_bytes;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (offset < 0)
        return AVERROR(EINVAL);
    return source->position = offset;
}

/* Playlists, external references and segment lists all end here. */
static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format, (void)io, (void)flags, (void)options;
    av_log(NULL, AV_LOG_ERROR, "the file refers to another file (%.80s), which is not allowed\n",
           url);
    return AVERROR(EPERM);
}

static int open_descriptor(struct media_source *source, struct lathe_error *err)
{
    source->fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source->fd < 0) {
        int code = -errno;
        return lathe_error_set(err, code, LATHE_FAULT_INPUT, "cannot read %s: %s", source->path,
                               strerror(-code));
    }
    struct stat st;
    if (fstat(source->fd, &st) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INPUT, "cannot read %s: %s", source->path,
                               strerror(errno));
    if (!S_ISREG(st.st_mode))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "%s is not a regular file",
                               source->path);
    if (st.st_size == 0)
        return lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s is empty", source->path);
    source->size_bytes = st.st_size;
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (!buffer)
        return lathe_error_nomem(err);
    source->io =
        avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, source, read_bytes, NULL, seek_bytes);
    if (!source->io) {
        av_free(buffer);
        return lathe_error_nomem(err);
    }
    return 0;
}

static int detect_format(struct media_source *source, const AVInputFormat **ret,
                         struct lathe_error *err)
{
    int r = av_probe_input_buffer2(source->io, ret, "", NULL, 0, 0);
    if (r < 0 || !*ret) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT,
                        "%s is not a video file: its format is not "
                        "recognised",
                        source->path);
        lathe_error_hint(err,
                         "check that the file was written completely; `file` may say what it is");
        return -EINVAL;
    }
    if (!media_format_is_allowed((*ret)->name)) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT,
                        "%s is not a video file that Lathe opens: it looks like \"%s\" (%s)",
                        source->path, (*ret)->name, (*ret)->long_name);
        lathe_error_hint(err, "playlists and scripts that refer to other files are refused; give "
                              "the video file itself");
        return -EINVAL;
    }
    return 0;
}

static int find_streams(struct media_source *source, struct lathe_error *err)
{
    AVFormatContext *format = source->format;
    unsigned n = format->nb_streams;
    AVDictionary **options = av_calloc(n ? n : 1, sizeof(*options));
    if (!options)
        return lathe_error_nomem(err);
    int r = 0;
    for (unsigned i = 0; i < n; i++) {
        /* One thread: a probe is short, and the process must stay small. */
        if (av_dict_set_int(&options[i], "max_pixels", MEDIA_MAX_PIXELS, 0) < 0 ||
            av_dict_set(&options[i], "threads", "1", 0) < 0)
            r = AVERROR(ENOMEM);
    }
    if (r >= 0)
        r = avformat_find_stream_info(format, n ? options : NULL);
    for (unsigned i = 0; i < n; i++)
        av_dict_free(&options[i]);
    av_free(options);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INPUT, "cannot read the streams of %s",
                           source->path);
    return 0;
}

static int pick_video(struct media_source *source)
{
    int best = -1;
    int64_t best_pixels = -1;
    for (unsigned i = 0; i < source->format->nb_streams; i++) {
        const AVStream *stream = source->format->streams[i];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO ||
            (stream->disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)))
            continue;
        int64_t pixels = (int64_t)stream->codecpar->width * stream->codecpar->height;
        if (stream->disposition & AV_DISPOSITION_DEFAULT)
            pixels += INT64_C(1) << 40;
        if (pixels > best_pixels) {
            best = (int)i;
            best_pixels = pixels;
        }
    }
    return best;
}

static int check_limits(const struct media_source *source, struct lathe_error *err)
{
    const AVFormatContext *format = source->format;
    if (format->nb_streams > MEDIA_MAX_STREAMS)
        return lathe_error_set(err, -E2BIG, LATHE_FAULT_INPUT, "%s has %u streams; the limit is %d",
                               source->path, format->nb_streams, MEDIA_MAX_STREAMS);
    if (source->video_stream < 0) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "%s has no video stream", source->path);
        lathe_error_hint(err, "Lathe converts videos; this file holds audio or data only");
        return -EINVAL;
    }
    const AVCodecParameters *par = media_source_video(source)->codecpar;
    if ((int64_t)par->width * par->height > MEDIA_MAX_PIXELS) {
        lathe_error_set(err, -E2BIG, LATHE_FAULT_INPUT,
                        "%s has pictures of %d×%d; the limit is %d "
                        "pixels",
                        source->path, par->width, par->height, MEDIA_MAX_PIXELS);
        lathe_error_hint(err, "pictures up to 8192×8192 are accepted");
        return -E2BIG;
    }
    if (par->codec_id == AV_CODEC_ID_NONE)
        return lathe_error_set(err, -ENOSYS, LATHE_FAULT_INPUT,
                               "%s: the codec of the video stream is not known", source->path);
    if (!media_codec_is_allowed(par->codec_id)) {
        lathe_error_set(err, -ENOSYS, LATHE_FAULT_INPUT, "%s: video codec \"%s\" is not supported",
                        source->path, avcodec_get_name(par->codec_id));
        lathe_error_hint(err, "convert it to a common codec first; `lathe probe FILE` shows what a "
                              "file holds");
        return -ENOSYS;
    }
    if (par->width <= 0 || par->height <= 0) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT,
                        "%s: the size of the pictures could not be found", source->path);
        lathe_error_hint(err, "the video data is damaged, missing or beyond the limit of 8192×8192 "
                              "pixels");
        return -EINVAL;
    }
    return 0;
}

static int open_format(struct media_source *source, const AVInputFormat *input,
                       AVDictionary **options, struct lathe_error *err)
{
    AVDictionary *none = NULL;
    if (!options)
        options = &none;
    source->format = avformat_alloc_context();
    if (!source->format)
        return lathe_error_nomem(err);
    source->format->pb = source->io;
    source->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    source->format->io_open = refuse_open;
    source->format->max_streams = MEDIA_MAX_STREAMS + 1;
    int r = av_dict_set(options, "codec_whitelist", media_codec_whitelist(), 0);
    if (r >= 0)
        r = avformat_open_input(&source->format, "", input, options);
    av_dict_free(&none);
    if (r == AVERROR(ENOMEM))
        return lathe_error_nomem(err);
    if (r < 0) {
        r = media_error(err, r, LATHE_FAULT_INPUT, "cannot open %s as %s", source->path,
                        input->name);
        lathe_error_hint(err, "the file is damaged or was not written completely");
    }
    return r;
}

/* A source from outside, or a file of our own. */
enum origin { FROM_OUTSIDE, OWN };

static int open_header(struct media_source *ret, const char *path, bool ignore_edit_list,
                       struct lathe_error *err)
{
    *ret = (struct media_source){.fd = -1, .video_stream = -1, .path = path};
    const AVInputFormat *input = NULL;
    AVDictionary *options = NULL;
    int r = open_descriptor(ret, err);
    if (r >= 0)
        r = detect_format(ret, &input, err);
    if (r >= 0 && ignore_edit_list && av_dict_set(&options, "ignore_editlist", "1", 0) < 0)
        r = lathe_error_nomem(err);
    if (r >= 0)
        r = open_format(ret, input, &options, err);
    av_dict_free(&options);
    if (r < 0)
        media_source_close(ret);
    return r;
}

static int know_streams(struct media_source *source, enum origin origin, struct lathe_error *err)
{
    int r = find_streams(source, err);
    if (r >= 0)
        source->video_stream = pick_video(source);
    source->is_analysed = r >= 0;
    if (r >= 0 && origin == FROM_OUTSIDE)
        r = check_limits(source, err);
    if (r < 0)
        media_source_close(source);
    return r;
}

int media_source_open_cut(struct media_source *ret, const char *path, const char *format,
                          struct lathe_error *err)
{
    *ret = (struct media_source){.fd = -1, .video_stream = -1, .path = path};
    const AVInputFormat *input = av_find_input_format(format);
    int r = open_descriptor(ret, err);
    if (r >= 0)
        r = open_format(ret, input, NULL, err);
    if (r < 0) {
        media_source_close(ret);
        return r;
    }
    ret->format->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    return 0;
}

int media_source_open(struct media_source *ret, const char *path, struct lathe_error *err)
{
    int r = open_header(ret, path, false, err);
    return r < 0 ? r : know_streams(ret, FROM_OUTSIDE, err);
}

/* Whose header names every stream, and whose packets are complete without what an analysis finds.
 */
static bool header_is_enough(const AVFormatContext *format)
{
    return strncmp(format->iformat->name, "mov,", 4) == 0;
}

int media_source_open_again(struct media_source *ret, const char *path, int video_stream,
                            struct lathe_error *err)
{
    int r = open_header(ret, path, false, err);
    if (r < 0)
        return r;
    if (!header_is_enough(ret->format) || video_stream < 0 ||
        (unsigned)video_stream >= ret->format->nb_streams)
        return know_streams(ret, FROM_OUTSIDE, err);
    ret->video_stream = video_stream;
    return 0;
}

int media_source_open_own(struct media_source *ret, const char *path, bool ignore_edit_list,
                          struct lathe_error *err)
{
    int r = open_header(ret, path, ignore_edit_list, err);
    return r < 0 ? r : know_streams(ret, OWN, err);
}

int media_source_open_chunk(struct media_source *ret, const char *path, struct lathe_error *err)
{
    int r = open_header(ret, path, true, err);
    if (r >= 0)
        ret->video_stream = pick_video(ret);
    return r;
}

void media_source_close(struct media_source *source)
{
    avformat_close_input(&source->format);
    if (source->io)
        av_freep(&source->io->buffer);
    avio_context_free(&source->io);
    if (source->fd > 0)
        close(source->fd);
    source->fd = -1;
}

AVStream *media_source_video(const struct media_source *source)
{
    return source->video_stream < 0 ? NULL : source->format->streams[source->video_stream];
}
