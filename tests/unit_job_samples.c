/* SPDX-License-Identifier: MIT */
/*
 * Filled examples; see the header.
 */
#include "unit_job_samples.h"

#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

void sample_plan(struct lathe_plan *plan, uint32_t n_chunks)
{
    lathe_plan_init(plan);
    strcpy(plan->job_id, "0197-abc");
    strcpy(plan->source_identity, "123456-0a1b");
    strcpy(plan->container, "matroska");
    strcpy(plan->video_codec, "h264");
    strcpy(plan->source_pix_fmt, "yuv420p10le");
    plan->source_width = 1921;
    plan->source_height = 1079;
    plan->source_bytes = 20000000000u;
    plan->video_stream = 2;
    strcpy(plan->packets_container, "nut");
    strcpy(plan->sound_container, "mka");
    plan->time_base = (struct lathe_rational){1, 90000};
    plan->frame_rate = (struct lathe_rational){30000, 1001};
    plan->duration = INT64_C(3003) * n_chunks;
    plan->origin = INT64_MIN + 1;
    plan->sound_origin = INT64_MAX - 1;
    plan->is_joined = plan->sound_apart = true;
    plan->frames = n_chunks;
    plan->reorder_depth = 3;
    plan->times_from_dts = plan->deinterlace = plan->interlaced = plan->top_field_first = true;
    plan->lead_in_frames = 2;
    plan->color_range = 1;
    plan->color_primaries = 9;
    plan->color_transfer = 16;
    plan->color_matrix = 10;
    plan->chroma_location = 4;
    for (int i = 0; i < 9; i++)
        plan->rotation[i] = (i - 4) * 65536;
    strcpy(plan->mastering_display, "G(1,2)B(3,4)R(5,6)WP(7,8)L(9,10)");
    strcpy(plan->content_light, "1000,400");
    plan->codec = LATHE_CODEC_HEVC;
    plan->preset = LATHE_PRESET_SLOW;
    plan->encoder_threads = 4;
    plan->passes = 2;
    plan->gop_seconds = 2.0 / 3;
    plan->conceal_damage = true;
    plan->rate_lag = 3;
    plan->n_renditions = 2;
    for (int i = 0; i < 2; i++) {
        struct lathe_plan_rendition *r = &plan->renditions[i];
        strcpy(r->name, i == 0 ? "720p" : "480p");
        r->width = 1280 >> i;
        r->height = 720 >> i;
        r->sar = (struct lathe_rational){4, 3};
        r->bitrate_kbps = 2500;
        r->pilot_quality = 21.5;
        r->maxrate_kbps = 5000;
        r->bufsize_kbit = 4999;
        r->quality = 0.1 + 0.2 + i;
        strcpy(r->pix_fmt, "yuv420p");
    }
    plan->n_audio = 1;
    plan->audio[0] = (struct lathe_plan_audio){.stream = 1,
                                               .language = "deu",
                                               .title = "Erz\xc3\xa4hler",
                                               .is_default = true,
                                               .copy = true,
                                               .sample_rate = 48000,
                                               .channels = 2,
                                               .bitrate_kbps = 128};
    plan->n_pilots = 2;
    plan->pilots = must(calloc(2, sizeof(*plan->pilots)));
    plan->pilots[1] = (struct lathe_plan_pilot){3003, 1, 12, 4096};
    plan->n_chunks = n_chunks;
    plan->chunks = must(calloc(n_chunks, sizeof(*plan->chunks)));
    for (uint32_t i = 0; i < n_chunks; i++) {
        int64_t end = i + 1 < n_chunks ? INT64_C(3003) * (i + 1) : INT64_MAX;
        plan->chunks[i] = (struct lathe_plan_chunk){INT64_C(3003) * i, end, i, 1, 1000 + i};
    }
    if (lathe_plan_warn(plan, "stream %d left out", 5) < 0)
        abort();
}

static struct lathe_job *sample_job(void)
{
    struct lathe_job *job = must(malloc(sizeof(*job)));
    lathe_job_init(job);
    strcpy(job->id, "0197-abc");
    job->source_key = must(strdup("/in.mp4"));
    job->source_is_local = true;
    if (lathe_job_add_rendition(job, "720p", NULL) < 0 || lathe_job_validate(job, NULL) < 0)
        abort();
    return job;
}

void sample_order(struct lathe_order *order, enum lathe_verb verb)
{
    lathe_order_init(order);
    order->verb = verb;
    order->source_path = must(strdup("/in\xff.mp4"));
    order->plan_path = must(strdup("/w/plan.json"));
    order->index_path = must(strdup("/w/index.bin"));
    order->packets_path = must(strdup("/w/chunk_007.ts"));
    order->job = sample_job();
    order->index = 4000000000u;
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++)
        order->rates[i] = (struct lathe_rate){23.1 + i, 1000000u * (unsigned)i, 7u + (unsigned)i};
    order->out_paths[0] = must(strdup("/w/a.mp4"));
    order->out_paths[1] = must(strdup("/w/b.mp4"));
    order->n_parts = 2;
    order->part_bytes = must(calloc(2, sizeof(*order->part_bytes)));
    order->part_bytes[1] = INT64_MAX;
    order->n_inputs = 2;
    order->inputs = must(calloc(2, sizeof(*order->inputs)));
    for (int i = 0; i < 2; i++) {
        order->inputs[i].path = must(strdup("/w/c.mp4"));
        memset(order->inputs[i].sha256, 'a' + i, 64);
        order->inputs[i].frames = 300;
        order->inputs[i].first_time = INT64_MIN + i;
    }
    order->audio_path = must(strdup("/w/audio.mp4"));
    order->gpu_family = LATHE_ENCODER_VAAPI;
    order->gpu_path = must(strdup("/dev/dri/renderD128"));
    order->probe_trials = 7;
    order->gpu_step = LATHE_STEP_GPU_ENCODE;
    order->gpu_features = LATHE_HW_B_FRAMES | LATHE_HW_RC_VBR;
    order->audio_report = must(json_pack("{s:[]}", "tracks"));
}
