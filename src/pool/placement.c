/* SPDX-License-Identifier: MIT */
/*
 * The books of the placement: who has which lane, how it went, and which device is to be tried
 * anew.
 */
#include "placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hardware.h"
#include "lathe/base.h"
#include "lathe/metrics.h"

#define LOOK_MS 100  /* how soon a cancel or a passed quarantine is seen by who waits */
#define BUSY_LIMIT 5 /* tries of a chunk on devices that are busy */
#define LANES_MAX 64
#define WARM_SECONDS 10 /* a device's memory is not kept for longer without work */

int64_t lathe_placement_now_us(const struct lathe_placement *p)
{
    return p->options.now_us ? p->options.now_us() : lathe_clock_monotonic_us();
}

int lathe_placement_create(const struct lathe_placement_options *options, struct lathe_pool *pool,
                           struct lathe_placement **ret, struct lathe_error *err)
{
    struct lathe_placement *p = calloc(1, sizeof *p);
    if (!p)
        return lathe_error_nomem(err);
    p->options = *options;
    p->pool = pool;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret = p;
    return 0;
}

void lathe_placement_destroy(struct lathe_placement *p)
{
    if (!p)
        return;
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* Encoder engines of NVIDIA's cards with more than one, by what their names hold. Nobody has
 * checked these rows against a card or a document of NVIDIA's. A number too high is corrected when
 * the device says busy; one too low leaves engines idle, which bench/gpu shows and LATHE_GPU_LANES
 * mends. */
static unsigned engines(const struct lathe_hw_device *device)
{
    static const struct {
        const char *name;
        unsigned engines;
    } known[] = {{"L40", 3},      {"RTX 6000 Ada", 3}, {"RTX 5090", 3}, {"L4", 2},
                 {"RTX 4090", 2}, {"RTX 4080", 2},     {"RTX 5080", 2}};
    for (size_t i = 0; i < LATHE_COUNT(known); i++)
        if (device->family == LATHE_ENCODER_NVENC && strstr(device->name, known[i].name))
            return known[i].engines;
    return 1;
}

static unsigned lanes_of(const struct lathe_placement *p, const struct lathe_hw_device *device)
{
    if (p->options.lanes)
        return p->options.lanes;
    const char *text = getenv("LATHE_GPU_LANES");
    long set = text ? strtol(text, NULL, 10) : 0;
    if (set >= 1 && set <= LANES_MAX)
        return (unsigned)set;
    return LATHE_LANES_PER_ENGINE * engines(device);
}

/* Numbers of devices stay as they are: chunks are at work there. */
static void take_in(struct lathe_placement *p, const struct lathe_hw_device *device, bool refreshed)
{
    unsigned i = 0, free_at = p->n_devices;
    while (i < p->n_devices && (p->devices[i].family != device->family ||
                                strcmp(p->devices[i].path, device->path) != 0 ||
                                strcmp(p->devices[i].id, device->id) != 0)) {
        if (p->use[i].is_gone && p->use[i].active == 0 && free_at == p->n_devices)
            free_at = i;
        i++;
    }
    if (i == p->n_devices) {
        if (free_at == LATHE_HW_DEVICES_MAX)
            return;
        i = free_at;
        p->n_devices += i == p->n_devices;
        p->use[i] = (struct lathe_placement_use){0};
    }
    bool works = refreshed && lathe_hw_works(device, LATHE_HW_OPEN, NULL, 0);
    p->devices[i] = *device;
    p->use[i].is_gone = false;
    p->use[i].lanes = lanes_of(p, device);
    if (works && !p->use[i].is_tried)
        lathe_health_tried(&p->use[i].health, true, "", lathe_placement_now_us(p));
}

static void forget_trials(struct lathe_hw_device *device)
{
    device->trials[0] = lathe_hw_trials[0];
    device->trials[0].verdict = LATHE_HW_LOST;
    snprintf(device->trials[0].reason, sizeof device->trials[0].reason, "it is not there any more");
    device->n_trials = 1;
}

void lathe_placement_set_hardware(struct lathe_placement *p, const struct lathe_hardware *hardware,
                                  const char *why)
{
    pthread_mutex_lock(&p->lock);
    p->probed_wall_us = hardware ? hardware->probed_wall_us : 0;
    for (unsigned i = 0; i < p->n_devices; i++)
        p->use[i].is_gone = true;
    for (unsigned i = 0; hardware && i < hardware->n_devices; i++)
        take_in(p, &hardware->devices[i], hardware->refreshed);
    for (unsigned i = 0; i < p->n_devices; i++)
        if (p->use[i].is_gone)
            forget_trials(&p->devices[i]);
    if (hardware)
        lathe_hardware_summary(hardware, p->summary, sizeof p->summary);
    else
        snprintf(p->summary, sizeof p->summary, "%s", why);
    p->is_known = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* With the lock held, which is given up meanwhile. */
static void wait_a_little(struct lathe_placement *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&p->changed, &p->lock, &until);
}

/* With the lock held. */
static int wait_until_known(struct lathe_placement *p, const struct lathe_ladder_request *request,
                            struct lathe_cancel *cancel, struct lathe_error *err)
{
    while (!p->is_known && request->encoder != LATHE_ENCODER_SOFTWARE) {
        if (lathe_cancel_is_triggered(cancel))
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
        wait_a_little(p);
    }
    return 0;
}

/* With the lock held. The choice for an idle host, or why there is none. */
static int check(struct lathe_placement *p, const struct lathe_ladder_request *request,
                 struct lathe_ladder_choice *ret_choice, struct lathe_hw_device *ret_device,
                 struct lathe_error *err)
{
    int device = lathe_ladder_best(p->devices, p->n_devices, request, ret_choice);
    if (ret_device)
        *ret_device = device >= 0 ? p->devices[device] : (struct lathe_hw_device){0};
    if (ret_choice->step != LATHE_STEP_NONE)
        return 0;
    const char *why = p->n_devices ? ret_choice->reasons[LATHE_STEP_GPU_ENCODE] : p->summary;
    const char *asked =
        request->encoder == LATHE_ENCODER_AUTO ? "a GPU" : lathe_encoder_name(request->encoder);
    lathe_error_set(err, -ENODEV, LATHE_FAULT_CONFIG, "%s is required to encode: %.400s", asked,
                    why);
    lathe_error_hint(err, "lathe probe says more; --hw prefer goes on without");
    return -ENODEV;
}

int lathe_placement_check(struct lathe_placement *p, const struct lathe_ladder_request *request,
                          struct lathe_cancel *cancel, struct lathe_ladder_choice *ret_choice,
                          struct lathe_hw_device *ret_device, struct lathe_error *err)
{
    pthread_mutex_lock(&p->lock);
    int r = wait_until_known(p, request, cancel, err);
    if (r == 0)
        r = check(p, request, ret_choice, ret_device, err);
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* With the lock held. */
static void book(struct lathe_placement *p, struct lathe_attempts *attempts,
                 const struct lathe_place *place)
{
    if (place->device >= 0) {
        p->use[place->device].active++;
        if (attempts->family == LATHE_ENCODER_AUTO && place->encoder != LATHE_ENCODER_SOFTWARE)
            attempts->family = place->family;
    }
    p->software_active += place->encoder == LATHE_ENCODER_SOFTWARE;
}

/* With the lock held. A GPU is required and could do it, but failed: with this chunk, or before it.
 */
static int tell_why_none(const struct lathe_placement *p, const struct lathe_attempts *attempts,
                         struct lathe_error *err)
{
    if (attempts->reason[0])
        return lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL,
                               "a GPU is required, and all attempts on one failed: %.220s",
                               attempts->reason);
    const char *why = "";
    for (unsigned i = 0; i < p->n_devices && !why[0]; i++)
        if (p->use[i].health.until_us)
            why = p->use[i].health.reason;
    lathe_error_set(err, -ENODEV, LATHE_FAULT_RESOURCE,
                    "a GPU is required, and none is in service after failures: %.220s", why);
    lathe_error_hint(err, "it is tried again by itself; lathe retry once lathe probe shows that "
                          "it works");
    return -ENODEV;
}

int lathe_placement_take(struct lathe_placement *p, struct lathe_attempts *attempts,
                         struct lathe_cancel *cancel, struct lathe_place *ret,
                         struct lathe_error *err)
{
    pthread_mutex_lock(&p->lock);
    int r = wait_until_known(p, attempts->request, cancel, err);
    while (r == 0) {
        enum lathe_placement_answer answer =
            lathe_placement_choose(p, attempts, lathe_placement_now_us(p), ret);
        if (answer == LATHE_PLACE_FOUND) {
            book(p, attempts, ret);
            break;
        }
        if (answer == LATHE_PLACE_NONE) {
            struct lathe_ladder_choice choice;
            r = check(p, attempts->request, &choice, NULL, err);
            if (r == 0)
                r = tell_why_none(p, attempts, err);
            break;
        }
        if (lathe_cancel_is_triggered(cancel))
            r = lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
        else
            wait_a_little(p);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* With the lock held: what the failure means for this chunk and for the device. */
static void note_failure(struct lathe_placement *p, struct lathe_attempts *attempts,
                         const struct lathe_place *place, enum lathe_hw_verdict verdict,
                         const char *reason)
{
    struct lathe_placement_use *use = &p->use[place->device];
    unsigned *failed = &attempts->failed[place->device];
    char name[LATHE_DEVICE_NAME_MAX];
    lathe_placement_device_name(&p->devices[place->device], name, sizeof name);
    lathe_metrics_add(LATHE_METRIC_DEVICE_FAILURES,
                      LATHE_LABELS(name, lathe_hw_verdict_name(verdict)), 1);
    snprintf(attempts->reason, sizeof attempts->reason, "%.220s", reason);
    if (verdict == LATHE_HW_BUSY) {
        lathe_health_busy(&use->health, use->active, reason, lathe_placement_now_us(p));
        if (++attempts->busy >= BUSY_LIMIT)
            *failed |= 1u << place->step;
        return;
    }
    if (lathe_health_failed(&use->health, place->step, verdict, reason, lathe_placement_now_us(p)))
        p->misbehaved = true;
    if (verdict == LATHE_HW_LOST)
        *failed |= (1u << LATHE_STEP_ALL_SOFTWARE) - 1;
    else if (verdict != LATHE_HW_SESSION || attempts->sessions++ > 0)
        *failed |= 1u << place->step;
}

void lathe_placement_give(struct lathe_placement *p, struct lathe_attempts *attempts,
                          const struct lathe_place *place, enum lathe_hw_verdict verdict,
                          const char *reason)
{
    pthread_mutex_lock(&p->lock);
    p->software_active -= place->encoder == LATHE_ENCODER_SOFTWARE;
    if (place->device >= 0) {
        p->use[place->device].active--;
        if (verdict == LATHE_HW_WORKS)
            lathe_health_succeeded(&p->use[place->device].health, place->step);
        else if (verdict != LATHE_HW_UNTRIED)
            note_failure(p, attempts, place, verdict, reason);
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Tries one device anew, without the lock. */
static bool try_anew(struct lathe_placement *p, struct lathe_cancel *cancel,
                     struct lathe_hw_device *device)
{
    int r = p->options.probe ? p->options.probe(p->options.opaque, device)
                             : lathe_hardware_try(p->pool, false, cancel, device, NULL);
    return r == 0 && lathe_hw_works(device, LATHE_HW_OPEN, NULL, 0);
}

bool lathe_placement_tend(struct lathe_placement *p, struct lathe_cancel *cancel)
{
    if (p->pool)
        lathe_pool_cool(p->pool, WARM_SECONDS);
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->n_devices; i++) {
        if (p->use[i].is_gone ||
            !lathe_health_is_due(&p->use[i].health, lathe_placement_now_us(p)) ||
            lathe_cancel_is_triggered(cancel))
            continue;
        struct lathe_hw_device device = p->devices[i];
        p->use[i].is_tried = true;
        pthread_mutex_unlock(&p->lock);
        bool works = try_anew(p, cancel, &device);
        pthread_mutex_lock(&p->lock);
        const struct lathe_hw_trial *open = lathe_hw_find(&device, LATHE_HW_OPEN, NULL, 0);
        p->use[i].is_tried = false;
        if (lathe_cancel_is_triggered(cancel))
            continue;
        if (works)
            p->devices[i] = device;
        lathe_health_tried(&p->use[i].health, works,
                           open && open->reason[0] ? open->reason : "it does not open",
                           lathe_placement_now_us(p));
        pthread_cond_broadcast(&p->changed);
    }
    bool misbehaved = p->misbehaved;
    p->misbehaved = false;
    pthread_mutex_unlock(&p->lock);
    return misbehaved;
}

void lathe_placement_settle(struct lathe_placement *p, const char *job_id,
                            enum lathe_encoder family)
{
    pthread_mutex_lock(&p->lock);
    snprintf(p->settled_job, sizeof p->settled_job, "%s", job_id);
    p->settled = family;
    pthread_mutex_unlock(&p->lock);
}

enum lathe_encoder lathe_placement_settled(struct lathe_placement *p, const char *job_id)
{
    pthread_mutex_lock(&p->lock);
    enum lathe_encoder family =
        strcmp(p->settled_job, job_id) == 0 ? p->settled : LATHE_ENCODER_AUTO;
    pthread_mutex_unlock(&p->lock);
    return family;
}

unsigned lathe_placement_lanes(struct lathe_placement *p)
{
    unsigned lanes = 0;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->n_devices; i++)
        lanes += p->use[i].is_gone ? 0 : p->use[i].lanes;
    pthread_mutex_unlock(&p->lock);
    return lanes;
}

enum lathe_device_state lathe_placement_state(const struct lathe_placement_use *use)
{
    return use->is_gone             ? LATHE_DEVICE_GONE
           : use->health.until_us   ? LATHE_DEVICE_QUARANTINED
           : use->health.is_limited ? LATHE_DEVICE_BUSY
                                    : LATHE_DEVICE_IN_SERVICE;
}

json_t *lathe_placement_to_json(struct lathe_placement *p)
{
    json_t *devices = json_array();
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->n_devices; i++) {
        const struct lathe_hw_device *d = &p->devices[i];
        const struct lathe_health *h = &p->use[i].health;
        (void)json_array_append_new(
            devices, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "family",
                               lathe_encoder_name(d->family), "path", d->path, "name", d->name,
                               "driver", d->driver, "state",
                               lathe_device_state_name(lathe_placement_state(&p->use[i])), "reason",
                               h->reason, "chunks", (json_int_t)h->chunks, "failures",
                               (json_int_t)h->failures));
    }
    json_t *ret = json_pack("{s:s, s:o}", "summary", p->summary, "devices", devices);
    pthread_mutex_unlock(&p->lock);
    return ret;
}
