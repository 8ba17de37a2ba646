/* SPDX-License-Identifier: MIT */
/*
 * The option tables, and what is made from them. Nothing about an option is said in two places.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <string.h>

#include "commands.h"
#include "lathe/base.h"

#define AT(member) offsetof(struct lathe_settings, member)
#define PRESETS "ultrafast|superfast|veryfast|faster|fast|medium|slow|slower|veryslow"

#define OPTION_OUTPUT                                                                              \
    {                                                                                              \
        "output", 'o', LATHE_OPTION_TEXT, AT(output), "PATH", NULL, 0, 0,                          \
            "an MP4 file; with several renditions a folder"                                        \
    }
/* What is to be made; the same for run and plan. */
#define OPTIONS_JOB                                                                                \
    {"rendition",                                                                                  \
     'r',                                                                                          \
     LATHE_OPTION_LIST,                                                                            \
     AT(renditions),                                                                               \
     "720p[:2500k]",                                                                               \
     NULL,                                                                                         \
     0,                                                                                            \
     0,                                                                                            \
     "short side, bitrate; repeatable [as source]"},                                               \
        {"codec", 0, LATHE_OPTION_CHOICE, AT(codec), NULL, "h264|hevc", 0, 0, "[h264]"},           \
        {"preset", 'p', LATHE_OPTION_CHOICE,           AT(preset), "NAME", PRESETS,                \
         0,        0,   "ultrafast to veryslow [fast]"},                                           \
        {"encoder",   0,      LATHE_OPTION_CHOICE,                                                 \
         AT(encoder), "NAME", "auto|nvenc|vaapi|software",                                         \
         0,           0,      "auto, nvenc, vaapi or software [auto]"},                            \
        {"hw", 0, LATHE_OPTION_CHOICE,        AT(hw), NULL, "prefer|require",                      \
         0,    0, "whether a GPU must encode"},                                                    \
        {"mix",   0,    LATHE_OPTION_CHOICE,                                                       \
         AT(mix), NULL, "fallback|allow|never",                                                    \
         0,       0,    "different encoders in one output [fallback]"},                            \
        {"quality", 'q', LATHE_OPTION_REAL,         AT(quality), "N", NULL,                        \
         1,         51,  "CRF instead of a bitrate"},                                              \
        {"passes",   0,   LATHE_OPTION_COUNT,                                                      \
         AT(passes), "N", NULL,                                                                    \
         1,          2,   "2: analyse all before encoding [1]"},                                   \
        {"chunk-seconds", 0,     LATHE_OPTION_REAL,           AT(chunk_seconds), "S", NULL,        \
         0.001,           86400, "length of a chunk [chosen]"},                                    \
        {"gop-seconds",   0,     LATHE_OPTION_REAL,                                                \
         AT(gop_seconds), "S",   NULL,                                                             \
         0.001,           86400, "longest distance of key frames [chosen]"},                       \
        {"damaged",   0,    LATHE_OPTION_CHOICE,                                                   \
         AT(damaged), NULL, "fail|conceal",                                                        \
         0,           0,    "when the source is damaged [fail]"},                                  \
        {"upscale",   0,    LATHE_OPTION_FLAG,                                                     \
         AT(upscale), NULL, NULL,                                                                  \
         0,           0,    "allow renditions larger than the source"},                            \
    {                                                                                              \
        "slots", 'j', LATHE_OPTION_COUNT, AT(slots), "N", NULL, 1, 256,                            \
            "chunks at once [by processors and memory]"                                            \
    }
#define OPTION_JSON                                                                                \
    {                                                                                              \
        "json", 0, LATHE_OPTION_FLAG, AT(json), NULL, NULL, 0, 0,                                  \
            "print one JSON object on stdout"                                                      \
    }
#define OPTION_HELP                                                                                \
    {                                                                                              \
        "help", 'h', LATHE_OPTION_FLAG, AT(help), NULL, NULL, 0, 0, "show this"                    \
    }

static const struct lathe_option run_options[] = {
    OPTION_OUTPUT,
    OPTIONS_JOB,
    {"work", 'w', LATHE_OPTION_TEXT, AT(work), "DIR", NULL, 0, 0,
     "keep chunks here: the same command resumes"},
    {"keep", 0, LATHE_OPTION_FLAG, AT(keep), NULL, NULL, 0, 0,
     "with --work: keep all when it is done"},
    OPTION_JSON,
    {"quiet", 0, LATHE_OPTION_FLAG, AT(quiet), NULL, NULL, 0, 0, "no progress, no summary"},
    OPTION_HELP,
};
static const struct lathe_option plan_options[] = {OPTION_OUTPUT, OPTIONS_JOB, OPTION_JSON,
                                                   OPTION_HELP};
static const struct lathe_option probe_options[] = {
    {"presets", 0, LATHE_OPTION_FLAG, AT(presets), NULL, NULL, 0, 0,
     "show what each preset means to each encoder"},
    {"sessions", 0, LATHE_OPTION_FLAG, AT(sessions), NULL, NULL, 0, 0,
     "find out how many encode sessions a GPU allows"},
    OPTION_JSON,
    OPTION_HELP,
};

static const struct lathe_option config_options[] = {
    {"config", 0, LATHE_OPTION_TEXT, AT(config), "FILE", NULL, 0, 0,
     "the file to read [/etc/lathe/lathe.conf]"},
    {"sample", 0, LATHE_OPTION_FLAG, AT(sample), NULL, NULL, 0, 0,
     "print a file with every option as a comment"},
    {"reference", 0, LATHE_OPTION_FLAG, AT(reference), NULL, NULL, 0, 0,
     "print the table of the manual, in Markdown"},
    {"man", 0, LATHE_OPTION_FLAG, AT(man), NULL, NULL, 0, 0,
     "print the entries of lathe.conf(5), for scdoc"},
    OPTION_JSON,
    OPTION_HELP,
};

const struct lathe_command lathe_commands[] = {
    {"run", "INPUT -o OUTPUT [options]", "transcode one video on this machine", run_options,
     LATHE_COUNT(run_options), 1, 1,
     "  lathe run film.mkv -o ladder/ -r 1080p -r 720p -r 480p --work /scratch/film\n",
     lathe_cli_run},
    {"plan", "INPUT [options]", "show what run would do, without doing it", plan_options,
     LATHE_COUNT(plan_options), 1, 1,
     "  lathe plan talk.mov --rendition 720p\n"
     "  lathe plan film.mkv --rendition 1080p --chunk-seconds 4 --json\n",
     lathe_cli_plan},
    {"probe", "[FILE] [options]", "show what a file is, or what this machine can encode with",
     probe_options, LATHE_COUNT(probe_options), 0, 1,
     "  lathe probe talk.mov\n"
     "  lathe probe\n"
     "  lathe probe --presets\n",
     lathe_cli_probe},
    {"config", "[options]", "show how this host is configured, and by whom", config_options,
     LATHE_COUNT(config_options), 0, 0,
     "  lathe config\n"
     "  lathe config --sample >lathe.conf\n",
     lathe_cli_config},
};
const size_t lathe_n_commands = LATHE_COUNT(lathe_commands);

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
            r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "%s needs the name of a file",
                                command->name);
        else if (operands > command->operands_max)
            r = lathe_error_set(err, -EINVAL, LATHE_FAULT_USAGE, "\"%.60s\" is one file too many",
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
            fprintf(f, "  lathe %-8s%s\n", lathe_commands[i].name, lathe_commands[i].summary);
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
