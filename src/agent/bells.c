/* SPDX-License-Identifier: MIT */
/*
 * A daemon's answer to bells of units. A bell is taken off the queue only when its unit needs
 * nobody any more; until then it is looked at again and again, the less often the more there are.
 * It decides nothing about who works on what, but a bell of a job that the state does not know says
 * that the state was lost. A bell of a job is a slot's to take: one that sleeps is woken.
 */
#include <errno.h>
#include <string.h>

#include "lathe/fail.h"
#include "parts.h"

#define TAKE_MS 100
#define AGAIN_FIRST_MS 1000
#define AGAIN_EACH_MS 10 /* for each bell that waits: bounds how many are looked at a second */
#define REVIVE_MS 5000   /* until a lost job is expected to be there again */
#define REVIVALS_MAX 3   /* a job that is still unknown then is not in the store either */
#define FORGOTTEN_MAX 64

struct asked {
    char job_id[LATHE_ID_MAX + 1];
    unsigned times;
};

struct bells {
    struct lathe_agent *agent;
    struct asked asked[FORGOTTEN_MAX]; /* unknown jobs, the oldest overwritten first */
    unsigned next_asked;
    bool job_waits;     /* when it was last looked at */
    unsigned n_waiting; /* bells given back, not looked at since: an estimate */
};

bool lathe_bell_read(const struct lathe_message *message, char job_id[LATHE_ID_MAX + 1],
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
        ok = json_is_integer(unit) && number >= 0 && number < LATHE_UNITS_MAX;
        *ret_unit = (uint32_t)number;
    }
    if (ok)
        snprintf(job_id, LATHE_ID_MAX + 1, "%s", id);
    json_decref(json);
    return ok;
}

/* Has a slot look for the job in the store; false when that was in vain often enough. */
static bool ask_for_job(struct bells *bells, const char *job_id)
{
    struct asked *found = NULL;
    for (unsigned i = 0; i < FORGOTTEN_MAX && !found; i++)
        if (strcmp(bells->asked[i].job_id, job_id) == 0)
            found = &bells->asked[i];
    if (!found) {
        found = &bells->asked[bells->next_asked++ % FORGOTTEN_MAX];
        snprintf(found->job_id, sizeof found->job_id, "%s", job_id);
        found->times = 0;
    }
    if (found->times >= REVIVALS_MAX)
        return false;
    found->times++;
    struct lathe_agent *agent = bells->agent;
    pthread_mutex_lock(&agent->lock);
    bool is_noted = agent->n_wanted == WANTED_MAX; /* then a later bell asks again */
    for (unsigned i = 0; i < agent->n_wanted; i++)
        is_noted = is_noted || strcmp(agent->wanted[i], job_id) == 0;
    if (!is_noted)
        snprintf(agent->wanted[agent->n_wanted++], sizeof agent->wanted[0], "%s", job_id);
    pthread_mutex_unlock(&agent->lock);
    lathe_agent_announce(agent);
    return true;
}

/* Of a job that has not published this unit: whether it still may. */
static int may_come(struct lathe_agent *agent, const char *job_id, bool *ret,
                    struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(agent->flow.state, job_id, &view, err);
    if (r == 0)
        *ret = view.status < LATHE_JOB_COMPLETED && view.total_units == 0;
    lathe_job_view_clear(&view);
    return r;
}

/* How long until the bell is looked at again, or 0: it is done with. */
static int judge(struct bells *bells, const char *job_id, uint32_t unit, int *ret_delay_ms,
                 struct lathe_error *err)
{
    struct lathe_agent *agent = bells->agent;
    struct lathe_unit_view *views = NULL;
    size_t count = 0;
    struct lathe_error why = {0};
    bool is_needed = false;
    int r = lathe_state_units(agent->flow.state, job_id, unit, unit + 1, &views, &count, &why);
    if (r == 0 && count > 0)
        is_needed = views[0].state != LATHE_UNIT_IS_DONE && views[0].state != LATHE_UNIT_IS_CLOSED;
    else if (r == 0)
        r = may_come(agent, job_id, &is_needed, &why);
    lathe_unit_views_free(views, count);
    if (r == -ENOENT) {
        *ret_delay_ms = ask_for_job(bells, job_id) ? REVIVE_MS : 0;
        return 0;
    }
    if (r < 0) {
        if (err)
            *err = why;
        return r;
    }
    *ret_delay_ms = is_needed ? AGAIN_FIRST_MS + AGAIN_EACH_MS * (int)bells->n_waiting : 0;
    return 0;
}

