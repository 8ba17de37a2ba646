/* SPDX-License-Identifier: MIT */
/*
 * Supervision of slots. A thread cannot be rescued from a hung driver, so hangs are the parent's
 * business: no more progress, then the process is killed, and never waited for without a limit.
 */
#include "lathe/pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "books.h"
#include "lathe/base.h"

#define EXIT_GRACE_MS 10000 /* for an orderly end after the report */
#define KILL_GRACE_MS 3000  /* SIGKILL works at once, or the process is stuck in the kernel */

static double stall_seconds(const struct lathe_pool_options *options)
{
    if (options && options->stall_seconds > 0)
        return options->stall_seconds;
    const char *text = getenv("LATHE_STALL_SECONDS");
    if (text && *text) {
        char *end;
        double value = strtod(text, &end);
        if (*end == '\0' && value >= 0.1 && value <= 86400)
            return value;
    }
    return LATHE_STALL_SECONDS_DEFAULT;
}

int lathe_pool_create(const struct lathe_pool_options *options, struct lathe_pool **ret,
                      struct lathe_error *err)
{
    struct lathe_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return lathe_error_nomem(err);
    int r = 0;
    if (options && options->slot_path) {
        pool->slot_path = strdup(options->slot_path);
        if (!pool->slot_path)
            r = lathe_error_nomem(err);
    } else {
        r = lathe_pool_find_slot(&pool->slot_path, err);
    }
    if (r < 0) {
        free(pool);
        return r;
    }
    pool->stall_us = (int64_t)(stall_seconds(options) * 1e6);
    pthread_mutex_init(&pool->lock, NULL);
    if (options && options->many_orders)
        pool->template = lathe_template_create(pool->slot_path);
    *ret = pool;
    return 0;
}

void lathe_pool_destroy(struct lathe_pool *pool)
{
    if (!pool)
        return;
    lathe_pool_cool(pool, 0);
    while (pool->live) {
        struct lathe_live *gone = pool->live;
        pool->live = gone->next;
        free(gone);
    }
    lathe_template_destroy(pool->template);
    pthread_mutex_destroy(&pool->lock);
    free(pool->slot_path);
    free(pool);
}

/* "chunk 12", "merge of rendition 1", "split". */
static void order_label(const struct lathe_order *order, char *label, size_t size)
{
    if (order->verb == LATHE_VERB_CHUNK || order->verb == LATHE_VERB_PILOT ||
        order->verb == LATHE_VERB_MERGE)
        snprintf(label, size, "%s %u", lathe_verb_name(order->verb), order->index);
    else
        snprintf(label, size, "%s", lathe_verb_name(order->verb));
}

struct watch {
    struct lathe_pool *pool;
    struct lathe_process *process;
    lathe_pool_progress progress;
    void *opaque;
    struct lathe_cancel *cancel;
    struct lathe_progress last;
    int64_t idle_us; /* without progress, as far as this thread was awake to see it */
    bool reported;
    struct lathe_report report;
};

/* Takes every whole message that has arrived. */
static int read_messages(struct watch *watch, struct lathe_error *err)
{
    for (;;) {
        struct lathe_slot_message message = {0};
        int r = lathe_channel_next(&watch->process->channel, &message, err);
        if (r <= 0)
            return r;
        if (watch->reported) {
            if (message.type == LATHE_SLOT_REPORT)
                lathe_report_finish(&message.report);
            return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                                   "it went on talking after its report");
        }
        if (message.type == LATHE_SLOT_REPORT) {
            watch->report = message.report;
            watch->reported = true;
        } else {
            const struct lathe_progress *now = &message.progress;
            if (now->has_file || now->frames > watch->last.frames ||
                now->bytes > watch->last.bytes) {
                watch->idle_us = 0;
                watch->last = *now;
                r = watch->progress ? watch->progress(watch->opaque, now) : 0;
                if (r < 0)
                    return lathe_error_set(err, r, LATHE_FAULT_INTERNAL,
                                           "what it made could not be taken");
            }
        }
    }
}

