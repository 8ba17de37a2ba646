/* SPDX-License-Identifier: MIT */
/*
 * The configuration of a machine and its fleet: where the servers are, how much this host takes.
 * What is about one video is on the command line and in its job.
 *
 * One table (src/base/config_table.c) says everything about an option: parser, messages, the
 * reference page, the sample file, flags and variables are made from it.
 *
 * Sources, each stronger than the one before: the defaults; the file (`file`, else $LATHE_CONFIG,
 * else /etc/lathe/lathe.conf if there is one); the variables LATHE_*; the flags. Secrets are never
 * options: drivers read them from files of their own (`password_file=`, store.credentials), or from
 * the service manager's $CREDENTIALS_DIRECTORY.
 *
 * Threads: a configuration belongs to one thread while it is loaded; then it may be read by all.
 */
#ifndef LATHE_CONFIG_H
#define LATHE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lathe/error.h"

#define LATHE_CONFIG_OPTIONS_MAX 64
#define LATHE_CONFIG_FILE "/etc/lathe/lathe.conf"
#define LATHE_CONFIG_STATE_DIR "/var/lib/lathe"

/* Members have the types of the table; texts are owned and never NULL. */
struct lathe_config {
    char *state_dir;
    char *queue_driver, *queue_location; /* locations of embedded drivers are filled in */
    char *state_driver, *state_location;
    char *store_driver, *store_location, *store_credentials;
    char *scratch_dir; /* "" = chosen by the program */
    uint64_t scratch_quota_bytes;
    int64_t slots; /* 0 = chosen */
    int64_t lease_seconds, drain_seconds, patience_seconds;
    double stall_seconds, keep_hours;
    char *slot_program, *slot_memory_bytes, *slot_pass, *slot_files, *slot_dri_dir;
    bool gpu_enabled;
    int64_t gpu_lanes;
    char *gpu_cache;
    int64_t chunks;                /* enum lathe_chunks, by name in LATHE_CHUNKS */
    int64_t log_level, log_format; /* enum lathe_log_level, lathe_log_format */
    char *metrics_listen;
    char *door; /* "" = chosen by the program */

    /* Where each option of the table comes from: "FILE:LINE", "LATHE_…", "--…"; NULL = default. */
    char *origins[LATHE_CONFIG_OPTIONS_MAX];
};

enum lathe_config_type {
    LATHE_CONFIG_TEXT,   /* char * */
    LATHE_CONFIG_COUNT,  /* int64_t within min … max */
    LATHE_CONFIG_REAL,   /* double within min … max */
    LATHE_CONFIG_BYTES,  /* uint64_t; "20G" means 20 GiB */
    LATHE_CONFIG_CHOICE, /* int64_t: number within `allowed` */
    LATHE_CONFIG_FLAG,   /* bool; true or false */
};

struct lathe_config_option {
    const char *name;     /* in the file: "queue.driver" is `driver` in the group `queue` */
    const char *variable; /* "LATHE_QUEUE_DRIVER"; the flag is --queue-driver */
    enum lathe_config_type type;
    size_t offset;              /* in struct lathe_config */
    const char *standard;       /* the default, as it would be written */
    const char *standard_words; /* what the default means, where `standard` does not say it */
    const char *allowed;        /* choices: "error|warning"; of texts: a description; or NULL */
    double min, max;
    bool reloads;  /* a worker takes a new value on SIGHUP; else when it starts again */
    bool exported; /* read from the environment by the layer it is for */
    const char *help;
};
extern const struct lathe_config_option lathe_config_options[];
extern const size_t lathe_n_config_options;

/*
 * Loads all sources. `file` NULL: as above. `argv` holds the flags (argv[0] is skipped, as the
 * program's name; argc 0: none): "--NAME VALUE" or "--NAME=VALUE", and "--config FILE". The caller
 * finishes the result. Fault CONFIG, with file and line, option, and what is allowed; fault USAGE
 * for a flag.
 */
int lathe_config_load(const char *file, int argc, char **argv, struct lathe_config *ret,
                      struct lathe_error *err);
void lathe_config_finish(struct lathe_config *config);

/* Puts exported options that the file or a flag has set into the environment, for the layers and
 * the children that read them there. Before threads are started. */
int lathe_config_export(const struct lathe_config *config, struct lathe_error *err);

/* Puts "queue.driver (/etc/lathe/lathe.conf:3): " before an error that this option has caused. */
void lathe_config_blame(const struct lathe_config *config, const char *option,
                        struct lathe_error *err);

/* Whether any source has set this option. */
bool lathe_config_is_set(const struct lathe_config *config, const char *option);

/* The value of an option as it would be written; malloc'd, or NULL (memory). */
char *lathe_config_text(const struct lathe_config *config,
                        const struct lathe_config_option *option);

/* What is made from the table. Errors of the stream are left to the caller. */
void lathe_config_write_sample(FILE *f);    /* a file in which each default is a comment */
void lathe_config_write_reference(FILE *f); /* rows of docs/configuration.md */
void lathe_config_write_man(FILE *f);       /* entries of lathe.conf(5), scdoc */
void lathe_config_write_flags(FILE *f);     /* for --help: a line each, at most 80 columns */

#endif
