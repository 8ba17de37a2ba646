/* SPDX-License-Identifier: MIT */
/*
 * The book-keeping of a Kafka topic's records.
 */
#include "kafka_window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_record(struct kafka_record *record)
{
    free(record->key);
    free(record->body);
    record->key = record->body = NULL;
}

void kafka_window_clear(struct kafka_window *w)
{
    for (size_t i = 0; i < w->n_partitions; i++) {
        for (size_t j = 0; j < w->partitions[i].count; j++)
            free_record(&w->partitions[i].records[j]);
        free(w->partitions[i].records);
    }
    free(w->partitions);
    *w = (struct kafka_window){0};
}

struct kafka_partition *kafka_window_partition(struct kafka_window *w, int32_t number)
{
    for (size_t i = 0; i < w->n_partitions; i++)
        if (w->partitions[i].number == number)
            return &w->partitions[i];
    struct kafka_partition *larger =
        realloc(w->partitions, (w->n_partitions + 1) * sizeof(*larger));
    if (!larger)
        return NULL;
    w->partitions = larger;
    larger[w->n_partitions] = (struct kafka_partition){.number = number};
    return &larger[w->n_partitions++];
}

/* What is done in a partition that was just assigned is kept until a first record says where its
 * reading begins, which may never come: it does not count. */
struct kafka_load kafka_window_load(const struct kafka_window *w)
{
    struct kafka_load load = {0};
    for (size_t i = 0; i < w->n_partitions; i++) {
        const struct kafka_partition *p = &w->partitions[i];
        if (!p->is_owned)
            continue;
        load.open += p->n_open;
        load.kept += p->is_fresh ? p->n_open : p->count;
    }
    return load;
}

static void forget_first(struct kafka_partition *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p->n_open -= p->records[i].state != RECORD_DONE;
        free_record(&p->records[i]);
    }
    p->count -= n;
    if (n)
        memmove(p->records, p->records + n, p->count * sizeof(*p->records));
}

static size_t first_from(const struct kafka_partition *p, int64_t offset)
{
    size_t i = p->count; /* nearly always the end */
    while (i > 0 && p->records[i - 1].offset >= offset)
        i--;
    return i;
}

int kafka_window_add(struct kafka_window *w, int32_t partition, int64_t offset, const char *key,
                     size_t key_length, const char *body, size_t body_length)
{
    struct kafka_partition *p = kafka_window_partition(w, partition);
    if (!p)
        return -ENOMEM;
    /* What lies before the first record after an assignment was finished by another owner. */
    if (p->is_fresh)
        forget_first(p, first_from(p, offset));
    /* Reading begins at what Kafka remembers, which may be long done here. When it goes back later,
     * these are other records: the topic was made anew. */
    if (p->is_fresh || offset <= p->last_read)
        p->done_until = 0;
    p->is_fresh = false;
    p->last_read = offset;
    if (offset < p->done_until)
        return 0;
    size_t at = first_from(p, offset);
    if (at < p->count && p->records[at].offset == offset)
        return 0;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 64;
        struct kafka_record *larger = realloc(p->records, capacity * sizeof(*larger));
        if (!larger)
            return -ENOMEM;
        p->records = larger;
        p->capacity = capacity;
    }
    struct kafka_record record = {.offset = offset,
                                  .state = body ? RECORD_READY : RECORD_DONE,
                                  .key = strndup(key ? key : "", key ? key_length : 0),
                                  .body = strndup(body ? body : "", body ? body_length : 0)};
    if (!record.key || !record.body) {
        free_record(&record);
        return -ENOMEM;
    }
    memmove(p->records + at + 1, p->records + at, (p->count - at) * sizeof(record));
    p->records[at] = record;
    p->count++;
    p->n_open += record.state != RECORD_DONE;
    return 0;
}

static struct kafka_record *find_ready(const struct kafka_window *w, int64_t now_us)
{
    for (size_t i = 0; i < w->n_partitions; i++) {
        struct kafka_partition *p = &w->partitions[i];
        for (size_t j = 0; p->is_owned && j < p->count; j++)
            if (p->records[j].state == RECORD_READY && p->records[j].due_us <= now_us)
                return &p->records[j];
    }
    return NULL;
}

bool kafka_window_waits(const struct kafka_window *w, int64_t now_us)
{
    return find_ready(w, now_us);
}

int kafka_window_take(struct kafka_window *w, int64_t now_us, struct lathe_message *ret)
{
    struct kafka_record *record = find_ready(w, now_us);
    if (!record)
        return 0;
    ret->body = strdup(record->body);
    if (!ret->body)
        return -ENOMEM;
    snprintf(ret->key, sizeof(ret->key), "%s", record->key);
    record->state = RECORD_TAKEN;
    ret->receipt = record->receipt = ++w->last_receipt;
    ret->deliveries = ++record->deliveries;
    return 1;
}

static struct kafka_record *find_taken(struct kafka_window *w, int64_t receipt,
                                       struct kafka_partition **ret)
{
    for (size_t i = 0; i < w->n_partitions; i++) {
        struct kafka_partition *p = &w->partitions[i];
        for (size_t j = 0; j < p->count; j++) {
            struct kafka_record *record = &p->records[j];
            if (record->state != RECORD_TAKEN || record->receipt != receipt)
                continue;
            *ret = p;
            return record;
        }
    }
    return NULL;
}

struct kafka_partition *kafka_window_done(struct kafka_window *w, int64_t receipt)
{
    struct kafka_partition *p;
    struct kafka_record *record = find_taken(w, receipt, &p);
    if (!record)
        return NULL;
    record->state = RECORD_DONE;
    p->n_open--;
    free_record(record);
    return p;
}

void kafka_window_release(struct kafka_window *w, int64_t receipt, int64_t due_us)
{
    struct kafka_partition *p;
    struct kafka_record *record = find_taken(w, receipt, &p);
    if (!record)
        return;
    record->state = RECORD_READY;
    record->due_us = due_us;
}

bool kafka_partition_advance(struct kafka_partition *p, int64_t *ret)
{
    size_t n = 0;
    /* Of somebody else's partition nothing may be stored; it is kept until it comes back. */
    while (p->is_owned && !p->is_fresh && n < p->count && p->records[n].state == RECORD_DONE)
        n++;
    if (n == 0)
        return false;
    *ret = p->done_until = p->records[n - 1].offset + 1;
    forget_first(p, n);
    return true;
}

int64_t kafka_partition_next(const struct kafka_partition *p)
{
    if (p->is_fresh)
        return -1;
    for (size_t i = 0; i < p->count; i++)
        if (p->records[i].state != RECORD_DONE)
            return p->records[i].offset;
    return p->done_until > p->last_read ? p->done_until : p->last_read + 1;
}
