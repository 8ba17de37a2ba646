/* SPDX-License-Identifier: MIT */
/*
 * The option tables of the commands. Nothing about an option is said in two places.
 */
#include "commands.h"
#include "lathe/base.h"
#include "options.h"

#define AT(member) offsetof(struct lathe_settings, member)
#define PRESETS "ultrafast|superfast|veryfast|faster|fast|medium|slow|slower|veryslow"

#define OPTION_OUTPUT                                                                              \
    {                                                                                              \
        "output", 'o', LATHE_OPTION_TEXT, AT(output), "PATH", NULL, 0, 0,                          \
            "an MP4 file; with several renditions a folder"                                        \
    }
/* What is to be made; the same for run, plan and submit. */
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
    {                                                                                              \
        "upscale", 0, LATHE_OPTION_FLAG, AT(upscale), NULL, NULL, 0, 0,                            \
            "allow renditions larger than the source"                                              \
    }
#define OPTION_SLOTS                                                                               \
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
    OPTION_SLOTS,
    {"work", 'w', LATHE_OPTION_TEXT, AT(work), "DIR", NULL, 0, 0,
     "keep chunks here: the same command resumes"},
    {"keep", 0, LATHE_OPTION_FLAG, AT(keep), NULL, NULL, 0, 0,
     "with --work: keep all when it is done"},
    OPTION_JSON,
    {"quiet", 0, LATHE_OPTION_FLAG, AT(quiet), NULL, NULL, 0, 0, "no progress, no summary"},
    OPTION_HELP,
};
static const struct lathe_option plan_options[] = {OPTION_OUTPUT, OPTIONS_JOB, OPTION_SLOTS,
                                                   OPTION_JSON, OPTION_HELP};
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

#define OPTION_CONFIG                                                                              \
    {                                                                                              \
        "config", 0, LATHE_OPTION_TEXT, AT(config), "FILE", NULL, 0, 0,                            \
            "where the servers are [/etc/lathe/lathe.conf]"                                        \
    }
#define OPTION_QUIET                                                                               \
    {                                                                                              \
        "quiet", 0, LATHE_OPTION_FLAG, AT(quiet), NULL, NULL, 0, 0, "no progress, no summary"      \
    }
/* What every command of the fleet has. */
#define OPTIONS_FLEET OPTION_CONFIG, OPTION_JSON, OPTION_HELP

static const struct lathe_option submit_options[] = {
    {"output", 'o', LATHE_OPTION_TEXT, AT(output), "PATH", NULL, 0, 0,
     "with --wait: bring the results here"},
    OPTIONS_JOB,
    {"priority", 0, LATHE_OPTION_COUNT, AT(priority), "N", NULL, -1000000, 1000000,
     "larger goes first [0]"},
    {"wait", 0, LATHE_OPTION_FLAG, AT(wait), NULL, NULL, 0, 0,
     "until it has ended; Ctrl-C leaves it running"},
    OPTION_QUIET,
    OPTIONS_FLEET,
};
static const struct lathe_option list_options[] = {
    {"filter", 0, LATHE_OPTION_CHOICE, AT(filter), NULL, "all|open|ended", 0, 0, "[all]"},
    {"limit", 'n', LATHE_OPTION_COUNT, AT(limit), "N", NULL, 1, 1000, "at most so many [20]"},
    {"from", 0, LATHE_OPTION_TEXT, AT(from), "N", NULL, 0, 0, "go on where an earlier list ended"},
    OPTIONS_FLEET,
};
static const struct lathe_option status_options[] = {
    {"all", 'a', LATHE_OPTION_FLAG, AT(all), NULL, NULL, 0, 0,
     "every chunk, also of a job with many"},
    OPTIONS_FLEET,
};
static const struct lathe_option top_options[] = {
    {"once", 0, LATHE_OPTION_FLAG, AT(once), NULL, NULL, 0, 0, "one look, also on a terminal"},
    OPTIONS_FLEET,
};
static const struct lathe_option plain_options[] = {OPTION_QUIET, OPTIONS_FLEET};
static const struct lathe_option retry_options[] = {
    {"from-start", 0, LATHE_OPTION_FLAG, AT(from_start), NULL, NULL, 0, 0,
     "also what was done well"},
    OPTION_QUIET,
    OPTIONS_FLEET,
};
static const struct lathe_option fetch_options[] = {
    OPTION_OUTPUT,
    {"rendition", 'r', LATHE_OPTION_LIST, AT(renditions), "720p", NULL, 0, 0,
     "only this one; repeatable [all]"},
    OPTION_QUIET,
    OPTIONS_FLEET,
};
static const struct lathe_option logs_options[] = {
    {"follow", 'f', LATHE_OPTION_FLAG, AT(follow), NULL, NULL, 0, 0, "go on with what comes"},
    OPTION_JSON,
    OPTION_HELP,
};
static const struct lathe_option completion_options[] = {OPTION_HELP};
static const struct lathe_option drain_options[] = {OPTIONS_FLEET};
static const struct lathe_option doctor_options[] = {
    {"production", 0, LATHE_OPTION_FLAG, AT(production), NULL, NULL, 0, 0,
     "also what matters when nothing may be lost"},
    OPTIONS_FLEET,
};

