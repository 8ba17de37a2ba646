/* SPDX-License-Identifier: MIT */
/*
 * What a failure means. The log decides first, since one code stands for many causes; then the
 * code, which means one thing while opening and another in mid-stream.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lathe/hwaccel.h"

static enum lathe_hw_verdict by_code(int averror, bool opening)
{
    switch (averror) {
    case AVERROR(ENOMEM):
    case AVERROR(EBUSY):
        return LATHE_HW_BUSY;
    case AVERROR(ENODEV):
    case AVERROR(ENXIO):
        return LATHE_HW_LOST;
    case AVERROR(ENOSYS):
    case AVERROR(ENOTSUP):
        return LATHE_HW_UNSUPPORTED;
    case AVERROR(EPERM):
    case AVERROR(ENOENT):
    case AVERROR(EACCES):
        return opening ? LATHE_HW_ABSENT : LATHE_HW_SESSION;
    case AVERROR(EINVAL):
        return opening ? LATHE_HW_UNSUPPORTED : LATHE_HW_SESSION;
    default:
        return opening ? LATHE_HW_ERROR : LATHE_HW_SESSION;
    }
}

enum lathe_hw_verdict lathe_hwaccel_classify(const struct lathe_hwaccel *family, int averror,
                                             bool opening, const char *log, char *reason,
                                             size_t reason_size)
{
    char code[AV_ERROR_MAX_STRING_SIZE];
    for (const struct lathe_hwaccel_symptom *s = family->symptoms; s && s->text; s++) {
        if (!strstr(log, s->text))
            continue;
        snprintf(reason, reason_size, "%s", s->means ? s->means : log);
        return s->verdict;
    }
    av_strerror(averror, code, sizeof(code));
    snprintf(reason, reason_size, "%s", log[0] ? log : code);
    return by_code(averror, opening);
}
