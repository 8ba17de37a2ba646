/* SPDX-License-Identifier: MIT */
/*
 * Emulated libnvidia-ml.so.1: devices and what is to be seen of them from outside. Sessions are
 * those that living processes hold through the emulated NVENC: the locks on their session files
 * are looked up in /proc/locks, which disturbs nobody who is opening one.
 */
#include "nvml_emu.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "fault.h"
#include "fault_plan.h"

#define MAX_DEVICES 16
#define MAX_SESSIONS 64
#define SAMPLE_US 167000
#define PERCENT_PER_SESSION 20

struct emu_nvml_device {
    int number;
};

static struct emu_nvml_device devices[MAX_DEVICES];
static _Atomic int initialized;

static nvmlReturn_t point(const char *name, int device)
{
    return (nvmlReturn_t)emu_fault_code(emu_point(name, device), NVML_ERROR_MEMORY,
                                        NVML_ERROR_GPU_IS_LOST, NVML_ERROR_UNKNOWN);
}

static int device_count(void)
{
    long count = emu_setting("devices", 1);

    return count < 0 ? 0 : count > MAX_DEVICES ? MAX_DEVICES : (int)count;
}

/* What every question about a device passes; fills `ret_number`. */
static nvmlReturn_t ask(nvmlDevice_t device, int *ret_number)
{
    if (!initialized)
        return NVML_ERROR_UNINITIALIZED;
    if (!device || device < devices || device >= devices + device_count())
        return NVML_ERROR_INVALID_ARGUMENT;
    *ret_number = device->number;
    return point("nvml.query", device->number);
}

