/* SPDX-License-Identifier: MIT */
/*
 * Opens a family's encoder once for every codec, preset and way to control the rate, and encodes
 * one picture with each; the drivers' record says what they were asked for. Prints a line for each,
 * in the same order.
 *
 * usage: settings FAMILY DEVICE FEATURES
 */
#include <libavutil/hwcontext.h>
#include <stdio.h>
#include <stdlib.h>

#include "lathe/hwaccel.h"

#define WIDTH 640
#define HEIGHT 360

static const struct {
    const char *name;
    enum lathe_rate_mode mode;
    int maxrate_kbps;
} modes[] = {
    {"quality", LATHE_RATE_QUALITY, 0}, {"capped-quality", LATHE_RATE_QUALITY, 3000},
    {"vbr", LATHE_RATE_VBR, 2500},      {"vbr-default-cap", LATHE_RATE_VBR, 0},
    {"cbr", LATHE_RATE_CBR, 0},
};

static int encode_one(const struct lathe_encoder_request *request, char *options, size_t size)
{
    AVCodecContext *c = NULL;
    struct lathe_error err = {0};
    int r = request->device->family->open_encoder(request, &c, options, size, &err);
    if (r < 0) {
        fprintf(stderr, "%s\n", err.what);
        return r;
    }
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    r = frame && packet ? av_hwframe_get_buffer(request->frames, frame, 0) : AVERROR(ENOMEM);
    if (r >= 0) {
        frame->pts = 0;
        frame->pict_type = AV_PICTURE_TYPE_I;
        r = avcodec_send_frame(c, frame);
    }
    if (r >= 0)
        r = avcodec_send_frame(c, NULL);
    if (r >= 0)
        r = avcodec_receive_packet(c, packet);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&c);
    return r;
}

static int try_depth(const struct lathe_hwaccel_device *device, enum lathe_codec codec, int bits,
                     unsigned features)
{
    enum AVPixelFormat format = device->family->pixel_format(codec, bits);
    AVBufferRef *frames = lathe_hwaccel_pool(device, format, WIDTH, HEIGHT);
    int r = frames ? 0 : AVERROR(ENOMEM);
    for (int preset = LATHE_PRESET_ULTRAFAST; preset <= LATHE_PRESET_VERYSLOW && r >= 0; preset++)
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]) && r >= 0; i++) {
            const struct lathe_encoder_request request = {
                .codec = codec,
                .preset = (enum lathe_preset)preset,
                .width = WIDTH,
                .height = HEIGHT,
                .sar = {1, 1},
                .time_base = {1, 25},
                .frame_rate = {25, 1},
                .pix_fmt = format,
                .quality = 23,
                .rate_mode = modes[i].mode,
                .bitrate_kbps = modes[i].mode == LATHE_RATE_QUALITY ? 0 : 1000,
                .maxrate_kbps = modes[i].maxrate_kbps,
                .bufsize_kbit = modes[i].maxrate_kbps ? modes[i].maxrate_kbps + 500 : 0,
                .gop_frames = 50,
                .forced_keys_only = preset % 2 == 0,
                .threads = 1,
                .device = device,
                .frames = frames,
                .features = features,
            };
            char options[512] = "";
            r = encode_one(&request, options, sizeof(options));
            printf("%s %d %s %s | %s\n", lathe_codec_name(codec), bits,
                   lathe_preset_name(request.preset), modes[i].name, options);
        }
    av_buffer_unref(&frames);
    return r;
}

int main(int argc, char **argv)
{
    const struct lathe_hwaccel *family = argc == 4 ? lathe_hwaccel_find(argv[1]) : NULL;
    struct lathe_hwaccel_device device = {0};
    struct lathe_error err = {0};
    if (!family || family->open_device(argv[2], &device, &err) < 0) {
        fprintf(stderr, "%s\n", family ? err.what : "usage: settings FAMILY DEVICE FEATURES");
        return 2;
    }
    unsigned features = (unsigned)strtoul(argv[3], NULL, 0);
    int r = try_depth(&device, LATHE_CODEC_H264, 8, features);
    if (r >= 0)
        r = try_depth(&device, LATHE_CODEC_HEVC, 8, features);
    if (r >= 0)
        r = try_depth(&device, LATHE_CODEC_HEVC, 10, features);
    lathe_hwaccel_close_device(&device);
    return r < 0;
}
