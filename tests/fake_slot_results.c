/* SPDX-License-Identifier: MIT */
/* What the fake slot makes up: the body of the report of each verb, and the files that go with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_slot.h"
#include "lathe/base.h"

#define CHUNK_FRAMES 25

extern char **environ;

/* In hexadecimal; a static buffer. */
static const char *sha256_of(const char *text, size_t size)
{
    static char hex[65];
    unsigned char digest[32];
    SHA256((const unsigned char *)text, size, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return hex;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fake_must(f && fputs(text, f) != EOF && fclose(f) != EOF);
}

static json_t *rate_sample(void)
{
    const struct lathe_rate_sample sample = {.frames = CHUNK_FRAMES,
                                             .key_frames = 1,
                                             .key_bytes = 5000,
                                             .other_bytes = 20000,
                                             .quality = 23};
    json_t *json = NULL;
    fake_must(lathe_rate_sample_to_json(&sample, &json) == 0);
    return json;
}

json_t *fake_split(const struct lathe_order *order)
{
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    snprintf(plan.job_id, sizeof plan.job_id, "%s", order->job->id);
    strcpy(plan.source_identity, "1-fake");
    const char *container = getenv("LATHE_SLOT_FAKE_CONTAINER");
    snprintf(plan.container, sizeof plan.container, "%s", container ? container : "fake");
    strcpy(plan.video_codec, "fake");
    strcpy(plan.source_pix_fmt, "yuv420p");
    strcpy(plan.packets_container, "ts");
    strcpy(plan.sound_container, "mka");
    plan.source_width = 320;
    plan.source_height = 240;
    plan.time_base = (struct lathe_rational){1, 25};
    plan.frame_rate = (struct lathe_rational){25, 1};
    const char *wish = getenv("LATHE_SLOT_FAKE_CHUNKS");
    const uint32_t n_chunks = wish ? (uint32_t)atoi(wish) : 4;
    plan.duration = n_chunks * CHUNK_FRAMES;
    plan.frames = n_chunks * CHUNK_FRAMES;
    plan.codec = order->job->codec;
    plan.preset = order->job->preset;
    plan.encoder_threads = 1;
    plan.passes = 1;
    plan.gop_seconds = 1;
    const char *lag = getenv("LATHE_SLOT_FAKE_LAG");
    plan.rate_lag = lag ? (uint32_t)atoi(lag) : 3;
    plan.n_renditions = order->job->n_renditions;
    for (int i = 0; i < plan.n_renditions; i++) {
        struct lathe_plan_rendition *r = &plan.renditions[i];
        snprintf(r->name, sizeof r->name, "%s", order->job->renditions[i].name);
        r->width = 320;
        r->height = 240;
        r->sar = (struct lathe_rational){1, 1};
        r->bitrate_kbps = order->job->renditions[i].bitrate_kbps;
        r->maxrate_kbps = order->job->renditions[i].maxrate_kbps;
        r->bufsize_kbit = order->job->renditions[i].bufsize_kbit;
        r->quality = -1;
        r->pilot_quality = 23;
        strcpy(r->pix_fmt, "yuv420p");
    }
    plan.n_audio = 1;
    plan.audio[0] = (struct lathe_plan_audio){
        .stream = 1, .language = "und", .sample_rate = 48000, .channels = 2, .bitrate_kbps = 128};
    plan.n_pilots = 2;
    plan.pilots = calloc(plan.n_pilots, sizeof *plan.pilots);
    plan.n_chunks = n_chunks;
    plan.chunks = calloc(plan.n_chunks, sizeof *plan.chunks);
    fake_must(plan.pilots && plan.chunks);
    for (uint32_t i = 0; i < plan.n_pilots; i++)
        plan.pilots[i] = (struct lathe_plan_pilot){i * 50, i * 50, 12, 1200};
    for (uint32_t i = 0; i < n_chunks; i++)
        plan.chunks[i] = (struct lathe_plan_chunk){
            i * CHUNK_FRAMES, i + 1 < n_chunks ? (i + 1) * CHUNK_FRAMES : INT64_MAX,
            i * CHUNK_FRAMES, CHUNK_FRAMES, 2500};
    json_t *json = NULL;
    fake_must(lathe_plan_to_json(&plan, &json) == 0);
    fake_must(json_dump_file(json, order->plan_path, JSON_COMPACT) == 0);
    write_file(order->index_path, "a fake index");
    lathe_plan_finish(&plan);
    return json_pack("{s:o}", "plan", json);
}

/* Reports a file, and writes it unless `is_cut` is false. */
static void cut_file(const struct lathe_order *order, const struct lathe_plan *plan,
                     enum lathe_unit_kind kind, uint32_t index, bool is_cut)
{
    char text[64];
    char *path = lathe_cut_path(order->out_paths[0], kind, index, plan);
    char *table = lathe_cut_table_path(order->out_paths[0]);
    fake_must(path && table);
    snprintf(text, sizeof text, "[packets of %s %u]", lathe_unit_kind_name(kind), index);
    if (is_cut)
        write_file(path, text);
    if (is_cut && kind == LATHE_UNIT_AUDIO)
        write_file(table, "a table");
    struct lathe_progress progress = {
        .has_file = true,
        .file = {.kind = kind, .index = index, .is_cut = is_cut, .bytes = strlen(text)}};
    strcpy(progress.file.sha256, sha256_of(text, strlen(text)));
    json_t *json = NULL;
    fake_must(lathe_progress_to_json(&progress, &json) == 0);
    fake_send_json(json);
    while (is_cut && access(path, F_OK) == 0) /* until it is taken away */
        fake_sleep_ms(5);
    free(path);
    free(table);
}

/* Faults: "midway" dies after three files, "leave" leaves chunk 1 out, "disorder" begins with the
 * second file, "few" ends after three. */
json_t *fake_cut(const struct lathe_order *order, const char *fault)
{
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    json_t *json = json_load_file(order->plan_path, 0, NULL);
    fake_must(json && lathe_plan_from_json(json, &plan, NULL) == 0);
    json_decref(json);
    const uint32_t pilots = lathe_plan_shares_packets(&plan) ? 0 : plan.n_pilots;
    const bool stops = strcmp(fault, "midway") == 0 || strcmp(fault, "few") == 0;
    uint32_t made = 0;
    for (uint32_t i = order->index + (strcmp(fault, "disorder") == 0); i < pilots + plan.n_chunks;
         i++, made++) {
        if (stops && made == 3)
            break;
        if (i < pilots)
            cut_file(order, &plan, LATHE_UNIT_PILOT, i, true);
        else
            cut_file(order, &plan, LATHE_UNIT_CHUNK, i - pilots,
                     strcmp(fault, "leave") != 0 || i - pilots != 1);
    }
    if (strcmp(fault, "midway") == 0)
        fake_misbehave("crash");
    if (!stops && plan.n_audio)
        cut_file(order, &plan, LATHE_UNIT_AUDIO, 0, true);
    lathe_plan_finish(&plan);
    return json_pack("{s:i}", "cpu_us", 0);
}

/* Whether the order brings the packets that were cut for it, which must be the right ones. */
static void check_packets(const struct lathe_order *order, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    if (!order->packets_path)
        return;
    fake_must(lathe_read_file(order->packets_path, 1000, &text, &size, NULL) == 0);
    fake_must(strcmp(text, expected) == 0);
    free(text);
}

json_t *fake_pilot(const struct lathe_order *order)
{
    char packets[64];
    snprintf(packets, sizeof packets, "[packets of pilot %u]", order->index);
    check_packets(order, packets);
    json_t *list = json_array();
    for (int i = 0; i < LATHE_RENDITIONS_MAX && order->rates[i].quality > 0; i++)
        json_array_append_new(list, rate_sample());
    return json_pack("{s:o}", "renditions", list);
}

static struct lathe_plan_chunk planned_chunk(const struct lathe_order *order, bool *ret_is_last)
{
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    json_t *json = json_load_file(order->plan_path, 0, NULL);
    fake_must(json && lathe_plan_from_json(json, &plan, NULL) == 0 && order->index < plan.n_chunks);
    json_decref(json);
    struct lathe_plan_chunk ret = plan.chunks[order->index];
    *ret_is_last = order->index + 1 == plan.n_chunks;
    lathe_plan_finish(&plan);
    return ret;
}

json_t *fake_chunk(const struct lathe_order *order, const char *fault)
{
    char text[64], head[32], tail[32];
    bool is_last;
    const struct lathe_plan_chunk planned = planned_chunk(order, &is_last);
    snprintf(text, sizeof text, "[packets of chunk %u]", order->index);
    check_packets(order, text);
    json_t *list = json_array();
    for (int i = 0; i < LATHE_RENDITIONS_MAX && order->out_paths[i]; i++) {
        snprintf(text, sizeof text, "[chunk %u %.3f]", order->index, order->rates[i].quality);
        if (strcmp(fault, "rot") == 0) /* found out by whoever reads it */
            text[0] = '!';
        write_file(order->out_paths[i], text);
        size_t bytes = strlen(text) + (strcmp(fault, "short") == 0);
        json_array_append_new(list,
                              json_pack("{s:I, s:s, s:o}", "bytes", (json_int_t)bytes, "sha256",
                                        sha256_of(text, strlen(text)), "rate", rate_sample()));
    }
    snprintf(head, sizeof head, strcmp(fault, "seam") == 0 ? "other %u" : "picture %u",
             order->index);
    snprintf(tail, sizeof tail, "picture %u", order->index + 1);
    enum lathe_ladder_step step = order->gpu_step ? order->gpu_step : LATHE_STEP_ALL_SOFTWARE;
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:s, s:o, s:s, s:s, s:s, s:i, s:[], s:o}", "step",
                     lathe_ladder_step_name(step), "frames", (int)planned.frames, "first_time",
                     (int)planned.start, "last_time", (int)planned.start + (int)planned.frames - 1,
                     "last_duration", 1, "head_hash", head, "tail_hash",
                     is_last ? json_null() : json_string(tail), "decoder", "fake", "scaler", "fake",
                     "encoder", "fake", "concealed", 0, "warnings", "renditions", list);
}

