/* SPDX-License-Identifier: MIT */
/*
 * What the files of the emulated libnvcuvid.so.1 share: decoding from picture parameters, which is
 * all that FFmpeg's nvdec needs, and the parser with which its *_cuvid decoders work.
 */
#ifndef EMU_CUVID_EMU_H
#define EMU_CUVID_EMU_H

/* The 64-bit forms of map and unmap, as FFmpeg asks for them. */
#define __CUVID_DEVPTR64 1

#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <ffnvcodec/dynlink_nvcuvid.h>
#include <libavutil/frame.h>

#include "decode.h"

#define EMU_CUVID_MAX_SLICES 1024

/* Fills `picture` from NVDEC's parameters; `slices` has room for EMU_CUVID_MAX_SLICES. 0,
 * -ENOTSUP for a codec without emulation, -EINVAL for parameters that no driver accepts. */
int emu_cuvid_translate(cudaVideoCodec codec, const CUVIDPICPARAMS *parameters,
                        struct emu_slice *slices, struct emu_decode_picture *picture);

/* The parser has decoded the picture already: its frame travels in a reserved field. */
void emu_cuvid_attach_frame(CUVIDPICPARAMS *parameters, const AVFrame *frame);
const AVFrame *emu_cuvid_attached_frame(const CUVIDPICPARAMS *parameters);

#endif
