/* SPDX-License-Identifier: MIT */
/*
 * What the embedded queue and state need from SQLite: one connection guarded by a mutex, short
 * transactions, prepared statements by number, and errors in Lathe's terms.
 *
 * Several processes may open the same file; each opens its own handle (also after fork).
 * Threads: lathe_db_begin … lathe_db_end hold the handle's mutex; everything else that takes a
 * `struct lathe_db` is called between the two.
 */
#ifndef LATHE_DB_H
#define LATHE_DB_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>

#include "lathe/error.h"
#include "presence.h"

struct lathe_db_schema {
    int32_t application_id; /* tells a state's file from a queue's */
    int version;
    const char *create;            /* statements that make an empty file version `version` */
    const char *const *statements; /* prepared on first use, addressed by their number */
    int n_statements;
};

struct lathe_db {
    sqlite3 *sql;
    pthread_mutex_t mutex;
    bool has_mutex;
    bool is_full_sync;
    const struct lathe_db_schema *schema;
    sqlite3_stmt **prepared;
    struct lathe_presence presence;
};

enum lathe_db_mode {
    LATHE_DB_READ,    /* a consistent snapshot */
    LATHE_DB_FAST,    /* survives the death of this process; may be lost in a power cut */
    LATHE_DB_DURABLE, /* survives a power cut */
};

/* `db` is zeroed; it can be closed after a failure too. Makes the file and its folder if missing.
 * SQL may call holder_is_alive(token). */
int lathe_db_open(struct lathe_db *db, const char *path, const struct lathe_db_schema *schema,
                  struct lathe_error *err);
void lathe_db_close(struct lathe_db *db);

int lathe_db_begin(struct lathe_db *db, enum lathe_db_mode mode, struct lathe_error *err);
/* Commits when `r` is not negative, else rolls back. Returns `r`, or the failure of the commit. */
int lathe_db_end(struct lathe_db *db, int r, struct lathe_error *err);

/* Binds and steps. `types` has a letter for each argument: i = int64_t, s = const char * (NULL is
 * SQL NULL). Strings must live until the next call with the same number.
 * Returns 1 with a row in *ret_row, 0 when there is none. */
int lathe_db_query(struct lathe_db *db, struct lathe_error *err, int statement,
                   sqlite3_stmt **ret_row, const char *types, ...);
/* Steps a query on: 1, 0 or a failure. */
int lathe_db_next(struct lathe_db *db, struct lathe_error *err, sqlite3_stmt *row);
/* Runs a statement without rows; returns the number of rows changed. */
int lathe_db_run(struct lathe_db *db, struct lathe_error *err, int statement, const char *types,
                 ...);
/* A malloc'd copy of a text column; *ret is NULL for SQL NULL. */
int lathe_db_text(sqlite3_stmt *row, int column, char **ret, struct lathe_error *err);

#endif
