/* SPDX-License-Identifier: MIT */
#include "mux.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/mem.h>
#include <string.h>
#include <unistd.h>

#include "setup.h"

#define IO_BUFFER_BYTES (256 * 1024)

#if LIBAVFORMAT_VERSION_MAJOR < 61
typedef uint8_t written_byte;
#else
typedef const uint8_t written_byte;
#endif

static int write_bytes(void *opaque, written_byte *buffer, int size)
{
    struct media_mux *mux = opaque;
    int done = 0;
    while (done < size) {
        ssize_t n = pwrite(mux->fd, buffer + done, (size_t)(size - done), mux->position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (!mux->write_error)
                mux->write_error = n < 0 ? errno : EIO;
            return AVERROR(mux->write_error);
        }
        done += (int)n;
        mux->position += n;
    }
    if (mux->position > mux->size_bytes)
        mux->size_bytes = mux->position;
    return size;
}

static int read_back(void *opaque, uint8_t *buffer, int size)
{
    struct media_mux *mux = opaque;
    ssize_t n;
    do
        n = pread(mux->fd, buffer, (size_t)size, mux->position);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return AVERROR(errno);
    mux->position += n;
    return n ? (int)n : AVERROR_EOF;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    struct media_mux *mux = opaque;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return mux->size_bytes;
    if (whence == SEEK_CUR)
        offset += mux->position;
    else if (whence == SEEK_END)
        offset += mux->size_bytes;
    if (offset < 0)
        return AVERROR(EINVAL);
    return mux->position = offset;
}

/* The mov muxer reads its own file back to move the index to the front (faststart). */
static int open_again(AVFormatContext *format, AVIOContext **ret, const char *url, int flags,
                      AVDictionary **options)
{
    (void)url, (void)options;
    const struct media_mux *mux = format->opaque;
    if (flags & AVIO_FLAG_WRITE)
        return AVERROR(EPERM);
    struct media_mux *view = av_mallocz(sizeof(*view));
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (!view || !buffer) {
        av_free(view);
        av_free(buffer);
        return AVERROR(ENOMEM);
    }
    view->fd = mux->fd;
    view->size_bytes = mux->size_bytes;
    *ret = avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, view, read_back, NULL, seek_bytes);
    if (!*ret) {
        av_free(view);
        av_free(buffer);
        return AVERROR(ENOMEM);
    }
    return 0;
}

static int close_again(AVFormatContext *format, AVIOContext *io)
{
    (void)format;
    if (io) {
        av_free(io->opaque);
        av_freep(&io->buffer);
        avio_context_free(&io);
    }
    return 0;
}

#if LIBAVFORMAT_VERSION_MAJOR < 61
static void close_again_void(AVFormatContext *format, AVIOContext *io)
{
    close_again(format, io);
}
#endif

static int fail(struct media_mux *mux, int averror, struct lathe_error *err, const char *what)
{
    if (mux->write_error)
        return lathe_error_set(err, -mux->write_error, LATHE_FAULT_RESOURCE, "cannot write %s: %s",
                               mux->path, strerror(mux->write_error));
    return media_error(err, averror, LATHE_FAULT_INTERNAL, "%s %s", what, mux->path);
}

static int open_format(struct media_mux *ret, const char *path, const char *format,
                       struct lathe_error *err)
{
    *ret = (struct media_mux){.fd = -1, .path = path};
    ret->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (ret->fd < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "cannot create %s: %s", path,
                               strerror(errno));
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (buffer)
        ret->io =
            avio_alloc_context(buffer, IO_BUFFER_BYTES, 1, ret, read_back, write_bytes, seek_bytes);
    if (!ret->io)
        av_free(buffer);
    if (!ret->io || avformat_alloc_output_context2(&ret->format, NULL, format, "mem:") < 0) {
        media_mux_close(ret);
        return lathe_error_nomem(err);
    }
    ret->format->pb = ret->io;
    ret->format->opaque = ret;
    ret->format->io_open = open_again;
#if LIBAVFORMAT_VERSION_MAJOR < 61
    ret->format->io_close = close_again_void;
#endif
    ret->format->io_close2 = close_again;
    ret->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    return 0;
}

int media_mux_open(struct media_mux *ret, const char *path, struct lathe_error *err)
{
    return open_format(ret, path, "mp4", err);
}

