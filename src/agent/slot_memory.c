/* SPDX-License-Identifier: MIT */
/*
 * How much address space a slot may have: a source that makes a decoder ask for everything must end
 * its own slot, not whatever the kernel finds to kill on a machine that has run out of memory.
 *
 * The limit is generous, since it counts what is only reserved: an honest slot is not to meet it.
 * It travels in the environment, like all that a slot is told before its first order.
 */
#include <errno.h>
#include <string.h>

#include "lathe/agent.h"
#include "lathe/base.h"

#define NAME "LATHE_SLOT_MEMORY_BYTES"
#define LEAST_BYTES (64ull << 20)      /* what a slot accepts */
#define SHARE_LEAST_BYTES (2ull << 30) /* a 2160p HEVC encode takes 1.6 GB */
#define RESERVED_BYTES (1ull << 30)    /* libraries, stacks, arenas: mostly never touched */

uint64_t lathe_slot_memory_share(uint64_t usable_bytes, unsigned slots)
{
    uint64_t share = usable_bytes / (slots ? slots : 1);
    return (share > SHARE_LEAST_BYTES ? share : SHARE_LEAST_BYTES) + RESERVED_BYTES;
}

int lathe_slot_memory_set(unsigned slots, struct lathe_error *err)
{
    const char *text = getenv(NAME);
    if (text && strcmp(text, "unlimited") == 0)
        return unsetenv(NAME) < 0 ? lathe_error_nomem(err) : 0;
    if (text && *text) {
        char *end;
        errno = 0;
        unsigned long long bytes = strtoull(text, &end, 10);
        if (errno == 0 && *end == '\0' && text[0] >= '0' && text[0] <= '9' && bytes >= LEAST_BYTES)
            return 0;
        lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "%s=\"%.40s\" is not a size", NAME, text);
        lathe_error_hint(err, "at least %llu bytes, or \"unlimited\"", LEAST_BYTES);
        return -EINVAL;
    }
    char number[24];
    snprintf(number, sizeof number, "%llu",
             (unsigned long long)lathe_slot_memory_share(
                 lathe_usable_memory_bytes(), slots ? slots : lathe_agent_default_slots()));
    return setenv(NAME, number, 1) < 0 ? lathe_error_nomem(err) : 0;
}
