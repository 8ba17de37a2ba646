/* SPDX-License-Identifier: MIT */
/*
 * Orders in, thinned progress and one report out. Progress is thinned here and not in the media
 * verbs, so that these may call it for every frame.
 */
#include "serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lathe/base.h"

#define PROGRESS_INTERVAL_NS 100000000 /* at most ten a second */

struct teller {
    int fd;
    bool told;
    struct timespec last;
    int failure; /* of writing: the parent is gone */
};

static bool is_due(const struct teller *teller, const struct timespec *now)
{
    if (!teller->told)
        return true;
    long long ns =
        (now->tv_sec - teller->last.tv_sec) * 1000000000LL + (now->tv_nsec - teller->last.tv_nsec);
    return ns >= PROGRESS_INTERVAL_NS;
}

static int tell(void *opaque, const struct lathe_progress *progress)
{
    struct teller *teller = opaque;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (teller->failure || (!progress->has_file && !is_due(teller, &now)))
        return teller->failure;
    teller->told = true;
    teller->last = now;
    json_t *message = NULL;
    int r = lathe_progress_to_json(progress, &message);
    if (r == 0)
        r = lathe_wire_write(teller->fd, message);
    json_decref(message);
    teller->failure = r;
    return r;
}

static void carry_out(const struct lathe_slot_service *service, const struct lathe_order *order,
                      struct teller *teller, struct lathe_report *report)
{
    int r = service->verbs[order->verb](order, tell, teller, &report->body, &report->err);
    report->ok = r == 0 && json_is_object(report->body);
    if (report->ok)
        return;
    json_decref(report->body);
    report->body = NULL;
    if (report->err.code == 0) {
        lathe_error_set(&report->err, r < 0 ? r : -EPROTO, LATHE_FAULT_INTERNAL,
                        "%s failed without a reason (%d)", lathe_verb_name(order->verb), r);
    }
}

static int answer(int fd, const struct lathe_report *report)
{
    json_t *message = NULL;
    int r = lathe_report_to_json(report, &message);
    if (r == 0)
        r = lathe_wire_write(fd, message);
    json_decref(message);
    return r;
}

struct confinement {
    bool confined;
    char *reach; /* of the first order; NULL: no other may follow */
};

static int confine(const struct lathe_slot_service *service, struct confinement *c,
                   const struct lathe_order *order, struct lathe_report *report)
{
    int r = service->confine ? service->confine(order, &report->err) : 0;
    c->confined = r > 0;
    if (c->confined)
        c->reach = lathe_order_reach(order);
    return r;
}

/* The kernel would refuse the files of another order anyway, but not say why. */
static int may_follow(const struct confinement *c, const struct lathe_order *order,
                      struct lathe_error *err)
{
    _cleanup_free_ char *reach = c->reach ? lathe_order_reach(order) : NULL;
    if (reach && strcmp(reach, c->reach) == 0)
        return 0;
    return lathe_error_set(err, -EPERM, LATHE_FAULT_INTERNAL,
                           "this slot can reach the files of its first order only");
}

/* 0, or why the parent could not be told. */
static int serve_one(int fd, const struct lathe_slot_service *service, const json_t *json,
                     struct confinement *c)
{
    struct lathe_order order;
    struct lathe_report report = {0};
    struct teller teller = {.fd = fd};
    int r = lathe_order_from_json(json, &order, &report.err);
    if (r == 0) {
        r = c->confined ? may_follow(c, &order, &report.err) : confine(service, c, &order, &report);
        if (r >= 0)
            carry_out(service, &order, &teller, &report);
        lathe_order_finish(&order);
    }
    r = teller.failure ? teller.failure : answer(fd, &report);
    lathe_report_finish(&report);
    return r;
}

int lathe_slot_serve(int fd, const struct lathe_slot_service *service, struct lathe_error *err)
{
    struct confinement c = {0};
    int r;
    do {
        json_t *json = NULL;
        r = lathe_wire_read(fd, &json, err);
        if (r <= 0)
            break;
        r = serve_one(fd, service, json, &c);
        json_decref(json);
        if (r < 0)
            lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "the parent cannot be told: %s",
                            strerror(-r));
    } while (r >= 0);
    free(c.reach);
    return r;
}
