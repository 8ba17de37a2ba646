/* SPDX-License-Identifier: MIT */
/*
 * Mistakes with names are found here, in milliseconds, each with its own words. The content is not
 * looked at: that is the business of lathe-slot.
 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/base.h"

#define SAMPLE_BYTES (64u << 10)

uint64_t lathe_fnv1a(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211ull;
    return hash;
}

/* Names that FFmpeg would take for a protocol; Lathe reads files. */
static bool is_url(const char *text)
{
    static const char *const prefixes[] = {
        "concat:", "pipe:", "file:", "data:", "async:", "cache:", "crypto:", "subfile,"};
    for (size_t i = 0; i < LATHE_COUNT(prefixes); i++)
        if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    size_t scheme =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return scheme > 0 && strncmp(text + scheme, "://", 3) == 0;
}

static int check_kind(const char *text, const struct stat *st, struct lathe_error *err)
{
    if (S_ISDIR(st->st_mode)) {
        lathe_error_set(err, -EISDIR, LATHE_FAULT_INPUT, "%s is a folder, not a video", text);
        lathe_error_hint(err, "name one file of it");
        return -EISDIR;
    }
    if (!S_ISREG(st->st_mode)) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "%s is not a regular file", text);
        lathe_error_hint(err,
                         "a source is read in several places at once: save it to a file first");
        return -EINVAL;
    }
    if (st->st_size == 0) {
        lathe_error_set(err, -ENODATA, LATHE_FAULT_INPUT, "%s is empty", text);
        lathe_error_hint(err, "fetch or copy it again");
        return -ENODATA;
    }
    return 0;
}

/* Two hashes with different beginnings over size, time, and pieces of the content. */
static int identify(int fd, const struct stat *st, char ret[40], struct lathe_error *err)
{
    _cleanup_free_ unsigned char *sample = malloc(SAMPLE_BYTES);
    if (!sample)
        return lathe_error_nomem(err);
    int64_t facts[3] = {st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
    uint64_t a = lathe_fnv1a(LATHE_FNV1A_START, facts, sizeof facts);
    uint64_t b = lathe_fnv1a(~LATHE_FNV1A_START, facts, sizeof facts);
    off_t last = st->st_size > SAMPLE_BYTES ? st->st_size - SAMPLE_BYTES : 0;
    const off_t places[] = {0, last / 3, last / 3 * 2, last};
    for (size_t i = 0; i < LATHE_COUNT(places); i++) {
        ssize_t n = pread(fd, sample, SAMPLE_BYTES, places[i]);
        if (n < 0)
            return lathe_error_errno(err, -errno, "the source cannot be read");
        a = lathe_fnv1a(a, sample, (size_t)n);
        b = lathe_fnv1a(b, sample, (size_t)n);
    }
    snprintf(ret, 40, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
    return 0;
}

int lathe_input_check(const char *text, struct lathe_input *ret, struct lathe_error *err)
{
    struct stat st;
    if (strcmp(text, "-") == 0 || is_url(text)) {
        if (stat(text, &st) < 0) {
            lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "\"%.200s\" is not a file", text);
            lathe_error_hint(err, "Lathe reads local files only: fetch it first");
            return -EINVAL;
        }
    }
    /* not blocking: a FIFO would hang here */
    _cleanup_close_ int fd = open(text, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int r = -errno;
        lathe_error_errno(err, r, "%s cannot be read", text);
        if (err)
            err->fault = LATHE_FAULT_INPUT;
        lathe_error_hint(err, r == -EACCES ? "ask its owner for the right to read it"
                                           : "look whether the name is right");
        return r;
    }
    int r = check_kind(text, &st, err);
    if (r < 0)
        return r;
    struct lathe_input input = {.device = st.st_dev, .inode = st.st_ino, .size = st.st_size};
    r = identify(fd, &st, input.identity, err);
    if (r < 0)
        return r;
    input.path = realpath(text, NULL);
    if (!input.path)
        return lathe_error_errno(err, -errno, "%s has no absolute path", text);
    *ret = input;
    return 0;
}

void lathe_input_finish(struct lathe_input *input)
{
    free(input->path);
    *input = (struct lathe_input){0};
}

/* The folder that `path` lies in: must exist and take files. */
static int check_parent(const char *path, struct lathe_error *err)
{
    _cleanup_free_ char *parent = strdup(path);
    if (!parent)
        return lathe_error_nomem(err);
    char *slash = strrchr(parent, '/');
    if (!slash)
        strcpy(parent, ".");
    else
        slash[slash == parent] = '\0';
    struct stat st;
    if (stat(parent, &st) < 0) {
        int r =
            lathe_error_errno(err, -errno, "the folder of the output, %s, cannot be used", parent);
        if (err)
            err->fault = LATHE_FAULT_INPUT;
        lathe_error_hint(err, "make the folder first, or name another output");
        return r;
    }
    if (!S_ISDIR(st.st_mode))
        return lathe_error_set(err, -ENOTDIR, LATHE_FAULT_INPUT, "%s is not a folder", parent);
    if (access(parent, W_OK | X_OK) < 0) {
        int r = -errno;
        lathe_error_set(err, r, LATHE_FAULT_INPUT, "the folder %s cannot be written: %s", parent,
                        strerror(-r));
        lathe_error_hint(err, "name an output in a folder that you may write to");
        return r;
    }
    return 0;
}

static int check_extension(const char *path, struct lathe_error *err)
{
    static const char *const others[] = {".mkv",  ".webm", ".ts",  ".avi", ".mov", ".flv",
                                         ".m3u8", ".mpd",  ".ogg", ".wmv", ".mpg", ".mpeg"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < LATHE_COUNT(others); i++)
        if (strcasecmp(dot, others[i]) == 0) {
            lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                            "the output is an MP4 file, but its name ends in \"%s\"", dot);
            lathe_error_hint(err, "let the name of the output end in .mp4");
            return -EINVAL;
        }
    return 0;
}

