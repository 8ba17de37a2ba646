/* SPDX-License-Identifier: MIT */
/*
 * Strings of any length with one allocation, so that no caller guesses the size of a buffer.
 */
#include "lathe/base.h"

#include <stdarg.h>

char *lathe_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return n < 0 ? NULL : text;
}
