/* SPDX-License-Identifier: MIT */
/*
 * Limits that the kernel keeps for any process: memory if the parent says so, no core file (it
 * would hold a customer's pictures), no debugger, few of root's powers, and death with the parent,
 * so that nobody encodes on after a crash or a kill.
 */
#include "sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEMORY_MIN_BYTES (64ull << 20)

static int limit(int what, const char *name, rlim_t value, struct lathe_error *err)
{
    struct rlimit now;
    if (getrlimit(what, &now) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "%s: %s", name, strerror(errno));
    if (now.rlim_max != RLIM_INFINITY && value > now.rlim_max)
        value = now.rlim_max;
    struct rlimit wanted = {.rlim_cur = value, .rlim_max = value};
    if (setrlimit(what, &wanted) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "%s: %s", name, strerror(errno));
    return 0;
}

int lathe_sandbox_memory(const struct lathe_order *order, struct lathe_error *err)
{
    const char *text = getenv(LATHE_SLOT_ENV_MEMORY);
    if (!text || LATHE_SLOT_SANITIZED || order->gpu_family != LATHE_ENCODER_AUTO)
        return 0;
    char *end;
    errno = 0;
    unsigned long long bytes = strtoull(text, &end, 10);
    if (errno || end == text || *end != '\0' || text[0] == '-' || bytes < MEMORY_MIN_BYTES) {
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "%s is not a size of at least %llu", LATHE_SLOT_ENV_MEMORY,
                               MEMORY_MIN_BYTES);
    }
    return limit(RLIMIT_AS, "RLIMIT_AS", (rlim_t)bytes, err);
}

/* Of root's powers only those to open the files that an order names: the others would reach into
 * other processes and the kernel. */
static int drop_capabilities(struct lathe_error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    const uint32_t keep = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
    if (syscall(SYS_capget, &header, data) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "capget: %s", strerror(errno));
    bool changes = false;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        struct __user_cap_data_struct left = {.permitted = i == 0 ? data[i].permitted & keep : 0};
        left.effective = left.permitted & data[i].effective;
        changes = changes || memcmp(&left, &data[i], sizeof left) != 0;
        data[i] = left;
    }
    if (!changes) /* a service manager's filter may not even let us ask */
        return 0;
    if (syscall(SYS_capset, &header, data) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "capset: %s", strerror(errno));
    return 0;
}

/* A parent that died before the signal was asked for sends none, and its order may well lie in the
 * socket: whoever works on it now works in files that somebody else may be using. */
static int end_with_parent(struct lathe_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "PR_SET_PDEATHSIG: %s",
                               strerror(errno));
    struct pollfd parent = {.fd = LATHE_SLOT_FD, .events = POLLRDHUP};
    if (poll(&parent, 1, 0) > 0 && (parent.revents & (POLLRDHUP | POLLHUP)))
        return lathe_error_set(err, -ESRCH, LATHE_FAULT_INTERRUPTED, "whoever started it is gone");
    return 0;
}

int lathe_sandbox_limits(struct lathe_error *err)
{
    int r = end_with_parent(err);
    if (r < 0)
        return r;
    r = limit(RLIMIT_CORE, "RLIMIT_CORE", 0, err);
    if (r == 0)
        r = drop_capabilities(err);
    if (r == 0 && !LATHE_SLOT_SANITIZED && prctl(PR_SET_DUMPABLE, 0) < 0)
        r = lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "PR_SET_DUMPABLE: %s",
                            strerror(errno));
    return r;
}
