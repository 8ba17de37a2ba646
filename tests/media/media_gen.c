/* SPDX-License-Identifier: MIT */
/*
 * Source material for the media tests, raw on standard output: frames that carry their number
 * over moving content, and sound with a continuous tone and a chirp at known instants. Encoding
 * and muxing are left to the recipes, so that one generator serves every codec and container.
 *
 *   media-gen video --size WxH --frames N [--start N] [--fields]
 *   media-gen audio --seconds S [--rate HZ] [--channels N] [--tone HZ] [--from S]
 *
 * Video is planar 8-bit 4:4:4 of studio range. Audio is a WAV file of 16 bits. A chirp starts every
 * half second; `--from` is the instant of the first sample, so that pieces continue each other.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "barcode.h"

#define CHIRP_SECONDS 0.03
#define CHIRP_EVERY 0.5
#define CHIRP_FIRST 0.25

struct options {
    int width, height, frames, start, fields;
    int rate, channels;
    double seconds, tone, from;
};

static int triangle(int value, int period)
{
    int phase = value % (2 * period);
    return phase < period ? phase : 2 * period - phase;
}

/* A cheap fixed texture, so that encoders have something to spend bits on. */
static int texture(int x, int y)
{
    unsigned hash = (unsigned)x * 73856093u ^ (unsigned)y * 19349663u;
    hash ^= hash >> 13;
    return (int)(hash * 1274126177u >> 28) - 8;
}

static void draw_pixel(uint8_t *y, uint8_t *u, uint8_t *v, const struct options *o, int px, int py,
                       int number)
{
    int bit = barcode_pixel(barcode_encode((uint16_t)number), px, py, o->width, o->height);
    *u = *v = 128;
    if (bit >= 0) {
        *y = bit ? 235 : 16;
        return;
    }
    /* Two positions a frame, so that the fields of an interlaced frame differ. */
    int step = number * 2 + (o->fields && (py & 1));
    int box = triangle(step * 3, o->width * 3 / 4);
    int inside =
        px >= box && px < box + o->width / 5 && py > o->height * 5 / 8 && py < o->height * 7 / 8;
    *y = (uint8_t)(inside ? 200 : 60 + triangle(px + py + step, 90) + texture(px + step, py));
    *u = (uint8_t)(inside ? 90 : 100 + triangle(px * 2 + step, 50));
    *v = (uint8_t)(inside ? 170 : 110 + triangle(py * 2 + step, 40));
}

static int write_video(const struct options *o)
{
    size_t plane = (size_t)o->width * (size_t)o->height;
    uint8_t *frame = malloc(plane * 3);
    if (!frame)
        return -ENOMEM;
    for (int n = o->start; n < o->start + o->frames; n++) {
        for (int y = 0; y < o->height; y++)
            for (int x = 0; x < o->width; x++) {
                size_t at = (size_t)y * (size_t)o->width + (size_t)x;
                draw_pixel(&frame[at], &frame[plane + at], &frame[2 * plane + at], o, x, y, n);
            }
        if (fwrite(frame, 1, plane * 3, stdout) != plane * 3) {
            free(frame);
            return -EIO;
        }
    }
    free(frame);
    return fflush(stdout) ? -EIO : 0;
}

static double sample_at(const struct options *o, double t)
{
    double value = 0.2 * sin(2 * M_PI * o->tone * t);
    double k = floor((t - CHIRP_FIRST) / CHIRP_EVERY);
    double into = t - CHIRP_FIRST - k * CHIRP_EVERY;
    if (k >= 0 && into < CHIRP_SECONDS) {
        /* Neighbours sweep differently: a shift by a whole period does not look right. */
        double low = 1200 + 250 * fmod(k, 5), slope = (fmod(k, 2) ? 1 : -1) * 30000.0;
        double shape = 0.5 - 0.5 * cos(2 * M_PI * into / CHIRP_SECONDS);
        value += 0.6 * shape * sin(2 * M_PI * (low + 600 + slope * into / 2) * into);
    }
    return value;
}

static void put_le(uint8_t *at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static int write_audio(const struct options *o)
{
    uint32_t samples = (uint32_t)lrint(o->seconds * o->rate);
    uint32_t bytes = samples * (uint32_t)o->channels * 2;
    uint8_t head[44] = "RIFF....WAVEfmt ....................data";
    put_le(head + 4, bytes + 36, 4);
    put_le(head + 16, 16, 4);
    put_le(head + 20, 1, 2);
    put_le(head + 22, (uint32_t)o->channels, 2);
    put_le(head + 24, (uint32_t)o->rate, 4);
    put_le(head + 28, (uint32_t)(o->rate * o->channels * 2), 4);
    put_le(head + 32, (uint32_t)o->channels * 2, 2);
    put_le(head + 34, 16, 2);
    put_le(head + 40, bytes, 4);
    if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head))
        return -EIO;
    for (uint32_t i = 0; i < samples; i++) {
        long value = lrint(32767 * sample_at(o, o->from + (double)i / o->rate));
        for (int c = 0; c < o->channels; c++) {
            putchar((int)(value & 0xff));
            putchar((int)(value >> 8 & 0xff));
        }
    }
    return fflush(stdout) || ferror(stdout) ? -EIO : 0;
}

static int parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.width = 320,
                          .height = 180,
                          .frames = 1,
                          .rate = 48000,
                          .channels = 2,
                          .seconds = 1,
                          .tone = 440};
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--fields")) {
            o->fields = 1;
            continue;
        }
        if (!strcmp(argv[i], "--size")) {
            if (sscanf(value, "%dx%d", &o->width, &o->height) != 2)
                return -EINVAL;
        } else if (!strcmp(argv[i], "--frames"))
            o->frames = atoi(value);
        else if (!strcmp(argv[i], "--start"))
            o->start = atoi(value);
        else if (!strcmp(argv[i], "--rate"))
            o->rate = atoi(value);
        else if (!strcmp(argv[i], "--channels"))
            o->channels = atoi(value);
        else if (!strcmp(argv[i], "--seconds"))
            o->seconds = atof(value);
        else if (!strcmp(argv[i], "--tone"))
            o->tone = atof(value);
        else if (!strcmp(argv[i], "--from"))
            o->from = atof(value);
        else
            return -EINVAL;
        i++;
    }
    if (o->width < BARCODE_COLUMNS || o->height < 2 * BARCODE_ROWS || o->frames < 0 ||
        o->rate < 8000 || o->channels < 1 || o->seconds < 0)
        return -EINVAL;
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    int r = argc < 2 ? -EINVAL : parse(argc, argv, &options);
    if (!r && !strcmp(argv[1], "video"))
        r = write_video(&options);
    else if (!r && !strcmp(argv[1], "audio"))
        r = write_audio(&options);
    else if (!r)
        r = -EINVAL;
    if (r == -EINVAL)
        fprintf(stderr, "usage: media-gen video|audio OPTIONS (see the head of media_gen.c)\n");
    else if (r)
        fprintf(stderr, "media-gen: %s\n", strerror(-r));
    return r ? 1 : 0;
}
