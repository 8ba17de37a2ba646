/* SPDX-License-Identifier: MIT */
/*
 * Objects of the store as local files, and back. A directory store is read in place and written by
 * renaming; any other store costs a copy.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "flow.h"

/* Steps of one job want the same plan and source at the same time: one of them fetches, without
 * keeping the steps of other jobs from theirs. */
struct fetch {
    const char *path;
    struct fetch *next;
};
static pthread_mutex_t fetch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fetch_ended = PTHREAD_COND_INITIALIZER;
static struct fetch *fetches;

static void fetch_begin(struct fetch *me)
{
    pthread_mutex_lock(&fetch_lock);
    for (struct fetch *f = fetches; f;) {
        if (strcmp(f->path, me->path) != 0) {
            f = f->next;
            continue;
        }
        pthread_cond_wait(&fetch_ended, &fetch_lock);
        f = fetches;
    }
    me->next = fetches;
    fetches = me;
    pthread_mutex_unlock(&fetch_lock);
}

static void fetch_end(struct fetch *me)
{
    pthread_mutex_lock(&fetch_lock);
    struct fetch **at = &fetches;
    while (*at != me)
        at = &(*at)->next;
    *at = me->next;
    pthread_cond_broadcast(&fetch_ended);
    pthread_mutex_unlock(&fetch_lock);
}

static int fetch_once(struct lathe_flow *flow, const char *key, const char *path,
                      struct lathe_error *err)
{
    if (access(path, F_OK) == 0)
        return 0;
    _cleanup_free_ char *part = lathe_format("%s.part", path);
    if (!part)
        return lathe_error_nomem(err);
    unlink(part);
    int r = lathe_store_get(flow->store, key, part, flow->cancel, err);
    if (r == 0 && rename(part, path) < 0)
        r = lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "cannot create %s: %s", path,
                            strerror(errno));
    if (r < 0)
        unlink(part);
    return r;
}

int lathe_flow_fetch(struct lathe_flow *flow, const char *key, const char *dir, const char *name,
                     char **ret_path, struct lathe_error *err)
{
    int r = lathe_store_local_path(flow->store, key, ret_path, err);
    if (r != -EOPNOTSUPP)
        return r;
    char *path = lathe_format("%s/%s", dir, name);
    if (!path)
        return lathe_error_nomem(err);
    struct fetch me = {.path = path};
    fetch_begin(&me);
    r = fetch_once(flow, key, path, err);
    fetch_end(&me);
    if (r < 0) {
        free(path);
        return r;
    }
    *ret_path = path;
    return 0;
}

int lathe_flow_put(struct lathe_flow *flow, const char *key, const char *path, const char *sha256,
                   uint64_t frames, bool keep, struct lathe_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "%s: %s", path, strerror(errno));
    struct lathe_store_meta meta = {.frames = frames}, seen = {0};
    if (sha256)
        snprintf(meta.sha256, sizeof meta.sha256, "%s", sha256);
    int r = lathe_store_put(flow->store, key, path, &meta,
                            keep ? LATHE_STORE_COPY : LATHE_STORE_MOVE, flow->cancel, err);
    if (r == 0)
        r = lathe_store_stat(flow->store, key, &seen, err);
    if (r < 0)
        return r;
    if (seen.size_bytes != (uint64_t)st.st_size)
        return lathe_error_set(
            err, -EIO, LATHE_FAULT_INTERNAL, "the store has %llu of the %llu bytes of %s",
            (unsigned long long)seen.size_bytes, (unsigned long long)st.st_size, key);
    return 0;
}

int lathe_flow_put_json(struct lathe_flow *flow, const char *key, const json_t *json,
                        struct lathe_error *err)
{
    _cleanup_free_ char *text = json_dumps(json, JSON_INDENT(1));
    _cleanup_free_ char *path = lathe_format("%s/put-XXXXXX", flow->scratch_dir);
    if (!text || !path)
        return lathe_error_nomem(err);
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        int r = -errno;
        if (fd >= 0) {
            close(fd);
            unlink(path);
        }
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot write in %s: %s",
                               flow->scratch_dir, strerror(-r));
    }
    bool wrong = fputs(text, f) == EOF;
    if (fclose(f) == EOF || wrong) {
        int r = errno ? -errno : -EIO;
        unlink(path);
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot write %s: %s", path,
                               strerror(-r));
    }
    /* Small, and often the last word on a job whose other work is being cancelled: not interrupted.
     */
    struct lathe_store_meta meta = {0};
    int r = lathe_store_put(flow->store, key, path, &meta, LATHE_STORE_MOVE, NULL, err);
    unlink(path); /* mostly renamed away */
    return r;
}

#define JSON_MAX_BYTES (16u << 20)

int lathe_flow_get_json(struct lathe_flow *flow, const char *key, json_t **ret,
                        struct lathe_error *err)
{
    char id[37];
    int r = lathe_uuid7(id);
    _cleanup_free_ char *path = r < 0 ? NULL : lathe_format("%s/get-%s", flow->scratch_dir, id);
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    if (!path)
        return lathe_error_nomem(err);
    r = lathe_store_get(flow->store, key, path, flow->cancel, err);
    if (r == 0)
        r = lathe_read_file(path, JSON_MAX_BYTES, &text, &size, err);
    unlink(path);
    if (r < 0)
        return r;
    *ret = json_loadb(text, size, 0, NULL);
    return *ret ? 0
                : lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                                  "%s in the store is not JSON", key);
}

int lathe_flow_check_file(const char *path, uint64_t bytes, struct lathe_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "lathe-slot did not write what it reported (%s)", strerror(errno));
    if ((uint64_t)st.st_size != bytes)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "lathe-slot wrote %llu bytes and reported %llu",
                               (unsigned long long)st.st_size, (unsigned long long)bytes);
    return 0;
}
