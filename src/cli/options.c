/* SPDX-License-Identifier: MIT */
/*
 * What is made from the option tables: parsing, messages, help.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <string.h>

#include "lathe/base.h"

const struct lathe_command *lathe_command_find(const char *name)
{
    for (size_t i = 0; i < lathe_n_commands; i++)
        if (strcmp(lathe_commands[i].name, name) == 0)
            return &lathe_commands[i];
    return NULL;
}

/* --- parsing --- */

static int choice_number(const char *choices, const char *text)
{
    size_t length = strlen(text);
    int number = 0;
    for (const char *at = choices; at; number++) {
        size_t size = strcspn(at, "|");
        if (size == length && strncmp(at, text, size) == 0)
            return number;
        at = at[size] ? at + size + 1 : NULL;
    }
    return -1;
}

static int wrong_value(const struct lathe_option *option, const char *text, struct lathe_error *err)
{
    switch (option->type) {
    case LATHE_OPTION_CHOICE: {
        char choices[128];
        size_t n = 0;
        for (const char *p = option->choices; *p && n + 3 < sizeof choices; p++) {
            choices[n++] = *p == '|' ? ',' : *p;
            if (*p == '|')
                choices[n++] = ' ';
        }
        choices[n] = '\0';
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "--%s: \"%.60s\" is none of %s",
                               option->name, text, choices);
    }
    case LATHE_OPTION_COUNT:
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "--%s: \"%.60s\" is not a whole number from %g to %g", option->name,
                               text, option->min, option->max);
    default:
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                               "--%s: \"%.60s\" is not a number from %g to %g", option->name, text,
                               option->min, option->max);
    }
}

static int set_option(const struct lathe_option *option, const char *text,
                      struct lathe_settings *settings, struct lathe_error *err)
{
    char *at = (char *)settings + option->offset;
    char *end = NULL;
    switch (option->type) {
    case LATHE_OPTION_FLAG:
        *(bool *)at = true;
        return 0;
    case LATHE_OPTION_TEXT:
        if (!*text)
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "--%s: the value is empty",
                                   option->name);
        *(const char **)at = text;
        return 0;
    case LATHE_OPTION_COUNT: {
        errno = 0;
        long value = strtol(text, &end, 10);
        if (errno || end == text || *end || (double)value < option->min ||
            (double)value > option->max)
            return wrong_value(option, text, err);
        *(int *)at = (int)value;
        return 0;
    }
    case LATHE_OPTION_REAL: {
        double value = strtod(text, &end);
        if (end == text || *end || !(value >= option->min && value <= option->max))
            return wrong_value(option, text, err);
        *(double *)at = value;
        return 0;
    }
    case LATHE_OPTION_CHOICE: {
        int number = choice_number(option->choices, text);
        if (number < 0)
            return wrong_value(option, text, err);
        *(int *)at = number;
        return 0;
    }
    case LATHE_OPTION_LIST:
        if (settings->n_renditions == LATHE_RENDITIONS_MAX)
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                                   "--%s: at most %d can be made at once", option->name,
                                   LATHE_RENDITIONS_MAX);
        settings->renditions[settings->n_renditions++] = text;
        return 0;
    }
    return 0;
}

#define OPTIONS_MAX 32

static int parse_options(const struct lathe_command *command, int argc, char **argv,
                         struct lathe_settings *settings, struct lathe_error *err)
{
    struct option longs[OPTIONS_MAX] = {0};
    char letters[2 * OPTIONS_MAX + 2] = ":";
    size_t n_letters = 1;
    for (size_t i = 0; i < command->n_options && i + 1 < OPTIONS_MAX; i++) {
        const struct lathe_option *option = &command->options[i];
        bool has_argument = option->type != LATHE_OPTION_FLAG;
        longs[i] = (struct option){option->name, has_argument, NULL, (int)(256 + i)};
        if (option->letter) {
            letters[n_letters++] = option->letter;
            if (has_argument)
                letters[n_letters++] = ':';
        }
    }
    letters[n_letters] = '\0';
    opterr = 0;
    optind = 0;
    for (;;) {
        int found = getopt_long(argc, argv, letters, longs, NULL);
        if (found < 0)
            return 0;
        const char *written = optind > 0 ? argv[optind - 1] : "";
        if (found == '?')
            return optopt && optopt < 256 ? lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                                                            "unknown option -%c", optopt)
                                          : lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE,
                                                            "unknown option %.60s", written);
        if (found == ':')
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "%.60s needs a value", written);
        for (size_t i = 0; i < command->n_options; i++) {
            const struct lathe_option *option = &command->options[i];
            if (found != (int)(256 + i) && found != option->letter)
                continue;
            int r = set_option(option, optarg, settings, err);
            if (r < 0)
                return r;
            break;
        }
    }
}

int lathe_options_parse(const struct lathe_command *command, int argc, char **argv,
                        struct lathe_settings *ret, struct lathe_error *err)
{
    struct lathe_settings settings = {
        .quality = -1, .passes = 1, .preset = LATHE_PRESET_FAST, .hw = -1};
    int r = parse_options(command, argc, argv, &settings, err);
    int operands = argc - optind;
    if (r == 0 && !settings.help) {
        if (operands < command->operands_min)
            r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "%s needs %s", command->name,
                                command->operand);
        else if (operands > command->operands_max)
            r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "\"%.60s\" is one name too many",
                                argv[optind + command->operands_max]);
    }
    if (r < 0) {
        lathe_error_hint(err, "lathe %s %s; \"lathe help %s\" says more", command->name,
                         command->synopsis, command->name);
        return r;
    }
    if (operands > 0)
        settings.input = argv[optind];
    *ret = settings;
    return 0;
}

/* --- help --- */

#define HELP_COLUMN 34

static void print_option(FILE *f, const struct lathe_option *option)
{
    char left[64];
    const char *argument = option->argument ? option->argument : option->choices;
    int n = option->letter
                ? snprintf(left, sizeof left, "  -%c, --%s", option->letter, option->name)
                : snprintf(left, sizeof left, "      --%s", option->name);
    if (option->type != LATHE_OPTION_FLAG && n > 0)
        snprintf(left + n, sizeof left - (size_t)n, " %s", argument);
    if (strlen(left) > HELP_COLUMN - 2)
        fprintf(f, "%s\n%*s%s\n", left, HELP_COLUMN, "", option->help);
    else
        fprintf(f, "%-*s%s\n", HELP_COLUMN, left, option->help);
}

char *lathe_options_help(const struct lathe_command *command)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    if (command) {
        fprintf(f, "lathe %s %s\n%s\n\n", command->name, command->synopsis, command->summary);
        for (size_t i = 0; i < command->n_options; i++)
            print_option(f, &command->options[i]);
        fprintf(f, "Examples:\n%s", command->examples);
    } else {
        fprintf(f, "lathe COMMAND ... : video transcoding in chunks, joined without a seam\n\n");
        for (size_t i = 0; i < lathe_n_commands; i++)
            fprintf(f, "  lathe %-11s%s\n", lathe_commands[i].name, lathe_commands[i].summary);
        fprintf(f, "\n\"lathe help COMMAND\" says more. \"lathe --version\" shows the version.\n"
                   "Exit codes: 0 done, 1 failed, 2 wrong use, 69 a server cannot be reached,\n"
                   "78 wrong configuration, 130 interrupted.\n");
    }
    if (fclose(f) == EOF) {
        free(text);
        return NULL;
    }
    return text;
}
