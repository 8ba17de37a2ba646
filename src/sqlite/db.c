/* SPDX-License-Identifier: MIT */
/*
 * SQLite as the embedded drivers use it. WAL, so that readers never wait for the writer and a
 * killed process leaves a file that the next one opens as it was after the last commit. Writers use
 * BEGIN IMMEDIATE: a transaction that reads first and writes later could fail half-way with
 * SQLITE_BUSY_SNAPSHOT when another process wrote in between.
 */
#include "db.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "lathe/base.h"

#define BUSY_TIMEOUT_MS 30000

static int sql_error(struct lathe_db *db, int rc, const char *what, struct lathe_error *err)
{
    const char *text = db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc);
    const char *path = db->sql ? sqlite3_db_filename(db->sql, NULL) : NULL;
    int code = -EIO;
    enum lathe_fault fault = LATHE_FAULT_INTERNAL;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return lathe_error_nomem(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = -EAGAIN;
        fault = LATHE_FAULT_RESOURCE;
        break;
    case SQLITE_FULL:
        code = -ENOSPC;
        fault = LATHE_FAULT_RESOURCE;
        break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        code = -EACCES;
        fault = LATHE_FAULT_INPUT;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        code = -EBADMSG;
        fault = LATHE_FAULT_INPUT;
        break;
    default:
        break;
    }
    return lathe_error_set(err, code, fault, "%s: %s (%s)", what, text, path ? path : "database");
}

static int exec(struct lathe_db *db, const char *text, struct lathe_error *err)
{
    int rc = sqlite3_exec(db->sql, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sql_error(db, rc, "database statement failed", err);
}

static int read_pragma(struct lathe_db *db, const char *text, int64_t *ret, struct lathe_error *err)
{
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(db->sql, text, -1, &row, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(row, 0);
    int r = rc == SQLITE_ROW ? 0 : sql_error(db, rc, "cannot read the database", err);
    sqlite3_finalize(row);
    return r;
}

/* The busy handler is not asked while a file is switched to WAL, so the wait is done here. */
static int switch_to_wal(struct lathe_db *db, struct lathe_error *err)
{
    int64_t deadline_us = lathe_clock_monotonic_us() + BUSY_TIMEOUT_MS * 1000LL;
    for (;;) {
        int rc = sqlite3_exec(db->sql, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            return 0;
        if ((rc & 0xff) != SQLITE_BUSY || lathe_clock_monotonic_us() > deadline_us)
            return sql_error(db, rc, "cannot open the database", err);
        sqlite3_sleep(5);
    }
}

static int check_schema(struct lathe_db *db, const char *path, struct lathe_error *err)
{
    int64_t version = 0, application = 0;
    int r = read_pragma(db, "PRAGMA user_version", &version, err);
    if (r == 0)
        r = read_pragma(db, "PRAGMA application_id", &application, err);
    if (r < 0)
        return r;
    if (version == 0 && application == 0) {
        _cleanup_free_ char *stamp =
            lathe_format("PRAGMA user_version=%d; PRAGMA application_id=%d", db->schema->version,
                         (int)db->schema->application_id);
        if (!stamp)
            return lathe_error_nomem(err);
        r = exec(db, db->schema->create, err);
        return r < 0 ? r : exec(db, stamp, err);
    }
    if (application != db->schema->application_id) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s is the database of something else",
                        path);
        lathe_error_hint(err, "give each database a file of its own");
        return -EINVAL;
    }
    if (version != db->schema->version) {
        lathe_error_set(err, -EPROTO, LATHE_FAULT_CONFIG,
                        "%s has format %d, this version of Lathe uses %d", path, (int)version,
                        db->schema->version);
        lathe_error_hint(err, "finish its jobs with the version that made it, then remove it");
        return -EPROTO;
    }
    return 0;
}

static void sql_holder_is_alive(sqlite3_context *context, int n_args, sqlite3_value **args)
{
    (void)n_args;
    const struct lathe_presence *presence = sqlite3_user_data(context);
    sqlite3_result_int(context,
                       lathe_presence_is_alive(presence, sqlite3_value_int64(args[0])) ? 1 : 0);
}

static int make_parent(const char *path, struct lathe_error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    _cleanup_free_ char *dir = strndup(path, (size_t)(slash - path));
    return dir ? lathe_mkdir_p(dir, err) : lathe_error_nomem(err);
}

int lathe_db_open(struct lathe_db *db, const char *path, const struct lathe_db_schema *schema,
                  struct lathe_error *err)
{
    db->schema = schema;
    db->presence.fd = -1;
    int r = -pthread_mutex_init(&db->mutex, NULL);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot make a mutex");
    db->has_mutex = true;
    db->prepared = calloc((size_t)schema->n_statements, sizeof(*db->prepared));
    _cleanup_free_ char *presence_path = lathe_format("%s-holders", path);
    if (!db->prepared || !presence_path)
        return lathe_error_nomem(err);
    r = make_parent(path, err);
    if (r < 0)
        return r;

    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &db->sql, flags, NULL);
    if (rc != SQLITE_OK)
        return sql_error(db, rc, "cannot open the database", err);
    sqlite3_extended_result_codes(db->sql, 1);
    sqlite3_busy_timeout(db->sql, BUSY_TIMEOUT_MS);
    rc = sqlite3_create_function(db->sql, "holder_is_alive", 1, SQLITE_UTF8, &db->presence,
                                 sql_holder_is_alive, NULL, NULL);
    if (rc != SQLITE_OK)
        return sql_error(db, rc, "cannot open the database", err);
    r = lathe_presence_open(&db->presence, presence_path, err);
    if (r == 0)
        r = switch_to_wal(db, err);
    if (r == 0)
        r = exec(db, "PRAGMA synchronous=FULL", err);
    if (r < 0)
        return r;
    db->is_full_sync = true;
    r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    return r < 0 ? r : lathe_db_end(db, check_schema(db, path, err), err);
}

