/* SPDX-License-Identifier: MIT */
/*
 * The state of one host in one SQLite file: its tables, its statements and the driver.
 *
 * The transitions are those of protocol.md. Whether a unit's needs are met is kept in the rows
 * (blocked or open) and partial indexes list the open, leased and unfinished ones, so that no call
 * but publishing, listing and ending looks at all units of a job.
 */
#include "db.h"
#include "drivers.h"
#include "sqlite_state.h"

static const char create_schema[] =
    "CREATE TABLE jobs("
    "  n INTEGER PRIMARY KEY," /* grows: the age */
    "  id TEXT NOT NULL UNIQUE,"
    "  priority INTEGER NOT NULL,"
    "  status INTEGER NOT NULL DEFAULT 0,"
    "  epoch INTEGER NOT NULL DEFAULT 1,"
    "  counter INTEGER NOT NULL DEFAULT 0,"
    "  is_planned INTEGER NOT NULL DEFAULT 0,"
    "  total_units INTEGER NOT NULL DEFAULT 0,"
    "  total_chunks INTEGER NOT NULL DEFAULT 0,"
    "  done_units INTEGER NOT NULL DEFAULT 0,"
    "  done_chunks INTEGER NOT NULL DEFAULT 0,"
    "  pilots_left INTEGER NOT NULL DEFAULT 0,"
    "  chunk_prefix INTEGER NOT NULL DEFAULT 0,"
    "  first_chunk INTEGER NOT NULL DEFAULT 0,"
    "  created_us INTEGER NOT NULL,"
    "  updated_us INTEGER NOT NULL,"
    "  finished_us INTEGER NOT NULL DEFAULT 0,"
    "  record TEXT NOT NULL,"
    "  error TEXT,"
    "  result TEXT,"
    "  replan TEXT" /* why it begins a second time, with another plan */
    ") STRICT;"
    "CREATE INDEX jobs_open ON jobs(priority DESC, n) WHERE status < 4;"
    "CREATE INDEX jobs_open_by_age ON jobs(n) WHERE status < 4;"
    "CREATE INDEX jobs_ended_by_age ON jobs(n) WHERE status >= 4;"
    "CREATE TABLE units("
    "  job INTEGER NOT NULL,"
    "  unit INTEGER NOT NULL,"
    "  priority INTEGER NOT NULL," /* the job's, for the order of claims */
    "  kind INTEGER NOT NULL,"
    "  idx INTEGER NOT NULL,"
    "  needs_pilots INTEGER NOT NULL,"
    "  needs_chunks INTEGER NOT NULL,"
    "  is_unstored INTEGER NOT NULL," /* what it reads is not in the store yet */
    "  state INTEGER NOT NULL,"
    "  fence INTEGER NOT NULL DEFAULT 0,"
    "  floor INTEGER NOT NULL DEFAULT 0," /* fences up to it made an unusable result */
    "  owner TEXT,"
    "  boot TEXT NOT NULL DEFAULT '',"
    "  holder INTEGER NOT NULL DEFAULT 0,"
    "  lease_end_us INTEGER NOT NULL DEFAULT 0,"
    "  failures INTEGER NOT NULL DEFAULT 0,"
    "  deaths INTEGER NOT NULL DEFAULT 0,"
    "  leased_us INTEGER NOT NULL DEFAULT 0,"
    "  error TEXT," /* of the last attempt that came to nothing */
    "  result TEXT,"
    "  PRIMARY KEY(job, unit)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX units_open ON units(priority DESC, job, unit) WHERE state = 1 AND kind <= 2;"
    "CREATE INDEX units_leased ON units(priority DESC, job, unit) WHERE state = 2 AND kind <= 2;"
    "CREATE INDEX units_blocked ON units(job, needs_pilots, needs_chunks)"
    " WHERE state = 0 AND is_unstored = 0;"
    "CREATE INDEX units_unstored ON units(job, unit) WHERE is_unstored = 1;"
    "CREATE INDEX units_undone ON units(job, unit) WHERE state <> 3 AND kind <= 2;"
    "CREATE TABLE workers("
    "  name TEXT PRIMARY KEY,"
    "  host TEXT NOT NULL,"
    "  record TEXT NOT NULL,"
    "  is_draining INTEGER NOT NULL DEFAULT 0,"
    "  seen_us INTEGER NOT NULL,"
    "  boot TEXT NOT NULL,"
    "  holder INTEGER NOT NULL,"
    "  lease_end_us INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;";

