/* SPDX-License-Identifier: MIT */
/*
 * The program: configuration and signals.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/log.h"
#include "worker.h"

static struct lathe_worker worker;

static void on_stop(int signal)
{
    (void)signal;
    if (lathe_cancel_is_triggered(worker.drain))
        lathe_cancel_trigger(worker.cancel);
    lathe_cancel_trigger(worker.drain);
}

static void on_reload(int signal)
{
    (void)signal;
    atomic_store(&worker.reload, true);
}

static int set_up(void)
{
    int r = lathe_occupy_standard_streams();
    if (r == 0)
        r = lathe_cancel_create(&worker.drain);
    if (r == 0)
        r = lathe_cancel_create(&worker.cancel);
    if (r < 0)
        return r;
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    struct sigaction reload = {.sa_handler = on_reload, .sa_flags = SA_RESTART};
    sigemptyset(&stop.sa_mask);
    sigaddset(&stop.sa_mask, SIGTERM);
    sigaddset(&stop.sa_mask, SIGINT);
    sigemptyset(&reload.sa_mask);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGHUP, &reload, NULL);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int print_help(void)
{
    printf("lathe-worker [--config FILE] [--OPTION VALUE ...]\n"
           "Works for a fleet, or for this host, until it is told to stop: SIGTERM ends it when\n"
           "running chunks are done (drain_seconds), a second one at once; SIGHUP reads the\n"
           "configuration again. Each option of lathe.conf(5) is a flag, too:\n\n");
    lathe_config_write_flags(stdout);
    return fflush(stdout) == EOF;
}

static int complain(const struct lathe_error *err)
{
    lathe_log_error("%s%s%s", err->what, err->hint[0] ? "; " : "", err->hint);
    return lathe_error_exit_code(err);
}

static int run(int argc, char **argv)
{
    struct lathe_error err = {0};
    worker.argc = argc;
    worker.argv = argv;
    int r = lathe_config_load(NULL, argc, argv, &worker.config, &err);
    if (r < 0)
        return complain(&err);
    lathe_worker_set_log(&worker.config);
    r = lathe_config_export(&worker.config, &err);
    if (r == 0)
        r = lathe_slot_memory_set((unsigned)worker.config.slots, &err);
    if (r == 0)
        r = lathe_worker_run(&worker, &err);
    lathe_config_finish(&worker.config);
    if (r < 0)
        return complain(&err);
    lathe_log_info("stopped");
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help();
        if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0) {
            printf("lathe-worker %s\n", LATHE_VERSION);
            return fflush(stdout) == EOF;
        }
    }
    int r = set_up();
    if (r < 0) {
        fprintf(stderr, "lathe-worker: cannot start: %s\n", strerror(-r));
        return 1;
    }
    r = run(argc, argv);
    lathe_cancel_destroy(worker.drain);
    lathe_cancel_destroy(worker.cancel);
    return r;
}