json_t *fake_audio(const struct lathe_order *order)
{
    check_packets(order, "[packets of audio 0]");
    write_file(order->out_paths[0], "[audio]");
    return json_pack("{s:[], s:i, s:s, s:[]}", "tracks", "bytes", 7, "sha256",
                     sha256_of("[audio]", 7), "warnings");
}

/* NULL after a failure was sent. */
json_t *fake_merge(const struct lathe_order *order, const char *fault)
{
    if (strcmp(fault, "lose") == 0) /* an object that vanishes */
        fake_must(unlink(order->inputs[2].path) == 0);
    FILE *out = fopen(order->out_paths[0], "w");
    fake_must(out != NULL);
    uint64_t frames = strcmp(fault, "miscount") == 0;
    json_int_t bytes = 0;
    for (uint32_t i = 0; i <= order->n_inputs; i++) {
        const char *path = i < order->n_inputs ? order->inputs[i].path : order->audio_path;
        char *text = NULL;
        size_t size = 0;
        fake_must(path && lathe_read_file(path, 1000, &text, &size, NULL) == 0);
        if (text[0] != '[') {
            char what[512];
            snprintf(what, sizeof what, "the chunk %.400s does not parse", path);
            fake_send_failure(LATHE_FAULT_INTERNAL, LATHE_HW_UNTRIED, what);
            free(text);
            fake_must(fclose(out) != EOF);
            return NULL;
        }
        fake_must(fwrite(text, 1, size, out) == size);
        free(text);
        bytes += (json_int_t)size;
        frames += i < order->n_inputs ? order->inputs[i].frames : 0;
    }
    fake_must(fclose(out) != EOF);
    char *whole = NULL;
    size_t whole_size = 0;
    fake_must(lathe_read_file(order->out_paths[0], 1 << 20, &whole, &whole_size, NULL) == 0);
    const char *sha256 = sha256_of(whole, whole_size);
    free(whole);
    return json_pack("{s:I, s:i, s:I, s:s, s:[]}", "frames", (json_int_t)frames, "duration_us",
                     4000000, "bytes", bytes, "sha256", sha256, "warnings");
}

