/* SPDX-License-Identifier: MIT */
/*
 * `lathe plan`: what run would do. The source is read once, nothing is encoded; sizes and times are
 * estimates and say so.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "commands.h"
#include "input.h"
#include "jobs.h"
#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/ladder.h"
#include "lathe/plan.h"
#include "lathe/scratch.h"
#include "place.h"
#include "report.h"
#include "table.h"

#define CHUNKS_SHOWN 20

static int split(struct lathe_pool *pool, const struct lathe_scratch *scratch,
                 const struct lathe_input *input, struct lathe_job *job, struct lathe_plan *ret,
                 struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_SPLIT;
    order.source_path = strdup(input->path);
    order.plan_path = lathe_format("%s/plan.json", scratch->dir);
    order.index_path = lathe_format("%s/index.bin", scratch->dir);
    order.job = malloc(sizeof *order.job);
    json_t *body = NULL;
    int r = 0;
    if (!order.source_path || !order.plan_path || !order.index_path || !order.job) {
        free(order.job);
        order.job = NULL;
        r = lathe_error_nomem(err);
    } else {
        *order.job = *job; /* the order owns it now */
        *job = (struct lathe_job){0};
        r = lathe_pool_run(pool, &order, NULL, NULL, lathe_cli_cancel, &body, NULL, err);
    }
    if (r == 0)
        r = lathe_plan_from_json(json_object_get(body, "plan"), ret, err);
    json_decref(body);
    lathe_order_finish(&order);
    return r;
}

static double seconds_of(const struct lathe_plan *plan, int64_t time)
{
    return (double)time * plan->time_base.num / plan->time_base.den;
}

/* Million pixels a second on one core of a common server; only for an order of magnitude. */
static double megapixels_per_second(const struct lathe_plan *plan)
{
    static const double h264[] = {110, 85, 60, 45, 38, 30, 20, 10, 5};
    double speed = (size_t)plan->preset < LATHE_COUNT(h264) ? h264[plan->preset] : 30;
    return plan->codec == LATHE_CODEC_HEVC ? speed / 5 : speed;
}

/* Decoding and scaling, the same way (measured: 13.4 ms for a picture of 1080p at 28 Mbit/s). */
#define SOURCE_MEGAPIXELS_PER_SECOND 155

/* A GPU of recent years with one encoder engine, whatever the preset; likewise only for an order of
 * magnitude. */
#define GPU_MEGAPIXELS_PER_SECOND 600

/* Whether a GPU encodes, decodes. */
static bool is_gpu(const json_t *place, bool decodes)
{
    const char *step = json_string_value(json_object_get(place, "step"));
    for (int s = LATHE_STEP_ALL_GPU; step && s <= LATHE_STEP_GPU_ENCODE; s++)
        if (strcmp(step, lathe_ladder_step_name((enum lathe_ladder_step)s)) == 0)
            return !decodes || s == LATHE_STEP_ALL_GPU;
    return false;
}

/* Stages follow each other's chunks closely, so the slowest one decides. */
static double gpu_seconds(const json_t *place, double pixels, double source, unsigned busy)
{
    double gpu = pixels / GPU_MEGAPIXELS_PER_SECOND;
    double host = is_gpu(place, true) ? 0 : source / SOURCE_MEGAPIXELS_PER_SECOND / busy;
    return fmax(gpu, host) / 1e6;
}

static void estimate(const struct lathe_plan *plan, const json_t *place, unsigned slots,
                     double *ret_bytes, double *ret_seconds)
{
    double seconds = seconds_of(plan, plan->duration), pixels = 0, kbps = 0;
    for (int i = 0; i < plan->n_renditions; i++) {
        const struct lathe_plan_rendition *r = &plan->renditions[i];
        double area = (double)r->width * r->height;
        pixels += area * (double)plan->frames;
        /* for a quality: bits a pixel halve every six steps, about 0.1 at 23 */
        kbps += r->quality >= 0 && seconds > 0 ? area * (double)plan->frames / seconds * 0.1 *
                                                     exp2((23 - r->quality) / 6) / 1000
                                               : r->bitrate_kbps;
        for (int a = 0; a < plan->n_audio; a++)
            kbps += plan->audio[a].bitrate_kbps;
    }
    unsigned busy = slots < plan->n_chunks ? slots : plan->n_chunks;
    *ret_bytes = kbps * 1000 / 8 * seconds;
    double source = (double)plan->source_width * plan->source_height * (double)plan->frames;
    busy = busy ? busy : 1;
    *ret_seconds =
        is_gpu(place, false)
            ? gpu_seconds(place, pixels, source, busy)
            : (pixels / megapixels_per_second(plan) + source / SOURCE_MEGAPIXELS_PER_SECOND) / 1e6 /
                  busy;
}

static void print_chunks(const struct lathe_plan *plan)
{
    json_t *rows = json_array();
    uint32_t shown = plan->n_chunks < CHUNKS_SHOWN ? plan->n_chunks : CHUNKS_SHOWN;
    for (uint32_t i = 0; i < shown; i++) {
        const struct lathe_plan_chunk *c = &plan->chunks[i];
        json_t *start = json_sprintf("%.3f", seconds_of(plan, c->start));
        json_array_append_new(rows, json_pack("{s:I, s:o, s:I, s:I}", "chunk", (json_int_t)i,
                                              "start", start, "frames", (json_int_t)c->frames,
                                              "source bytes", (json_int_t)c->source_bytes));
    }
    lathe_table_print(stdout, rows);
    if (shown < plan->n_chunks)
        printf("... and %u more (--json shows all)\n", plan->n_chunks - shown);
    json_decref(rows);
}

