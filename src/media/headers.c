/* SPDX-License-Identifier: MIT */
#include "headers.h"

#include <errno.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <string.h>

#include "setup.h"

static int make_filter(const AVCodecParameters *par, AVBSFContext **ret)
{
    const AVBitStreamFilter *filter = av_bsf_get_by_name("extract_extradata");
    if (!filter)
        return AVERROR_BSF_NOT_FOUND;
    int r = av_bsf_alloc(filter, ret);
    if (r >= 0)
        r = avcodec_parameters_copy((*ret)->par_in, par);
    if (r >= 0)
        r = av_opt_set_int((*ret)->priv_data, "remove", 1, 0);
    if (r >= 0)
        r = av_bsf_init(*ret);
    if (r < 0)
        av_bsf_free(ret);
    return r;
}

static int filter_packet(AVBSFContext *strip, AVPacket *packet)
{
    int r = av_bsf_send_packet(strip, packet);
    return r < 0 ? r : av_bsf_receive_packet(strip, packet);
}

int media_headers_take(struct media_headers *h, AVCodecParameters *par, const AVPacket *first,
                       struct lathe_error *err)
{
    if (par->extradata_size > 0)
        return 0;
    size_t size = 0;
    const uint8_t *sets = NULL;
    _cleanup_packet_ AVPacket *copy = av_packet_clone(first);
    int r = copy ? make_filter(par, &h->strip) : AVERROR(ENOMEM);
    if (r >= 0)
        r = filter_packet(h->strip, copy);
    if (r >= 0)
        sets = av_packet_get_side_data(copy, AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (r >= 0 && !sets)
        r = AVERROR_INVALIDDATA;
    if (r >= 0) {
        par->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
        if (!par->extradata)
            return lathe_error_nomem(err);
        memcpy(par->extradata, sets, size);
        par->extradata_size = (int)size;
    }
    return r < 0 ? media_error(err, r, LATHE_FAULT_INTERNAL,
                               "the encoder's first packet has no parameter sets")
                 : 0;
}

int media_headers_strip(struct media_headers *h, AVPacket *packet, struct lathe_error *err)
{
    if (!h->strip)
        return 0;
    int r = filter_packet(h->strip, packet);
    if (r < 0)
        return media_error(err, r, LATHE_FAULT_INTERNAL, "cannot take a packet apart");
    av_packet_free_side_data(packet); /* the muxer would take the sets for new ones */
    return 0;
}

void media_headers_finish(struct media_headers *headers)
{
    av_bsf_free(&headers->strip);
}
