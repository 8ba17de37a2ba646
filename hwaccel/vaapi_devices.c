/* SPDX-License-Identifier: MIT */
#include "vaapi_devices.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "lathe/base.h"

static void read_line(const char *node, const char *file, char *ret, size_t size)
{
    char path[256], text[128] = "";
    snprintf(path, sizeof(path), "/sys/class/drm/%s/device/%s", node, file);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    if (!f || !fgets(text, sizeof(text), f))
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    snprintf(ret, size, "%s", text);
}

/* A line "KEY=value" of the device's uevent. */
static void read_uevent(const char *node, const char *key, char *ret, size_t size)
{
    char path[256], text[160];
    ret[0] = '\0';
    snprintf(path, sizeof(path), "/sys/class/drm/%s/device/uevent", node);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    while (f && fgets(text, sizeof(text), f)) {
        size_t n = strlen(key);
        if (strncmp(text, key, n) != 0 || text[n] != '=')
            continue;
        text[strcspn(text, "\n")] = '\0';
        snprintf(ret, size, "%s", text + n + 1);
    }
}

void lathe_vaapi_kernel_driver(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    read_uevent(slash ? slash + 1 : path, "DRIVER", ret, size);
}

static void describe(const char *folder, const char *node, struct lathe_hw_device *ret)
{
    char kernel[32], vendor[16], model[16], slot[32];
    struct utsname system;
    *ret = (struct lathe_hw_device){.family = LATHE_ENCODER_VAAPI};
    snprintf(ret->path, sizeof(ret->path), "%s/%s", folder, node);
    lathe_vaapi_kernel_driver(node, kernel, sizeof(kernel));
    read_line(node, "vendor", vendor, sizeof(vendor));
    read_line(node, "device", model, sizeof(model));
    read_uevent(node, "PCI_SLOT_NAME", slot, sizeof(slot));
    snprintf(ret->id, sizeof(ret->id), "%.63s", slot[0] ? slot : ret->path);
    const char *maker = strcmp(vendor, "0x8086") == 0   ? "Intel"
                        : strcmp(vendor, "0x1002") == 0 ? "AMD"
                        : vendor[0]                     ? vendor
                                                        : "GPU";
    snprintf(ret->name, sizeof(ret->name), "%s %s", maker, model[0] ? model : node);
    snprintf(ret->driver, sizeof(ret->driver), "%s, Linux %.64s", kernel[0] ? kernel : "unknown",
             uname(&system) == 0 ? system.release : "unknown");
}

/* NVIDIA's node leads to a display that only decodes, and its device is listed through CUDA. A
 * virtual one has no engine. */
static bool is_of_use(const char *node)
{
    char kernel[32];
    lathe_vaapi_kernel_driver(node, kernel, sizeof(kernel));
    return strncmp(kernel, "nvidia", 6) != 0 && strcmp(kernel, "vgem") != 0;
}

static int is_render_node(const struct dirent *entry)
{
    return strncmp(entry->d_name, "renderD", 7) == 0;
}

int lathe_vaapi_list(struct lathe_hw_device *ret, int max, char *note, size_t note_size)
{
    const char *other = getenv(LATHE_HWACCEL_ENV_DRI);
    const char *folder = other && *other ? other : "/dev/dri";
    struct dirent **nodes = NULL;
    int count = scandir(folder, &nodes, is_render_node, versionsort), n = 0;
    for (int i = 0; i < count; i++) {
        if (n < max && is_of_use(nodes[i]->d_name))
            describe(folder, nodes[i]->d_name, &ret[n++]);
        free(nodes[i]);
    }
    free(nodes);
    if (n == 0)
        snprintf(note, note_size, "no render node of Intel or AMD in %.100s", folder);
    return n;
}