static int print_plan(const struct lathe_plan *plan, const json_t *place, unsigned slots)
{
    char time[32], size[32], took[32];
    double bytes, seconds;
    estimate(plan, place, slots, &bytes, &seconds);
    lathe_time_text(time, sizeof time, seconds_of(plan, plan->duration));
    lathe_size_text(size, sizeof size, bytes);
    lathe_time_text(took, sizeof took, seconds);
    printf("source     %s, %s %s, %dx%d, %s, %llu frames\n", plan->container, plan->video_codec,
           plan->source_pix_fmt, plan->source_width, plan->source_height, time,
           (unsigned long long)plan->frames);
    printf("pipeline   decode%s, scale to %d rendition%s, encode %s (%s), %u at once\n",
           plan->deinterlace ? ", deinterlace" : "", plan->n_renditions,
           plan->n_renditions == 1 ? "" : "s", lathe_codec_name(plan->codec),
           json_string_value(json_object_get(place, "encoder")), slots);
    lathe_cli_print_place(place);
    printf("encoder    preset %s, %d thread%s, key frame every %.3g s, %d pass%s\n",
           lathe_preset_name(plan->preset), plan->encoder_threads,
           plan->encoder_threads == 1 ? "" : "s", plan->gop_seconds, plan->passes,
           plan->passes == 1 ? "" : "es");
    for (int i = 0; i < plan->n_renditions; i++) {
        const struct lathe_plan_rendition *r = &plan->renditions[i];
        if (r->quality >= 0)
            printf("rendition  %s: %dx%d %s, quality %g\n", r->name, r->width, r->height,
                   r->pix_fmt, r->quality);
        else
            printf("rendition  %s: %dx%d %s, %d kbit/s, at most %d\n", r->name, r->width, r->height,
                   r->pix_fmt, r->bitrate_kbps, r->maxrate_kbps);
    }
    for (int i = 0; i < plan->n_audio; i++)
        printf("audio      track %d: %s\n", i, plan->audio[i].copy ? "copied" : "AAC");
    if (is_gpu(place, false))
        printf("estimate   about %s, about %s if the GPU is a common one\n", size, took);
    else
        printf("estimate   about %s, about %s on %u slot%s\n", size, took, slots,
               slots == 1 ? "" : "s");
    for (uint32_t i = 0; i < plan->n_warnings; i++)
        printf("warning    %s\n", plan->warnings[i]);
    printf("pilots     %u\n\n", plan->n_pilots);
    print_chunks(plan);
    return fflush(stdout) == EOF;
}

static int print_json(const struct lathe_plan *plan, json_t *place, unsigned slots)
{
    double bytes, seconds;
    estimate(plan, place, slots, &bytes, &seconds);
    json_t *json = NULL;
    if (lathe_plan_to_json(plan, &json) < 0)
        return 1;
    json_object_set_new(json, "estimate",
                        json_pack("{s:f, s:f, s:i}", "bytes", floor(bytes), "seconds", seconds,
                                  "slots", (int)slots));
    json_object_set(json, "placement", place);
    int r = lathe_report_print_json(json);
    json_decref(json);
    return r < 0;
}

static int make_plan(const struct lathe_settings *settings, struct lathe_plan *ret,
                     json_t **ret_place, struct lathe_error *err)
{
    struct lathe_input input = {0};
    struct lathe_scratch scratch = {.lock_fd = -1};
    struct lathe_pool *pool = NULL;
    struct lathe_job job = {0};
    int r = lathe_cli_check_settings(settings, err);
    if (r == 0)
        r = lathe_input_check(settings->input, &input, err);
    if (r == 0)
        r = lathe_scratch_open(NULL, &scratch, err);
    if (r == 0)
        r = lathe_pool_create(NULL, &pool, err);
    if (r == 0)
        r = lathe_cli_make_job(settings, &input, pool, &job, err);
    const enum lathe_encoder encoder = job.encoder; /* the split takes the job over */
    const enum lathe_hw_wish hw = job.hw;
    if (r == 0)
        r = split(pool, &scratch, &input, &job, ret, err);
    if (r == 0) {
        const struct lathe_job wishes = {.encoder = encoder, .hw = hw};
        r = lathe_cli_place(pool, ret, &wishes, ret_place, err);
    }
    lathe_job_finish(&job);
    lathe_pool_destroy(pool);
    lathe_scratch_close(&scratch);
    lathe_input_finish(&input);
    return r;
}

int lathe_cli_plan(const struct lathe_settings *settings)
{
    struct lathe_error err = {0};
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    json_t *place = NULL;
    int r;
    if (make_plan(settings, &plan, &place, &err) < 0) {
        if (settings->json) {
            json_t *failure = lathe_report_failure(&err, 0);
            (void)lathe_report_print_json(failure); /* the exit code says it as well */
            json_decref(failure);
        }
        r = lathe_cli_complain(&err);
    } else {
        unsigned slots = settings->slots ? (unsigned)settings->slots : lathe_agent_default_slots();
        r = settings->json ? print_json(&plan, place, slots) : print_plan(&plan, place, slots);
    }
    json_decref(place);
    lathe_plan_finish(&plan);
    return r;
}
