/* SPDX-License-Identifier: MIT */
/*
 * Job ids that sort by the time they were made (UUID version 7, RFC 9562), so that a listing of a
 * bucket or a table is in the order of submission without another key.
 */
#include "lathe/base.h"

#include <errno.h>
#include <sys/random.h>

int lathe_uuid7(char ret_id[37])
{
    uint8_t b[16];
    for (size_t used = 0; used < sizeof(b);) {
        ssize_t n = getrandom(b + used, sizeof(b) - used, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        used += (size_t)n;
    }
    uint64_t ms = (uint64_t)(lathe_clock_wall_us() / 1000);
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(ms >> (40 - 8 * i));
    b[6] = (uint8_t)(0x70 | (b[6] & 0x0f)); /* version 7 */
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f)); /* RFC 9562 variant */

    static const char hex[] = "0123456789abcdef";
    char *out = ret_id;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex[b[i] >> 4];
        *out++ = hex[b[i] & 0x0f];
    }
    *out = '\0';
    return 0;
}