int media_mux_open_cut(struct media_mux *ret, const char *path, const char *format,
                       struct lathe_error *err)
{
    int r = open_format(ret, path, format, err);
    ret->is_cut = true;
    if (r >= 0)
        ret->format->flags &= ~AVFMT_FLAG_AUTO_BSF; /* the packets stay as they are */
    return r;
}

/* 0: the muxer's own. NUT insists on a tag, also for codecs that it has none for; who reads the
 * file knows the codec from elsewhere. */
static uint32_t tag_of_cut(const struct media_mux *mux, const AVCodecParameters *par)
{
    const AVOutputFormat *format = mux->format->oformat;
    if (strcmp(format->name, "nut") != 0 || av_codec_get_tag(format->codec_tag, par->codec_id))
        return 0;
    return par->codec_tag ? par->codec_tag : MKTAG('L', 'T', 'H', 'E');
}

bool media_mux_takes(const char *format, const AVCodecParameters *const *list, int count)
{
    struct media_mux mux = {.fd = -1, .is_cut = true};
    uint8_t *header = NULL;
    bool ok = avformat_alloc_output_context2(&mux.format, NULL, format, NULL) >= 0 &&
              avio_open_dyn_buf(&mux.format->pb) >= 0;
    AVStream *stream;
    for (int i = 0; i < count && ok; i++)
        ok = media_mux_add(&mux, list[i], AV_TIME_BASE_Q, &stream, NULL) >= 0;
    ok = ok && avformat_write_header(mux.format, NULL) >= 0;
    if (mux.format && mux.format->pb)
        avio_close_dyn_buf(mux.format->pb, &header);
    av_free(header);
    avformat_free_context(mux.format);
    return ok;
}

int media_mux_add(struct media_mux *mux, const AVCodecParameters *par, AVRational time_base,
                  AVStream **ret, struct lathe_error *err)
{
    AVStream *stream = avformat_new_stream(mux->format, NULL);
    if (!stream || avcodec_parameters_copy(stream->codecpar, par) < 0)
        return lathe_error_nomem(err);
    stream->codecpar->codec_tag = mux->is_cut                         ? tag_of_cut(mux, par)
                                  : par->codec_id == AV_CODEC_ID_HEVC ? MKTAG('h', 'v', 'c', '1')
                                                                      : 0;
    stream->time_base = time_base;
    stream->sample_aspect_ratio = par->sample_aspect_ratio;
    *ret = stream;
    return 0;
}

int media_mux_begin(struct media_mux *mux, bool faststart, int video_timescale,
                    struct lathe_error *err)
{
    AVDictionary *options = NULL;
    int r = faststart ? av_dict_set(&options, "movflags", "+faststart", 0) : 0;
    if (r >= 0 && video_timescale > 0)
        r = av_dict_set_int(&options, "video_track_timescale", video_timescale, 0);
    if (r >= 0 && video_timescale > 0)
        r = av_dict_set_int(&options, "movie_timescale", video_timescale, 0);
    if (r >= 0)
        r = avformat_write_header(mux->format, &options);
    av_dict_free(&options);
    return r < 0 ? fail(mux, r, err, "cannot begin") : 0;
}

int media_mux_write(struct media_mux *mux, AVPacket *packet, AVRational time_base,
                    struct lathe_error *err)
{
    av_packet_rescale_ts(packet, time_base, mux->format->streams[packet->stream_index]->time_base);
    packet->pos = -1;
    int r;
    if (mux->is_cut) {
        r = av_write_frame(mux->format, packet);
        av_packet_unref(packet);
    } else {
        r = av_interleaved_write_frame(mux->format, packet);
    }
    return r < 0 || mux->write_error ? fail(mux, r, err, "cannot write to") : 0;
}

int media_mux_end(struct media_mux *mux, struct lathe_error *err)
{
    int r = av_write_trailer(mux->format);
    if (r >= 0) {
        avio_flush(mux->io);
        r = mux->io->error;
    }
    if (r < 0 || mux->write_error)
        return fail(mux, r, err, "cannot finish");
    if (!mux->is_cut && fsync(mux->fd) < 0) {
        mux->write_error = errno;
        return fail(mux, 0, err, "cannot sync");
    }
    return 0;
}

void media_mux_close(struct media_mux *mux)
{
    avformat_free_context(mux->format);
    mux->format = NULL;
    if (mux->io)
        av_freep(&mux->io->buffer);
    avio_context_free(&mux->io);
    if (mux->fd >= 0)
        close(mux->fd);
    mux->fd = -1;
}
