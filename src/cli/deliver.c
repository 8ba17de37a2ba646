/* SPDX-License-Identifier: MIT */
/*
 * Delivery. Within a file system a file is linked, across two it is copied, under a hidden name
 * beside its place; when it is durable there, it is renamed. Hidden names are noted before they
 * exist, so that a killed run's are removed by the next one.
 */
#include "deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"

static mode_t new_file_mode(const char *existing)
{
    struct stat st;
    if (stat(existing, &st) == 0)
        return st.st_mode & 0777;
    mode_t mask = umask(0); /* no other thread makes files by then */
    umask(mask);
    return 0666 & ~mask;
}

static char *part_name(const char *to)
{
    char id[37];
    const char *slash = strrchr(to, '/');
    if (!slash || lathe_uuid7(id) < 0)
        return NULL;
    /* a long name would not leave room for the rest: 255 bytes is the limit nearly everywhere */
    return lathe_format("%.*s/.%.200s.lathe-%s.part", (int)(slash - to), to, slash + 1, id + 28);
}

int lathe_deliver_copy(int in_fd, const char *path, struct lathe_cancel *cancel,
                       struct lathe_error *err)
{
    _cleanup_close_ int out =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0)
        return lathe_error_errno(err, -errno, "%s cannot be made", path);
    int r = lathe_copy_data(in_fd, out, cancel);
    if (r == -ECANCELED)
        return lathe_error_set(err, r, LATHE_FAULT_INTERRUPTED, "interrupted");
    if (r == 0 && fsync(out) < 0)
        r = -errno;
    return r < 0 ? lathe_error_errno(err, r, "%s cannot be written", path) : 0;
}

/* A link leaves the store its object until the end; not every file system has links. */
static int bring_file(const struct lathe_delivery *d, struct lathe_cancel *cancel,
                      struct lathe_error *err)
{
    if (link(d->from, d->part) == 0 || rename(d->from, d->part) == 0)
        return 0;
    if (errno != EXDEV)
        return lathe_error_errno(err, -errno, "%s cannot be moved to its place", d->to);
    _cleanup_close_ int in = open(d->from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return lathe_error_errno(err, -errno, "%s cannot be read", d->from);
    return lathe_deliver_copy(in, d->part, cancel, err);
}

static int bring_beside(struct lathe_scratch *scratch, struct lathe_delivery *d,
                        struct lathe_cancel *cancel, struct lathe_error *err)
{
    char *part = part_name(d->to);
    if (!part)
        return lathe_error_nomem(err);
    int r = lathe_scratch_note_part(scratch, part, err);
    if (r < 0) {
        free(part);
        return r;
    }
    d->part = part;
    r = d->bring ? d->bring(d->opaque, d->from, part, err) : bring_file(d, cancel, err);
    if (r < 0)
        return r;
    if (chmod(part, new_file_mode(d->to)) < 0)
        return lathe_error_errno(err, -errno, "the permissions of %s cannot be set", part);
    return 0;
}

int lathe_deliver(struct lathe_scratch *scratch, struct lathe_delivery *list, int count,
                  struct lathe_cancel *cancel, struct lathe_error *err)
{
    int r = 0;
    for (int i = 0; i < count && r == 0; i++)
        r = bring_beside(scratch, &list[i], cancel, err);
    for (int i = 0; i < count && r == 0; i++) {
        if (rename(list[i].part, list[i].to) < 0)
            r = lathe_error_errno(err, -errno, "%s cannot be put in its place", list[i].to);
        else
            (void)lathe_fsync_parent(list[i].to); /* the file is there; it is only less durable */
    }
    for (int i = 0; i < count; i++) {
        if (r < 0 && list[i].part)
            unlink(list[i].part); /* those renamed already are gone under this name */
        free(list[i].part);
        list[i].part = NULL;
    }
    lathe_scratch_forget_parts(scratch);
    return r;
}
