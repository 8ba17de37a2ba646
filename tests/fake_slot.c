/* SPDX-License-Identifier: MIT */
/*
 * A fake lathe-slot, called what it is: it speaks the real protocol, makes up its results, and
 * misbehaves on request, so that the parent's side is tested without media and without luck.
 *
 *   LATHE_SLOT_FAKE      faults, separated by blanks: VERB:INDEX:FAULT[:TIMES]; INDEX may be "*";
 *                        FAULT "gpu-…" is for orders with a GPU only, and may be a verdict
 *   LATHE_SLOT_FAKE_CHUNKS  chunks of the plan, 4 if unset
 *   LATHE_SLOT_FAKE_LAG     chunks that one does not wait for, 3 if unset
 *   LATHE_SLOT_FAKE_CONTAINER  the name of what the source is, "fake" if unset
 *   LATHE_SLOT_FAKE_DIR  orders are written to "log" here; attempts that faulted are counted here
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <time.h>

#include "fake_slot.h"
#include "lathe/base.h"

void fake_must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "fake slot: something that cannot fail has failed: %s\n", strerror(errno));
        _exit(99);
    }
}

void fake_sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

void fake_send_json(json_t *json)
{
    fake_must(json != NULL);
    if (lathe_wire_write(LATHE_SLOT_FD, json) < 0)
        _exit(0); /* the parent is gone */
    json_decref(json);
}

static void send_raw(const void *data, size_t size)
{
    fake_must(write(LATHE_SLOT_FD, data, size) == (ssize_t)size);
}

static void send_progress(uint64_t frames)
{
    const struct lathe_progress progress = {.frames = frames, .bytes = frames * 100};
    json_t *json = NULL;
    fake_must(lathe_progress_to_json(&progress, &json) == 0);
    fake_send_json(json);
}

static void send_body(json_t *body)
{
    fake_must(body != NULL);
    struct lathe_report report = {.ok = true, .body = body};
    json_t *json = NULL;
    fake_must(lathe_report_to_json(&report, &json) == 0);
    fake_send_json(json);
    lathe_report_finish(&report);
}

void fake_send_failure(enum lathe_fault fault, enum lathe_hw_verdict verdict, const char *what)
{
    struct lathe_report report = {.ok = false};
    lathe_error_set(&report.err, -EBADMSG, fault, "%s", what);
    report.err.gpu_verdict = (int)verdict;
    json_t *json = NULL;
    fake_must(lathe_report_to_json(&report, &json) == 0);
    fake_send_json(json);
}

/* --- faults --- */

static void log_order(const struct lathe_order *order)
{
    const char *dir = getenv("LATHE_SLOT_FAKE_DIR");
    if (!dir)
        return;
    char path[4096], line[64];
    snprintf(path, sizeof path, "%s/log", dir);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    fake_must(fd >= 0);
    int n = snprintf(line, sizeof line, "%s %u%s\n", lathe_verb_name(order->verb), order->index,
                     order->packets_path ? " from packets" : "");
    fake_must(write(fd, line, (size_t)n) == n);
    close(fd);
}

/* A '+' at the beginning of each chunk's order, a '-' at its end, in "timeline". */
static void note_chunk(const struct lathe_order *order, char sign)
{
    const char *dir = getenv("LATHE_SLOT_FAKE_DIR");
    if (!dir || order->verb != LATHE_VERB_CHUNK)
        return;
    char path[4096];
    snprintf(path, sizeof path, "%s/timeline", dir);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    fake_must(fd >= 0 && write(fd, &sign, 1) == 1);
    close(fd);
}

/* Whether one more attempt may fault: `times` files can be made, each once. */
static bool take_turn(const struct lathe_order *order, const char *fault, int times)
{
    const char *dir = getenv("LATHE_SLOT_FAKE_DIR");
    fake_must(dir != NULL);
    for (int i = 0; i < times; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.%u.%s.%d", dir, lathe_verb_name(order->verb),
                 order->index, fault, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            close(fd);
            return true;
        }
    }
    return false;
}

