/* SPDX-License-Identifier: MIT */
/*
 * Files: a slot may read those that its order names, write in the folders of its outputs, and read
 * what libraries and drivers need. Everything else on disk is out of its reach, whatever a
 * hostile source talked it into.
 *
 * Landlock (Linux 5.13) takes rights away for good, so this is done once, with the first order. The
 * kernel's header of an older distribution lacks newer rights, hence the numbers here.
 */
#include "sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lathe/base.h"

#define FS_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FS_LIST LANDLOCK_ACCESS_FS_READ_DIR
#define FS_WRITE LANDLOCK_ACCESS_FS_WRITE_FILE
#define FS_MAKE (LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE)
#define FS_REFER (1ull << 13)    /* since version 2 */
#define FS_TRUNCATE (1ull << 14) /* since version 3 */
#define FS_VERSION_1 ((1ull << 13) - 1)
#define NET_TCP 3ull   /* bind and connect, since version 4 */
#define SCOPE_ALL 3ull /* abstract sockets and signals, since version 6 */

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct rules {
    int fd;
    uint64_t handled; /* rights of files that this kernel knows */
};

int lathe_sandbox_landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 0 ? 0 : (int)version;
}

/* What is not there needs no rule: opening it fails as it should. */
static int allow(const struct rules *rules, const char *path, uint64_t access)
{
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        access &= FS_READ | FS_WRITE | FS_TRUNCATE;
    struct landlock_path_beneath_attr attr = {.allowed_access = access & rules->handled,
                                              .parent_fd = fd};
    if (!attr.allowed_access)
        return 0;
    if (syscall(SYS_landlock_add_rule, rules->fd, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0)
        return -errno;
    return 0;
}

/* A source is one file. Of a folder only the names, so that the complaint about it is right. */
static int allow_input(const struct rules *rules, const char *path)
{
    struct stat st;
    if (!path || stat(path, &st) < 0)
        return 0;
    return allow(rules, path, S_ISDIR(st.st_mode) ? FS_LIST : FS_READ);
}

static int allow_output(const struct rules *rules, const char *path)
{
    if (!path)
        return 0;
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder =
        slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder)
        return -ENOMEM;
    return allow(rules, folder, FS_READ | FS_LIST | FS_WRITE | FS_MAKE | FS_TRUNCATE);
}

static int allow_order(const struct rules *rules, const struct lathe_order *order)
{
    int r = allow_input(rules, order->source_path);
    bool writes_plan = order->verb == LATHE_VERB_SPLIT;
    const char *tables[] = {order->plan_path, order->index_path};
    for (size_t i = 0; i < LATHE_COUNT(tables) && r == 0; i++)
        r = writes_plan ? allow_output(rules, tables[i]) : allow_input(rules, tables[i]);
    if (r == 0)
        r = allow_input(rules, order->packets_path);
    if (r == 0)
        r = allow_input(rules, order->audio_path);
    for (uint32_t i = 0; i < order->n_inputs && r == 0; i++)
        r = allow_input(rules, order->inputs[i].path);
    for (int i = 0; i < LATHE_RENDITIONS_MAX && r == 0; i++)
        r = allow_output(rules, order->out_paths[i]);
    return r;
}

/* Drivers of GPUs are found through these variables, in lists separated by colons. */
static int allow_listed(const struct rules *rules, const char *variable, uint64_t access)
{
    const char *list = getenv(variable);
    _cleanup_free_ char *copy = strdup(list ? list : "");
    if (!copy)
        return -ENOMEM;
    int r = 0;
    char *state = NULL;
    for (char *folder = strtok_r(copy, ":", &state); folder && r == 0;
         folder = strtok_r(NULL, ":", &state))
        r = allow(rules, folder, access);
    return r;
}

static int allow_devices(const struct rules *rules)
{
    static const char *const always[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};
    int r = 0;
    for (size_t i = 0; i < LATHE_COUNT(always) && r == 0; i++)
        r = allow(rules, always[i], FS_READ | FS_WRITE | FS_TRUNCATE);
    return r;
}

