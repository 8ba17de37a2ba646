/* SPDX-License-Identifier: MIT */
/*
 * Arguments of scripts and commands as texts, and what is in their replies.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "redis_call.h"

/* --- arguments --- */

int redis_run(struct redis_link *link, enum redis_script script, redisReply **ret,
              struct lathe_error *err, const char *types, ...)
{
    const char *argv[REDIS_ARGS_MAX];
    size_t lengths[REDIS_ARGS_MAX];
    char numbers[REDIS_ARGS_MAX][32];
    int argc = 0;
    va_list args;
    va_start(args, types);
    for (; *types; types++, argc++) {
        char *number = numbers[argc];
        argv[argc] = number;
        if (*types == 's') {
            argv[argc] = va_arg(args, const char *);
        } else if (*types == 'i') {
            snprintf(number, sizeof(numbers[0]), "%" PRId64, va_arg(args, int64_t));
        } else if (*types == 'f') {
            uint64_t fence = va_arg(args, uint64_t);
            snprintf(number, sizeof(numbers[0]), "%" PRIu64 "-%" PRIu64, fence >> 32,
                     fence & UINT32_MAX);
        } else if (*types == 'u') {
            uint32_t unit = va_arg(args, uint32_t);
            if (unit == LATHE_UNIT_SPLIT || unit == LATHE_UNIT_MERGE)
                argv[argc] = unit == LATHE_UNIT_SPLIT ? "split" : "merge";
            else
                snprintf(number, sizeof(numbers[0]), "%" PRIu32, unit);
        } else {
            argv[argc] = va_arg(args, const void *);
            lengths[argc] = va_arg(args, size_t);
            continue;
        }
        lengths[argc] = strlen(argv[argc]);
    }
    va_end(args);
    return redis_link_call(link, script, argc, argv, lengths, ret, err);
}

/* --- replies --- */

int redis_malformed(struct lathe_error *err)
{
    return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                           "Redis gave an answer that this version of Lathe does not understand");
}

const char *redis_text_at(const redisReply *reply, size_t i)
{
    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements)
        return NULL;
    const redisReply *element = reply->element[i];
    return element->type == REDIS_REPLY_STRING ? element->str : NULL;
}

int64_t redis_number_at(const redisReply *reply, size_t i)
{
    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements)
        return 0;
    const redisReply *element = reply->element[i];
    if (element->type == REDIS_REPLY_INTEGER)
        return element->integer;
    return element->type == REDIS_REPLY_STRING ? strtoll(element->str, NULL, 10) : 0;
}

int redis_copy_at(const redisReply *reply, size_t i, char **ret, struct lathe_error *err)
{
    const char *text = redis_text_at(reply, i);
    *ret = text ? strdup(text) : NULL;
    return text && !*ret ? lathe_error_nomem(err) : 0;
}

int redis_parse_fence(const char *text, uint64_t *ret, const char **ret_end)
{
    char *end = NULL;
    uint64_t epoch = text ? strtoull(text, &end, 10) : 0;
    if (!text || *end != '-')
        return -EBADMSG;
    *ret = epoch << 32 | strtoull(end + 1, &end, 10);
    if (ret_end)
        *ret_end = end;
    return 0;
}

int redis_read_verdict(const redisReply *reply, const char *job_id, int nothing,
                       enum lathe_verdict *ret, struct lathe_error *err)
{
    const char *const names[] = {[LATHE_GRANTED] = "GRANTED", [LATHE_BUSY] = "BUSY",
                                 [LATHE_WAIT] = "WAIT",       [LATHE_DONE] = "DONE",
                                 [LATHE_GONE] = "GONE",       [LATHE_DUPLICATE] = "DUPLICATE",
                                 [LATHE_RETRY] = "RETRY",     [LATHE_EXHAUSTED] = "EXHAUSTED"};
    const char *name = redis_text_at(reply, 0);
    for (size_t i = 0; name && i < LATHE_COUNT(names); i++) {
        if (strcmp(name, names[i]))
            continue;
        *ret = (enum lathe_verdict)i;
        return 0;
    }
    if (name && strcmp(name, "STALE") == 0)
        return lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERRUPTED,
                               "this work on job %s was overtaken by a retry or another worker",
                               job_id);
    if (name && strcmp(name, "NONE") == 0)
        return lathe_error_set(err, nothing,
                               nothing == -ENOENT ? LATHE_FAULT_INPUT : LATHE_FAULT_INTERNAL,
                               "job %s has no such unit, or there is no such job", job_id);
    return redis_malformed(err);
}

struct lathe_unit redis_unit_at(const redisReply *reply, size_t i)
{
    return (struct lathe_unit){.kind = (enum lathe_unit_kind)redis_number_at(reply, i),
                               .index = (uint32_t)redis_number_at(reply, i + 1),
                               .needs_pilots = redis_number_at(reply, i + 2) != 0,
                               .needs_chunks = (uint32_t)redis_number_at(reply, i + 3)};
}
