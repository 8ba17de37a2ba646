/* SPDX-License-Identifier: MIT */
/*
 * The ladder: per device the best step that everything known allows. No state, no devices, no
 * libav, so that each rule is a row of a test.
 */
#include "lathe/ladder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"

typedef char reason_text[sizeof(((struct lathe_hw_trial *)0)->reason)];

static const char *const steps[LATHE_STEP_COUNT] = {
    [LATHE_STEP_NONE] = "not possible",
    [LATHE_STEP_ALL_GPU] = "all on the GPU",
    [LATHE_STEP_GPU_FROM_SCALE] = "software decodes; the GPU scales and encodes",
    [LATHE_STEP_GPU_ENCODE] = "software decodes and scales; the GPU encodes",
    [LATHE_STEP_GPU_UNTIL_SCALE] = "the GPU decodes and scales; software encodes",
    [LATHE_STEP_ALL_SOFTWARE] = "all in software",
};

const char *lathe_ladder_step_name(enum lathe_ladder_step step)
{
    return (unsigned)step < LATHE_STEP_COUNT ? steps[step] : "unknown";
}

__attribute__((format(printf, 2, 3))) static bool no(reason_text reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason_text), format, args);
    va_end(args);
    return false;
}

/* Whether a trial succeeded; else `reason` says what it was and how it ended. */
static bool tried(const struct lathe_hw_device *d, enum lathe_hw_kind kind, const char *codec,
                  int bits, reason_text reason)
{
    const struct lathe_hw_trial *t = lathe_hw_find(d, kind, codec, bits);
    char what[64];
    if (kind == LATHE_HW_OPEN)
        snprintf(what, sizeof(what), "opening %.48s", d->path);
    else
        snprintf(what, sizeof(what), "%s of %.15s%s",
                 kind == LATHE_HW_ENCODE ? "encoding" : "decoding", codec ? codec : "",
                 bits > 8 ? " in 10 bit" : "");
    if (kind == LATHE_HW_SCALE)
        snprintf(what, sizeof(what), "scaling%s", bits > 8 ? " of 10 bit" : "");
    if (!t || t->verdict == LATHE_HW_UNTRIED)
        return no(reason, "%s was not tried%s%.120s", what, t && t->reason[0] ? ": " : "",
                  t ? t->reason : "");
    if (t->verdict != LATHE_HW_WORKS)
        return no(reason, "%s: %s%s%.120s", what, lathe_hw_verdict_name(t->verdict),
                  t->reason[0] ? ", " : "", t->reason);
    return true;
}

static bool can_decode(const struct lathe_hw_device *d, const struct lathe_ladder_request *r,
                       reason_text reason)
{
    if (!r->source_is_420)
        return no(reason, "the source is not 4:2:0");
    return tried(d, LATHE_HW_DECODE, r->source_codec, r->source_bits, reason);
}

static bool can_scale(const struct lathe_hw_device *d, const struct lathe_ladder_request *r,
                      reason_text reason)
{
    if (r->software_filters)
        return no(reason, "%.100s is done in software", r->software_filters);
    int bits = r->source_bits > r->bits ? r->source_bits : r->bits;
    return tried(d, LATHE_HW_SCALE, NULL, bits, reason);
}

/* What the encoders' makers and drivers name as limits; trials use one size only. */
static bool size_fits(const struct lathe_hw_device *d, const struct lathe_ladder_request *r,
                      reason_text reason)
{
    bool mesa = strstr(d->driver, "Mesa") || strstr(d->driver, "radeonsi");
    int min_width = d->family == LATHE_ENCODER_NVENC ? 146 : mesa ? 384 : 128;
    int min_height = d->family == LATHE_ENCODER_NVENC ? 50 : 128;
    int max = r->codec == LATHE_CODEC_H264 ? 4096 : 8192;
    for (int i = 0; i < r->n_renditions; i++) {
        int w = r->renditions[i].width, h = r->renditions[i].height;
        if (w < min_width || h < min_height)
            return no(reason, "%d×%d is too small for this encoder (%d×%d)", w, h, min_width,
                      min_height);
        if (w > max || h > max)
            return no(reason, "%d×%d is too large for this encoder (%d)", w, h, max);
    }
    return true;
}

static bool can_encode(const struct lathe_hw_device *d, const struct lathe_ladder_request *r,
                       reason_text reason)
{
    if (r->encoder == LATHE_ENCODER_SOFTWARE)
        return no(reason, "software was asked for");
    if (r->software_encoding)
        return no(reason, "%.100s is done by software only", r->software_encoding);
    const char *codec = lathe_codec_name(r->codec);
    if (!size_fits(d, r, reason) || !tried(d, LATHE_HW_ENCODE, codec, r->bits, reason))
        return false;
    const struct lathe_hw_trial *t = lathe_hw_find(d, LATHE_HW_ENCODE, codec, r->bits);
    if (r->any_feature && !(t->features & r->any_feature))
        return no(reason, "this encoder of %s cannot %.100s", codec,
                  r->any_feature_for ? r->any_feature_for : "do what is needed");
    return true;
}

