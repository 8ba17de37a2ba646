/* SPDX-License-Identifier: MIT */
/*
 * Options of the commands: one table a command, from which parser, ranges and help are made.
 */
#ifndef LATHE_CLI_OPTIONS_H
#define LATHE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "lathe/error.h"
#include "lathe/job.h"

/* Everything that any command can be told. Strings point into argv. */
struct lathe_settings {
    const char *input, *output, *work;
    const char *renditions[LATHE_RENDITIONS_MAX];
    int n_renditions;
    int codec, encoder, preset, damaged; /* numbers within their choices */
    int hw;                              /* -1 = require for a family that was named */
    int mix;
    double quality;                    /* negative = not given */
    int passes, slots;                 /* slots 0 = chosen */
    double chunk_seconds, gop_seconds; /* 0 = chosen */
    bool keep, upscale, json, quiet, presets, sessions, help;
    bool sample, reference, man; /* of config */
    int priority, filter, limit; /* limit 0 = the command's */
    const char *from;            /* cursor of a list */
    bool wait, all, once, from_start, production, follow;
    const char *config; /* the file of the configuration */
};

enum lathe_option_type {
    LATHE_OPTION_FLAG,
    LATHE_OPTION_TEXT,
    LATHE_OPTION_COUNT,  /* int within min … max */
    LATHE_OPTION_REAL,   /* double within min … max */
    LATHE_OPTION_CHOICE, /* int: number within `choices` */
    LATHE_OPTION_LIST,   /* appended to renditions */
};

struct lathe_option {
    const char *name;
    char letter; /* 0 = none */
    enum lathe_option_type type;
    size_t offset; /* in struct lathe_settings */
    const char *argument;
    const char *choices; /* "h264|hevc" */
    double min, max;
    const char *help;
};

struct lathe_command {
    const char *name;
    const char *synopsis; /* after "lathe NAME " */
    const char *summary;  /* one line */
    const struct lathe_option *options;
    size_t n_options;
    const char *operand;            /* what the first one is, for messages: "the name of a file" */
    int operands_min, operands_max; /* the first one is `input` */
    const char *examples;           /* lines */
    int (*run)(const struct lathe_settings *settings); /* the exit code */
};

extern const struct lathe_command lathe_commands[];
extern const size_t lathe_n_commands;
const struct lathe_command *lathe_command_find(const char *name); /* NULL: unknown */

/* argv[0] is the command's name. -EINVAL with fault USAGE. */
int lathe_options_parse(const struct lathe_command *command, int argc, char **argv,
                        struct lathe_settings *ret, struct lathe_error *err);
/* The help of one command, or (NULL) of all. malloc'd, or NULL (memory). */
char *lathe_options_help(const struct lathe_command *command);

#endif