/* ?1 and ?2 of every statement with IS_LIVE are the boot id and the time since boot. */
#define IS_LIVE "(boot=?1 AND lease_end_us>?2 AND holder_is_alive(holder))"
#define UNIT_COLUMNS                                                                               \
    "job, priority, unit, kind, idx, needs_pilots, needs_chunks, state, fence, lease_end_us, "     \
    "failures, deaths, floor, is_unstored, " IS_LIVE
#define NEXT_OPEN                                                                                  \
    "SELECT " UNIT_COLUMNS " FROM units INDEXED BY units_open WHERE state=1 AND kind<=2"
#define NEXT_EXPIRED                                                                               \
    "SELECT " UNIT_COLUMNS " FROM units INDEXED BY units_leased WHERE state=2 AND kind<=2"         \
    " AND NOT " IS_LIVE
#define NOT_EXCEPTED                                                                               \
    " AND job NOT IN (SELECT n FROM jobs WHERE id IN (SELECT value FROM json_each(?3)))"
#define IN_ORDER " ORDER BY priority DESC, job, unit LIMIT 1"

#define VIEW_COLUMNS                                                                               \
    "id, status, priority, epoch, total_chunks, done_chunks, total_units, done_units,"             \
    " created_us, updated_us, finished_us, error, record, replan,"                                 \
    " (SELECT count(*) FROM units INDEXED BY units_unstored WHERE job=jobs.n AND is_unstored=1)"
#define BY_AGE " ORDER BY n DESC LIMIT ?2"

