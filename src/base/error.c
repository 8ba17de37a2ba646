/* SPDX-License-Identifier: MIT */
/*
 * Errors are values owned by the caller, so that a failure deep in a driver can be told to a
 * person in one line, and so that a process boundary only needs to carry a struct's text.
 */
#include "lathe/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int exit_code;
    bool retriable;
} faults[] = {
    [LATHE_FAULT_INTERNAL] = {"internal", 1, true},
    [LATHE_FAULT_INPUT] = {"input", 1, false},
    [LATHE_FAULT_USAGE] = {"usage", 2, false},
    [LATHE_FAULT_CONFIG] = {"config", 78, false},
    [LATHE_FAULT_RESOURCE] = {"resource", 1, true},
    [LATHE_FAULT_SERVER] = {"server", 69, true},
    [LATHE_FAULT_INTERRUPTED] = {"interrupted", 130, false},
};
#define FAULT_COUNT (sizeof(faults) / sizeof(faults[0]))

static bool fault_is_known(enum lathe_fault fault)
{
    return (unsigned)fault < FAULT_COUNT;
}

/* Errors are shown as one line, whatever a file name or a library message contains. */
static void keep_to_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

int lathe_error_set(struct lathe_error *err, int code, enum lathe_fault fault, const char *format,
                    ...)
{
    if (!err)
        return code;
    /* An old text may be among the arguments, so it is read before it is overwritten. */
    char what[sizeof(err->what)];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    keep_to_one_line(what);

    err->code = code;
    err->fault = fault_is_known(fault) ? fault : LATHE_FAULT_INTERNAL;
    err->retriable = faults[err->fault].retriable;
    memcpy(err->what, what, sizeof(what));
    err->hint[0] = '\0';
    err->gpu_verdict = 0;
    err->gpu_rendition = 0;
    err->by_port = false;
    return code;
}

static enum lathe_fault fault_of_errno(int code)
{
    switch (-code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case EBUSY:
        return LATHE_FAULT_RESOURCE;
    case ENOENT:
    case EACCES:
    case EPERM:
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EEXIST:
    case EROFS:
    case EINVAL:
        return LATHE_FAULT_INPUT;
    case ECANCELED:
    case EINTR:
        return LATHE_FAULT_INTERRUPTED;
    default:
        return LATHE_FAULT_INTERNAL;
    }
}

int lathe_error_errno(struct lathe_error *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    char what[sizeof(err->what)];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    char buf[128];
    return lathe_error_set(err, code, fault_of_errno(code), "%s: %s", what,
                           strerror_r(-code, buf, sizeof(buf)));
}

void lathe_error_hint(struct lathe_error *err, const char *format, ...)
{
    if (!err || !err->code)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    keep_to_one_line(err->hint);
}

void lathe_error_prefix(struct lathe_error *err, const char *format, ...)
{
    if (!err || !err->code)
        return;
    char old[sizeof(err->what)];
    memcpy(old, err->what, sizeof(old));

    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->what, sizeof(err->what), format, args);
    va_end(args);
    if (n >= 0 && (size_t)n + 2 < sizeof(err->what)) {
        size_t used = (size_t)n + 2, room = sizeof(err->what) - used - 1;
        memcpy(err->what + n, ": ", 2);
        size_t length = strnlen(old, room);
        memcpy(err->what + used, old, length);
        err->what[used + length] = '\0';
    }
    keep_to_one_line(err->what);
}

int lathe_error_nomem(struct lathe_error *err)
{
    return lathe_error_set(err, -ENOMEM, LATHE_FAULT_RESOURCE, "out of memory");
}

int lathe_error_exit_code(const struct lathe_error *err)
{
    if (!err || !err->code)
        return 0;
    return fault_is_known(err->fault) ? faults[err->fault].exit_code : 1;
}

const char *lathe_fault_name(enum lathe_fault fault)
{
    return faults[fault_is_known(fault) ? fault : LATHE_FAULT_INTERNAL].name;
}

enum lathe_fault lathe_fault_from_name(const char *name)
{
    for (size_t i = 0; name && i < FAULT_COUNT; i++)
        if (!strcmp(name, faults[i].name))
            return (enum lathe_fault)i;
    return LATHE_FAULT_INTERNAL;
}