/* Until a report, the end of the channel, a stall, or a cancel. 0 only with a report. */
static int watch_order(struct watch *watch, struct lathe_error *err)
{
    struct lathe_channel *channel = &watch->process->channel;
    int64_t before_us = lathe_clock_monotonic_us();
    while (!watch->reported) {
        int r = lathe_channel_flush(channel);
        if (r < 0)
            return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "its order cannot be sent: %s",
                                   strerror(-r));
        struct pollfd fds[3] = {
            {.fd = channel->fd,
             .events = (short)(POLLIN | (lathe_channel_pending(channel) ? POLLOUT : 0))},
            {.fd = watch->process->stderr_fd, .events = POLLIN},
            {.fd = watch->cancel ? lathe_cancel_fd(watch->cancel) : -1, .events = POLLIN},
        };
        if (poll(fds, 3, LATHE_TICK_MS) < 0 && errno != EINTR)
            return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "poll: %s", strerror(errno));
        if (lathe_cancel_is_triggered(watch->cancel))
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");

        /* Time that this thread slept through (a stopped parent, a suspended machine) says nothing
         * about the slot, so no more than two ticks are counted at a time. */
        int64_t now_us = lathe_clock_monotonic_us();
        int64_t passed_us = now_us - before_us;
        before_us = now_us;
        watch->idle_us +=
            passed_us < 2 * LATHE_TICK_MS * 1000 ? passed_us : 2 * LATHE_TICK_MS * 1000;

        lathe_process_read_stderr(watch->process);
        r = lathe_channel_fill(channel);
        if (r < 0)
            return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "its socket: %s", strerror(-r));
        r = read_messages(watch, err);
        if (r < 0)
            return r;
        if (watch->reported)
            return 0;
        if (channel->ended)
            return -ECONNABORTED; /* the exit status says why */
        if (watch->idle_us >= watch->pool->stall_us)
            return lathe_error_set(err, -ETIMEDOUT, LATHE_FAULT_INTERNAL,
                                   "it made no progress for %.0f s and was killed",
                                   (double)watch->pool->stall_us / 1e6);
        pthread_mutex_lock(&watch->pool->lock);
        lathe_books_sample(watch->pool);
        pthread_mutex_unlock(&watch->pool->lock);
    }
    return 0;
}

/* After the report: no more orders, so the slot ends; anything it still says is one word too much.
 */
static int see_off(struct watch *watch, struct lathe_error *err)
{
    struct lathe_process *process = watch->process;
    shutdown(process->channel.fd, SHUT_WR);
    if (!lathe_process_wait(process, EXIT_GRACE_MS))
        return lathe_error_set(err, -ETIMEDOUT, LATHE_FAULT_INTERNAL,
                               "it did not end after its report and was killed");
    int r = lathe_channel_fill(&process->channel);
    if (r == 0)
        r = read_messages(watch, err);
    if (r < 0)
        return r;
    if (process->channel.in_size > 0)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "it sent half a message after its report");
    /* Drivers are known to crash in their exit handlers, after everything was written; a plain
     * non-zero exit is the slot's own word that something is wrong. */
    if (WIFEXITED(process->status) && WEXITSTATUS(process->status) != 0)
        return -ECONNABORTED;
    return 0;
}

static int crashed(struct lathe_process *process, struct lathe_error *err)
{
    const char *words = lathe_process_last_words(process);
    const char *sep = *words ? ": " : "";
    if (!process->ended)
        return lathe_error_set(err, -ECONNABORTED, LATHE_FAULT_INTERNAL,
                               "lathe-slot closed its socket and cannot be killed");
    if (WIFSIGNALED(process->status)) {
        int signal = WTERMSIG(process->status);
        lathe_error_set(err, -ECONNABORTED, LATHE_FAULT_INTERNAL,
                        "lathe-slot was ended by signal %d (%s)%s%.200s", signal, strsignal(signal),
                        sep, words);
        if (signal == SIGKILL)
            lathe_error_hint(err, "if memory ran out, fewer slots need less of it (--slots)");
        return -ECONNABORTED;
    }
    return lathe_error_set(err, -ECONNABORTED, LATHE_FAULT_INTERNAL,
                           "lathe-slot ended with exit code %d %s report%s%.200s",
                           WEXITSTATUS(process->status), "instead of an orderly", sep, words);
}

static int take_report(struct watch *watch, json_t **ret_body, struct lathe_error *err)
{
    struct lathe_report *report = &watch->report;
    if (report->ok) {
        *ret_body = report->body;
        report->body = NULL;
        return 0;
    }
    int code = report->err.code < 0 ? report->err.code : -EIO;
    if (err) {
        *err = report->err;
        err->code = code;
    }
    return code;
}

static void end_warm(struct lathe_pool *pool, struct lathe_warm *warm)
{
    struct lathe_live *live = warm->live;
    struct lathe_process process;
    lathe_warm_end(warm, &process);
    lathe_books_settle(pool, &process, live, NULL);
    lathe_process_finish(&process);
}

/* Without waiting under the lock; see lathe_warm_take_old(). */
static void end_old(struct lathe_pool *pool, int64_t since_us, const char *device)
{
    struct lathe_warm *warm;
    do {
        pthread_mutex_lock(&pool->lock);
        warm = lathe_warm_take_old(&pool->warm, since_us, device);
        pthread_mutex_unlock(&pool->lock);
        if (warm)
            end_warm(pool, warm);
    } while (warm);
}

void lathe_pool_cool(struct lathe_pool *pool, double idle_seconds)
{
    end_old(pool, lathe_clock_monotonic_us() - (int64_t)(idle_seconds * 1e6), NULL);
}

/* A child for one order, and how many it has done before. */
struct child {
    struct lathe_process process;
    struct lathe_live *live;
    unsigned orders;
};

/* One that waits warm, unless it has ended meanwhile. */
static bool take_warm(struct lathe_pool *pool, const char *reach, struct child *ret)
{
    pthread_mutex_lock(&pool->lock);
    struct lathe_warm *warm = lathe_warm_take(&pool->warm, reach);
    pthread_mutex_unlock(&pool->lock);
    if (warm && lathe_process_wait(&warm->process, 0)) {
        end_warm(pool, warm);
        warm = NULL;
    }
    if (!warm)
        return false;
    *ret = (struct child){.process = warm->process, .live = warm->live, .orders = warm->orders};
    free(warm->reach);
    free(warm);
    return true;
}