static nvmlReturn_t put_text(char *out, unsigned int length, const char *text)
{
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void)
{
    nvmlReturn_t ret = point("nvml.init", -1);

    if (ret)
        return ret;
    for (int i = 0; i < MAX_DEVICES; i++)
        devices[i].number = i;
    if (!initialized++)
        emu_record("nvml.init", "profile=%s devices=%d", emu_profile()->name, device_count());
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit(void)
{
    return nvmlInit_v2();
}

nvmlReturn_t nvmlShutdown(void)
{
    if (!initialized)
        return NVML_ERROR_UNINITIALIZED;
    initialized--;
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    switch (result) {
    case NVML_SUCCESS:
        return "Success";
    case NVML_ERROR_UNINITIALIZED:
        return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT:
        return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED:
        return "Not Supported";
    case NVML_ERROR_NOT_FOUND:
        return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE:
        return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case NVML_ERROR_GPU_IS_LOST:
        return "GPU is lost";
    case NVML_ERROR_MEMORY:
        return "Insufficient Memory";
    default:
        return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    return initialized ? put_text(version, length, emu_profile()->driver)
                       : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    char text[64];

    snprintf(text, sizeof(text), "12.%.40s", emu_profile()->driver);
    return initialized ? put_text(version, length, text) : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    nvmlReturn_t ret = initialized ? point("device.list", -1) : NVML_ERROR_UNINITIALIZED;

    if (!ret)
        *count = (unsigned)device_count();
    return ret;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned int *count)
{
    return nvmlDeviceGetCount_v2(count);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    nvmlReturn_t ret;

    if (!initialized)
        return NVML_ERROR_UNINITIALIZED;
    if (index >= (unsigned)device_count())
        return NVML_ERROR_INVALID_ARGUMENT;
    if ((ret = point("device.open", (int)index)))
        return ret;
    *device = &devices[index];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

/* The bytes of cuDeviceGetUuid(), printed as NVML does. */
static void make_uuid(int number, char out[48])
{
    snprintf(out, 48, "GPU-4c415448-452d-454d-554c-415445442d%02x", (unsigned)number);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    char own[48];

    if (!initialized)
        return NVML_ERROR_UNINITIALIZED;
    for (int i = 0; i < device_count(); i++) {
        make_uuid(i, own);
        if (!strcasecmp(uuid, own))
            return nvmlDeviceGetHandleByIndex_v2((unsigned)i, device);
    }
    return NVML_ERROR_NOT_FOUND;
}

/* The domain may have four digits or eight. */
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *device)
{
    unsigned domain, bus, slot, function;

    if (!initialized)
        return NVML_ERROR_UNINITIALIZED;
    if (sscanf(id, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (domain || slot || function || !bus || bus > (unsigned)device_count())
        return NVML_ERROR_NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2(bus - 1, device);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *id, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByPciBusId_v2(id, device);
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
    int number;
    nvmlReturn_t ret = ask(device, &number);

    if (!ret)
        *index = (unsigned)number;
    return ret;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    int number;
    nvmlReturn_t ret = ask(device, &number);

    return ret ? ret : put_text(name, length, emu_profile()->device);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    int number;
    char text[48];
    nvmlReturn_t ret = ask(device, &number);

    if (ret)
        return ret;
    make_uuid(number, text);
    return put_text(uuid, length, text);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *info)
{
    int number;
    nvmlReturn_t ret = ask(device, &number);

    if (ret)
        return ret;
    *info = (nvmlPciInfo_t){.bus = (unsigned)number + 1, .pciDeviceId = 0x10de};
    snprintf(info->busIdLegacy, sizeof(info->busIdLegacy), "0000:%02X:00.0", (unsigned)number + 1);
    snprintf(info->busId, sizeof(info->busId), "00000000:%02X:00.0", (unsigned)number + 1);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t *info)
{
    return nvmlDeviceGetPciInfo_v3(device, info);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    int number;
    long limit_mib = emu_setting("memory_mib", 0);
    nvmlReturn_t ret = ask(device, &number);

    if (ret)
        return ret;
    memory->total = limit_mib > 0 ? (unsigned long long)limit_mib << 20
                                  : (unsigned long long)emu_profile()->memory_bytes;
    memory->used = memory->total / 64; /* of other processes this one knows nothing */
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius)
{
    int number;
    nvmlReturn_t ret = ask(device, &number);

    if (!ret && sensor)
        ret = NVML_ERROR_INVALID_ARGUMENT;
    if (!ret)
        *celsius = 45;
    return ret;
}

/* --- sessions --- */

/* Who holds the lock on this file, or 0. */
static unsigned lock_holder(const char *path)
{
    char line[256], *at;
    struct stat st;
    FILE *locks;
    unsigned holder = 0;

    if (stat(path, &st) < 0 || !(locks = fopen("/proc/locks", "re")))
        return 0;
    /* "1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF" */
    while (!holder && fgets(line, sizeof(line), locks)) {
        unsigned pid, major, minor;
        unsigned long inode;

        if ((at = strstr(line, "WRITE ")) && strstr(line, "FLOCK") &&
            sscanf(at, "WRITE %u %x:%x:%lu", &pid, &major, &minor, &inode) == 4 &&
            inode == st.st_ino)
            holder = pid;
    }
    fclose(locks);
    return holder;
}

static unsigned list_sessions(int device, nvmlEncoderSessionInfo_t *ret, unsigned room)
{
    unsigned count = 0;

    for (int i = 0; i < MAX_SESSIONS; i++) {
        char name[48], path[512];
        unsigned pid;

        snprintf(name, sizeof(name), "session-%d-%d", device, i);
        if (emu_plan_state_path(name, path, sizeof(path)) < 0 || !(pid = lock_holder(path)))
            continue;
        if (count < room)
            ret[count] = (nvmlEncoderSessionInfo_t){
                .sessionId = (unsigned)i + 1, .pid = pid, .averageFps = 30, .averageLatency = 5000};
        count++;
    }
    return count;
}

/* GPUs without an encoder answer "not supported" to everything about encoders. */
static nvmlReturn_t ask_encoder(nvmlDevice_t device, int *ret_number)
{
    nvmlReturn_t ret = ask(device, ret_number);

    return ret ? ret : emu_profile()->encoder ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

static unsigned busy_percent(int device)
{
    unsigned percent = list_sessions(device, NULL, 0) * PERCENT_PER_SESSION;

    return percent > 100 ? 100 : percent;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    int number;
    nvmlReturn_t ret = ask(device, &number);

    if (ret)
        return ret;
    utilization->gpu = busy_percent(number) / 2;
    utilization->memory = busy_percent(number) / 4;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *percent,
                                             unsigned int *period_us)
{
    int number;
    nvmlReturn_t ret = ask_encoder(device, &number);

    if (ret)
        return ret;
    *percent = busy_percent(number);
    *period_us = SAMPLE_US;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *percent,
                                             unsigned int *period_us)
{
    int number;
    nvmlReturn_t ret = ask(device, &number);

    if (ret)
        return ret;
    *percent = busy_percent(number) / 2;
    *period_us = SAMPLE_US;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderCapacity(nvmlDevice_t device, int codec, unsigned int *percent)
{
    int number;
    nvmlReturn_t ret = ask_encoder(device, &number);

    if (!ret && (codec < 0 || codec > 1))
        ret = NVML_ERROR_INVALID_ARGUMENT;
    if (!ret && codec == 1 && !emu_profile()->hevc)
        ret = NVML_ERROR_NOT_SUPPORTED;
    if (!ret)
        *percent = 100 - busy_percent(number);
    return ret;
}

nvmlReturn_t nvmlDeviceGetEncoderStats(nvmlDevice_t device, unsigned int *sessions,
                                       unsigned int *average_fps, unsigned int *average_latency_us)
{
    int number;
    nvmlReturn_t ret = ask_encoder(device, &number);

    if (ret)
        return ret;
    *sessions = list_sessions(number, NULL, 0);
    *average_fps = *sessions ? 30 : 0;
    *average_latency_us = *sessions ? 5000 : 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderSessions(nvmlDevice_t device, unsigned int *count,
                                          nvmlEncoderSessionInfo_t *sessions)
{
    int number;
    unsigned room = *count;
    nvmlReturn_t ret = ask_encoder(device, &number);

    if (ret)
        return ret;
    *count = list_sessions(number, sessions, sessions ? room : 0);
    return sessions && *count > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}