/* The fault that this order gets, or "". */
static const char *fault_for(const struct lathe_order *order)
{
    static char list[1024];
    static char found[32];
    snprintf(list, sizeof list, "%s", getenv("LATHE_SLOT_FAKE") ? getenv("LATHE_SLOT_FAKE") : "");
    char *state = NULL;
    for (char *one = strtok_r(list, " ", &state); one; one = strtok_r(NULL, " ", &state)) {
        char verb[16], index[16], number[16];
        int times = 0;
        int n = sscanf(one, "%15[^:]:%15[^:]:%31[^:]:%d", verb, index, found, &times);
        fake_must(n >= 3);
        snprintf(number, sizeof number, "%u", order->index);
        if (strcmp(verb, lathe_verb_name(order->verb)) != 0 ||
            (strcmp(index, "*") != 0 && strcmp(index, number) != 0))
            continue;
        if (strncmp(found, "gpu-", 4) == 0 && order->gpu_family == LATHE_ENCODER_AUTO)
            continue;
        if (n < 4 || take_turn(order, found, times))
            return found;
    }
    return "";
}

/* "slow500" takes so many milliseconds, with progress. */
static void be_slow(const char *fault)
{
    int ms = 0;
    if (sscanf(fault, "slow%d", &ms) != 1)
        return;
    for (uint64_t frames = 1; ms > 0; ms -= 50) {
        send_progress(frames++);
        fake_sleep_ms(50);
    }
}

/* A process in a driver that waits for a dead GPU cannot be collected, whatever signal it gets.
 * Here another process stands for the driver: the kernel tells a tracer of the end first, and the
 * parent when the tracer is gone, which is when there is a file "unstick". */
static void get_stuck(void)
{
    char path[4096];
    int ready[2];
    fake_must(getenv("LATHE_SLOT_FAKE_DIR") && pipe(ready) == 0);
    snprintf(path, sizeof path, "%s/unstick", getenv("LATHE_SLOT_FAKE_DIR"));
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where only parents may trace */
    const pid_t slot = getpid();
    if (fork() == 0) {
        fake_must(setpgid(0, 0) == 0 && ptrace(PTRACE_SEIZE, slot, NULL, NULL) == 0);
        fake_must(write(ready[1], "", 1) == 1);
        for (int fd = 0; fd < 64; fd++)
            close(fd);
        for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++)
            fake_sleep_ms(10);
        _exit(0);
    }
    char byte;
    fake_must(read(ready[0], &byte, 1) == 1);
    for (;;)
        pause();
}

/* Faults after which no report follows, or not only one. */
void fake_misbehave(const char *fault)
{
    const unsigned char huge[4] = {0xff, 0xff, 0xff, 0xff};
    const unsigned char half[6] = {100, 0, 0, 0, '{', '"'};
    const unsigned char garbage[9] = {5, 0, 0, 0, '{', '[', 'n', 'o', '}'};
    const unsigned char shape[13] = {9, 0, 0, 0, '{', '"', 't', '"', ':', '"', 'x', '"', '}'};
    if (strcmp(fault, "crash") == 0) {
        fprintf(stderr, "first line\nthe fake says why\n");
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would turn it into an exit code */
        raise(SIGSEGV);
    } else if (strcmp(fault, "exit") == 0) {
        _exit(3);
    } else if (strcmp(fault, "oversize") == 0) {
        send_raw(huge, sizeof huge);
    } else if (strcmp(fault, "garbage") == 0) {
        send_raw(garbage, sizeof garbage);
    } else if (strcmp(fault, "shape") == 0) {
        send_raw(shape, sizeof shape);
    } else if (strcmp(fault, "half") == 0) {
        send_raw(half, sizeof half);
        _exit(0);
    } else if (strcmp(fault, "stop") == 0) {
        raise(SIGSTOP);
    } else if (strcmp(fault, "stuck") == 0) {
        get_stuck();
    } else if (strcmp(fault, "standing") == 0) {
        for (;;) { /* alive, talkative, and not getting anywhere */
            send_progress(7);
            fake_sleep_ms(50);
        }
    } else if (strcmp(fault, "close") == 0) {
        close(LATHE_SLOT_FD);
    } else {
        return;
    }
    for (;;)
        pause();
}