static int is_folder(const char *text, struct lathe_error *err)
{
    lathe_error_set(err, -EISDIR, LATHE_FAULT_INPUT, "the output %s is a folder", text);
    lathe_error_hint(err, "name a file; only several renditions go to a folder");
    return -EISDIR;
}

static int check_file(const char *path, const struct lathe_input *input, struct lathe_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : lathe_error_errno(err, -errno, "%s cannot be used", path);
    if (S_ISDIR(st.st_mode))
        return is_folder(path, err);
    if (!S_ISREG(st.st_mode))
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT,
                               "the output %s exists and is not a regular file", path);
    if (input && st.st_dev == input->device && st.st_ino == input->inode) {
        lathe_error_set(err, -EEXIST, LATHE_FAULT_INPUT, "output and input are the same file");
        lathe_error_hint(err, "Lathe never replaces a source: name another output");
        return -EEXIST;
    }
    return 0;
}

static int check_folder(const char *path, struct lathe_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? check_parent(path, err)
                               : lathe_error_errno(err, -errno, "%s cannot be used", path);
    if (!S_ISDIR(st.st_mode)) {
        lathe_error_set(err, -ENOTDIR, LATHE_FAULT_INPUT,
                        "several renditions need a folder, but %s is a file", path);
        return -ENOTDIR;
    }
    if (access(path, W_OK | X_OK) < 0)
        return lathe_error_set(err, -EACCES, LATHE_FAULT_INPUT, "the folder %s cannot be written",
                               path);
    return 0;
}

/* Absolute, and through a link to what it names, so that the link itself survives. */
static int absolute(const char *text, char **ret, struct lathe_error *err)
{
    char *path = realpath(text, NULL);
    if (!path && text[0] == '/') {
        path = strdup(text);
    } else if (!path) {
        _cleanup_free_ char *here = getcwd(NULL, 0);
        if (!here)
            return lathe_error_errno(err, -errno, "the current folder cannot be found");
        path = lathe_format("%s/%s", here, text);
    }
    if (!path)
        return lathe_error_nomem(err);
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    *ret = path;
    return 0;
}

int lathe_output_check(const char *text, bool folder, const struct lathe_input *input,
                       char **ret_path, struct lathe_error *err)
{
    if (strcmp(text, "-") == 0 || is_url(text)) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "the output \"%.200s\" is not a file",
                        text);
        lathe_error_hint(err, "Lathe writes whole files only: name one");
        return -EINVAL;
    }
    char *path = NULL;
    int r = absolute(text, &path, err);
    if (r < 0)
        return r;
    if (folder) {
        r = check_folder(path, err);
    } else {
        r = text[strlen(text) - 1] == '/' ? is_folder(text, err) : check_extension(path, err);
        if (r == 0)
            r = check_file(path, input, err);
        if (r == 0)
            r = check_parent(path, err);
    }
    if (r < 0) {
        free(path);
        return r;
    }
    *ret_path = path;
    return 0;
}
