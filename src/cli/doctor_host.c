/* SPDX-License-Identifier: MIT */
/*
 * This host: the slot program and its encoders, GPUs and who may use them, room for scratch files.
 */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "doctor.h"
#include "jobs.h"
#include "lathe/base.h"
#include "lathe/hardware.h"
#include "lathe/pool.h"

static void check_encoder(const json_t *row, struct lathe_findings *ret)
{
    const char *encoder = json_string_value(json_object_get(row, "encoder"));
    const char *codec = json_string_value(json_object_get(row, "codec"));
    const char *reason = json_string_value(json_object_get(row, "reason"));
    json_int_t bits = json_integer_value(json_object_get(row, "bits"));
    if (!encoder || !codec)
        return;
    if (json_is_true(json_object_get(row, "works"))) {
        lathe_findings_add(ret, "host.encoder", LATHE_FINDING_GOOD, NULL, "%s encodes %s, %lld bit",
                           encoder, codec, (long long)bits);
        return;
    }
    /* Without HEVC a host still serves most jobs. */
    bool is_needed = strcmp(codec, "h264") == 0;
    lathe_findings_add(ret, "host.encoder", is_needed ? LATHE_FINDING_FAULT : LATHE_FINDING_WARNING,
                       "install an FFmpeg with x264 and x265    (on Debian: apt install "
                       "libavcodec59 libx264-164 libx265-199)",
                       "%s cannot encode %s, %lld bit: %s", encoder, codec, (long long)bits,
                       reason && *reason ? reason : "no reason was given");
}

void lathe_doctor_encoders(struct lathe_doctor *d, struct lathe_findings *ret)
{
    (void)d;
    struct lathe_error err = {0};
    struct lathe_pool *pool = NULL;
    json_t *body = NULL, *row;
    size_t i;
    int r = lathe_pool_create(NULL, &pool, &err);
    if (r == 0)
        r = lathe_cli_ask_encoders(pool, &body, &err);
    if (r < 0) {
        lathe_findings_add_error(ret, "host.slot", &err);
    } else {
        const char *version = json_string_value(json_object_get(body, "ffmpeg"));
        lathe_findings_add(ret, "host.slot", LATHE_FINDING_GOOD, NULL,
                           "lathe-slot runs, with FFmpeg %s", version ? version : "?");
        json_array_foreach (json_object_get(body, "encoders"), i, row)
            check_encoder(row, ret);
    }
    json_decref(body);
    lathe_pool_destroy(pool);
}

/* --- device nodes --- */

static void name_group(gid_t gid, char ret[64])
{
    const struct group *group = getgrgid(gid);
    if (group)
        snprintf(ret, 64, "%s", group->gr_name);
    else
        snprintf(ret, 64, "%u", (unsigned)gid);
}

static void check_node(const char *path, struct lathe_findings *ret)
{
    struct stat st;
    char group[64], cure[320];
    if (stat(path, &st) < 0)
        return;
    if (access(path, R_OK | W_OK) == 0) {
        lathe_findings_add(ret, "host.device", LATHE_FINDING_GOOD, NULL, "%s can be used", path);
        return;
    }
    const struct passwd *user = getpwuid(geteuid());
    name_group(st.st_gid, group);
    snprintf(cure, sizeof cure, "usermod -aG %s %s    (then log in, or start the service, anew)",
             group, user ? user->pw_name : "USER");
    lathe_findings_add(ret, "host.device", LATHE_FINDING_FAULT, cure,
                       "%s is there and this user may not use it; its group is %s", path, group);
}

static unsigned check_nodes(const char *dir, const char *prefix, struct lathe_findings *ret)
{
    unsigned count = 0;
    DIR *folder = opendir(dir);
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(prefix);
        if (strncmp(entry->d_name, prefix, length) != 0 || entry->d_name[length] < '0' ||
            entry->d_name[length] > '9')
            continue;
        _cleanup_free_ char *path = lathe_format("%s/%s", dir, entry->d_name);
        if (path)
            check_node(path, ret);
        count++;
    }
    closedir(folder);
    return count;
}

void lathe_doctor_devices(struct lathe_doctor *d, struct lathe_findings *ret)
{
    const char *dri = d->config->slot_dri_dir[0] ? d->config->slot_dri_dir : "/dev/dri";
    unsigned nvidia = check_nodes("/dev", "nvidia", ret);
    if (nvidia > 0)
        check_node("/dev/nvidiactl", ret);
    if (nvidia > 0 && access("/dev/nvidia-uvm", F_OK) < 0)
        lathe_findings_add(ret, "host.device", LATHE_FINDING_FAULT,
                           "nvidia-modprobe -u -c=0    (at each boot)",
                           "/dev/nvidia-uvm is missing, and CUDA needs it");
    if (nvidia + check_nodes(dri, "renderD", ret) == 0)
        lathe_findings_add(ret, "host.device", LATHE_FINDING_GOOD, NULL,
                           "there are no GPU devices; chunks are encoded in software");
}

void lathe_doctor_gpus(struct lathe_doctor *d, struct lathe_findings *ret)
{
    struct lathe_error err = {0};
    struct lathe_hardware hardware;
    if (!d->config->gpu_enabled) {
        lathe_findings_add(ret, "host.gpu", LATHE_FINDING_GOOD, NULL,
                           "GPUs are not used (gpu.enabled)");
        return;
    }
    if (lathe_hardware_load(NULL, lathe_cli_cancel, &hardware, &err) < 0) {
        lathe_findings_add_error(ret, "host.gpu", &err);
        return;
    }
    char summary[512];
    bool mismatch = false;
    for (size_t i = 0; i < LATHE_COUNT(hardware.notes); i++)
        mismatch = mismatch || strcmp(hardware.notes[i], LATHE_HW_NOTE_MISMATCH) == 0;
    if (mismatch)
        lathe_findings_add(ret, "host.gpu", LATHE_FINDING_FAULT,
                           "reboot    (the driver was upgraded; the old one is still loaded)",
                           LATHE_HW_NOTE_MISMATCH);
    if (hardware.n_devices == 0 && !mismatch) {
        lathe_hardware_summary(&hardware, summary, sizeof summary);
        lathe_findings_add(ret, "host.gpu", LATHE_FINDING_NOTE,
                           "lathe probe    (says what was tried)", "%s", summary);
    }
    for (unsigned i = 0; i < hardware.n_devices; i++) {
        const struct lathe_hw_device *device = &hardware.devices[i];
        bool works = lathe_hw_works(device, LATHE_HW_OPEN, NULL, 0);
        lathe_hw_summary(device, summary, sizeof summary);
        lathe_findings_add(ret, "host.gpu", works ? LATHE_FINDING_GOOD : LATHE_FINDING_WARNING,
                           works ? NULL : "lathe probe    (says what was tried, and why not)",
                           "%s: %s", device->name, summary);
    }
    lathe_hardware_finish(&hardware);
}

void lathe_doctor_scratch(struct lathe_doctor *d, struct lathe_findings *ret)
{
    _cleanup_free_ char *own = lathe_format("%s/scratch", d->config->state_dir);
    const char *dir = d->config->scratch_dir[0] ? d->config->scratch_dir : own;
    if (dir)
        lathe_findings_add_space(ret, "host.scratch", "the disk of scratch files", dir);
}
