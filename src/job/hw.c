/* SPDX-License-Identifier: MIT */
/*
 * The words for what is known about GPUs, the list of trials, and looking things up in results.
 */
#include "lathe/hw.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"

static const char *const verdicts[LATHE_HW_VERDICT_COUNT] = {
    [LATHE_HW_UNTRIED] = "untried", [LATHE_HW_WORKS] = "works",
    [LATHE_HW_ABSENT] = "absent",   [LATHE_HW_BUSY] = "busy",
    [LATHE_HW_SESSION] = "session", [LATHE_HW_UNSUPPORTED] = "unsupported",
    [LATHE_HW_STICKY] = "sticky",   [LATHE_HW_HANGS] = "hangs",
    [LATHE_HW_CRASHES] = "crashes", [LATHE_HW_LOST] = "lost",
    [LATHE_HW_WRONG] = "wrong",     [LATHE_HW_ERROR] = "error",
};

static const char *const features[LATHE_HW_FEATURE_COUNT] = {
    "b-frames", "b-ref",  "spatial-aq", "temporal-aq", "lookahead", "multipass",
    "rc-vbr",   "rc-cbr", "rc-cq",      "rc-icq",      "rc-qvbr",   "rc-cqp",
};

static const char *const kinds[LATHE_HW_KIND_COUNT] = {
    [LATHE_HW_OPEN] = "open",   [LATHE_HW_ENCODE] = "encode",     [LATHE_HW_DECODE] = "decode",
    [LATHE_HW_SCALE] = "scale", [LATHE_HW_SESSIONS] = "sessions",
};

/* What is most useful comes first: a device that hangs in the middle has shown the rest by then. */
const struct lathe_hw_trial lathe_hw_trials[] = {
    {.kind = LATHE_HW_OPEN},
    {.kind = LATHE_HW_ENCODE, .codec = "h264", .bits = 8},
    {.kind = LATHE_HW_ENCODE, .codec = "hevc", .bits = 8},
    {.kind = LATHE_HW_ENCODE, .codec = "hevc", .bits = 10},
    {.kind = LATHE_HW_SCALE, .bits = 8},
    {.kind = LATHE_HW_DECODE, .codec = "h264", .bits = 8},
    {.kind = LATHE_HW_DECODE, .codec = "hevc", .bits = 8},
    {.kind = LATHE_HW_DECODE, .codec = "hevc", .bits = 10},
    {.kind = LATHE_HW_SCALE, .bits = 10},
    {.kind = LATHE_HW_DECODE, .codec = "vp9", .bits = 8},
    {.kind = LATHE_HW_DECODE, .codec = "av1", .bits = 8},
    {.kind = LATHE_HW_DECODE, .codec = "h264", .bits = 10},
    {.kind = LATHE_HW_DECODE, .codec = "mpeg2video", .bits = 8},
    {.kind = LATHE_HW_DECODE, .codec = "vp8", .bits = 8},
    {.kind = LATHE_HW_ENCODE, .codec = "h264", .bits = 10},
    {.kind = LATHE_HW_ENCODE, .codec = "av1", .bits = 8},
    {.kind = LATHE_HW_ENCODE, .codec = "av1", .bits = 10},
    {.kind = LATHE_HW_SESSIONS},
};
const unsigned lathe_hw_n_trials = LATHE_COUNT(lathe_hw_trials);
_Static_assert(LATHE_COUNT(lathe_hw_trials) <= LATHE_HW_TRIALS_MAX, "a device holds all trials");

const char *lathe_hw_verdict_name(enum lathe_hw_verdict verdict)
{
    return (unsigned)verdict < LATHE_HW_VERDICT_COUNT ? verdicts[verdict] : "error";
}

int lathe_hw_verdict_from_name(const char *name, enum lathe_hw_verdict *ret)
{
    for (int i = 0; i < LATHE_HW_VERDICT_COUNT; i++) {
        if (strcmp(name, verdicts[i]) == 0) {
            *ret = (enum lathe_hw_verdict)i;
            return 0;
        }
    }
    return -EINVAL;
}

