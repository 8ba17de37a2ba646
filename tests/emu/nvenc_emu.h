/* SPDX-License-Identifier: MIT */
/*
 * What the files of the emulated libnvidia-encode.so.1 share: an encode session, what it was asked
 * for in neutral terms, and the software encoder behind it.
 *
 * A session is synchronous: EncodePicture reads the picture before it returns. Packets fill the
 * output buffers in the order in which they were handed in, as NVENC does.
 */
#ifndef EMU_NVENC_EMU_H
#define EMU_NVENC_EMU_H

#include <ffnvcodec/nvEncodeAPI.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

enum emu_nvenc_rc { EMU_RC_CONSTQP, EMU_RC_VBR, EMU_RC_CBR, EMU_RC_CQ };

struct emu_nvenc_settings {
    bool hevc, ten_bit;
    int preset; /* 1 to 7 */
    int tune;   /* NV_ENC_TUNING_INFO */
    int width, height;
    int fps_num, fps_den, sar_num, sar_den;
    enum emu_nvenc_rc rc;
    uint32_t average_bps, max_bps, vbv_bits;
    int qp_i, qp_p, qp_b; /* constant QP */
    double cq;            /* constant quality */
    uint32_t gop;         /* NVENC_INFINITE_GOPLENGTH = no limit */
    int b_frames, b_ref, lookahead, refs;
    bool spatial_aq, temporal_aq;
    int aq_strength, multipass;
    const char *profile; /* baseline, main, high, main10, auto */
    int level;           /* 0 = automatic */
    int slices;
    bool cabac, repeat_headers, aud;
    int sps_id;
    bool full_range, describes_colour;
    int primaries, transfer, matrix;
};

/* A planar 4:2:0 picture; 16-bit samples hold 10 bits in their lower part. */
struct emu_nvenc_picture {
    uint8_t *planes[3];
    int pitch_bytes[3];
    bool force_idr, force_intra;
    int64_t number; /* counts from 0; comes back with the packet */
};

struct emu_nvenc_packet {
    uint8_t *data; /* malloc'd */
    size_t size_bytes;
    int64_t number;
    NV_ENC_PIC_TYPE type;
    int qp;
};

/* The encoder behind a session. */
struct emu_nvenc_backend {
    int (*open)(const struct emu_nvenc_settings *settings, void **ret);
    /* 1 with a packet (owned by the caller), 0 without, negative errno. NULL picture = flush. */
    int (*encode)(void *encoder, const struct emu_nvenc_picture *picture,
                  struct emu_nvenc_packet *ret);
    /* Parameter sets with start codes, malloc'd. */
    int (*headers)(void *encoder, uint8_t **ret_data, size_t *ret_size_bytes);
    void (*close)(void *encoder);
};

extern const struct emu_nvenc_backend emu_nvenc_x264;
extern const struct emu_nvenc_backend emu_nvenc_x265;

struct emu_nvenc_input; /* an input buffer or a registered resource */
struct emu_nvenc_output;

struct emu_nvenc_session {
    struct emu_nvenc_session *next;
    int number; /* in this process, for the record */
    int device;
    int slot; /* of emu_session_open() */
    pthread_mutex_t lock;
    struct emu_nvenc_settings settings;
    const struct emu_nvenc_backend *backend;
    void *encoder; /* NULL until initialised */
    struct emu_nvenc_input *inputs;
    struct emu_nvenc_output *outputs;
    struct emu_nvenc_output *waiting, **waiting_last; /* handed in, not filled */
    uint8_t *planes[3];                               /* the picture as the encoder gets it */
    int pitch_bytes[3];
    struct { /* of pictures inside the encoder */
        uint64_t time_stamp, duration;
    } times[64];
    int64_t pictures;
    uint64_t bytes;
    char error[128];
};

/* --- nvenc_presets.c --- */
const char *emu_nvenc_codec_name(const GUID *codec);
int emu_nvenc_preset_number(const GUID *preset); /* 0 = none of p1 to p7 */
const char *emu_nvenc_tune_name(int tune);
const char *emu_nvenc_profile_name(const GUID *profile);
extern const GUID *const emu_nvenc_presets[7];
NVENCSTATUS emu_nvenc_preset_config(const GUID *codec, const GUID *preset, int tune,
                                    NV_ENC_PRESET_CONFIG *ret);

/* --- nvenc_caps.c --- */
uint32_t emu_nvenc_api_version(void); /* major << 4 | minor of the driver */
int emu_nvenc_caps(const GUID *codec, NV_ENC_CAPS cap);
bool emu_nvenc_has_codec(const GUID *codec);

/* --- nvenc_settings.c --- */
/* Translates and checks; records what was asked for as `event`. */
NVENCSTATUS emu_nvenc_read_settings(const NV_ENC_INITIALIZE_PARAMS *parameters, int device,
                                    int session, const char *event, struct emu_nvenc_settings *ret);

/* --- nvenc_session.c --- */
/* NULL when the handle is no open session. */
struct emu_nvenc_session *emu_nvenc_session(void *handle);
NVENCSTATUS emu_nvenc_result(struct emu_fault fault);
NVENCSTATUS emu_nvenc_fail(struct emu_nvenc_session *session, NVENCSTATUS status,
                           const char *reason);

/* --- nvenc_buffers.c --- */
/* Brings the input into the session's planes, or leaves or empties them as `action` says. */
NVENCSTATUS emu_nvenc_take_picture(struct emu_nvenc_session *session, void *input,
                                   enum emu_action action);
/* Queues an output buffer for the next packet, and fills the longest waiting one. */
NVENCSTATUS emu_nvenc_expect(struct emu_nvenc_session *session, void *output);
void emu_nvenc_deliver(struct emu_nvenc_session *session, struct emu_nvenc_packet *packet);
void emu_nvenc_free_buffers(struct emu_nvenc_session *session);
void emu_nvenc_fill_buffer_functions(NV_ENCODE_API_FUNCTION_LIST *list);

#endif
