/* SPDX-License-Identifier: MIT */
/*
 * `lathe list`: jobs, the youngest first, a page at a time.
 */
#include <errno.h>
#include <stdio.h>

#include "commands.h"
#include "fleet.h"
#include "jobs_view.h"
#include "lathe/base.h"
#include "table.h"

#define LIMIT 20

struct page {
    struct lathe_job_view *jobs;
    size_t count;
    uint64_t next; /* cursor of what follows; 0: nothing does */
};

static json_t *to_json(const struct page *page)
{
    json_t *list = json_array();
    for (size_t i = 0; i < page->count; i++)
        (void)json_array_append_new(list, lathe_job_json(&page->jobs[i]));
    json_t *next = page->next ? json_sprintf("%llu", (unsigned long long)page->next) : json_null();
    return json_pack("{s:o, s:o}", "jobs", list, "next", next);
}

static void print(const struct page *page)
{
    if (page->count == 0) {
        printf("no jobs\n");
        return;
    }
    json_t *rows = json_array();
    int64_t now_us = lathe_clock_wall_us();
    for (size_t i = 0; i < page->count; i++)
        (void)json_array_append_new(rows, lathe_job_row(&page->jobs[i], now_us));
    lathe_table_print(stdout, rows);
    json_decref(rows);
    if (page->next)
        printf("more: lathe list --from %llu\n", (unsigned long long)page->next);
}

static int read_cursor(const char *text, uint64_t *ret, struct lathe_error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long cursor = text ? strtoull(text, &end, 10) : 0;
    if (text && (errno || end == text || *end || cursor > INT64_MAX))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "--from: \"%.60s\" is not where a list ended", text);
    *ret = cursor;
    return 0;
}

int lathe_cli_list(const struct lathe_settings *settings)
{
    struct lathe_fleet fleet;
    struct lathe_error err = {0};
    struct page page = {0};
    json_t *answer = NULL;
    uint64_t cursor = 0;
    uint32_t limit = settings->limit ? (uint32_t)settings->limit : LIMIT;
    int r = lathe_fleet_open(LATHE_FLEET_STATE | LATHE_FLEET_DOOR, &fleet, &err);
    if (r == 0)
        r = read_cursor(settings->from, &cursor, &err);
    if (r == 0)
        r = lathe_fleet_list(&fleet, (enum lathe_job_filter)settings->filter, cursor, limit,
                             &page.jobs, &page.count, &page.next, &err);
    if (r == 0 && settings->json)
        answer = to_json(&page);
    else if (r == 0)
        print(&page);
    lathe_job_views_free(page.jobs, page.count);
    lathe_fleet_close(&fleet);
    return lathe_fleet_answer(settings, answer, &err);
}
