/* SPDX-License-Identifier: MIT */
/*
 * The emulated VA driver: what its files share.
 *
 * Objects of libva (configurations, contexts, surfaces, buffers, images) live in one table of
 * reference-counted records. Pictures are jobs: by default they run inside vaEndPicture(); with the
 * setting async_ms they run in order on one thread, later, as on real hardware.
 *
 * Threads: FFmpeg calls from several. The table has a lock; a context belongs to one thread at a
 * time; jobs of the queue run one by one.
 */
#ifndef LATHE_EMU_VA_DRIVER_H
#define LATHE_EMU_VA_DRIVER_H

#include <libswscale/swscale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <va/va.h>
#include <va/va_backend.h>

#include "decode.h"
#include "fault.h"
#include "va_encoder.h"

enum emu_va_kind {
    EMU_VA_CONFIG,
    EMU_VA_CONTEXT,
    EMU_VA_SURFACE,
    EMU_VA_BUFFER,
    EMU_VA_IMAGE,
};

/* First member of every object. */
struct emu_va_object {
    enum emu_va_kind kind;
    VAGenericID id;
    atomic_int refs;
    void (*destroy)(struct emu_va_object *object); /* at the last reference; frees it */
};

struct emu_va_config {
    struct emu_va_object object;
    VAProfile profile;
    VAEntrypoint entrypoint;
    uint32_t rc; /* VA_RC_* */
};

struct emu_va_surface {
    struct emu_va_object object;
    int width, height;
    uint32_t fourcc;   /* NV12 or P010 */
    unsigned pitch;    /* bytes, of both planes */
    size_t luma_bytes; /* offset of the chroma plane */
    size_t total_bytes;
    uint8_t *data;
    uint64_t ticket; /* of the last job on it */
    VAStatus status; /* of that job */
};

struct emu_va_buffer {
    struct emu_va_object object;
    VABufferType type;
    unsigned element_bytes, num_elements;
    uint8_t *data;                  /* own memory, or that of `surface` */
    struct emu_va_surface *surface; /* derived images only; holds a reference */
    VACodedBufferSegment segment;   /* coded buffers: what vaMapBuffer returns */
    uint64_t ticket;
    VAStatus status;
};

struct emu_va_image {
    struct emu_va_object object;
    VAImage image;
};

#define EMU_VA_PICTURE_BUFFERS 1024

struct emu_va;

struct emu_va_context {
    struct emu_va_object object;
    struct emu_va *va;
    struct emu_va_config config; /* a copy: the configuration may go first */
    int width, height;
    /* The picture that is being put together between vaBeginPicture and vaEndPicture. */
    struct emu_va_surface *target;
    struct emu_va_buffer *buffers[EMU_VA_PICTURE_BUFFERS];
    int num_buffers;
    long pictures;

    struct emu_decoder *decoder;
    AVFrame *last_decoded; /* for stale pictures */
    struct SwsContext *scaler;
    uint8_t *last_scaled; /* likewise, as many bytes as last_scaled_bytes */
    size_t last_scaled_bytes;
    int recorded_width, recorded_height; /* target of the last va.process.open in the record */
    struct emu_va_encode *encode;
    int session; /* encoders only, else -1 */
};

/* One picture with all that it needs. Owns references to its surface and buffers. */
struct emu_va_job {
    struct emu_va_context *context;
    struct emu_va_surface *target;
    struct emu_va_buffer **buffers;
    int num_buffers;
    struct emu_va_buffer *coded; /* where an encoder writes; NULL for other jobs */
    /* Video processing: its source with a reference, and copies of the caller's regions. */
    struct emu_va_surface *source;
    bool has_source_region, has_target_region;
    VARectangle source_region, target_region;
    uint64_t ticket;
    struct emu_va_job *next;
};

struct emu_va {
    int device; /* 0 for renderD128 and for names without a number, 1 for renderD129, … */
    pthread_mutex_t lock;
    struct emu_va_object **objects;
    size_t num_objects;

    int async_ms;
    pthread_t worker;
    bool worker_started, stopping;
    pthread_cond_t changed;
    struct emu_va_job *first, **last;
    uint64_t submitted, completed;
};

static inline struct emu_va *emu_va_of(VADriverContextP ctx)
{
    return ctx->pDriverData;
}

/* Passes a point of the plan; *ret (may be NULL) receives what is left to do. */
VAStatus emu_va_point(struct emu_va *va, const char *point, struct emu_fault *ret);

/* va_object.c. Adding takes over the object, also when it fails: then it is destroyed. */
VAStatus emu_va_add(struct emu_va *va, struct emu_va_object *object, enum emu_va_kind kind,
                    void (*destroy)(struct emu_va_object *));
void *emu_va_find(struct emu_va *va, VAGenericID id, enum emu_va_kind kind); /* NULL = none */
/* Takes the id out of use and drops the table's reference. */
VAStatus emu_va_remove(struct emu_va *va, VAGenericID id, enum emu_va_kind kind, VAStatus unknown);
void emu_va_ref(struct emu_va_object *object);
void emu_va_unref(struct emu_va_object *object); /* NULL is welcome */
void emu_va_remove_all(struct emu_va *va);

/* va_picture.c */
VAStatus emu_va_run(struct emu_va_job *job);
void emu_va_wait(struct emu_va *va, uint64_t ticket);
void emu_va_drain(struct emu_va *va); /* waits for everything submitted */
int emu_va_start(struct emu_va *va);
void emu_va_stop(struct emu_va *va);

/* One kind of picture each. They run on the thread of vaEndPicture or on the worker. */
VAStatus emu_va_decode(struct emu_va_job *job);
VAStatus emu_va_process_prepare(struct emu_va_job *job); /* inside vaEndPicture */
VAStatus emu_va_process(struct emu_va_job *job);
VAStatus emu_va_encode_picture(struct emu_va_job *job);
void emu_va_encode_destroy(struct emu_va_encode *encode);

/* The first buffer of a type in a job's picture, at least `size` bytes long; NULL = none. */
const void *emu_va_parameter(const struct emu_va_job *job, VABufferType type, size_t size);

/* Names for the record. */
const char *emu_va_profile_name(VAProfile profile);
const char *emu_va_rc_name(uint32_t rc);
bool emu_va_supports(VAProfile profile, VAEntrypoint entrypoint, uint32_t *ret_rc);

/* The vtable, by file. */
void emu_va_install_config(struct VADriverVTable *vtable);
void emu_va_install_surface(struct VADriverVTable *vtable);
void emu_va_install_image(struct VADriverVTable *vtable);
void emu_va_install_buffer(struct VADriverVTable *vtable);
void emu_va_install_picture(struct VADriverVTable *vtable);

#endif
