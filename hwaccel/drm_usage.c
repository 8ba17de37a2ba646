/* SPDX-License-Identifier: MIT */
#include "drm_usage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lathe/base.h"

#define CLIENTS_MAX 32

struct client {
    char device[32]; /* PCI address */
    unsigned long long id;
};

struct reading {
    struct client seen[CLIENTS_MAX];
    unsigned n_seen;
    struct lathe_hw_load *load;
};

static bool is_new(struct reading *reading, const struct client *client)
{
    for (unsigned i = 0; i < reading->n_seen; i++)
        if (reading->seen[i].id == client->id &&
            strcmp(reading->seen[i].device, client->device) == 0)
            return false;
    if (reading->n_seen == CLIENTS_MAX)
        return false;
    reading->seen[reading->n_seen++] = *client;
    return true;
}

static void add(struct lathe_hw_load *load, const char *name, int64_t busy_us)
{
    struct lathe_hw_engine *engine = lathe_hw_load_engine(load, name);
    if (engine)
        engine->busy_us = (engine->busy_us < 0 ? 0 : engine->busy_us) + busy_us;
}

/* "drm-engine-video:\t123456789 ns"; "drm-engine-capacity-video:\t2" is something else. */
static void take_engine(struct lathe_hw_load *load, const char *line)
{
    char name[64];
    unsigned long long ns;
    if (sscanf(line, "drm-engine-%63[^:]: %llu ns", name, &ns) != 2 ||
        strncmp(name, "capacity-", 9) == 0 || ns > INT64_MAX)
        return;
    add(load, name, (int64_t)(ns / 1000));
}

static void take_file(struct reading *reading, FILE *f)
{
    struct client client = {.device = ""};
    struct lathe_hw_load own;
    bool has_id = false;
    char line[256];
    lathe_hw_load_init(&own);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "drm-client-id: %llu", &client.id) == 1)
            has_id = true;
        else if (sscanf(line, "drm-pdev: %31s", client.device) != 1)
            take_engine(&own, line);
    }
    if (!has_id || !is_new(reading, &client))
        return;
    for (unsigned i = 0; i < own.n_engines; i++)
        add(reading->load, own.engines[i].name, own.engines[i].busy_us);
}

int lathe_drm_usage(const char *folder, struct lathe_hw_load *ret)
{
    struct reading reading = {.load = ret};
    lathe_hw_load_init(ret);
    DIR *dir = opendir(folder);
    if (!dir)
        return -ENODEV;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        int fd =
            entry->d_name[0] == '.' ? -1 : openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
        if (f) {
            take_file(&reading, f);
            fclose(f);
        } else if (fd >= 0) {
            close(fd);
        }
    }
    closedir(dir);
    return ret->n_engines ? 0 : -ENODEV;
}

int lathe_drm_read_load(struct lathe_hw_load *ret)
{
    static struct lathe_hw_load before;
    struct lathe_hw_load now;
    int r = lathe_drm_usage("/proc/self/fdinfo", &now);
    *ret = now;
    for (unsigned i = 0; i < ret->n_engines; i++) {
        const struct lathe_hw_engine *old = lathe_hw_load_engine(&before, ret->engines[i].name);
        /* Less than before: the client was closed, and this is another one. */
        if (old && old->busy_us >= 0 && old->busy_us <= ret->engines[i].busy_us)
            ret->engines[i].busy_us -= old->busy_us;
    }
    before = now;
    return r;
}
