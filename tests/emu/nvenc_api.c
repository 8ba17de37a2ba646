/* SPDX-License-Identifier: MIT */
/*
 * Drives FFmpeg's NVENC encoders as a program does that owns the device, for what the ffmpeg tool
 * cannot do: rates that change in mid-stream, and the error codes that only a caller sees.
 *
 * usage: nvenc-api open ENCODER                what opening returns, as an errno
 *        nvenc-api rates ENCODER KBPS KBPS     50 pictures at each rate; prints frames, bytes and
 *                                              key frames of both halves
 */
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALF 50

struct half {
    int frames, bytes, keys;
};

static int open_encoder(const char *name, int64_t bps, AVCodecContext **ret)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    int code;

    if (!c)
        return AVERROR(ENOSYS);
    c->width = 320;
    c->height = 240;
    c->pix_fmt = AV_PIX_FMT_NV12;
    c->time_base = (AVRational){1, 25};
    c->framerate = (AVRational){25, 1};
    c->bit_rate = bps;
    c->max_b_frames = 0;
    c->gop_size = 1000;
    code = av_hwdevice_ctx_create(&c->hw_device_ctx, AV_HWDEVICE_TYPE_CUDA, NULL, NULL, 0);
    if (code >= 0)
        code = avcodec_open2(c, codec, NULL);
    if (code < 0)
        avcodec_free_context(&c);
    *ret = c;
    return code;
}

/* Noise, so that the rate decides and not the picture. */
static void paint(AVFrame *frame, int number)
{
    srand((unsigned)number);
    for (int plane = 0; plane < 2; plane++)
        for (int y = 0; y < frame->height >> plane; y++)
            for (int x = 0; x < frame->width; x++)
                frame->data[plane][y * frame->linesize[plane] + x] =
                    (uint8_t)(128 + x / 8 + rand() % 24);
}

static int drain(AVCodecContext *c, AVPacket *packet, struct half halves[2])
{
    int code;

    while ((code = avcodec_receive_packet(c, packet)) >= 0) {
        struct half *half = &halves[packet->pts >= HALF];

        half->frames++;
        half->bytes += packet->size;
        half->keys += !!(packet->flags & AV_PKT_FLAG_KEY);
        av_packet_unref(packet);
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF ? 0 : code;
}

static int change_rates(AVCodecContext *c, int64_t second_bps, struct half halves[2])
{
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    int code = frame && packet ? 0 : AVERROR(ENOMEM);

    for (int i = 0; i < 2 * HALF && code >= 0; i++) {
        frame->format = c->pix_fmt;
        frame->width = c->width;
        frame->height = c->height;
        if ((code = av_frame_get_buffer(frame, 0)) < 0)
            break;
        paint(frame, i);
        frame->pts = i;
        if (i == HALF) {
            c->bit_rate = second_bps;
            c->rc_buffer_size = (int)second_bps;
        }
        code = avcodec_send_frame(c, frame);
        av_frame_unref(frame);
        if (code >= 0)
            code = drain(c, packet, halves);
    }
    if (code >= 0 && (code = avcodec_send_frame(c, NULL)) >= 0)
        code = drain(c, packet, halves);
    av_frame_free(&frame);
    av_packet_free(&packet);
    return code;
}

int main(int argc, char **argv)
{
    struct half halves[2] = {0};
    AVCodecContext *encoder = NULL;
    bool rates = argc == 5 && !strcmp(argv[1], "rates");
    int code;

    if (!rates && (argc != 3 || strcmp(argv[1], "open") != 0))
        return 2;
    code = open_encoder(argv[2], rates ? atoi(argv[3]) * 1000LL : 500000, &encoder);
    if (!rates) {
        printf("%d\n", code < 0 ? AVUNERROR(code) : 0);
    } else {
        if (code >= 0)
            code = change_rates(encoder, atoi(argv[4]) * 1000LL, halves);
        for (int i = 0; i < 2; i++)
            printf("%d %d %d\n", halves[i].frames, halves[i].bytes, halves[i].keys);
    }
    avcodec_free_context(&encoder);
    return rates && code < 0;
}
