/* SPDX-License-Identifier: MIT */
/*
 * lathe-slot: the child process in which all media work happens, because hostile bytes are parsed
 * there. It holds no credentials, gives up what it can before its first order, and catches no
 * signal: a crash is for the parent to see.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lathe/media.h"
#include "sandbox.h"
#include "serve.h"
#include "template.h"

static int confine(const struct lathe_order *order, struct lathe_error *err)
{
    int r = lathe_sandbox_memory(order, err);
    return r < 0 ? r : lathe_sandbox_files(order, err);
}

static const struct lathe_slot_service service = {
    .verbs =
        {
            [LATHE_VERB_SPLIT] = lathe_media_split,
            [LATHE_VERB_PILOT] = lathe_media_pilot,
            [LATHE_VERB_CHUNK] = lathe_media_chunk,
            [LATHE_VERB_AUDIO] = lathe_media_audio,
            [LATHE_VERB_MERGE] = lathe_media_merge,
            [LATHE_VERB_INSPECT] = lathe_media_inspect,
            [LATHE_VERB_ENCODERS] = lathe_media_encoders,
            [LATHE_VERB_PROBE] = lathe_media_probe,
            [LATHE_VERB_CUT] = lathe_media_cut,
        },
    .confine = confine,
};

static int print_version(void)
{
#ifdef LATHE_HAVE_SECCOMP
    const char *filter = "seccomp";
#else
    const char *filter = "no seccomp";
#endif
    printf("lathe-slot %s (%s, landlock %d)\n", LATHE_VERSION, filter,
           lathe_sandbox_landlock_version());
    return fflush(stdout) == 0 ? 0 : 1;
}

static bool has_parent(int wanted)
{
    int type;
    socklen_t size = sizeof(type);
    return getsockopt(LATHE_SLOT_FD, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == wanted;
}

static int prepare(struct lathe_error *err)
{
    if (fcntl(LATHE_SLOT_FD, F_SETFD, FD_CLOEXEC) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "fcntl: %s", strerror(errno));
    int r = lathe_sandbox_limits(err);
    if (r < 0)
        return r;
    lathe_media_setup();
#ifdef LATHE_HAVE_SECCOMP
    r = lathe_sandbox_syscalls(err);
#endif
    return r;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return print_version();
    if (argc == 2 && strcmp(argv[1], LATHE_SLOT_TEMPLATE) == 0 && has_parent(SOCK_SEQPACKET)) {
        int copied = lathe_slot_template();
        if (copied <= 0)
            return copied < 0;
        argc = 1;
    }
    if (argc != 1 || !has_parent(SOCK_STREAM)) {
        fputs("lathe-slot is started by lathe and is not for users; see lathe --help\n", stderr);
        return 2;
    }
    struct lathe_error err = {0};
    int r = prepare(&err);
    if (r == 0)
        r = lathe_slot_serve(LATHE_SLOT_FD, &service, &err);
    if (r < 0) {
        fprintf(stderr, "lathe-slot: %s\n", err.what);
        return lathe_error_exit_code(&err);
    }
    return 0;
}
