/* SPDX-License-Identifier: MIT */
/*
 * `lathe top`: the whole fleet at a glance, redrawn on a terminal.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "commands.h"
#include "fleet.h"
#include "jobs_view.h"
#include "lathe/base.h"
#include "table.h"

#define REDRAW_MS 2000
#define JOBS_MAX 200u

struct snapshot {
    struct lathe_worker_view *workers;
    size_t n_workers;
    struct lathe_job_view *jobs; /* that have not ended, the youngest first */
    size_t n_jobs;
    bool has_more;
};

static void clear(struct snapshot *s)
{
    lathe_worker_views_free(s->workers, s->n_workers);
    lathe_job_views_free(s->jobs, s->n_jobs);
    *s = (struct snapshot){0};
}

static int by_host(const void *a, const void *b)
{
    const struct lathe_worker_view *x = a, *y = b;
    int order = strcmp(x->host, y->host);
    return order ? order : strcmp(x->name, y->name);
}

static int look(struct lathe_state *state, struct snapshot *ret, struct lathe_error *err)
{
    uint64_t next = 0;
    int r = lathe_state_workers(state, &ret->workers, &ret->n_workers, err);
    if (r == 0)
        r = lathe_state_list(state, LATHE_JOBS_OPEN, 0, JOBS_MAX, &ret->jobs, &ret->n_jobs, &next,
                             err);
    if (r == 0 && ret->n_workers)
        qsort(ret->workers, ret->n_workers, sizeof *ret->workers, by_host);
    ret->has_more = next != 0;
    return r;
}

static json_t *to_json(const struct snapshot *s)
{
    json_t *workers = json_array(), *jobs = json_array();
    for (size_t i = 0; i < s->n_workers; i++)
        (void)json_array_append_new(workers, lathe_worker_json(&s->workers[i]));
    for (size_t i = 0; i < s->n_jobs; i++)
        (void)json_array_append_new(jobs, lathe_job_json(&s->jobs[i]));
    return json_pack("{s:o, s:o, s:b}", "workers", workers, "jobs", jobs, "more_jobs",
                     (int)s->has_more);
}

static void print_head(FILE *f, const struct snapshot *s)
{
    long long slots = 0, chunks = 0, done = 0;
    size_t busy = 0, draining = 0;
    for (size_t i = 0; i < s->n_workers; i++) {
        json_t *worker = lathe_worker_json(&s->workers[i]);
        size_t work = 0;
        slots += (long long)lathe_worker_slots(worker, &work);
        busy += work;
        draining += s->workers[i].drain;
        json_decref(worker);
    }
    for (size_t i = 0; i < s->n_jobs; i++) {
        chunks += s->jobs[i].total_chunks;
        done += s->jobs[i].completed_chunks;
    }
    fprintf(f,
            "%zu worker%s (%zu draining), %zu of %lld slots busy; %zu%s open jobs, %lld of %lld "
            "chunks done\n",
            s->n_workers, s->n_workers == 1 ? "" : "s", draining, busy, slots, s->n_jobs,
            s->has_more ? "+" : "", done, chunks);
}

static void print(FILE *f, const struct snapshot *s)
{
    json_t *workers = json_array(), *jobs = json_array();
    int64_t now_us = lathe_clock_wall_us();
    for (size_t i = 0; i < s->n_workers; i++)
        (void)json_array_append_new(workers, lathe_worker_row(&s->workers[i], now_us));
    for (size_t i = 0; i < s->n_jobs; i++)
        (void)json_array_append_new(jobs, lathe_job_row(&s->jobs[i], now_us));
    print_head(f, s);
    if (s->n_workers > 0) {
        fputc('\n', f);
        lathe_table_print(f, workers);
    }
    if (s->n_jobs > 0) {
        fputc('\n', f);
        lathe_table_print(f, jobs);
    }
    json_decref(workers);
    json_decref(jobs);
}

/* What of `text` the terminal has room for, on a cleared screen. */
static void show(const char *text)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    printf("\033[H");
    for (unsigned row = 0; *text && row + 1 < size.ws_row; row++) {
        size_t length = strcspn(text, "\n");
        printf("%.*s\033[K\n", (int)(length < size.ws_col ? length : size.ws_col), text);
        text += length + (text[length] == '\n');
    }
    printf("\033[J");
    fflush(stdout);
}

static int watch(struct lathe_state *state, struct lathe_error *err)
{
    int r = 0;
    printf("\033[?1049h\033[?25l"); /* the other screen, no cursor */
    while (r == 0 && !lathe_cancel_is_triggered(lathe_cli_cancel)) {
        struct snapshot s = {0};
        char *text = NULL;
        size_t size = 0;
        r = look(state, &s, err);
        FILE *f = r == 0 ? open_memstream(&text, &size) : NULL;
        if (f) {
            print(f, &s);
            if (fclose(f) == 0)
                show(text);
            free(text);
        }
        clear(&s);
        struct pollfd fd = {.fd = lathe_cancel_fd(lathe_cli_cancel), .events = POLLIN};
        if (r == 0)
            poll(&fd, 1, REDRAW_MS);
    }
    printf("\033[?25h\033[?1049l");
    return r;
}

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

int lathe_cli_top(const struct lathe_settings *settings)
{
    struct lathe_fleet fleet;
    struct lathe_error err = {0};
    struct snapshot s = {0};
    json_t *answer = NULL;
    int r = lathe_fleet_open(LATHE_FLEET_STATE, &fleet, &err);
    if (r == 0 && !settings->json && !settings->once && is_terminal()) {
        r = watch(fleet.flow.state, &err);
    } else if (r == 0) {
        r = look(fleet.flow.state, &s, &err);
        if (r == 0 && settings->json)
            answer = to_json(&s);
        else if (r == 0)
            print(stdout, &s);
    }
    clear(&s);
    lathe_fleet_close(&fleet);
    return lathe_fleet_answer(settings, answer, &err);
}