/* --- results --- */

static void serve(const struct lathe_order *order)
{
    const char *fault = fault_for(order);
    enum lathe_hw_verdict verdict;
    log_order(order);
    note_chunk(order, '+');
    fault += strncmp(fault, "gpu-", 4) == 0 ? 4 : 0;
    if (order->verb == LATHE_VERB_CHUNK && lathe_hw_verdict_from_name(fault, &verdict) == 0) {
        fake_send_failure(LATHE_FAULT_INTERNAL, verdict, "the fake GPU was told to fail");
        return;
    }
    if (strcmp(fault, "silent") == 0)
        for (;;)
            pause();
    send_progress(1);
    fake_misbehave(fault);
    be_slow(fault);
    if (strcmp(fault, "slow") == 0)
        for (uint64_t i = 2; i < 8; i++) {
            fake_sleep_ms(200);
            send_progress(i);
        }
    if (strcmp(fault, "long") == 0)
        for (uint64_t i = 2; i < 200; i++) {
            fake_sleep_ms(50);
            send_progress(i);
        }
    if (strcmp(fault, "endless") == 0) /* never stalls, and never ends by itself */
        for (uint64_t i = 2;; i++) {
            fake_sleep_ms(20);
            send_progress(i);
        }
    if (strcmp(fault, "input") == 0 || strcmp(fault, "internal") == 0) {
        fake_send_failure(lathe_fault_from_name(fault), LATHE_HW_UNTRIED,
                          "the fake was told to fail");
        return;
    }
    switch (order->verb) {
    case LATHE_VERB_SPLIT:
        send_body(fake_split(order));
        break;
    case LATHE_VERB_PILOT:
        send_body(fake_pilot(order));
        break;
    case LATHE_VERB_CHUNK: {
        json_t *body = fake_chunk(order, fault);
        note_chunk(order, '-');
        send_body(body);
        break;
    }
    case LATHE_VERB_AUDIO:
        send_body(fake_audio(order));
        break;
    case LATHE_VERB_MERGE: {
        json_t *body = fake_merge(order, fault);
        if (body)
            send_body(body);
        break;
    }
    case LATHE_VERB_CUT:
        send_body(fake_cut(order, fault));
        break;
    case LATHE_VERB_PROBE:
        send_body(fake_probe(order));
        break;
    case LATHE_VERB_ENCODERS:
        send_body(fake_encoders(strcmp(fault, "absent") != 0));
        break;
    default:
        send_body(fake_inspect());
        break;
    }
    if (strcmp(fault, "twice") == 0)
        send_body(fake_inspect());
    if (strcmp(fault, "linger") == 0) /* does not end when it should */
        for (;;)
            pause();
    if (strcmp(fault, "exit-after") == 0)
        _exit(4);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return 2; /* no template: each order gets a process */
    if (getenv("LATHE_SLOT_FAKE") && strcmp(getenv("LATHE_SLOT_FAKE"), "deaf") == 0)
        for (;;) /* never reads its order */
            pause();
    for (;;) {
        json_t *json = NULL;
        int r = lathe_wire_read(LATHE_SLOT_FD, &json, NULL);
        if (r == 0)
            return 0;
        fake_must(r == 1);
        struct lathe_order order;
        fake_must(lathe_order_from_json(json, &order, NULL) == 0);
        json_decref(json);
        serve(&order);
        lathe_order_finish(&order);
    }
}
