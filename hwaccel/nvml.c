/* SPDX-License-Identifier: MIT */
#include "nvml.h"

#include <errno.h>
#include <stdint.h>

#include "lathe/base.h"
#include "library.h"

/* Of nvml.h, which is not needed for a handful of functions whose ABI is fixed. */
typedef struct nvml_device *nvml_device;
struct nvml_utilization {
    unsigned gpu, memory; /* percent */
};
struct nvml_memory {
    unsigned long long total, free, used; /* bytes */
};

static struct nvml {
    bool is_looked_for, is_there;
    int (*init)(void);
    int (*driver_version)(char *ret, unsigned size);
    int (*by_pci)(const char *id, nvml_device *ret);
    int (*utilization)(nvml_device device, struct nvml_utilization *ret);
    int (*encoder)(nvml_device device, unsigned *percent, unsigned *period_us);
    int (*decoder)(nvml_device device, unsigned *percent, unsigned *period_us);
    int (*memory)(nvml_device device, struct nvml_memory *ret);
    int (*encoder_stats)(nvml_device device, unsigned *sessions, unsigned *fps,
                         unsigned *latency_us);
} nvml;

#define SYMBOL(member, name) LATHE_LIBRARY_SYMBOL(struct nvml, member, name)

static const struct nvml *load(void)
{
    static const struct lathe_library_symbol symbols[] = {
        SYMBOL(init, "nvmlInit_v2"),
        SYMBOL(driver_version, "nvmlSystemGetDriverVersion"),
        SYMBOL(by_pci, "nvmlDeviceGetHandleByPciBusId_v2"),
        SYMBOL(utilization, "nvmlDeviceGetUtilizationRates"),
        SYMBOL(encoder, "nvmlDeviceGetEncoderUtilization"),
        SYMBOL(decoder, "nvmlDeviceGetDecoderUtilization"),
        SYMBOL(memory, "nvmlDeviceGetMemoryInfo"),
        SYMBOL(encoder_stats, "nvmlDeviceGetEncoderStats"),
    };
    if (nvml.is_looked_for)
        return nvml.is_there ? &nvml : NULL;
    nvml.is_looked_for = true;
    nvml.is_there = lathe_library_open("libnvidia-ml.so.1", symbols, LATHE_COUNT(symbols), &nvml) &&
                    nvml.init && nvml.init() == 0;
    return nvml.is_there ? &nvml : NULL;
}

bool lathe_nvml_driver_version(char *ret, size_t size)
{
    const struct nvml *n = load();
    return n && n->driver_version && n->driver_version(ret, (unsigned)size) == 0;
}

static void put_percent(struct lathe_hw_load *load, const char *engine, int code, unsigned percent)
{
    struct lathe_hw_engine *e = code == 0 ? lathe_hw_load_engine(load, engine) : NULL;
    if (e)
        e->ratio = percent > 100 ? 1 : percent / 100.0;
}

int lathe_nvml_read_load(const char *pci_id, struct lathe_hw_load *ret)
{
    const struct nvml *n = load();
    nvml_device device = NULL;
    lathe_hw_load_init(ret);
    if (!n || !n->by_pci || n->by_pci(pci_id, &device) != 0)
        return -ENODEV;
    struct nvml_utilization all = {0};
    struct nvml_memory memory = {0};
    unsigned percent = 0, ignored, sessions = 0;
    if (n->utilization)
        put_percent(ret, "gpu", n->utilization(device, &all), all.gpu);
    if (n->encoder)
        put_percent(ret, "encoder", n->encoder(device, &percent, &ignored), percent);
    if (n->decoder)
        put_percent(ret, "decoder", n->decoder(device, &percent, &ignored), percent);
    if (n->memory && n->memory(device, &memory) == 0 && memory.used <= INT64_MAX)
        ret->memory_used_bytes = (int64_t)memory.used;
    if (n->encoder_stats && n->encoder_stats(device, &sessions, &ignored, &ignored) == 0)
        ret->sessions = (int)(sessions & INT32_MAX);
    return 0;
}
