/* SPDX-License-Identifier: MIT */
/*
 * Renditions as users write them ("720p:2500k"), and the table of default bitrates.
 */
#include "rendition.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"

/* Usual H.264 bitrates of streaming ladders; between two heights the line between them. */
static const struct {
    int short_side, bitrate_kbps;
} defaults[] = {{360, 800}, {480, 1200}, {720, 2500}, {1080, 5000}, {1440, 9000}, {2160, 16000}};

int lathe_rendition_default_kbps(int short_side)
{
    size_t last = LATHE_COUNT(defaults) - 1;
    size_t i = 0;
    while (i < last && short_side > defaults[i].short_side)
        i++;
    if (i == 0 || short_side > defaults[last].short_side) {
        /* Outside the table the bitrate follows the area. */
        double ratio = (double)short_side / defaults[i].short_side;
        int kbps = (int)(defaults[i].bitrate_kbps * ratio * ratio + 0.5);
        return kbps > 50 ? kbps : 50;
    }
    int below = defaults[i - 1].short_side, above = defaults[i].short_side;
    int step = defaults[i].bitrate_kbps - defaults[i - 1].bitrate_kbps;
    return defaults[i - 1].bitrate_kbps + step * (short_side - below) / (above - below);
}

/* Decimal digits only, at most seven: strtol would take signs and spaces. */
static const char *parse_number(const char *text, int *ret)
{
    int value = 0, digits = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (++digits > 7)
            return NULL;
        value = value * 10 + (*text - '0');
    }
    if (digits == 0)
        return NULL;
    *ret = value;
    return text;
}

int lathe_rendition_parse(const char *text, struct lathe_rendition *ret, struct lathe_error *err)
{
    struct lathe_rendition rendition = {0};
    const char *rest = parse_number(text, &rendition.short_side);
    if (!rest || *rest++ != 'p')
        goto malformed;
    snprintf(rendition.name, sizeof(rendition.name), "%dp", rendition.short_side);
    if (*rest == ':') {
        rest = parse_number(rest + 1, &rendition.bitrate_kbps);
        if (!rest || rendition.bitrate_kbps == 0)
            goto malformed;
        if (*rest == 'k')
            rest++;
    }
    if (*rest != '\0')
        goto malformed;
    if (rendition.short_side < LATHE_SHORT_SIDE_MIN ||
        rendition.short_side > LATHE_SHORT_SIDE_MAX) {
        return lathe_error_set(err, -ERANGE, LATHE_FAULT_USAGE,
                               "rendition \"%.40s\": a height of %d to %d can be made", text,
                               LATHE_SHORT_SIDE_MIN, LATHE_SHORT_SIDE_MAX);
    }
    *ret = rendition;
    return 0;

malformed:
    lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "\"%.40s\" is not a rendition", text);
    lathe_error_hint(err, "write 720p, or with a bitrate in kbit/s 720p:2500k");
    return -EINVAL;
}

int lathe_job_add_rendition(struct lathe_job *job, const char *text, struct lathe_error *err)
{
    if (job->n_renditions >= LATHE_RENDITIONS_MAX) {
        return lathe_error_set(err, -E2BIG, LATHE_FAULT_USAGE, "a job makes at most %d renditions",
                               LATHE_RENDITIONS_MAX);
    }
    struct lathe_rendition rendition;
    int r = lathe_rendition_parse(text, &rendition, err);
    if (r < 0)
        return r;
    for (int i = 0; i < job->n_renditions; i++) {
        if (strcmp(job->renditions[i].name, rendition.name) == 0) {
            return lathe_error_set(err, -EEXIST, LATHE_FAULT_USAGE,
                                   "rendition %s is asked for twice", rendition.name);
        }
    }
    job->renditions[job->n_renditions++] = rendition;
    return 0;
}

bool lathe_rendition_name_is_valid(const char *name)
{
    size_t length = strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz_-");
    return length > 0 && length <= LATHE_NAME_MAX && name[length] == '\0';
}
