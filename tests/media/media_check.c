/* SPDX-License-Identifier: MIT */
/*
 * Compares a transcoded file with its source, frame by frame and chirp by chirp. Prints one line a
 * fault and exits 1; prints a summary and exits 0 when the output is right.
 *
 *   media-check SOURCE OUTPUT [options]
 *     --heal              the source's clock jumps; expect the healed times
 *     --no-signal         the sound is not the generator's (only its times are checked)
 *     --no-numbers        the pictures carry no numbers
 *     --no-tags           aspect only; rotation and colour may change
 *     --grid N            allowed mean difference of coarse colours (default 6 of 255)
 *     --expect-frames N   what the source must have, so that a broken recipe is noticed
 *     --expect-tracks N   likewise
 *     --expect-tags LIST  likewise: range,colour,hdr10,rotation,interlaced
 *     --codec NAME  --min-depth BITS  --short-side PIXELS     of the output
 *
 *   media-check --list FILE [--heal]     prints the number and time of each frame
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const char *source_name, *output_name;
static int failures;

void check_fail(const char *format, ...)
{
    va_list args;
    failures++;
    printf("FAIL %s -> %s: ", source_name, output_name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int parse(int argc, char **argv, struct check_options *o)
{
    *o = (struct check_options){.signal = true,
                                .strict_tags = true,
                                .numbers = true,
                                .grid_tolerance = 6,
                                .expect_frames = -1,
                                .expect_tracks = -1};
    for (int i = 3; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--heal"))
            o->heal = true;
        else if (!strcmp(argv[i], "--no-signal"))
            o->signal = false;
        else if (!strcmp(argv[i], "--no-numbers"))
            o->numbers = false;
        else if (!strcmp(argv[i], "--no-tags"))
            o->strict_tags = false;
        else if (!strcmp(argv[i], "--grid") && ++i)
            o->grid_tolerance = atoi(value);
        else if (!strcmp(argv[i], "--expect-frames") && ++i)
            o->expect_frames = atoll(value);
        else if (!strcmp(argv[i], "--expect-tracks") && ++i)
            o->expect_tracks = atoi(value);
        else if (!strcmp(argv[i], "--expect-tags") && ++i)
            o->expect_tags = value;
        else if (!strcmp(argv[i], "--codec") && ++i)
            o->codec = value;
        else if (!strcmp(argv[i], "--min-depth") && ++i)
            o->min_depth = atoi(value);
        else if (!strcmp(argv[i], "--short-side") && ++i)
            o->short_side = atoi(value);
        else
            return -1;
    }
    return 0;
}

static int list(const char *path, bool heal)
{
    struct check_media media;
    source_name = base_name(path);
    output_name = "list";
    if (check_read(path, heal, &media) == 0)
        for (size_t i = 0; i < media.n_frames; i++)
            printf("%zu number %d time %.9f pts %lld duration %lld\n", i, media.frames[i].number,
                   check_seconds((struct check_time){media.frames[i].pts, media.time_base}) -
                       check_seconds(media.origin),
                   (long long)media.frames[i].pts, (long long)media.frames[i].duration);
    check_media_clear(&media);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct check_options options;
    struct check_media source, output = {0};
    double worst_ms = 0;
    if (argc >= 3 && !strcmp(argv[1], "--list"))
        return list(argv[2], argc > 3 && !strcmp(argv[3], "--heal"));
    if (argc < 3 || parse(argc, argv, &options) < 0) {
        fprintf(stderr, "usage: media-check SOURCE OUTPUT [options]\n");
        return 2;
    }
    source_name = base_name(argv[1]);
    output_name = base_name(argv[2]);
    if (check_read(argv[1], options.heal, &source) == 0 &&
        check_read(argv[2], false, &output) == 0) {
        check_faststart(argv[2]);
        check_video(&source, &output, &options);
        check_audio(&source, &output, &options, &worst_ms);
        check_tags(&source, &output, &options);
        if (!failures)
            printf("%zu frames, %d audio tracks, sound within %.2f ms\n", output.n_frames,
                   output.n_tracks, worst_ms);
    }
    check_media_clear(&source);
    check_media_clear(&output);
    return failures ? 1 : 0;
}
