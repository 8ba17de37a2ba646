/* SPDX-License-Identifier: MIT */
/*
 * Scratch folders and the sweeping of dead ones. A folder is alive while somebody holds the lock in
 * it; making, locking and sweeping happen under one lock above them all, so that a folder between
 * its making and its locking is never taken for dead.
 */
#include "lathe/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lathe/base.h"

#define LOCK_NAME "lathe.lock"
#define PARTS_NAME "parts"
#define PARTS_MAX_BYTES (1u << 20)

/* Opens and locks `dir`/lathe.lock; -EWOULDBLOCK when somebody else has it. */
static int lock_folder(const char *dir, int operation, int *ret_fd)
{
    _cleanup_free_ char *path = lathe_format("%s/%s", dir, LOCK_NAME);
    if (!path)
        return -ENOMEM;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, operation) < 0) {
        if (errno == EINTR)
            continue;
        int r = -errno;
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* Only names that deliver.c makes are removed, whatever the list says. */
static bool is_part_name(const char *path)
{
    const char *name = strrchr(path, '/');
    size_t n = strlen(path);
    return path[0] == '/' && name && name[1] == '.' && strstr(name, ".lathe-") && n > 5 &&
           strcmp(path + n - 5, ".part") == 0;
}

/* Removes the files beside outputs that a dead run has noted. */
static void remove_parts(const char *dir)
{
    _cleanup_free_ char *list_path = lathe_format("%s/%s", dir, PARTS_NAME);
    _cleanup_free_ char *list = NULL;
    size_t size = 0;
    if (!list_path || lathe_read_file(list_path, PARTS_MAX_BYTES, &list, &size, NULL) < 0)
        return;
    char *state = NULL;
    for (char *path = strtok_r(list, "\n", &state); path; path = strtok_r(NULL, "\n", &state)) {
        struct stat st;
        if (is_part_name(path) && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
            st.st_uid == geteuid())
            unlink(path);
    }
    unlink(list_path);
}

/* Called with the lock of `base` held. A folder that cannot be removed is left for the next time.
 */
static void sweep(const char *base, const char *prefix)
{
    DIR *dir = opendir(base);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        _cleanup_free_ char *path = lathe_format("%s/%s", base, entry->d_name);
        _cleanup_close_ int lock_fd = -1;
        if (!path || lock_folder(path, LOCK_EX | LOCK_NB, &lock_fd) < 0)
            continue;
        remove_parts(path);
        (void)lathe_remove_tree(path, NULL);
    }
    closedir(dir);
}

static int cannot_use(const char *base, int code, struct lathe_error *err)
{
    lathe_error_set(err, code, LATHE_FAULT_CONFIG, "the scratch folder %s cannot be used: %s", base,
                    strerror(-code));
    lathe_error_hint(err, "let LATHE_SCRATCH name a folder with room for the result");
    return code;
}

/* Anybody may make folders in /var/tmp, so ours is used only when it is ours alone. */
static int check_base(const char *base, struct lathe_error *err)
{
    struct stat st;
    if (lstat(base, &st) < 0)
        return cannot_use(base, -errno, err);
    if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022))
        return 0;
    lathe_error_set(err, -EPERM, LATHE_FAULT_CONFIG,
                    "the scratch folder %s belongs to somebody else or is open to others", base);
    lathe_error_hint(err, "remove it, or let LATHE_SCRATCH name another place");
    return -EPERM;
}

/* A new folder in `base`, which is ours, called `prefix`XXXXXX. */
static int open_in(const char *base, const char *prefix, struct lathe_scratch *scratch,
                   struct lathe_error *err)
{
    int r = check_base(base, err);
    if (r < 0)
        return r;
    _cleanup_close_ int base_lock = -1;
    r = lock_folder(base, LOCK_EX, &base_lock);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "%s cannot be locked: %s", base,
                               strerror(-r));
    sweep(base, prefix);
    scratch->dir = lathe_format("%s/%sXXXXXX", base, prefix);
    if (!scratch->dir)
        return lathe_error_nomem(err);
    if (!mkdtemp(scratch->dir)) {
        r = -errno;
        free(scratch->dir);
        scratch->dir = NULL;
    } else {
        r = lock_folder(scratch->dir, LOCK_EX | LOCK_NB, &scratch->lock_fd);
    }
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "no scratch folder in %s: %s", base,
                               strerror(-r));
    return 0;
}

static int open_own(struct lathe_scratch *scratch, struct lathe_error *err)
{
    const char *root = getenv("LATHE_SCRATCH");
    if (!root || !*root)
        root = getenv("TMPDIR");
    if (!root || !*root)
        root = "/var/tmp";
    _cleanup_free_ char *base = lathe_format("%s/lathe-%u", root, (unsigned)geteuid());
    if (!base)
        return lathe_error_nomem(err);
    if (mkdir(base, 0700) < 0 && errno != EEXIST)
        return cannot_use(base, -errno, err);
    return open_in(base, "run-", scratch, err);
}

