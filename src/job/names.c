/* SPDX-License-Identifier: MIT */
/*
 * The words for the choices of a job: one table each, for users, JSON and configuration alike.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/job.h"
#include "lathe/state.h"

static const char *const codecs[] = {
    [LATHE_CODEC_H264] = "h264",
    [LATHE_CODEC_HEVC] = "hevc",
    [LATHE_CODEC_AV1] = "av1",
};

static const char *const encoders[] = {
    [LATHE_ENCODER_AUTO] = "auto",
    [LATHE_ENCODER_NVENC] = "nvenc",
    [LATHE_ENCODER_VAAPI] = "vaapi",
    [LATHE_ENCODER_SOFTWARE] = "software",
};

static const char *const presets[] = {
    [LATHE_PRESET_ULTRAFAST] = "ultrafast", [LATHE_PRESET_SUPERFAST] = "superfast",
    [LATHE_PRESET_VERYFAST] = "veryfast",   [LATHE_PRESET_FASTER] = "faster",
    [LATHE_PRESET_FAST] = "fast",           [LATHE_PRESET_MEDIUM] = "medium",
    [LATHE_PRESET_SLOW] = "slow",           [LATHE_PRESET_SLOWER] = "slower",
    [LATHE_PRESET_VERYSLOW] = "veryslow",
};

static const char *const wishes[] = {
    [LATHE_HW_PREFER] = "prefer",
    [LATHE_HW_REQUIRE] = "require",
};

static const char *const mixes[] = {
    [LATHE_MIX_FALLBACK] = "fallback",
    [LATHE_MIX_ALLOW] = "allow",
    [LATHE_MIX_NEVER] = "never",
};

static const char *name_of(const char *const *names, size_t count, unsigned value)
{
    return value < count ? names[value] : "unknown";
}

static int from_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    return -EINVAL;
}

const char *lathe_codec_name(enum lathe_codec codec)
{
    return name_of(codecs, LATHE_COUNT(codecs), codec);
}

const char *lathe_encoder_name(enum lathe_encoder encoder)
{
    return name_of(encoders, LATHE_COUNT(encoders), encoder);
}

const char *lathe_preset_name(enum lathe_preset preset)
{
    return name_of(presets, LATHE_COUNT(presets), preset);
}

const char *lathe_hw_wish_name(enum lathe_hw_wish wish)
{
    return name_of(wishes, LATHE_COUNT(wishes), wish);
}

const char *lathe_mix_name(enum lathe_mix mix)
{
    return name_of(mixes, LATHE_COUNT(mixes), mix);
}

int lathe_codec_from_name(const char *name, enum lathe_codec *ret)
{
    int value = from_name(codecs, LATHE_CODEC_AV1, name); /* those that jobs make */
    if (value < 0)
        return value;
    *ret = (enum lathe_codec)value;
    return 0;
}

int lathe_encoder_from_name(const char *name, enum lathe_encoder *ret)
{
    int value = from_name(encoders, LATHE_COUNT(encoders), name);
    if (value < 0)
        return value;
    *ret = (enum lathe_encoder)value;
    return 0;
}

int lathe_preset_from_name(const char *name, enum lathe_preset *ret)
{
    int value = from_name(presets, LATHE_COUNT(presets), name);
    if (value < 0)
        return value;
    *ret = (enum lathe_preset)value;
    return 0;
}

int lathe_hw_wish_from_name(const char *name, enum lathe_hw_wish *ret)
{
    int value = from_name(wishes, LATHE_COUNT(wishes), name);
    if (value < 0)
        return value;
    *ret = (enum lathe_hw_wish)value;
    return 0;
}

int lathe_mix_from_name(const char *name, enum lathe_mix *ret)
{
    int value = from_name(mixes, LATHE_COUNT(mixes), name);
    if (value < 0)
        return value;
    *ret = (enum lathe_mix)value;
    return 0;
}

const char *lathe_unit_kind_name(enum lathe_unit_kind kind)
{
    static const char *const names[] = {"pilot", "audio", "chunk"};
    return (unsigned)kind < LATHE_COUNT(names) ? names[kind] : "unknown";
}
