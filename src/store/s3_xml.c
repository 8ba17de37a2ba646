/* SPDX-License-Identifier: MIT */
/*
 * As much of XML as replies of S3 servers consist of: elements by name and their text. Nesting of
 * equal names, attributes that hold ">", and CDATA do not occur there.
 */
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "s3.h"

static const char *find(const char *text, const char *end, const char *what)
{
    return text < end ? memmem(text, (size_t)(end - text), what, strlen(what)) : NULL;
}

bool s3_xml_next(const char **text, const char *end, const char *name, const char **ret_begin,
                 const char **ret_end)
{
    size_t length = strlen(name);
    char close[64];
    snprintf(close, sizeof(close), "</%s>", name);
    for (const char *p = *text; (p = find(p, end, "<")); p++) {
        if ((size_t)(end - p) < length + 2 || strncmp(p + 1, name, length) ||
            !strchr("> \t\r\n/", p[1 + length]))
            continue;
        const char *open_end = memchr(p, '>', (size_t)(end - p));
        if (!open_end)
            return false;
        *ret_begin = open_end + 1;
        if (open_end[-1] == '/') {
            *ret_end = *text = open_end + 1;
            return true;
        }
        *ret_end = find(open_end, end, close);
        if (!*ret_end)
            return false;
        *text = *ret_end + strlen(close);
        return true;
    }
    return false;
}

/* Appends the character; returns how many bytes it takes in UTF-8. */
static size_t put_utf8(char *out, unsigned long c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (c >> 18 & 7));
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* No entity is shorter than the character it stands for, so this works in place. */
static void decode_entities(char *text)
{
    static const struct {
        const char *name;
        char character;
    } named[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    char *out = text;
    for (const char *in = text; *in;) {
        size_t i = 0;
        while (i < LATHE_COUNT(named) && strncmp(in, named[i].name, strlen(named[i].name)))
            i++;
        if (i < LATHE_COUNT(named)) {
            *out++ = named[i].character;
            in += strlen(named[i].name);
        } else if (in[0] == '&' && in[1] == '#') {
            char *after;
            unsigned long c =
                in[2] == 'x' ? strtoul(in + 3, &after, 16) : strtoul(in + 2, &after, 10);
            if (*after != ';' || c == 0 || c > 0x10ffff) {
                *out++ = *in++;
                continue;
            }
            out += put_utf8(out, c);
            in = after + 1;
        } else {
            *out++ = *in++;
        }
    }
    *out = '\0';
}

char *s3_xml_text(const char *text, const char *end, const char *name)
{
    const char *begin, *until;
    if (!s3_xml_next(&text, end, name, &begin, &until))
        return NULL;
    char *copy = strndup(begin, (size_t)(until - begin));
    if (copy)
        decode_entities(copy);
    return copy;
}