/* A folder with anything in it, but without our lock file, is somebody's and not touched. */
static int check_work_folder(const char *work, struct lathe_error *err)
{
    _cleanup_free_ char *lock_path = lathe_format("%s/%s", work, LOCK_NAME);
    if (!lock_path)
        return lathe_error_nomem(err);
    if (access(lock_path, F_OK) == 0)
        return 0;
    DIR *dir = opendir(work);
    if (!dir)
        return lathe_error_errno(err, -errno, "the work folder %s cannot be read", work);
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    if (empty)
        return 0;
    lathe_error_set(err, -ENOTEMPTY, LATHE_FAULT_INPUT,
                    "%s has files in it that are not from Lathe", work);
    lathe_error_hint(err, "let --work name a new or empty folder");
    return -ENOTEMPTY;
}

static int open_work(const char *work, struct lathe_scratch *scratch, struct lathe_error *err)
{
    if (mkdir(work, 0700) < 0 && errno != EEXIST) {
        int r = lathe_error_errno(err, -errno, "the work folder %s cannot be made", work);
        lathe_error_hint(err, "its parent folder must exist and be writable");
        return r;
    }
    scratch->dir = realpath(work, NULL);
    scratch->keep = true;
    if (!scratch->dir)
        return lathe_error_errno(err, -errno, "the work folder %s cannot be used", work);
    int r = check_work_folder(scratch->dir, err);
    if (r < 0)
        return r;
    r = lock_folder(scratch->dir, LOCK_EX | LOCK_NB, &scratch->lock_fd);
    if (r == -EWOULDBLOCK) {
        lathe_error_set(err, -EBUSY, LATHE_FAULT_RESOURCE,
                        "the work folder %s is in use by another run", work);
        lathe_error_hint(err, "wait for it, or name another folder with --work");
        return -EBUSY;
    }
    if (r < 0)
        return lathe_error_errno(err, r, "the work folder %s cannot be locked", work);
    remove_parts(scratch->dir);
    return 0;
}

/* `r`: how it went to open `scratch`. */
static int hand_over(int r, struct lathe_scratch *scratch, struct lathe_scratch *ret)
{
    if (r == 0) {
        *ret = *scratch;
        return 0;
    }
    if (scratch->lock_fd >= 0)
        close(scratch->lock_fd);
    free(scratch->dir);
    return r;
}

int lathe_scratch_open(const char *work, struct lathe_scratch *ret, struct lathe_error *err)
{
    struct lathe_scratch scratch = {.lock_fd = -1};
    int r = work ? open_work(work, &scratch, err) : open_own(&scratch, err);
    return hand_over(r, &scratch, ret);
}

int lathe_scratch_open_worker(const char *base, struct lathe_scratch *ret, struct lathe_error *err)
{
    struct lathe_scratch scratch = {.lock_fd = -1};
    int r = lathe_mkdir_p(base, err);
    if (r < 0 && err)
        err->fault = LATHE_FAULT_CONFIG;
    if (r == 0)
        r = open_in(base, "worker-", &scratch, err);
    return hand_over(r, &scratch, ret);
}

void lathe_scratch_close(struct lathe_scratch *scratch)
{
    if (!scratch->dir)
        return;
    if (!scratch->keep)
        (void)lathe_remove_tree(scratch->dir, NULL); /* what is left is swept by the next start */
    if (scratch->lock_fd >= 0)
        close(scratch->lock_fd);
    free(scratch->dir);
    *scratch = (struct lathe_scratch){.lock_fd = -1};
}

int lathe_scratch_note_part(struct lathe_scratch *scratch, const char *path,
                            struct lathe_error *err)
{
    _cleanup_free_ char *list_path = lathe_format("%s/%s", scratch->dir, PARTS_NAME);
    _cleanup_free_ char *line = lathe_format("%s\n", path);
    if (!list_path || !line)
        return lathe_error_nomem(err);
    _cleanup_close_ int fd =
        open(list_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lathe_error_errno(err, -errno, "%s cannot be written", list_path);
    ssize_t n = write(fd, line, strlen(line));
    if (n < 0 || (size_t)n != strlen(line))
        return lathe_error_errno(err, n < 0 ? -errno : -ENOSPC, "%s cannot be written", list_path);
    return 0;
}

void lathe_scratch_forget_parts(struct lathe_scratch *scratch)
{
    _cleanup_free_ char *list_path = lathe_format("%s/%s", scratch->dir, PARTS_NAME);
    if (list_path)
        unlink(list_path); /* a list that stays names files that do not exist */
}