/* What the parent let through: names of the environment, number of open descriptors. */
json_t *fake_inspect(void)
{
    json_t *names = json_array();
    for (char **e = environ; *e; e++)
        json_array_append_new(names, json_stringn(*e, strcspn(*e, "=")));
    int open_fds = 0;
    for (int fd = 0; fd < 1024; fd++)
        open_fds += fcntl(fd, F_GETFD) >= 0;
    return json_pack("{s:{s:i}, s:o, s:i, s:b}", "video", "short_side", 240, "environment", names,
                     "descriptors", open_fds, "leads_group", getpgrp() == getpid());
}

/* One made-up GPU, or as many as LATHE_SLOT_FAKE_DEVICES says, "driver 1" unless
 * LATHE_SLOT_FAKE_DRIVER says otherwise, that do everything but what LATHE_SLOT_FAKE_TRIAL says:
 * "NUMBER:WORD", a fault or a verdict. */
json_t *fake_probe(const struct lathe_order *order)
{
    if (!order->gpu_path) {
        struct lathe_hw_device device = {.family = order->gpu_family, .id = "fake"};
        const char *driver = getenv("LATHE_SLOT_FAKE_DRIVER");
        const char *count = getenv("LATHE_SLOT_FAKE_DEVICES");
        snprintf(device.driver, sizeof device.driver, "%.100s", driver ? driver : "driver 1");
        json_t *json = NULL, *list = json_array();
        for (int i = 0; i < (count ? atoi(count) : 1) && order->gpu_family == LATHE_ENCODER_NVENC;
             i++) {
            snprintf(device.path, sizeof device.path, "%d", i);
            fake_must(lathe_hw_device_to_json(&device, &json) == 0);
            fake_must(json_array_append_new(list, json) == 0);
        }
        return json_pack("{s:s, s:o, s:s}", "ffmpeg", "fake", "devices", list, "note",
                         order->gpu_family == LATHE_ENCODER_NVENC ? "" : "none of these");
    }
    unsigned number = UINT_MAX;
    char word[32] = "";
    const char *asked = getenv("LATHE_SLOT_FAKE_TRIAL");
    fake_must(!asked || sscanf(asked, "%u:%31s", &number, word) == 2);
    json_t *list = json_array();
    for (uint32_t i = order->index; i < order->index + order->probe_trials; i++) {
        struct lathe_hw_trial trial = lathe_hw_trials[i];
        trial.verdict = LATHE_HW_WORKS;
        trial.features = trial.kind == LATHE_HW_ENCODE ? LATHE_HW_RC_VBR : 0;
        if (i == number)
            fake_misbehave(word);
        if (i == number && lathe_hw_verdict_from_name(word, &trial.verdict) == 0)
            snprintf(trial.reason, sizeof trial.reason, "the fake says so");
        if (i == number && strcmp(word, "other") == 0)
            trial.bits = 16;
        json_t *json = NULL;
        fake_must(lathe_hw_trial_to_json(&trial, &json) == 0);
        fake_must(json_array_append_new(list, json) == 0);
        if (trial.verdict == LATHE_HW_LOST)
            break;
    }
    return json_pack("{s:s, s:o}", "driver", "", "trials", list);
}

json_t *fake_encoders(bool works)
{
    return json_pack("{s:s, s:[{s:s, s:s, s:i, s:s, s:b, s:s}]}", "ffmpeg", "fake", "encoders",
                     "family", "software", "codec", "h264", "bits", 8, "encoder", "libx264",
                     "works", (int)works, "reason", works ? "" : "this FFmpeg has no libx264");
}
