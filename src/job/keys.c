/* SPDX-License-Identifier: MIT */
/*
 * Names of objects in the store: the one place that spells them.
 */
#include <inttypes.h>

#include "lathe/base.h"
#include "lathe/job.h"
#include "lathe/plan.h"

char *lathe_key_job(const char *job_id)
{
    return lathe_format("jobs/%s.json", job_id);
}

char *lathe_key_plan(const char *job_id)
{
    return lathe_format("chunks/%s/plan.json", job_id);
}

char *lathe_key_plan_whole(const char *job_id)
{
    return lathe_format("chunks/%s/plan_whole.json", job_id);
}

char *lathe_key_part(const char *job_id, uint32_t part)
{
    return lathe_format("chunks/%s/chunk_%03" PRIu32 ".ts", job_id, part);
}

char *lathe_key_index(const char *job_id)
{
    return lathe_format("chunks/%s/index.bin", job_id);
}

char *lathe_key_packets(const struct lathe_plan *plan, enum lathe_unit_kind kind, uint32_t index)
{
    if (kind == LATHE_UNIT_AUDIO)
        return lathe_format("chunks/%s/audio.%s", plan->job_id, plan->sound_container);
    /* The names of chunks are taken where a foreign producer has stored its own. */
    const char *name =
        plan->is_joined && kind == LATHE_UNIT_CHUNK ? "packets" : lathe_unit_kind_name(kind);
    return lathe_format("chunks/%s/%s_%03" PRIu32 ".%s", plan->job_id, name, index,
                        plan->packets_container);
}

char *lathe_key_sound_table(const char *job_id)
{
    return lathe_format("chunks/%s/audio.bin", job_id);
}

char *lathe_key_chunk(const char *job_id, const char *rendition, uint32_t chunk, uint64_t fence)
{
    return lathe_format("transcoded/%s/%s/chunk_%03" PRIu32 ".%" PRIu64 ".mp4", job_id, rendition,
                        chunk, fence);
}

char *lathe_key_audio(const char *job_id, uint64_t fence)
{
    return lathe_format("transcoded/%s/audio.%" PRIu64 ".mp4", job_id, fence);
}

char *lathe_key_prefix_results(const char *job_id, uint32_t unit)
{
    return lathe_format("transcoded/%s/unit_%05" PRIu32 ".", job_id, unit);
}

char *lathe_key_result(const char *job_id, uint32_t unit, uint64_t fence)
{
    return lathe_format("transcoded/%s/unit_%05" PRIu32 ".%" PRIu64 ".json", job_id, unit, fence);
}

char *lathe_key_merged(const char *job_id, const char *rendition, uint64_t fence)
{
    return lathe_format("transcoded/%s/%s/merged.%" PRIu64 ".mp4", job_id, rendition, fence);
}

char *lathe_key_output(const char *job_id, const char *rendition)
{
    return lathe_format("transcoded/%s/output_%s.mp4", job_id, rendition);
}

char *lathe_key_prefix_chunks(const char *job_id)
{
    return lathe_format("chunks/%s/", job_id);
}

char *lathe_key_prefix_transcoded(const char *job_id)
{
    return lathe_format("transcoded/%s/", job_id);
}
