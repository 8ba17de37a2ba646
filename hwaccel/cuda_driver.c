/* SPDX-License-Identifier: MIT */
#include "cuda_driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "library.h"
#include "nvml.h"

/* Of cuda.h, which is not needed for a handful of functions whose ABI is fixed. */
#define ATTRIBUTE_COMPUTE_MAJOR 75
#define ATTRIBUTE_COMPUTE_MINOR 76
#define ERROR_NO_DEVICE 100
#define ERROR_SYSTEM_DRIVER_MISMATCH 803

struct cuda {
    void *library;
    int (*init)(unsigned flags);
    int (*device_count)(int *count);
    int (*device_get)(int *device, int ordinal);
    int (*device_name)(char *name, int size, int device);
    /* What follows may be absent. */
    int (*error_name)(int error, const char **name);
    int (*driver_version)(int *version);
    int (*device_memory)(size_t *bytes, int device);
    int (*device_attribute)(int *value, int attribute, int device);
    int (*device_pci)(char *id, int size, int device);
};

#define SYMBOL(member, name) LATHE_LIBRARY_SYMBOL(struct cuda, member, name)
static const struct lathe_library_symbol symbols[] = {
    SYMBOL(init, "cuInit"),
    SYMBOL(device_count, "cuDeviceGetCount"),
    SYMBOL(device_get, "cuDeviceGet"),
    SYMBOL(device_name, "cuDeviceGetName"),
    SYMBOL(error_name, "cuGetErrorName"),
    SYMBOL(driver_version, "cuDriverGetVersion"),
    SYMBOL(device_memory, "cuDeviceTotalMem_v2"),
    SYMBOL(device_attribute, "cuDeviceGetAttribute"),
    SYMBOL(device_pci, "cuDeviceGetPCIBusId"),
};

static bool load(struct cuda *cuda)
{
    cuda->library = lathe_library_open("libcuda.so.1", symbols, LATHE_COUNT(symbols), cuda);
    return cuda->library && cuda->init && cuda->device_count && cuda->device_get &&
           cuda->device_name;
}

/* With the version of the driver package, since CUDA's own does not change with every driver. */
static void driver_name(const struct cuda *cuda, char *ret, size_t size)
{
    char package[80] = "";
    int cuda_version = 0;
    _cleanup_fclose_ FILE *f = fopen("/sys/module/nvidia/version", "re");
    if (!lathe_nvml_driver_version(package, sizeof(package)) &&
        (!f || fscanf(f, "%79s", package) != 1))
        package[0] = '\0';
    if (cuda->driver_version)
        cuda->driver_version(&cuda_version);
    snprintf(ret, size, "%s%sCUDA %d.%d", package, package[0] ? ", " : "", cuda_version / 1000,
             cuda_version % 1000 / 10);
}

static void describe(const struct cuda *cuda, int ordinal, struct lathe_hw_device *ret)
{
    int device;
    ret->family = LATHE_ENCODER_NVENC;
    snprintf(ret->path, sizeof(ret->path), "%d", ordinal);
    snprintf(ret->id, sizeof(ret->id), "cuda:%d", ordinal);
    snprintf(ret->name, sizeof(ret->name), "NVIDIA device %d", ordinal);
    driver_name(cuda, ret->driver, sizeof(ret->driver));
    if (cuda->device_get(&device, ordinal) != 0)
        return; /* the probe will say what is wrong with it */
    char name[sizeof(ret->name)] = "", pci[16] = "";
    if (cuda->device_name(name, sizeof(name) - 1, device) == 0 && name[0])
        snprintf(ret->name, sizeof(ret->name), "%s", name);
    if (cuda->device_pci && cuda->device_pci(pci, sizeof(pci) - 1, device) == 0 && pci[0])
        snprintf(ret->id, sizeof(ret->id), "%s", pci);
    size_t bytes = 0;
    if (cuda->device_memory && cuda->device_memory(&bytes, device) == 0)
        ret->memory_bytes = bytes;
    if (cuda->device_attribute) {
        int major = 0, minor = 0;
        if (cuda->device_attribute(&major, ATTRIBUTE_COMPUTE_MAJOR, device) == 0 &&
            cuda->device_attribute(&minor, ATTRIBUTE_COMPUTE_MINOR, device) == 0 && major > 0 &&
            major < 1000 && minor >= 0 && minor < 1000) {
            ret->compute_major = major;
            ret->compute_minor = minor;
        }
    }
}

static void explain(const struct cuda *cuda, const char *call, int error, char *note, size_t size)
{
    const char *name = NULL;
    if (cuda->error_name)
        cuda->error_name(error, &name);
    if (error == ERROR_NO_DEVICE)
        snprintf(note, size, "the NVIDIA driver finds no device");
    else if (error == ERROR_SYSTEM_DRIVER_MISMATCH)
        snprintf(note, size, "%s", LATHE_HW_NOTE_MISMATCH);
    else
        snprintf(note, size, "%s: %s (%d)", call, name ? name : "error", error);
}

/* The library stays loaded: libav uses the same one right after. */
int lathe_cuda_driver_list(struct lathe_hw_device *ret, int max, char *note, size_t note_size)
{
    struct cuda cuda = {0};
    if (!load(&cuda)) {
        snprintf(note, note_size, "%s",
                 cuda.library ? "libcuda.so.1 lacks functions that every version has"
                              : "no NVIDIA driver (libcuda.so.1)");
        return 0;
    }
    int count = 0, r = cuda.init(0);
    if (r != 0) {
        explain(&cuda, "cuInit", r, note, note_size);
        return 0;
    }
    r = cuda.device_count(&count);
    if (r != 0 || count <= 0) {
        explain(&cuda, "cuDeviceGetCount", r ? r : ERROR_NO_DEVICE, note, note_size);
        return 0;
    }
    int n = 0;
    for (; n < count && n < max; n++) {
        ret[n] = (struct lathe_hw_device){0};
        describe(&cuda, n, &ret[n]);
    }
    return n;
}

int lathe_cuda_driver_load(const char *path, struct lathe_hw_load *ret)
{
    struct cuda cuda = {0};
    char pci[16] = "";
    int device;
    lathe_hw_load_init(ret);
    if (!load(&cuda) || cuda.init(0) != 0 || !cuda.device_pci ||
        cuda.device_get(&device, (int)strtol(path, NULL, 10)) != 0 ||
        cuda.device_pci(pci, sizeof(pci) - 1, device) != 0)
        return -ENODEV;
    return lathe_nvml_read_load(pci, ret);
}
