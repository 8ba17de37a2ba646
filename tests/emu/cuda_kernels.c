/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of FFmpeg's scale kernels (vf_scale_cuda.cu), so that emulated pictures look like
 * those of a GPU: the same four taps, no wider filter when shrinking, results truncated.
 *
 * Each kernel is separable, so rows filtered horizontally are kept while the window moves down.
 * The order of the float operations is the kernel's own.
 */
#include "cuda_kernels.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PARAM_DEFAULT 999999.0f
#define TAPS 4

static const struct emu_scale_format formats[] = {
    {"yuv420p", 1, false, false}, {"nv12", 1, false, true},   {"yuv444p", 1, false, false},
    {"p010le", 2, true, true},    {"p016le", 2, false, true}, {"yuv444p16le", 2, false, false},
};

static const char *const algorithm_names[] = {
    [EMU_SCALE_NEAREST] = "Nearest",
    [EMU_SCALE_BILINEAR] = "Bilinear",
    [EMU_SCALE_BICUBIC] = "Bicubic",
    [EMU_SCALE_LANCZOS] = "Lanczos",
};

struct taps {
    float weight[TAPS];
};

/* Where the samples of one row of the result come from; one entry a column. */
struct columns {
    int *first;        /* leftmost source column, not clamped */
    struct taps *taps; /* bicubic, Lanczos */
    int *second;       /* bilinear: the right-hand fetch */
    float *mix[2];     /* bilinear: weight of the column after `first` and after `second` */
    float *rows[TAPS]; /* horizontally filtered source rows */
    int row_number[TAPS];
};

static bool take(const char **at, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(*at, word, length))
        return false;
    *at += length;
    return true;
}

static const struct emu_scale_format *take_format(const char **at)
{
    /* The longest match wins: "yuv444p" begins "yuv444p16le". */
    const struct emu_scale_format *best = NULL;
    size_t best_length = 0;

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        size_t length = strlen(formats[i].name);

        if (length > best_length && !strncmp(*at, formats[i].name, length) &&
            ((*at)[length] == '_' || (*at)[length] == '\0')) {
            best = &formats[i];
            best_length = length;
        }
    }
    *at += best_length;
    return best;
}

bool emu_scale_kernel_find(const char *name, struct emu_scale_kernel *ret)
{
    const char *at = name;
    bool known = false;

    if (!take(&at, "Subsample_"))
        return false;
    for (size_t i = 0; i < sizeof(algorithm_names) / sizeof(algorithm_names[0]) && !known; i++) {
        known = take(&at, algorithm_names[i]);
        ret->algorithm = (enum emu_scale_algorithm)i;
    }
    if (!known || !take(&at, "_") || !(ret->in = take_format(&at)) || !take(&at, "_") ||
        !(ret->out = take_format(&at)))
        return false;
    ret->chroma = take(&at, "_uv");
    return *at == '\0';
}

static int clamp(int value, int limit)
{
    return value < 0 ? 0 : value >= limit ? limit - 1 : value;
}

static int texel(const struct emu_texture *texture, const uint8_t *row, int x, int channel)
{
    size_t at = (size_t)clamp(x, texture->width) * (size_t)texture->channels + (size_t)channel;

    return texture->bytes == 1 ? row[at] : ((const uint16_t *)(const void *)row)[at];
}

static const uint8_t *texture_row(const struct emu_texture *texture, int y)
{
    return texture->data + (size_t)clamp(y, texture->height) * texture->pitch_bytes;
}

static struct taps bicubic_taps(float x, float param)
{
    const float a = param == PARAM_DEFAULT ? 0.0f : -param;
    struct taps t;