/* Device nodes by name: all of /dev would include disks. */
static int allow_gpus(const struct rules *rules)
{
    int r = 0;
    DIR *folder = opendir("/dev");
    if (!folder)
        return r;
    struct dirent *entry;
    while (r == 0 && (entry = readdir(folder))) {
        if (strncmp(entry->d_name, "nvidia", 6) != 0 && strcmp(entry->d_name, "dri") != 0)
            continue;
        char path[sizeof("/dev/") + sizeof(entry->d_name)];
        snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        r = allow(rules, path, FS_READ | FS_WRITE | FS_LIST);
    }
    closedir(folder);
    return r;
}

static int allow_system(const struct rules *rules)
{
    /* Of /proc what describes the machine and this process: the environment of others may hold
     * credentials, and root could read it. */
    static const char *const places[] = {
        "/usr/lib",       "/usr/lib32",     "/usr/lib64",
        "/usr/libexec",   "/usr/local/lib", "/usr/share",
        "/lib",           "/lib32",         "/lib64",
        "/opt",           "/sys",           "/proc/self",
        "/proc/cpuinfo",  "/proc/meminfo",  "/proc/stat",
        "/proc/devices",  "/proc/driver",   "/proc/modules",
        "/proc/sys",      "/proc/version",  "/etc/ld.so.cache",
        "/etc/localtime", "/etc/glvnd",     "/etc/vulkan",
        "/etc/OpenCL",    "/etc/nvidia",    "/etc/libva.conf",
        "/etc/drirc",
    };
    static const char *const lists[] = {"LD_LIBRARY_PATH", "LIBVA_DRIVERS_PATH"};
    int r = 0;
    for (size_t i = 0; i < LATHE_COUNT(places) && r == 0; i++)
        r = allow(rules, places[i], FS_READ | FS_LIST);
    for (size_t i = 0; i < LATHE_COUNT(lists) && r == 0; i++)
        r = allow_listed(rules, lists[i], FS_READ | FS_LIST);
    return r == 0 ? allow_devices(rules) : r;
}

/* Drivers are large and trusted by the kernel: an order that needs none cannot reach any. */
static int allow_drivers(const struct rules *rules)
{
    static const char *const lists[] = {"LATHE_SLOT_DRI_DIR", LATHE_SLOT_ENV_FILES};
    int r = allow_gpus(rules);
    for (size_t i = 0; i < LATHE_COUNT(lists) && r == 0; i++)
        r = allow_listed(rules, lists[i],
                         FS_READ | FS_LIST | FS_WRITE | FS_MAKE | FS_TRUNCATE |
                             LANDLOCK_ACCESS_FS_MAKE_DIR);
    return r;
}

static int confine(const struct rules *rules, const struct lathe_order *order)
{
    int r = allow_order(rules, order);
    if (r == 0)
        r = allow_system(rules);
    if (r == 0 && order->gpu_family != LATHE_ENCODER_AUTO)
        r = allow_drivers(rules);
    if (r < 0)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return syscall(SYS_landlock_restrict_self, rules->fd, 0) < 0 ? -errno : 0;
}

int lathe_sandbox_files(const struct lathe_order *order, struct lathe_error *err)
{
    int version = lathe_sandbox_landlock_version();
    if (version == 0)
        return 0;
    struct ruleset_attr attr = {.fs = FS_VERSION_1, .net = NET_TCP, .scoped = SCOPE_ALL};
    size_t size = version >= 6   ? sizeof(attr)
                  : version >= 4 ? 2 * sizeof(uint64_t)
                                 : sizeof(uint64_t);
    if (version >= 2)
        attr.fs |= FS_REFER;
    if (version >= 3)
        attr.fs |= FS_TRUNCATE;
    _cleanup_close_ int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "landlock: %s", strerror(errno));
    struct rules rules = {.fd = fd, .handled = attr.fs};
    int r = confine(&rules, order);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "landlock: %s", strerror(-r));
    return 1;
}
