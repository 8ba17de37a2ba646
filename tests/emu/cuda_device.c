/* SPDX-License-Identifier: MIT */
/*
 * Emulated libcuda: initialisation, the list of devices and what they say of themselves.
 * All devices of a process are of the plan's one profile and differ in PCI address and UUID.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_emu.h"

tcuInit cuInit;
tcuDeviceGetCount cuDeviceGetCount;
tcuDeviceGet cuDeviceGet;
tcuDeviceGetAttribute cuDeviceGetAttribute;
tcuDeviceGetName cuDeviceGetName;
tcuDeviceGetUuid cuDeviceGetUuid;
tcuDeviceComputeCapability cuDeviceComputeCapability;
tcuGetErrorName cuGetErrorName;
tcuGetErrorString cuGetErrorString;

static _Atomic bool initialized;

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {EMU_CUDA_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {EMU_CUDA_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {EMU_CUDA_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {EMU_CUDA_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {EMU_CUDA_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {EMU_CUDA_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {EMU_CUDA_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {EMU_CUDA_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {EMU_CUDA_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {EMU_CUDA_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {EMU_CUDA_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {EMU_CUDA_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {EMU_CUDA_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

/* CUDA versions and the first driver that had them. */
static const struct {
    double driver;
    int cuda;
} cuda_versions[] = {
    {390.0, 9010},  {418.0, 10010}, {450.0, 11000}, {470.0, 11040}, {515.0, 11070}, {525.0, 12000},
    {530.0, 12010}, {535.0, 12020}, {545.0, 12030}, {550.0, 12040}, {570.0, 12080}, {580.0, 13000},
};

CUresult emu_cuda_result(struct emu_fault fault)
{
    return (CUresult)emu_fault_code(fault, EMU_CUDA_OUT_OF_MEMORY, EMU_CUDA_UNKNOWN,
                                    EMU_CUDA_ILLEGAL_ADDRESS);
}

CUresult emu_cuda_point(const char *point, int device)
{
    return emu_cuda_result(emu_point(point, device));
}

bool emu_cuda_initialized(void)
{
    return initialized;
}

int emu_cuda_device_count(void)
{
    long count = emu_setting("devices", 1);

    return count < 0 ? 0 : count > EMU_CUDA_MAX_DEVICES ? EMU_CUDA_MAX_DEVICES : (int)count;
}

/* CUDA_VISIBLE_DEVICES, as the CUDA manual has it: numbers in the order wanted, up to the first
 * that is none. Handles of devices are their true numbers, and only ordinals count what is visible.
 */
static int list_visible(int ret[EMU_CUDA_MAX_DEVICES])
{
    const char *at = getenv("CUDA_VISIBLE_DEVICES");
    int total = emu_cuda_device_count(), count = 0;

    for (int i = 0; !at && i < total; i++)
        ret[count++] = i;
    while (at && *at && count < total) {
        char *end;
        long number = strtol(at, &end, 10);

        if (end == at || number < 0 || number >= total)
            break;
        ret[count++] = (int)number;
        at = *end == ',' ? end + 1 : "";
    }
    return count;
}

bool emu_cuda_device_valid(CUdevice device)
{
    return device >= 0 && device < emu_cuda_device_count();
}

int64_t emu_cuda_memory_limit_bytes(void)
{
    long mebibytes = emu_setting("memory_mib", 0);

    return mebibytes > 0 ? mebibytes * 1048576 : emu_profile()->memory_bytes;
}

CUresult cuInit(unsigned int flags)
{
    struct emu_fault fault;
    int code;

    if (flags)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    fault = emu_point("device.list", 0);
    code = emu_fault_code(fault, EMU_CUDA_OUT_OF_MEMORY, EMU_CUDA_NO_DEVICE, EMU_CUDA_UNKNOWN);
    if (!code && !list_visible((int[EMU_CUDA_MAX_DEVICES]){0}))
        code = EMU_CUDA_NO_DEVICE;
    if (code)
        return (CUresult)code;
    if (!initialized)
        emu_record("cuda.init", "profile=%s devices=%d", emu_profile()->name,
                   emu_cuda_device_count());
    initialized = true;
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version)
{
    double driver = strtod(emu_profile()->driver, NULL);

    if (!version)
        return (CUresult)EMU_CUDA_INVALID_VALUE;
    *version = cuda_versions[0].cuda;
    for (size_t i = 0; i < sizeof(cuda_versions) / sizeof(cuda_versions[0]); i++)
        if (driver >= cuda_versions[i].driver)
            *version = cuda_versions[i].cuda;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    if (!initialized)
        return (CUresult)EMU_CUDA_NOT_INITIALIZED;
    *count = list_visible((int[EMU_CUDA_MAX_DEVICES]){0});
    return CUDA_SUCCESS;
}

static CUresult check_device(CUdevice device)
{
    if (!initialized)
        return (CUresult)EMU_CUDA_NOT_INITIALIZED;
    return emu_cuda_device_valid(device) ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_DEVICE;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    int visible[EMU_CUDA_MAX_DEVICES];

    if (!initialized)
        return (CUresult)EMU_CUDA_NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= list_visible(visible))
        return (CUresult)EMU_CUDA_INVALID_DEVICE;
    *device = visible[ordinal];
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    CUresult ret = check_device(device);

    if (!ret)
        snprintf(name, length > 0 ? (size_t)length : 0, "%s", emu_profile()->device);
    return ret;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    CUresult ret = check_device(device);

    if (ret)
        return ret;
    /* nvml.c prints the same bytes. */
    memcpy(uuid->bytes, "LATHE-EMULATED-", 15);
    uuid->bytes[15] = (char)device;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *id, int length, CUdevice device)
{
    CUresult ret = check_device(device);

    if (!ret)
        snprintf(id, length > 0 ? (size_t)length : 0, "0000:%02X:00.0", device + 1);
    return ret;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    CUresult ret = check_device(device);

    if (!ret) {
        *major = emu_profile()->compute_major;
        *minor = emu_profile()->compute_minor;
    }
    return ret;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    CUresult ret = check_device(device);

    if (!ret)
        *bytes = (size_t)emu_cuda_memory_limit_bytes();
    return ret;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    CUresult ret = check_device(device);

    if (ret)
        return ret;
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = emu_profile()->compute_major;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = emu_profile()->compute_minor;
        break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
        *value = device + 1;
        break;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
    case CU_DEVICE_ATTRIBUTE_TCC_DRIVER:
        *value = 0;
        break;
    default:
        *value = 512; /* serves as texture and pitch alignment */
    }
    return CUDA_SUCCESS;
}

static size_t find_error(CUresult error)
{
    size_t count = sizeof(errors) / sizeof(errors[0]);
    size_t i = 0;

    while (i < count && errors[i].code != (int)error)
        i++;
    return i;
}

CUresult cuGetErrorName(CUresult error, const char **name)
{
    size_t i = find_error(error);
    bool known = i < sizeof(errors) / sizeof(errors[0]);

    *name = known ? errors[i].name : NULL;
    return known ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
    size_t i = find_error(error);
    bool known = i < sizeof(errors) / sizeof(errors[0]);

    *text = known ? errors[i].text : NULL;
    return known ? CUDA_SUCCESS : (CUresult)EMU_CUDA_INVALID_VALUE;
}
