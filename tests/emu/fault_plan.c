/* SPDX-License-Identifier: MIT */
/*
 * Reads the plan of faults. Strict: a misspelt line ends the process, because a test whose fault
 * never comes would pass for the wrong reason.
 */
#include "fault_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct emu_plan plan = {.record_fd = -1};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const action_names[] = {
    [EMU_PLAN_FAIL] = "fail",   [EMU_PLAN_OOM] = "oom",       [EMU_PLAN_LOST] = "lost",
    [EMU_PLAN_HANG] = "hang",   [EMU_PLAN_CRASH] = "crash",   [EMU_PLAN_EXIT] = "exit",
    [EMU_PLAN_DELAY] = "delay", [EMU_PLAN_SILENT] = "silent", [EMU_PLAN_GREEN] = "green",
    [EMU_PLAN_STALE] = "stale",
};

const char *emu_plan_action_name(enum emu_plan_action action)
{
    return action_names[action];
}

static void refuse(const char *path, int number, const char *what)
{
    fprintf(stderr, "emulated driver: %s:%d: %s\n", path, number, what);
    _exit(70);
}

static bool parse_number(const char *text, int *ret)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (!*text || *end || value < INT_MIN || value > INT_MAX)
        return false;
    *ret = (int)value;
    return true;
}

static bool parse_text(const char *text, char *ret, size_t size)
{
    if (!*text || strlen(text) >= size)
        return false;
    strcpy(ret, text);
    return true;
}

static bool parse_action(const char *text, enum emu_plan_action *ret)
{
    for (size_t i = 0; i < sizeof(action_names) / sizeof(*action_names); i++)
        if (strcmp(text, action_names[i]) == 0) {
            *ret = (enum emu_plan_action)i;
            return true;
        }
    return false;
}

/* One "key=value" (or "sticky", "shared") of a fault line. */
static bool parse_fault_word(struct emu_plan_fault *fault, char *word, bool *acts)
{
    char *value = strchr(word, '=');

    if (!value && strcmp(word, "shared") == 0)
        return fault->shared = true;
    if (!value)
        return strcmp(word, "sticky") == 0 && (fault->sticky = true);
    *value++ = 0;
    if (strcmp(word, "do") == 0)
        return *acts = parse_action(value, &fault->action);
    if (strcmp(word, "when") == 0)
        return parse_text(value, fault->when, sizeof(fault->when));
    if (strcmp(word, "until") == 0)
        return parse_text(value, fault->until, sizeof(fault->until));
    if (strcmp(word, "touch") == 0)
        return parse_text(value, fault->touch, sizeof(fault->touch));
    if (strcmp(word, "at") == 0)
        return parse_number(value, &fault->at) && fault->at > 0;
    if (strcmp(word, "from") == 0)
        return parse_number(value, &fault->from) && fault->from > 0;
    if (strcmp(word, "device") == 0)
        return parse_number(value, &fault->device);
    if (strcmp(word, "code") == 0)
        return parse_number(value, &fault->code);
    if (strcmp(word, "ms") == 0)
        return parse_number(value, &fault->ms);
    if (strcmp(word, "times") == 0)
        return parse_number(value, &fault->times) && fault->times > 0;
    return false;
}

static void parse_fault(const char *path, int number, char *save)
{
    struct emu_plan_fault *fault = &plan.faults[plan.num_faults];
    char *point = strtok_r(NULL, " \t\n", &save), *word;
    bool acts = false;
    size_t length;

    if (plan.num_faults == (int)(sizeof(plan.faults) / sizeof(*plan.faults)))
        refuse(path, number, "too many faults");
    if (!point || !parse_text(point, fault->point, sizeof(fault->point)))
        refuse(path, number, "a fault needs a point");
    length = strlen(fault->point);
    if (fault->point[length - 1] == '*') {
        fault->point[length - 1] = 0;
        fault->prefix = true;
    }
    fault->number = number;
    fault->from = 1;
    fault->device = -1;
    while ((word = strtok_r(NULL, " \t\n", &save)))
        if (!parse_fault_word(fault, word, &acts))
            refuse(path, number, word);
    if (!acts)
        refuse(path, number, "a fault needs do=ACTION");
    if (fault->action == EMU_PLAN_FAIL && !fault->code)
        refuse(path, number, "do=fail needs code=");
    plan.num_faults++;
}

static void parse_setting(const char *path, int number, char *save)
{
    char *key = strtok_r(NULL, " \t\n", &save), *value = strtok_r(NULL, " \t\n", &save);

    if (plan.num_settings == (int)(sizeof(plan.settings) / sizeof(*plan.settings)))
        refuse(path, number, "too many settings");
    if (!key || !value ||
        !parse_text(key, plan.settings[plan.num_settings].key, sizeof(plan.settings[0].key)) ||
        !parse_text(value, plan.settings[plan.num_settings].value, sizeof(plan.settings[0].value)))
        refuse(path, number, "set KEY VALUE");
    plan.num_settings++;
}

