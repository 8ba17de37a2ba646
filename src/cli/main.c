/* SPDX-License-Identifier: MIT */
/*
 * The program: finds the command, and turns signals into the cancel token that all work obeys.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/config.h"
#include "lathe/log.h"

static void on_signal(int signal)
{
    (void)signal;
    lathe_cancel_trigger(lathe_cli_cancel);
}

static int set_up(void)
{
    int r = lathe_occupy_standard_streams();
    if (r == 0)
        r = lathe_cancel_create(&lathe_cli_cancel);
    if (r < 0)
        return r;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < LATHE_COUNT(stops); i++) {
        struct sigaction before;
        sigaction(stops[i], NULL, &before);
        if (before.sa_handler != SIG_IGN) /* nohup and background jobs of a shell */
            sigaction(stops[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int print_text(char *text)
{
    if (!text)
        return 1;
    int wrong = fputs(text, stdout) == EOF || fflush(stdout) == EOF;
    free(text);
    return wrong;
}

static int unknown(const char *word)
{
    struct lathe_error err = {0};
    if (*word)
        lathe_error_set(&err, -EINVAL, LATHE_FAULT_USAGE, "there is no command \"%.60s\"", word);
    else
        lathe_error_set(&err, -EINVAL, LATHE_FAULT_USAGE, "a command is missing");
    lathe_error_hint(&err, "\"lathe help\" lists the commands");
    return lathe_cli_complain(&err);
}

/* Before any thread is started: what lower layers and slots are told travels in the environment. */
static int run_command(const struct lathe_command *command, struct lathe_settings *settings,
                       const struct lathe_config *config)
{
    struct lathe_error err = {0};
    if (!settings->slots)
        settings->slots = (int)config->slots;
    if (lathe_config_export(config, &err) < 0 ||
        lathe_slot_memory_set((unsigned)settings->slots, &err) < 0)
        return lathe_cli_complain(&err);
    lathe_log_set_level((enum lathe_log_level)config->log_level);
    lathe_cli_configuration = config;
    return command->run(settings);
}

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (!*word)
        return unknown("");
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("lathe %s\n", LATHE_VERSION);
        return fflush(stdout) == EOF;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        const struct lathe_command *command = argc > 2 ? lathe_command_find(argv[2]) : NULL;
        if (argc > 2 && !command)
            return unknown(argv[2]);
        return print_text(lathe_options_help(command));
    }
    const struct lathe_command *command = lathe_command_find(word);
    if (!command)
        return unknown(word);
    struct lathe_settings settings;
    struct lathe_error err = {0};
    if (lathe_options_parse(command, argc - 1, argv + 1, &settings, &err) < 0)
        return lathe_cli_complain(&err);
    if (settings.help)
        return print_text(lathe_options_help(command));
    struct lathe_config config;
    if (lathe_config_load(settings.config, 0, NULL, &config, &err) < 0)
        return lathe_cli_complain(&err);
    int r = run_command(command, &settings, &config);
    lathe_config_finish(&config);
    return r;
}

int main(int argc, char **argv)
{
    int r = set_up();
    if (r < 0) {
        fprintf(stderr, "lathe: cannot start: %s\n", strerror(-r));
        return 1;
    }
    r = dispatch(argc, argv);
    lathe_cancel_destroy(lathe_cli_cancel);
    return r;
}