static const char *const statements[S_COUNT] = {
    [S_CREATE_JOB] = "INSERT INTO jobs(id, priority, record, created_us, updated_us)"
                     " VALUES(?1, ?2, ?3, ?4, ?4) ON CONFLICT(id) DO NOTHING",
    [S_INSERT_UNIT] =
        "INSERT INTO units(job, unit, priority, kind, idx, needs_pilots, needs_chunks,"
        " is_unstored, state) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [S_GET_JOB] = "SELECT n, status, priority, epoch, counter, is_planned, pilots_left,"
                  " chunk_prefix, first_chunk, replan IS NOT NULL FROM jobs WHERE id=?1",
    [S_GET_JOB_ID] = "SELECT id FROM jobs WHERE n=?1",
    [S_GET_UNIT] = "SELECT " UNIT_COLUMNS " FROM units WHERE job=?3 AND unit=?4",
    [S_NEXT_OPEN] = NEXT_OPEN NOT_EXCEPTED IN_ORDER,
    [S_NEXT_OPEN_OF_JOB] = NEXT_OPEN " AND priority=?3 AND job=?4" IN_ORDER,
    [S_NEXT_EXPIRED] = NEXT_EXPIRED NOT_EXCEPTED IN_ORDER,
    [S_NEXT_EXPIRED_OF_JOB] = NEXT_EXPIRED " AND priority=?3 AND job=?4" IN_ORDER,
    [S_YOUNGEST_OPEN] = NEXT_OPEN NOT_EXCEPTED " AND priority=?4 ORDER BY job DESC LIMIT 1",
    [S_YOUNGEST_EXPIRED] = NEXT_EXPIRED NOT_EXCEPTED " AND priority=?4 ORDER BY job DESC LIMIT 1",
    /* Queued (0) is a job only until its units are there, whatever becomes of its split. */
    [S_SET_STATUS] = "UPDATE jobs SET status=?2, updated_us=?3 WHERE n=?1 AND status<>?2"
                     " AND (?2<>0 OR is_planned=0)",
    [S_PUBLISH_UNITS] = "UPDATE jobs SET is_planned=1, total_units=?2, total_chunks=?3,"
                        " pilots_left=?4, first_chunk=?5 WHERE n=?1",
    /* needs_pilots is 0 or 1: each value is its own range of the index. */
    [S_UNBLOCK] = "UPDATE units INDEXED BY units_blocked SET state=1 WHERE state=0"
                  " AND is_unstored=0 AND job=?1"
                  " AND needs_pilots=?2 AND needs_chunks<=?3",
    [S_STORED] = "UPDATE units SET is_unstored=0 WHERE job=?1 AND unit=?2 AND is_unstored=1",
    [S_IS_UNSTORED] = "SELECT 1 FROM units INDEXED BY units_unstored"
                      " WHERE job=?1 AND is_unstored=1 LIMIT 1",
    [S_COUNT_UP] = "UPDATE jobs SET counter=?2 WHERE n=?1",
    [S_LEASE] = "UPDATE units SET state=2, fence=?3, owner=?4, boot=?5, holder=?6,"
                " lease_end_us=?7, leased_us=?9, error=CASE WHEN ?8>deaths"
                " THEN 'its worker died or hung: ' || owner ELSE error END, deaths=?8"
                " WHERE job=?1 AND unit=?2",
    [S_RENEW] = "UPDATE units SET boot=?3, holder=?4, lease_end_us=?5 WHERE job=?1 AND unit=?2",
    [S_OPEN_UNIT] = "UPDATE units SET state=1, owner=NULL, lease_end_us=0, holder=0, failures=?3"
                    " WHERE job=?1 AND unit=?2",
    [S_NOTE_ERROR] = "UPDATE units SET error=?3 WHERE job=?1 AND unit=?2",
    [S_COMPLETE_UNIT] = "UPDATE units SET state=3, fence=?3, result=?4, owner=NULL,"
                        " lease_end_us=0, holder=0 WHERE job=?1 AND unit=?2",
    [S_ADVANCE] = "UPDATE jobs SET done_units=done_units+1, done_chunks=done_chunks+?2,"
                  " pilots_left=?3, chunk_prefix=?4, updated_us=?5 WHERE n=?1",
    [S_CHUNK_IS_DONE] = "SELECT 1 FROM units WHERE job=?1 AND unit=?2 AND kind=2 AND state=3",
    [S_IS_INCOMPLETE] = "SELECT 1 FROM units INDEXED BY units_undone"
                        " WHERE job=?1 AND state<>3 AND kind<=2 LIMIT 1",
    [S_RESULTS] = "SELECT unit, kind, idx, needs_pilots, needs_chunks, fence, result FROM units"
                  " WHERE job=?1 AND unit>=?2 AND unit<?3 AND state=3 AND kind<=2 ORDER BY unit",
    [S_REOPEN_DONE] = "UPDATE units SET state=0, fence=0, result=NULL, failures=?3, floor=?4,"
                      " error=?5"
                      " WHERE job=?1 AND unit=?2",
    [S_STEP_BACK] = "UPDATE jobs SET done_units=done_units-1, done_chunks=done_chunks-?2,"
                    " pilots_left=?3, chunk_prefix=?4, updated_us=?5 WHERE n=?1",
    [S_REPLAN] = "UPDATE jobs SET replan=?2 WHERE n=?1",
    [S_END_JOB] = "UPDATE jobs SET status=?2, error=?3, result=?4, updated_us=?5, finished_us=?5"
                  " WHERE n=?1",
    [S_CLOSE_UNITS] = "UPDATE units SET state=4, owner=NULL WHERE job=?1 AND state<>3",
    [S_RETRY_JOB] = "UPDATE jobs SET epoch=?2, counter=0, status=?3, is_planned=?4, error=NULL,"
                    " result=NULL, finished_us=0, updated_us=?5 WHERE n=?1",
    [S_RESET_COUNTS] = "UPDATE jobs SET total_units=0, total_chunks=0, done_units=0, done_chunks=0,"
                       " pilots_left=0, chunk_prefix=0, first_chunk=0 WHERE n=?1",
    [S_REOPEN_UNITS] = "UPDATE units SET state=CASE WHEN kind>2 THEN 1 ELSE 0 END, fence=0,"
                       " owner=NULL, lease_end_us=0, holder=0, failures=0, deaths=0,"
                       " error=NULL"
                       " WHERE job=?1 AND state<>3",
    [S_DELETE_UNITS] = "DELETE FROM units WHERE job=?1",
    [S_DELETE_JOB] = "DELETE FROM jobs WHERE n=?1",
    [S_VIEW] = "SELECT " VIEW_COLUMNS ", result FROM jobs WHERE id=?1",
    [S_LIST_ALL] = "SELECT " VIEW_COLUMNS ", NULL, n FROM jobs WHERE n<?1" BY_AGE,
    [S_LIST_OPEN_BY_AGE] = "SELECT " VIEW_COLUMNS ", NULL, n FROM jobs INDEXED BY jobs_open_by_age"
                           " WHERE n<?1 AND status<4" BY_AGE,
    [S_LIST_ENDED] = "SELECT " VIEW_COLUMNS ", NULL, n FROM jobs INDEXED BY jobs_ended_by_age"
                     " WHERE n<?1 AND status>=4" BY_AGE,
    [S_UNIT_VIEWS] = "SELECT unit, kind, idx, needs_pilots, needs_chunks, state, failures, deaths,"
                     " owner, leased_us, lease_end_us, error, result, " IS_LIVE
                     ", is_unstored FROM units WHERE job=?3 AND unit>=?4 AND unit<?5 ORDER BY unit",
    [S_BEAT] = "INSERT INTO workers(name, host, record, seen_us, boot, holder, lease_end_us)"
               " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(name) DO UPDATE SET host=?2,"
               " record=?3, seen_us=?4, boot=?5, holder=?6, lease_end_us=?7",
    [S_IS_DRAINING] = "SELECT is_draining FROM workers WHERE name=?1",
    [S_LEAVE] = "DELETE FROM workers WHERE name=?1",
    [S_BURY] = "DELETE FROM workers WHERE NOT " IS_LIVE,
    [S_WORKERS] = "SELECT name, host, record, is_draining, seen_us, lease_end_us FROM workers"
                  " WHERE " IS_LIVE,
    [S_DRAIN] = "UPDATE workers SET is_draining=1 WHERE (name=?3 OR host=?3) AND " IS_LIVE,
    [S_STALE] = "SELECT count(*) FROM units WHERE state=2 AND (boot<>?1 OR lease_end_us<?2)",
    [S_LIST_OPEN] = "SELECT id FROM jobs INDEXED BY jobs_open WHERE status<4"
                    " ORDER BY priority DESC, n",
};