    t.weight[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    t.weight[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    t.weight[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    t.weight[3] = 1.0f - t.weight[0] - t.weight[1] - t.weight[2];
    return t;
}

static struct taps lanczos_taps(float x)
{
    const float pi = 3.141592654f;
    struct taps t;
    float sum = 0.0f;

    for (int i = 0; i < TAPS; i++) {
        float d = pi * (x + 1.0f - (float)i);

        t.weight[i] = d == 0.0f ? 1.0f : sinf(d) * sinf(d / 2.0f) / (d * d / 2.0f);
        sum += t.weight[i];
    }
    for (int i = 0; i < TAPS; i++)
        t.weight[i] /= sum;
    return t;
}

static struct taps make_taps(enum emu_scale_algorithm algorithm, float x, float param)
{
    return algorithm == EMU_SCALE_LANCZOS ? lanczos_taps(x) : bicubic_taps(x, param);
}

/* The kernel's two fetches stand this far from the centre. */
static float bilinear_distance(float scale)
{
    float w = fminf(fmaxf(0.5f * (scale - 1.0f), 0.0f), 1.0f);

    return w / (0.5f + w);
}

/* A linear fetch at `x`: between which texels, and how far (hardware keeps eight bits of it). */
static int linear_position(float x, float *ret_mix)
{
    float below = floorf(x - 0.5f);

    *ret_mix = floorf((x - 0.5f - below) * 256.0f + 0.5f) / 256.0f;
    return (int)below;
}

static void columns_free(struct columns *c)
{
    free(c->first);
    free(c->second);
    free(c->taps);
    free(c->mix[0]);
    free(c->mix[1]);
    for (int i = 0; i < TAPS; i++)
        free(c->rows[i]);
}

static int columns_make(struct columns *c, const struct emu_scale_kernel *kernel,
                        const struct emu_scale_arguments *a, int channels)
{
    size_t width = (size_t)a->dst_width;
    float scale = (float)a->src_width / (float)a->dst_width;
    float distance = bilinear_distance(scale);

    *c = (struct columns){0};
    c->first = calloc(width, sizeof(*c->first));
    c->second = calloc(width, sizeof(*c->second));
    c->taps = calloc(width, sizeof(*c->taps));
    c->mix[0] = calloc(width, sizeof(float));
    c->mix[1] = calloc(width, sizeof(float));
    if (!c->first || !c->second || !c->taps || !c->mix[0] || !c->mix[1])
        return -ENOMEM;
    for (int i = 0; i < TAPS; i++) {
        c->row_number[i] = INT32_MIN;
        if (!(c->rows[i] = calloc(width * (size_t)channels, sizeof(float))))
            return -ENOMEM;
    }
    for (int x = 0; x < a->dst_width; x++) {
        float at = ((float)x + 0.5f) * scale + (float)a->src_left;

        switch (kernel->algorithm) {
        case EMU_SCALE_NEAREST:
            c->first[x] = (int)floorf(at);
            break;
        case EMU_SCALE_BILINEAR:
            c->first[x] = linear_position(at - distance, &c->mix[0][x]);
            c->second[x] = linear_position(at + distance, &c->mix[1][x]);
            break;
        case EMU_SCALE_BICUBIC:
        case EMU_SCALE_LANCZOS:
            c->first[x] = (int)floorf(at - 0.5f) - 1;
            c->taps[x] = make_taps(kernel->algorithm, at - 0.5f - floorf(at - 0.5f), a->param);
            break;
        }
    }
    return 0;
}

static void nearest_row(const struct columns *c, const struct emu_texture *t, float y, int width,
                        uint16_t *out)
{
    const uint8_t *row = texture_row(t, (int)floorf(y));

    for (int x = 0; x < width; x++)
        for (int k = 0; k < t->channels; k++)
            *out++ = (uint16_t)texel(t, row, c->first[x], k);
}

static int linear_fetch(const struct emu_texture *t, const uint8_t *const row[2], float down, int x,
                        float right, int channel)
{
    float top = (1.0f - right) * (float)texel(t, row[0], x, channel) +
                right * (float)texel(t, row[0], x + 1, channel);
    float bottom = (1.0f - right) * (float)texel(t, row[1], x, channel) +
                   right * (float)texel(t, row[1], x + 1, channel);

    return (int)((1.0f - down) * top + down * bottom + 0.5f);
}

static void bilinear_row(const struct columns *c, const struct emu_texture *t, float y,
                         float distance, int width, uint16_t *out)
{
    float down[2];
    const uint8_t *row[2][2];

    for (int i = 0; i < 2; i++) {
        int number = linear_position(y + (i ? distance : -distance), &down[i]);

        row[i][0] = texture_row(t, number);
        row[i][1] = texture_row(t, number + 1);
    }
    for (int x = 0; x < width; x++) {
        for (int k = 0; k < t->channels; k++) {
            int sum = 2;

            for (int i = 0; i < 2; i++) {
                sum += linear_fetch(t, row[i], down[i], c->first[x], c->mix[0][x], k);
                sum += linear_fetch(t, row[i], down[i], c->second[x], c->mix[1][x], k);
            }
            *out++ = (uint16_t)(sum >> 2);
        }
    }
}

static const float *filtered_row(struct columns *c, const struct emu_texture *t, int number,
                                 int width)
{
    int slot = number & (TAPS - 1);
    const uint8_t *row = texture_row(t, number);
    const float unit = t->bytes == 1 ? 255.0f : 65535.0f;
    float *out = c->rows[slot];

    if (c->row_number[slot] == number)
        return out;
    c->row_number[slot] = number;
    for (int x = 0; x < width; x++) {
        const float *w = c->taps[x].weight;
        int first = c->first[x];

        for (int k = 0; k < t->channels; k++) {
            float sum = (float)texel(t, row, first, k) / unit * w[0];

            for (int i = 1; i < TAPS; i++)
                sum += (float)texel(t, row, first + i, k) / unit * w[i];
            *out++ = sum;
        }
    }
    return c->rows[slot];
}

/* `number` is the topmost of four rows, `w` their weights. */
static void cubic_row(struct columns *c, const struct emu_texture *t, int number,
                      const struct taps *w, int width, uint16_t *out)
{
    const float *row[TAPS];
    const float limit = t->bytes == 1 ? 255.0f : 65535.0f;

    for (int i = 0; i < TAPS; i++)
        row[i] = filtered_row(c, t, number + i, width);
    for (int x = 0; x < width * t->channels; x++) {
        float sum = row[0][x] * w->weight[0];

        for (int i = 1; i < TAPS; i++)
            sum += row[i][x] * w->weight[i];
        sum *= limit;
        out[x] = (uint16_t)(sum < 0.0f ? 0.0f : sum > limit ? limit : sum);
    }
}

static uint16_t convert(uint16_t value, const struct emu_scale_format *in,
                        const struct emu_scale_format *out)
{
    if (in->bytes == 1 && out->bytes == 2)
        return (uint16_t)((value | value << 8) & (out->ten ? 0xFFC0 : 0xFFFF));
    if (in->bytes == 2 && out->bytes == 1)
        return (uint16_t)(value >> 8);
    if (in->ten && !out->ten && out->bytes == 2)
        return (uint16_t)(value | value >> 10);
    if (!in->ten && in->bytes == 2 && out->ten)
        return value & 0xFFC0;
    return value;
}

/* Stores one row of one source plane: channel k goes to plane `plane + k`, or interleaved to
 * `plane` at offset `lane`. */
static void store_row(const struct emu_scale_kernel *kernel, const struct emu_scale_arguments *a,
                      const uint16_t *row, int channels, int plane, int lane, int y)
{
    bool pack = kernel->chroma && kernel->out->interleaved;

    for (int k = 0; k < channels; k++) {
        int target = pack ? plane : plane + lane + k;
        uint8_t *line = a->dst[target] + (size_t)y * (size_t)a->dst_pitch_bytes;
        int step = pack ? 2 : 1;
        int offset = pack ? lane + k : 0;

        for (int x = 0; x < a->dst_width; x++) {
            uint16_t value = convert(row[x * channels + k], kernel->in, kernel->out);

            if (kernel->out->bytes == 1)
                line[x * step + offset] = (uint8_t)value;
            else
                ((uint16_t *)(void *)line)[x * step + offset] = value;
        }
    }
}

static int scale_plane(const struct emu_scale_kernel *kernel, const struct emu_scale_arguments *a,
                       const struct emu_texture *texture, int plane, int lane)
{
    float scale = (float)a->src_height / (float)a->dst_height;
    uint16_t *row = calloc((size_t)a->dst_width * (size_t)texture->channels, sizeof(*row));
    struct columns columns;
    int ret = columns_make(&columns, kernel, a, texture->channels);

    if (!row)
        ret = -ENOMEM;
    for (int y = 0; y < a->dst_height && !ret; y++) {
        float at = ((float)y + 0.5f) * scale + (float)a->src_top;
        float above = floorf(at - 0.5f);
        struct taps taps;

        switch (kernel->algorithm) {
        case EMU_SCALE_NEAREST:
            nearest_row(&columns, texture, at, a->dst_width, row);
            break;
        case EMU_SCALE_BILINEAR:
            bilinear_row(&columns, texture, at, bilinear_distance(scale), a->dst_width, row);
            break;
        case EMU_SCALE_BICUBIC:
        case EMU_SCALE_LANCZOS:
            taps = make_taps(kernel->algorithm, at - 0.5f - above, a->param);
            cubic_row(&columns, texture, (int)above - 1, &taps, a->dst_width, row);
            break;
        }
        store_row(kernel, a, row, texture->channels, plane, lane, y);
    }
    columns_free(&columns);
    free(row);
    return ret;
}

int emu_scale_kernel_run(const struct emu_scale_kernel *kernel, const struct emu_scale_arguments *a)
{
    int planes = kernel->chroma && !kernel->in->interleaved ? 2 : 1;
    int ret = 0;

    if (a->dst_width <= 0 || a->dst_height <= 0 || a->src_width <= 0 || a->src_height <= 0)
        return -EINVAL;
    for (int i = 0; i < planes && !ret; i++) {
        int source = kernel->chroma ? 1 + i : 0;
        int channels = kernel->chroma && kernel->in->interleaved ? 2 : 1;
        const struct emu_texture *texture = a->textures[source];

        if (!texture || texture->channels != channels || texture->bytes != kernel->in->bytes ||
            !a->dst[kernel->chroma ? 1 : 0])
            return -EINVAL;
        ret = scale_plane(kernel, a, texture, kernel->chroma ? 1 : 0, i);
    }
    return ret;
}