/* Pictures that are encoded in software cross to system memory either way; the GPU helps where
 * it takes more off the processor than the copy costs: expensive codecs, or pictures made smaller
 * before they cross. */
static bool decoding_pays(const struct lathe_ladder_request *r, reason_text reason)
{
    if (strcmp(r->source_codec, "hevc") == 0 || strcmp(r->source_codec, "av1") == 0 ||
        strcmp(r->source_codec, "vp9") == 0)
        return true;
    for (int i = 0; i < r->n_renditions; i++)
        if (r->renditions[i].height >= r->source_height &&
            r->renditions[i].width >= r->source_width)
            return no(reason, "copying full pictures of %s costs more than decoding them",
                      r->source_codec);
    return true;
}

static bool can_take(enum lathe_ladder_step step, const struct lathe_hw_device *d,
                     const struct lathe_ladder_request *r, reason_text reason)
{
    if (r->failed_steps & 1u << step)
        return no(reason, "it failed before%s%.150s", r->failed_reason ? ": " : "",
                  r->failed_reason ? r->failed_reason : "");
    if (step == LATHE_STEP_ALL_SOFTWARE)
        return r->wish != LATHE_HW_REQUIRE || no(reason, "a GPU is required");
    if (!d)
        return no(reason, "there is no GPU");
    if (r->encoder == LATHE_ENCODER_SOFTWARE)
        return no(reason, "software was asked for");
    if (r->encoder != LATHE_ENCODER_AUTO && r->encoder != d->family)
        return no(reason, "%s was asked for, this device is %s", lathe_encoder_name(r->encoder),
                  lathe_encoder_name(d->family));
    if (!tried(d, LATHE_HW_OPEN, NULL, 0, reason))
        return false;
    switch (step) {
    case LATHE_STEP_ALL_GPU:
        return can_encode(d, r, reason) && can_decode(d, r, reason) && can_scale(d, r, reason);
    case LATHE_STEP_GPU_FROM_SCALE:
        return can_encode(d, r, reason) && can_scale(d, r, reason);
    case LATHE_STEP_GPU_ENCODE:
        return can_encode(d, r, reason);
    default:
        if (r->wish == LATHE_HW_REQUIRE)
            return no(reason, "a GPU is required to encode");
        return can_decode(d, r, reason) && can_scale(d, r, reason) && decoding_pays(r, reason);
    }
}

void lathe_ladder_decide(const struct lathe_hw_device *device,
                         const struct lathe_ladder_request *request,
                         struct lathe_ladder_choice *ret)
{
    *ret = (struct lathe_ladder_choice){.encoder = LATHE_ENCODER_SOFTWARE};
    for (int s = LATHE_STEP_ALL_GPU; s < LATHE_STEP_COUNT; s++) {
        enum lathe_ladder_step step = (enum lathe_ladder_step)s;
        if (!can_take(step, device, request, ret->reasons[step]))
            continue;
        ret->step = step;
        break;
    }
    if (ret->step >= LATHE_STEP_ALL_GPU && ret->step <= LATHE_STEP_GPU_ENCODE) {
        const struct lathe_hw_trial *t =
            lathe_hw_find(device, LATHE_HW_ENCODE, lathe_codec_name(request->codec), request->bits);
        ret->encoder = device->family;
        ret->features = t ? t->features : 0;
    }
}

int lathe_ladder_best(const struct lathe_hw_device *devices, unsigned n_devices,
                      const struct lathe_ladder_request *request, struct lathe_ladder_choice *ret)
{
    int best = -1, told = -1;
    struct lathe_ladder_choice choice;
    for (unsigned i = 0; i < n_devices; i++) {
        lathe_ladder_decide(&devices[i], request, &choice);
        bool on_gpu =
            choice.step >= LATHE_STEP_ALL_GPU && choice.step <= LATHE_STEP_GPU_UNTIL_SCALE;
        if (on_gpu && (best < 0 || choice.step < ret->step)) {
            best = (int)i;
            *ret = choice;
        }
        bool wished = request->encoder == devices[i].family;
        if (best < 0 && (told < 0 || (wished && request->encoder != devices[told].family))) {
            told = (int)i;
            *ret = choice;
        }
    }
    if (best < 0 && told < 0)
        lathe_ladder_decide(NULL, request, ret);
    return best;
}