void lathe_db_close(struct lathe_db *db)
{
    for (int i = 0; db->prepared && i < db->schema->n_statements; i++)
        sqlite3_finalize(db->prepared[i]);
    free(db->prepared);
    db->prepared = NULL;
    sqlite3_close(db->sql);
    db->sql = NULL;
    /* The descriptor is 0 in a handle that was never opened. */
    if (db->has_mutex) {
        lathe_presence_close(&db->presence);
        pthread_mutex_destroy(&db->mutex);
    }
    db->has_mutex = false;
}

int lathe_db_begin(struct lathe_db *db, enum lathe_db_mode mode, struct lathe_error *err)
{
    pthread_mutex_lock(&db->mutex);
    bool full = mode == LATHE_DB_DURABLE;
    int r = 0;
    if (mode != LATHE_DB_READ && full != db->is_full_sync) {
        r = exec(db, full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err);
        if (r == 0)
            db->is_full_sync = full;
    }
    if (r == 0)
        r = exec(db, mode == LATHE_DB_READ ? "BEGIN" : "BEGIN IMMEDIATE", err);
    if (r < 0)
        pthread_mutex_unlock(&db->mutex);
    return r;
}

int lathe_db_end(struct lathe_db *db, int r, struct lathe_error *err)
{
    for (int i = 0; i < db->schema->n_statements; i++)
        if (db->prepared[i])
            sqlite3_reset(db->prepared[i]);
    if (r >= 0) {
        int committed = exec(db, "COMMIT", err);
        if (committed < 0)
            r = committed;
    }
    /* Some failures roll back by themselves, so the state of the connection is asked. */
    if (!sqlite3_get_autocommit(db->sql))
        sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&db->mutex);
    return r;
}

static int bind_all(sqlite3_stmt *stmt, const char *types, va_list args)
{
    int rc = SQLITE_OK;
    for (int i = 1; *types && rc == SQLITE_OK; types++, i++) {
        if (*types == 'i') {
            rc = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
        } else {
            const char *text = va_arg(args, const char *);
            rc = text ? sqlite3_bind_text(stmt, i, text, -1, SQLITE_STATIC)
                      : sqlite3_bind_null(stmt, i);
        }
    }
    return rc;
}

static int start(struct lathe_db *db, struct lathe_error *err, int statement, const char *types,
                 va_list args, sqlite3_stmt **ret)
{
    sqlite3_stmt **slot = &db->prepared[statement];
    int rc = SQLITE_OK;
    if (*slot)
        sqlite3_reset(*slot);
    else
        rc = sqlite3_prepare_v3(db->sql, db->schema->statements[statement], -1,
                                SQLITE_PREPARE_PERSISTENT, slot, NULL);
    if (rc == SQLITE_OK)
        rc = bind_all(*slot, types, args);
    if (rc != SQLITE_OK)
        return sql_error(db, rc, "database statement failed", err);
    *ret = *slot;
    return 0;
}

int lathe_db_next(struct lathe_db *db, struct lathe_error *err, sqlite3_stmt *row)
{
    int rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : sql_error(db, rc, "database statement failed", err);
}

int lathe_db_query(struct lathe_db *db, struct lathe_error *err, int statement,
                   sqlite3_stmt **ret_row, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    int r = start(db, err, statement, types, args, ret_row);
    va_end(args);
    return r < 0 ? r : lathe_db_next(db, err, *ret_row);
}

int lathe_db_run(struct lathe_db *db, struct lathe_error *err, int statement, const char *types,
                 ...)
{
    sqlite3_stmt *stmt = NULL;
    va_list args;
    va_start(args, types);
    int r = start(db, err, statement, types, args, &stmt);
    va_end(args);
    if (r == 0)
        r = lathe_db_next(db, err, stmt);
    if (r < 0)
        return r;
    sqlite3_reset(stmt);
    return sqlite3_changes(db->sql);
}

int lathe_db_text(sqlite3_stmt *row, int column, char **ret, struct lathe_error *err)
{
    const unsigned char *text = sqlite3_column_text(row, column);
    if (!text) {
        *ret = NULL;
        return 0;
    }
    char *copy = strdup((const char *)text);
    if (!copy)
        return lathe_error_nomem(err);
    *ret = copy;
    return 0;
}