#define A_FILE "the name of a file"
#define A_JOB "the id of a job; \"lathe list\" shows them"

const struct lathe_command lathe_commands[] = {
    {"run", "INPUT -o OUTPUT [options]", "transcode one video on this machine", run_options,
     LATHE_COUNT(run_options), A_FILE, 1, 1,
     "  lathe run film.mkv -o ladder/ -r 1080p -r 720p -r 480p --work /scratch/film\n",
     lathe_cli_run},
    {"plan", "INPUT [options]", "show what run would do, without doing it", plan_options,
     LATHE_COUNT(plan_options), A_FILE, 1, 1,
     "  lathe plan talk.mov --rendition 720p\n"
     "  lathe plan film.mkv --rendition 1080p --chunk-seconds 4 --json\n",
     lathe_cli_plan},
    {"probe", "[FILE] [options]", "show what a file is, or what this machine can encode with",
     probe_options, LATHE_COUNT(probe_options), A_FILE, 0, 1,
     "  lathe probe talk.mov\n"
     "  lathe probe\n"
     "  lathe probe --presets\n",
     lathe_cli_probe},
    {"submit", "FILE|KEY [options]", "let the fleet transcode a file, or an object of the store",
     submit_options, LATHE_COUNT(submit_options), "the name of a file or an object", 1, 1,
     "  lathe submit film.mkv -r 720p --wait -o small.mp4\n", lathe_cli_submit},
    {"list", "[options]", "show the jobs of the fleet, the youngest first", list_options,
     LATHE_COUNT(list_options), NULL, 0, 0,
     "  lathe list --filter open\n"
     "  lathe list -n 100 --json\n",
     lathe_cli_list},
    {"status", "JOB [options]", "show one job: chunks, encoders, attempts, reasons", status_options,
     LATHE_COUNT(status_options), A_JOB, 1, 1,
     "  lathe status 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d\n"
     "  lathe status 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d --json\n",
     lathe_cli_status},
    {"top", "[options]", "show the whole fleet: workers and open jobs", top_options,
     LATHE_COUNT(top_options), NULL, 0, 0,
     "  lathe top\n"
     "  lathe top --json\n",
     lathe_cli_top},
    {"cancel", "JOB [options]", "stop a job and remove what was made for it", plain_options,
     LATHE_COUNT(plain_options), A_JOB, 1, 1,
     "  lathe cancel 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d\n", lathe_cli_cancel_job},
    {"retry", "JOB [options]", "try a failed or cancelled job again", retry_options,
     LATHE_COUNT(retry_options), A_JOB, 1, 1,
     "  lathe retry 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d\n", lathe_cli_retry},
    {"fetch", "JOB -o PATH [options]", "bring the results of a job to this machine", fetch_options,
     LATHE_COUNT(fetch_options), A_JOB, 1, 1,
     "  lathe fetch 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d -o film.mp4\n"
     "  lathe fetch 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d -o film-480p.mp4 -r 480p\n",
     lathe_cli_fetch},
    {"rm", "JOB [options]", "remove an ended job, its results and its uploaded source",
     plain_options, LATHE_COUNT(plain_options), A_JOB, 1, 1,
     "  lathe rm 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d\n", lathe_cli_rm},
    {"logs", "JOB [options]", "show what this host's journal has about a job", logs_options,
     LATHE_COUNT(logs_options), A_JOB, 1, 1,
     "  lathe logs 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d\n"
     "  lathe logs 0197f2c4-6a3e-7b52-9c1d-2f0e8a7b6c5d --follow\n",
     lathe_cli_logs},
    {"drain", "HOST [options]", "let the workers of a host finish what they have, and no more",
     drain_options, LATHE_COUNT(drain_options), "the name of a host or a worker", 1, 1,
     "  lathe drain gpu-03\n", lathe_cli_drain},
    {"doctor", "[options]", "say what is wrong with host and servers, and the cure", doctor_options,
     LATHE_COUNT(doctor_options), NULL, 0, 0,
     "  lathe doctor\n"
     "  lathe doctor --production --json\n",
     lathe_cli_doctor},
    {"config", "[options]", "show how this host is configured, and by whom", config_options,
     LATHE_COUNT(config_options), NULL, 0, 0,
     "  lathe config\n"
     "  lathe config --sample >lathe.conf\n",
     lathe_cli_config},
    {"completion", "bash|zsh [options]", "print what a shell completes commands with",
     completion_options, LATHE_COUNT(completion_options), "a shell: bash or zsh", 1, 1,
     "  source <(lathe completion bash)\n", lathe_cli_completion},
};
const size_t lathe_n_commands = LATHE_COUNT(lathe_commands);
