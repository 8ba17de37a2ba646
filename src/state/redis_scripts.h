/* SPDX-License-Identifier: MIT */
/*
 * The Lua scripts of the Redis state, one for each transition. They are files of their own in lua/
 * and are built into the driver, so that a worker needs no files beside it and all workers of one
 * version run the same text.
 */
#ifndef LATHE_REDIS_SCRIPTS_H
#define LATHE_REDIS_SCRIPTS_H

#define REDIS_SCRIPTS(X)                                                                           \
    X(create)                                                                                      \
    X(claim_split)                                                                                 \
    X(set_units)                                                                                   \
    X(stored)                                                                                      \
    X(claim)                                                                                       \
    X(claim_next)                                                                                  \
    X(renew)                                                                                       \
    X(complete)                                                                                    \
    X(attempt_failed)                                                                              \
    X(release)                                                                                     \
    X(merge_claim)                                                                                 \
    X(merge_commit)                                                                                \
    X(reopen)                                                                                      \
    X(replan)                                                                                      \
    X(finish)                                                                                      \
    X(retry)                                                                                       \
    X(results)                                                                                     \
    X(remove)                                                                                      \
    X(list)                                                                                        \
    X(units)                                                                                       \
    X(beat)                                                                                        \
    X(leave)                                                                                       \
    X(workers)                                                                                     \
    X(drain)

#define REDIS_SCRIPT_NUMBER(name) SCRIPT_##name,
enum redis_script { REDIS_SCRIPTS(REDIS_SCRIPT_NUMBER) SCRIPT_COUNT, SCRIPT_NONE };

extern const char lathe_redis_lua_common[]; /* comes before each of them */
#define REDIS_SCRIPT_TEXT(name) extern const char lathe_redis_lua_##name[];
REDIS_SCRIPTS(REDIS_SCRIPT_TEXT)

#endif