static void read_plan(const char *path, char *profile, size_t profile_size)
{
    char line[2048], *save, *word;
    FILE *file = fopen(path, "re");

    if (!file)
        refuse(path, 0, strerror(errno));
    for (int number = 1; fgets(line, sizeof(line), file); number++) {
        line[strcspn(line, "#")] = 0;
        word = strtok_r(line, " \t\n", &save);
        if (!word)
            continue;
        if (strcmp(word, "fault") == 0) {
            parse_fault(path, number, save);
        } else if (strcmp(word, "set") == 0) {
            parse_setting(path, number, save);
        } else if (strcmp(word, "profile") == 0) {
            word = strtok_r(NULL, " \t\n", &save);
            if (!word || !parse_text(word, profile, profile_size))
                refuse(path, number, "profile NAME");
        } else {
            refuse(path, number, word);
        }
    }
    fclose(file);
}

static void apply_settings(struct emu_profile *profile)
{
    profile->driver = emu_setting_text("driver", profile->driver);
    profile->encoder = emu_setting("encoder", profile->encoder) != 0;
    profile->hevc = emu_setting("hevc", profile->hevc) != 0;
    profile->ten_bit = emu_setting("ten_bit", profile->ten_bit) != 0;
    profile->ten_bit_decode = emu_setting("ten_bit_decode", profile->ten_bit_decode) != 0;
    profile->h264_b_frames = emu_setting("bframes", profile->h264_b_frames) != 0;
    profile->hevc_b_frames =
        profile->hevc_b_frames && emu_setting("bframes", profile->hevc_b_frames);
    profile->scaler = emu_setting("scaler", profile->scaler) != 0;
    profile->sessions = (int)emu_setting("sessions", profile->sessions);
}

static void load(void)
{
    const char *path = getenv("LATHE_EMU_PLAN"), *state = getenv("LATHE_EMU_STATE");
    const char *record = getenv("LATHE_EMU_RECORD"), *name = getenv("LATHE_EMU_PROFILE");
    const char *va_name = getenv("LATHE_EMU_VA_PROFILE");
    char profile[32] = "";

    if (name)
        snprintf(profile, sizeof(profile), "%s", name);
    if (path && *path)
        read_plan(path, profile, sizeof(profile));
    if (state && *state)
        snprintf(plan.state, sizeof(plan.state), "%s", state);
    else if (path && *path)
        snprintf(plan.state, sizeof(plan.state), "%s.state", path);
    if (plan.state[0] && mkdir(plan.state, 0777) < 0 && errno != EEXIST)
        refuse(plan.state, 0, strerror(errno));
    if (record && *record) {
        plan.record_fd = open(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (plan.record_fd < 0)
            refuse(record, 0, strerror(errno));
    }
    emu_profile_lookup(profile, &plan.profile);
    emu_profile_lookup(va_name && *va_name ? va_name : profile, &plan.va_profile);
}

struct emu_plan *emu_plan_get(void)
{
    pthread_once(&once, load);
    return &plan;
}

int emu_plan_state_path(const char *name, char *path, size_t size)
{
    int length;

    if (!emu_plan_get()->state[0])
        return -ENOENT;
    length = snprintf(path, size, "%s/%s", plan.state, name);
    return length > 0 && (size_t)length < size ? 0 : -ENAMETOOLONG;
}

const char *emu_setting_text(const char *key, const char *otherwise)
{
    struct emu_plan *loaded = emu_plan_get();

    for (int i = loaded->num_settings - 1; i >= 0; i--)
        if (strcmp(loaded->settings[i].key, key) == 0)
            return loaded->settings[i].value;
    return otherwise;
}

long emu_setting(const char *key, long otherwise)
{
    const char *text = emu_setting_text(key, NULL);
    char *end;
    long value;

    if (!text)
        return otherwise;
    value = strtol(text, &end, 0);
    if (*end)
        refuse(key, 0, "the setting needs a number");
    return value;
}

static const struct emu_profile *apply_once(const struct emu_profile *from,
                                            struct emu_profile *applied)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&lock);
    if (!applied->name) {
        *applied = *from;
        apply_settings(applied);
    }
    pthread_mutex_unlock(&lock);
    return applied;
}

const struct emu_profile *emu_profile(void)
{
    static struct emu_profile applied;

    return apply_once(&emu_plan_get()->profile, &applied);
}

const struct emu_profile *emu_va_profile(void)
{
    static struct emu_profile applied;

    return apply_once(&emu_plan_get()->va_profile, &applied);
}
