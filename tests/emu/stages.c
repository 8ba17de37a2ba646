/* SPDX-License-Identifier: MIT */
/*
 * The stages of one step of the ladder put together with nothing but hwaccel.h, as a pipeline
 * would: decode, filter, encode. For test_stages.py.
 *
 * usage: stages FAMILY DEVICE INPUT STEP WIDTH HEIGHT OUTPUT   (OUTPUT: an elementary stream)
 */
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/hwaccel.h"

static void must(int r, const char *what)
{
    if (r >= 0)
        return;
    char log[512];
    lathe_hwaccel_log_read(log, sizeof(log));
    fprintf(stderr, "%s: %s (%s)\n", what, av_err2str(r), log);
    exit(1);
}

struct work {
    const struct lathe_hwaccel *family, *encoding;
    struct lathe_hwaccel_device device;
    enum lathe_ladder_step step;
    int width, height, frames, packets;
    AVFormatContext *input;
    AVCodecContext *decoder, *encoder;
    AVFilterGraph *graph;
    AVFilterContext *in, *out;
    FILE *output;
};

static void open_input(struct work *w, const char *path)
{
    must(avformat_open_input(&w->input, path, NULL, NULL), path);
    must(avformat_find_stream_info(w->input, NULL), path);
    const AVCodecParameters *par = w->input->streams[0]->codecpar;
    bool on_gpu = w->step == LATHE_STEP_ALL_GPU || w->step == LATHE_STEP_GPU_UNTIL_SCALE;
    const AVCodec *codec = on_gpu ? lathe_hwaccel_decoder(w->family, par->codec_id)
                                  : avcodec_find_decoder(par->codec_id);
    w->decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    must(w->decoder ? 0 : AVERROR(ENOMEM), "decoder");
    must(avcodec_parameters_to_context(w->decoder, par), "decoder");
    if (on_gpu)
        must(lathe_hwaccel_setup_decoder(w->decoder, &w->device, 8), "decoder");
    must(avcodec_open2(w->decoder, codec, NULL), "decoder");
}

/* With the first picture only is it known where pictures lie. */
static void build(struct work *w, const AVFrame *first)
{
    char stages[512], software[64];
    const AVRational time_base = {1, 25};
    snprintf(software, sizeof(software), "scale=%d:%d", w->width, w->height);
    must(lathe_hwaccel_stages(w->family, w->step, w->width, w->height, AV_PIX_FMT_NV12, software,
                              stages, sizeof(stages)),
         "stages");
    AVFilterContext *last = NULL;
    w->graph = avfilter_graph_alloc();
    must(w->graph ? 0 : AVERROR(ENOMEM), "graph");
    must(lathe_hwaccel_source(w->graph, first, time_base, (AVRational){25, 1}, &w->in), "source");
    must(lathe_hwaccel_chain(w->graph, w->in, stages, &w->device, 8, &last), stages);
    must(avfilter_graph_create_filter(&w->out, avfilter_get_by_name("buffersink"), "out", NULL,
                                      NULL, w->graph),
         "sink");
    must(avfilter_link(last, 0, w->out, 0), "link");
    must(avfilter_graph_config(w->graph, NULL), stages);

    struct lathe_encoder_request request = {
        .codec = LATHE_CODEC_H264,
        .preset = LATHE_PRESET_FAST,
        .width = w->width,
        .height = w->height,
        .sar = {1, 1},
        .time_base = time_base,
        .frame_rate = {25, 1},
        .pix_fmt = av_buffersink_get_format(w->out),
        .color_primaries = AVCOL_PRI_UNSPECIFIED,
        .color_transfer = AVCOL_TRC_UNSPECIFIED,
        .color_matrix = AVCOL_SPC_UNSPECIFIED,
        .quality = 20,
        .gop_frames = 250,
        .threads = 1,
        .device = &w->device,
        .frames = av_buffersink_get_hw_frames_ctx(w->out),
        .features = LATHE_HW_RC_CQP | LATHE_HW_RC_CQ,
    };
    char options[512];
    struct lathe_error err = {0};
    if (w->encoding->open_encoder(&request, &w->encoder, options, sizeof(options), &err) < 0) {
        fprintf(stderr, "%s\n", err.what);
        exit(1);
    }
    fwrite(w->encoder->extradata, 1, (size_t)w->encoder->extradata_size, w->output);
}

static void encode(struct work *w, AVFrame *frame)
{
    AVPacket *packet = av_packet_alloc();
    must(packet ? avcodec_send_frame(w->encoder, frame) : AVERROR(ENOMEM), "encode");
    int r;
    while ((r = avcodec_receive_packet(w->encoder, packet)) >= 0) {
        fwrite(packet->data, 1, (size_t)packet->size, w->output);
        w->packets++;
        av_packet_unref(packet);
    }
    must(r == AVERROR(EAGAIN) || r == AVERROR_EOF ? 0 : r, "encode");
    av_packet_free(&packet);
}

static void filter(struct work *w, AVFrame *frame)
{
    AVFrame *scaled = av_frame_alloc();
    must(scaled ? 0 : AVERROR(ENOMEM), "filter");
    if (frame) {
        frame->pts = w->frames++;
        if (!w->graph)
            build(w, frame);
    }
    must(av_buffersrc_add_frame_flags(w->in, frame, 0), "filter");
    int r;
    while ((r = av_buffersink_get_frame(w->out, scaled)) >= 0) {
        scaled->pict_type = AV_PICTURE_TYPE_NONE;
        encode(w, scaled);
        av_frame_unref(scaled);
    }
    must(r == AVERROR(EAGAIN) || r == AVERROR_EOF ? 0 : r, "filter");
    av_frame_free(&scaled);
}

static void decode(struct work *w, AVPacket *packet)
{
    AVFrame *frame = av_frame_alloc();
    must(frame ? avcodec_send_packet(w->decoder, packet) : AVERROR(ENOMEM), "decode");
    int r;
    while ((r = avcodec_receive_frame(w->decoder, frame)) >= 0)
        filter(w, frame);
    must(r == AVERROR(EAGAIN) || r == AVERROR_EOF ? 0 : r, "decode");
    av_frame_free(&frame);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    av_log_set_callback(lathe_hwaccel_log);
    struct work w = {.step = (enum lathe_ladder_step)atoi(argv[4]),
                     .width = atoi(argv[5]),
                     .height = atoi(argv[6])};
    w.family = lathe_hwaccel_find(argv[1]);
    w.encoding = w.step <= LATHE_STEP_GPU_ENCODE ? w.family : &lathe_hwaccel_software;
    w.output = fopen(argv[7], "wb");
    struct lathe_error err = {0};
    if (!w.output || !w.family || w.family->open_device(argv[2], &w.device, &err) < 0) {
        fprintf(stderr, "%s\n", err.what);
        return 1;
    }
    open_input(&w, argv[3]);
    AVPacket *packet = av_packet_alloc();
    must(packet ? 0 : AVERROR(ENOMEM), "packet");
    while (av_read_frame(w.input, packet) >= 0) {
        decode(&w, packet);
        av_packet_unref(packet);
    }
    decode(&w, NULL);
    filter(&w, NULL);
    encode(&w, NULL);
    printf("frames=%d packets=%d failed_calls=%u\n", w.frames, w.packets,
           lathe_hwaccel_failed_calls());
    av_packet_free(&packet);
    avcodec_free_context(&w.encoder);
    avfilter_graph_free(&w.graph);
    avcodec_free_context(&w.decoder);
    avformat_close_input(&w.input);
    lathe_hwaccel_close_device(&w.device);
    return fclose(w.output) == 0 ? 0 : 1;
}