static const struct lathe_db_schema schema = {
    .application_id = 0x4c537461, /* "LSta" */
    .version = 3,
    .create = create_schema,
    .statements = statements,
    .n_statements = S_COUNT,
};

_Static_assert(LATHE_JOB_COMPLETED == 4, "the statements write ended as status >= 4");
_Static_assert(LATHE_UNIT_CHUNK == 2, "the statements write unit as kind <= 2");

static int state_open(void *priv, const char *location, struct lathe_error *err)
{
    return lathe_db_open(priv, location, &schema, err);
}

static void state_close(void *priv)
{
    lathe_db_close(priv);
}

const struct lathe_state_driver lathe_state_sqlite = {
    .name = "sqlite",
    .priv_size = sizeof(struct lathe_db),
    .is_of_one_host = true,
    .open = state_open,
    .close = state_close,
    .create = state_create,
    .claim_split = state_claim_split,
    .set_units = state_set_units,
    .stored = state_stored,
    .claim = state_claim,
    .claim_next = state_claim_next,
    .renew = state_renew,
    .complete = state_complete,
    .attempt_failed = state_attempt_failed,
    .release = state_release,
    .merge_claim = state_merge_claim,
    .merge_commit = state_merge_commit,
    .reopen = state_reopen,
    .replan = state_replan,
    .finish = state_finish,
    .retry = state_retry,
    .results = state_results,
    .get = state_get,
    .list_open = state_list_open,
    .remove = state_remove,
    .list = state_list,
    .units = state_units,
    .beat = state_beat,
    .leave = state_leave,
    .workers = state_workers,
    .drain = state_drain,
    .check = state_check,
};
