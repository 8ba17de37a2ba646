/* SPDX-License-Identifier: MIT */
/*
 * What players read besides frames: aspect, rotation, colour, HDR data, the order of boxes.
 */
#include "check.h"

#include <libavutil/display.h>
#include <libavutil/pixfmt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void same(const char *what, int source, int output, int unspecified)
{
    if (source != unspecified && source != output)
        check_fail("%s is %d in the source, %d in the output", what, source, output);
}

static double shape(const struct check_media *m)
{
    return m->width * av_q2d(m->sar) / m->height;
}

static void check_size(const struct check_media *source, const struct check_media *output,
                       const struct check_options *options)
{
    double want = shape(source), got = shape(output);
    int least = output->width < output->height ? output->width : output->height;
    /* Even dimensions cost up to a pixel on each side. */
    if (fabs(got / want - 1) > 2.5 / least)
        check_fail("displayed shape is %.4f in the source, %.4f in the output (%dx%d)", want, got,
                   output->width, output->height);
    if (output->width % 2 || output->height % 2)
        check_fail("the output is %dx%d: odd", output->width, output->height);
    if (options->short_side && least != options->short_side)
        check_fail("the output is %dx%d, the short side asked for is %d", output->width,
                   output->height, options->short_side);
    if (output->depth < options->min_depth)
        check_fail("the output has %d bits a sample, at least %d expected", output->depth,
                   options->min_depth);
    if (options->codec && strcmp(options->codec, output->codec) != 0)
        check_fail("the output's codec is %s, not %s", output->codec, options->codec);
}

/* A recipe whose options a newer FFmpeg ignores would make a plain source and prove nothing. */
static void check_expected(const struct check_media *source, const char *list)
{
    const struct {
        const char *name;
        bool there;
    } tags[] = {
        {"range", source->range == AVCOL_RANGE_JPEG},
        {"colour", source->primaries != AVCOL_PRI_UNSPECIFIED &&
                       source->transfer != AVCOL_TRC_UNSPECIFIED &&
                       source->matrix != AVCOL_SPC_UNSPECIFIED},
        {"hdr10", source->has_mastering && source->max_cll},
        {"rotation", source->has_rotation},
        {"interlaced", source->interlaced},
    };
    for (const char *word = list; *word;) {
        size_t length = strcspn(word, ",");
        bool there = false;
        for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
            if (strlen(tags[i].name) == length && !memcmp(tags[i].name, word, length))
                there = tags[i].there;
        if (!there)
            check_fail("the source lacks the tag %.*s: the test's own fault", (int)length, word);
        word += length + (word[length] == ',');
    }
}

void check_tags(const struct check_media *source, const struct check_media *output,
                const struct check_options *options)
{
    check_size(source, output, options);
    if (options->expect_tags)
        check_expected(source, options->expect_tags);
    if (!options->strict_tags)
        return;
    /* Unspecified means limited to every player. */
    same("full colour range", source->range == AVCOL_RANGE_JPEG, output->range == AVCOL_RANGE_JPEG,
         -1);
    same("colour primaries", source->primaries, output->primaries, AVCOL_PRI_UNSPECIFIED);
    same("transfer", source->transfer, output->transfer, AVCOL_TRC_UNSPECIFIED);
    same("colour matrix", source->matrix, output->matrix, AVCOL_SPC_UNSPECIFIED);
    if (source->has_rotation != output->has_rotation ||
        (source->has_rotation && fabs(av_display_rotation_get(source->rotation) -
                                      av_display_rotation_get(output->rotation)) > 0.01))
        check_fail("rotation is %.0f degrees in the source, %.0f in the output",
                   source->has_rotation ? av_display_rotation_get(source->rotation) : 0,
                   output->has_rotation ? av_display_rotation_get(output->rotation) : 0);
    if (source->has_mastering &&
        (!output->has_mastering ||
         fabs(source->mastering_red_x - output->mastering_red_x) > 0.001 ||
         fabs(source->mastering_max_luminance - output->mastering_max_luminance) > 1))
        check_fail("the mastering display data of the source did not survive");
    same("content light level", source->max_cll, output->max_cll, 0);
}

void check_faststart(const char *path)
{
    FILE *f = fopen(path, "rb");
    unsigned char head[16];
    long moov = -1, mdat = -1;
    if (!f) {
        check_fail("%s cannot be opened", path);
        return;
    }
    while (fread(head, 1, 8, f) == 8) {
        long start = ftell(f) - 8;
        uint64_t size = (uint64_t)head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3];
        if (!memcmp(head + 4, "moov", 4))
            moov = start;
        else if (!memcmp(head + 4, "mdat", 4) && mdat < 0)
            mdat = start;
        if (size == 1 && fread(head + 8, 1, 8, f) == 8)
            for (int i = 0; i < 8; i++)
                size = size << 8 | head[8 + i];
        if (size < 8 || fseek(f, start + (long)size, SEEK_SET))
            break;
    }
    fclose(f);
    if (moov < 0 || mdat < 0 || moov > mdat)
        check_fail("not a faststart MP4 (moov at %ld, mdat at %ld)", moov, mdat);
}