/* What nobody can serve: kept for people, with the reason. */
static int set_aside(struct bells *bells, const struct lathe_message *message,
                     const struct lathe_error *why, struct lathe_error *err)
{
    json_t *record = json_loads(message->body, 0, NULL);
    json_t *json = json_pack("{s:i, s:s, s:o}", "v", 1, "reason", why->what, "record",
                             record ? record : json_null());
    _cleanup_free_ char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    lathe_agent_notice(bells->agent, LATHE_LOG_WARNING, "a record is set aside: %s", why->what);
    return body ? lathe_queue_publish(bells->agent->flow.queue, LATHE_TOPIC_DEAD, message->key,
                                      body, err)
                : lathe_error_nomem(err);
}

/* A record of a foreign producer: it is done with when its job is known, and the state keeps that.
 */
static int judge_foreign(struct bells *bells, const struct lathe_message *message,
                         const json_t *record, int *ret_delay_ms, struct lathe_error *err)
{
    struct lathe_agent *agent = bells->agent;
    char job_id[LATHE_ID_MAX + 1] = "";
    struct lathe_error why = {0};
    int r = lathe_flow_accept_foreign(&agent->flow, record, job_id, &why);
    if (r > 0) {
        lathe_agent_announce(agent);
        return 0;
    }
    if (r == -ENOENT && ask_for_job(bells, job_id)) { /* the state may have lost it */
        *ret_delay_ms = REVIVE_MS;
        return 0;
    }
    if (r == 0) {
        *ret_delay_ms = AGAIN_FIRST_MS + AGAIN_EACH_MS * (int)bells->n_waiting;
        return 0;
    }
    if (r != -ENOENT && (why.by_port || why.fault != LATHE_FAULT_INPUT)) {
        if (err)
            *err = why;
        return r;
    }
    return set_aside(bells, message, &why, err);
}

static int answer(struct bells *bells, const struct lathe_message *message, struct lathe_error *err)
{
    struct lathe_agent *agent = bells->agent;
    char job_id[LATHE_ID_MAX + 1];
    uint32_t unit;
    int delay_ms = 0;
    int r = 0;
    json_t *json = json_loads(message->body, 0, NULL);
    if (lathe_foreign_is_chunk(json))
        r = judge_foreign(bells, message, json, &delay_ms, err);
    else if (lathe_bell_read(message, job_id, &unit))
        r = judge(bells, job_id, unit, &delay_ms, err);
    json_decref(json);
    if (r < 0) {
        (void)lathe_queue_release(agent->flow.queue, message, AGAIN_FIRST_MS, NULL);
        return r;
    }
    bool is_new = message->deliveries <= 1;
    if (!is_new && bells->n_waiting)
        bells->n_waiting--;
    if (!delay_ms)
        lathe_fail_point("answered");
    if (!delay_ms)
        return lathe_queue_done(agent->flow.queue, message, err);
    bells->n_waiting++;
    if (is_new) /* a slot that sleeps can have it */
        lathe_agent_announce(agent);
    return lathe_queue_release(agent->flow.queue, message, delay_ms, err);
}

/* Wakes the slots once for as long as a bell of a job waits. */
static int look_for_jobs(struct bells *bells, struct lathe_error *err)
{
    int r = lathe_queue_waits(bells->agent->flow.queue, LATHE_TOPIC_JOBS, err);
    if (r > 0 && !bells->job_waits)
        lathe_agent_announce(bells->agent);
    bells->job_waits = r > 0;
    return r;
}

static void *answer_bells(void *opaque)
{
    struct bells bells = {.agent = opaque};
    struct lathe_agent *agent = opaque;
    unsigned failures = 0;
    while (!lathe_cancel_is_triggered(agent->stop)) {
        struct lathe_message message = {0};
        struct lathe_error why = {0};
        int r = lathe_queue_take(agent->flow.queue, LATHE_TOPIC_CHUNKS, TAKE_MS, &message,
                                 agent->stop, &why);
        if (r > 0)
            r = answer(&bells, &message, &why);
        lathe_message_clear(&message);
        if (r == 0)
            r = look_for_jobs(&bells, &why);
        if (r >= 0) {
            failures = 0;
            continue;
        }
        if (why.by_port && why.fault == LATHE_FAULT_SERVER && !why.retriable)
            lathe_agent_end(agent, &why); /* the queue's client cannot go on in this process */
        lathe_backoff(failures++, agent->stop);
    }
    return NULL;
}

int lathe_bells_start(struct lathe_agent *agent, struct lathe_error *err)
{
    int r = pthread_create(&agent->bells, NULL, answer_bells, agent);
    agent->has_bells = r == 0;
    return r == 0 ? 0 : lathe_error_errno(err, -r, "cannot start a thread");
}

void lathe_bells_stop(struct lathe_agent *agent)
{
    if (agent->has_bells)
        pthread_join(agent->bells, NULL);
    agent->has_bells = false;
}