static int begin(struct lathe_pool *pool, const struct lathe_order *order, const char *reach,
                 struct child *ret, struct lathe_error *err)
{
    if (reach && take_warm(pool, reach, ret))
        return 0;
    if (order->gpu_path) { /* its memory is wanted by another job, or by a probe */
        _cleanup_free_ char *device =
            lathe_format("%s %s\n", lathe_encoder_name(order->gpu_family), order->gpu_path);
        end_old(pool, lathe_clock_monotonic_us(), device);
    }
    *ret = (struct child){.live = calloc(1, sizeof *ret->live)};
    int r = ret->live ? lathe_process_start(&ret->process, pool->slot_path, pool->template, err)
                      : lathe_error_nomem(err);
    if (r < 0) {
        free(ret->live);
        return r;
    }
    ret->live->pid = ret->process.pid;
    ret->live->gpu_family = order->gpu_family;
    snprintf(ret->live->gpu_path, sizeof ret->live->gpu_path, "%s",
             order->gpu_path ? order->gpu_path : "");
    pthread_mutex_lock(&pool->lock);
    lathe_books_collect(pool);
    ret->live->next = pool->live;
    pool->live = ret->live;
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

/* Whether the child, which has done its order well, now waits for another one. */
static bool keep_warm(struct lathe_pool *pool, struct child *child, const char *reach)
{
    if (!reach || child->orders + 1 >= LATHE_WARM_ORDERS || child->process.channel.in_size > 0)
        return false;
    struct lathe_warm *warm = malloc(sizeof *warm);
    char *copy = warm ? strdup(reach) : NULL;
    if (!copy) {
        free(warm);
        return false;
    }
    *warm = (struct lathe_warm){.process = child->process,
                                .live = child->live,
                                .reach = copy,
                                .orders = child->orders + 1,
                                .since_us = lathe_clock_monotonic_us()};
    pthread_mutex_lock(&pool->lock);
    warm->next = pool->warm;
    pool->warm = warm;
    pthread_mutex_unlock(&pool->lock);
    return true;
}

/* The end of a child: in order after a report, else by force. */
static int end_child(struct watch *watch, struct child *child, int r, struct lathe_usage *usage,
                     struct lathe_error *err)
{
    struct lathe_process *process = &child->process;
    if (r == 0)
        r = see_off(watch, err);
    if (r == -ECONNABORTED && !process->ended)
        lathe_process_wait(process, KILL_GRACE_MS); /* it closed its end: mostly dead already */
    if (!process->ended) {
        lathe_process_kill(process);
        lathe_process_wait(process, KILL_GRACE_MS);
    }
    if (r == -ECONNABORTED)
        crashed(process, err);
    if (r == -ECONNABORTED || !process->ended || WIFSIGNALED(process->status))
        lathe_template_replace(watch->pool->template);
    lathe_books_settle(watch->pool, process, child->live, usage);
    lathe_process_finish(process);
    return r;
}

int lathe_pool_run(struct lathe_pool *pool, const struct lathe_order *order,
                   lathe_pool_progress progress, void *opaque, struct lathe_cancel *cancel,
                   json_t **ret_body, struct lathe_usage *usage, struct lathe_error *err)
{
    char label[64];
    order_label(order, label, sizeof label);
    if (lathe_cancel_is_triggered(cancel))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");

    json_t *json = NULL;
    if (lathe_order_to_json(order, &json) < 0)
        return lathe_error_nomem(err);
    _cleanup_free_ char *reach = lathe_order_reach(order);
    struct child child;
    int r = begin(pool, order, reach, &child, err);
    if (r < 0) {
        json_decref(json);
        return r;
    }
    struct watch watch = {.pool = pool,
                          .process = &child.process,
                          .progress = progress,
                          .opaque = opaque,
                          .cancel = cancel};
    struct lathe_error why = {0};
    r = lathe_channel_queue(&child.process.channel, json);
    json_decref(json);
    if (r < 0)
        lathe_error_set(&why, r, LATHE_FAULT_RESOURCE, "its order cannot be written: %s",
                        strerror(-r));
    else
        r = watch_order(&watch, &why);
    if (!(r == 0 && watch.report.ok && keep_warm(pool, &child, reach)))
        r = end_child(&watch, &child, r, usage, &why);

    if (r == 0)
        r = take_report(&watch, ret_body, &why);
    lathe_report_finish(&watch.report);
    if (r == -EPROTO)
        lathe_error_prefix(&why, "lathe-slot broke the protocol");
    /* Of a bad source it matters where it is bad, not who noticed. */
    if (r < 0 && why.fault != LATHE_FAULT_INTERRUPTED && why.fault != LATHE_FAULT_INPUT)
        lathe_error_prefix(&why, "%s", label);
    if (r < 0 && err)
        *err = why;
    return r;
}