bool lathe_hw_verdict_is_passing(enum lathe_hw_verdict verdict)
{
    switch (verdict) {
    case LATHE_HW_BUSY:
    case LATHE_HW_SESSION:
    case LATHE_HW_STICKY:
    case LATHE_HW_HANGS:
    case LATHE_HW_CRASHES:
    case LATHE_HW_LOST:
    case LATHE_HW_WRONG:
    case LATHE_HW_ERROR:
        return true;
    default:
        return false;
    }
}

const char *lathe_hw_feature_name(int bit)
{
    return bit >= 0 && bit < LATHE_HW_FEATURE_COUNT ? features[bit] : "unknown";
}

const char *lathe_hw_kind_name(enum lathe_hw_kind kind)
{
    return (unsigned)kind < LATHE_HW_KIND_COUNT ? kinds[kind] : "unknown";
}

const struct lathe_hw_trial *lathe_hw_find(const struct lathe_hw_device *device,
                                           enum lathe_hw_kind kind, const char *codec, int bits)
{
    for (unsigned i = 0; i < device->n_trials; i++) {
        const struct lathe_hw_trial *t = &device->trials[i];
        if (t->kind == kind && t->bits == bits && strcmp(t->codec, codec ? codec : "") == 0)
            return t;
    }
    return NULL;
}

bool lathe_hw_works(const struct lathe_hw_device *device, enum lathe_hw_kind kind,
                    const char *codec, int bits)
{
    const struct lathe_hw_trial *t = lathe_hw_find(device, kind, codec, bits);
    return t && t->verdict == LATHE_HW_WORKS;
}

/* "encodes h264, hevc (8, 10 bit)" as plain words; returns how many of the kind work. */
static int list_working(const struct lathe_hw_device *device, enum lathe_hw_kind kind,
                        const char *verb, char *ret, size_t size)
{
    int found = 0;
    size_t n = strlen(ret);
    for (unsigned i = 0; i < device->n_trials; i++) {
        const struct lathe_hw_trial *t = &device->trials[i];
        if (t->kind != kind || t->verdict != LATHE_HW_WORKS)
            continue;
        const char *before = found++ ? ", " : n ? "; " : "";
        int w = snprintf(ret + n, size - n, "%s%s%s%s%s", before, found == 1 ? verb : "",
                         found == 1 ? " " : "", t->codec[0] ? t->codec : "pictures",
                         t->bits > 8 ? " 10 bit" : "");
        if (w < 0 || (size_t)w >= size - n)
            return found;
        n += (size_t)w;
    }
    return found;
}

void lathe_hw_summary(const struct lathe_hw_device *device, char *ret, size_t size)
{
    ret[0] = '\0';
    const struct lathe_hw_trial *open = lathe_hw_find(device, LATHE_HW_OPEN, NULL, 0);
    if (!open || open->verdict != LATHE_HW_WORKS) {
        snprintf(ret, size, "not used, it %s%s%s%s",
                 open && open->verdict == LATHE_HW_HANGS     ? "hangs"
                 : open && open->verdict == LATHE_HW_CRASHES ? "crashes"
                                                             : "does not open",
                 open && open->reason[0] ? ": " : "", open ? open->reason : "",
                 open && open->verdict == LATHE_HW_BUSY ? " (busy)" : "");
        return;
    }
    int encodes = list_working(device, LATHE_HW_ENCODE, "encodes", ret, size);
    list_working(device, LATHE_HW_DECODE, "decodes", ret, size);
    if (lathe_hw_works(device, LATHE_HW_SCALE, NULL, 8)) {
        size_t n = strlen(ret);
        snprintf(ret + n, size - n, "%sscales", n ? "; " : "");
    }
    const struct lathe_hw_trial *first = lathe_hw_find(device, LATHE_HW_ENCODE, "h264", 8);
    if (!encodes) {
        size_t n = strlen(ret);
        snprintf(ret + n, size - n, "%sdoes not encode%s%s", n ? "; " : "",
                 first && first->reason[0] ? ": " : "", first ? first->reason : "");
    }
}
