/* SPDX-License-Identifier: MIT */
/*
 * What a free slot does next: first what bells name, then any open unit, then what a sweep finds. A
 * bell is taken off the queue only when its work is done, by whomever.
 */
#include "step.h"

#include <errno.h>

#include "lathe/base.h"

#define BELL_DELAY_MS 1000 /* before a bell whose unit cannot be claimed rings again */

/* "job_id" and (for units) "unit" of a bell; false for one that nobody could ever serve. */
static bool read_bell(const struct lathe_message *message, char job_id[LATHE_ID_MAX + 1],
                      uint32_t *ret_unit)
{
    json_t *json = json_loads(message->body, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "job_id"));
    if (!id) /* the record of a job names it so */
        id = json_string_value(json_object_get(json, "id"));
    const json_t *unit = json_object_get(json, "unit");
    bool ok = id && lathe_job_id_is_valid(id);
    if (ok && ret_unit) {
        json_int_t number = json_integer_value(unit);
        ok = json_is_integer(unit) && number >= 0 && number < LATHE_UNIT_MERGE;
        *ret_unit = (uint32_t)number;
    }
    if (ok)
        snprintf(job_id, LATHE_ID_MAX + 1, "%s", id);
    json_decref(json);
    return ok;
}

static int serve_job_bell(struct lathe_flow *flow, struct lathe_error *err)
{
    struct lathe_message message = {0};
    int r = lathe_queue_take(flow->queue, LATHE_TOPIC_JOBS, 0, &message, flow->cancel, err);
    if (r <= 0)
        return r;
    char job_id[LATHE_ID_MAX + 1];
    int worked = 0;
    if (read_bell(&message, job_id, NULL))
        r = worked = lathe_flow_split(flow, job_id, err);
    /* Busy or failed: the state knows, and a sweep comes back to it. */
    if (r < 0)
        (void)lathe_queue_release(flow->queue, &message, 0, NULL);
    else
        r = lathe_queue_done(flow->queue, &message, err);
    lathe_message_clear(&message);
    return r < 0 ? r : worked;
}

static int serve_unit(struct lathe_flow *flow, const char *job_id, uint32_t unit,
                      enum lathe_verdict *ret_verdict, int *ret_wait_ms, struct lathe_error *err)
{
    struct lathe_claim claim;
    int r = lathe_state_claim(flow->state, job_id, unit, flow->owner, flow->lease_ttl_ms,
                              ret_verdict, &claim, ret_wait_ms, err);
    if (r < 0 || *ret_verdict != LATHE_GRANTED)
        return r < 0 ? r : 0;
    return lathe_flow_unit(flow, &claim, err);
}

static int serve_unit_bell(struct lathe_flow *flow, struct lathe_error *err)
{
    struct lathe_message message = {0};
    int r = lathe_queue_take(flow->queue, LATHE_TOPIC_CHUNKS, 0, &message, flow->cancel, err);
    if (r <= 0)
        return r;
    char job_id[LATHE_ID_MAX + 1];
    uint32_t unit;
    enum lathe_verdict verdict = LATHE_GONE;
    int wait_ms = 0, worked = 0;
    if (read_bell(&message, job_id, &unit))
        r = worked = serve_unit(flow, job_id, unit, &verdict, &wait_ms, err);
    if (r < 0)
        (void)lathe_queue_release(flow->queue, &message, 0, NULL);
    else if (verdict == LATHE_BUSY || verdict == LATHE_WAIT)
        r = lathe_queue_release(flow->queue, &message, wait_ms > 0 ? wait_ms : BELL_DELAY_MS, err);
    else if (worked == LATHE_FLOW_OPEN)
        r = lathe_queue_release(flow->queue, &message, 0, err);
    else
        r = lathe_queue_done(flow->queue, &message, err);
    lathe_message_clear(&message);
    return r < 0 ? r : worked;
}

static int serve_any_unit(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    struct lathe_claim claim;
    enum lathe_verdict verdict;
    int r = lathe_state_claim_next(flow->state, job_id, flow->owner, flow->lease_ttl_ms, &verdict,
                                   &claim, err);
    if (r < 0 || verdict != LATHE_GRANTED)
        return r < 0 ? r : 0;
    return lathe_flow_unit(flow, &claim, err);
}

int lathe_agent_step(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    int r = serve_job_bell(flow, err);
    if (r == 0)
        r = serve_unit_bell(flow, err);
    if (r == 0)
        r = serve_any_unit(flow, job_id, err);
    if (r == 0)
        r = lathe_flow_sweep(flow, job_id, err);
    return r > 0 ? 1 : r;
}
