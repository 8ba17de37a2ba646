/* SPDX-License-Identifier: MIT */
/*
 * What an order lets its slot reach, as text: orders of the same reach may follow each other in one
 * process, which landlock has confined with the first one. Chunks of one job on one GPU are such
 * orders: same source, plan and index, outputs in one folder.
 */
#include <string.h>

#include "lathe/base.h"
#include "lathe/slot.h"

static int folder_size(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path) : 0;
}

/* What lies among the outputs is within reach anyway. */
static const char *input(const char *path, const char *out)
{
    int n = folder_size(out);
    return !path || (folder_size(path) == n && strncmp(path, out, (size_t)n) == 0) ? "" : path;
}

char *lathe_order_reach(const struct lathe_order *order)
{
    const char *out = order->out_paths[0];
    if (order->verb != LATHE_VERB_CHUNK || order->gpu_family == LATHE_ENCODER_AUTO || !out)
        return NULL;
    for (int i = 1; i < LATHE_RENDITIONS_MAX && order->out_paths[i]; i++)
        if (*input(order->out_paths[i], out))
            return NULL;
    return lathe_format("%s %s\n%.*s\n%s\n%s\n%s\n%s", lathe_encoder_name(order->gpu_family),
                        order->gpu_path ? order->gpu_path : "", folder_size(out), out,
                        input(order->source_path, out), input(order->plan_path, out),
                        input(order->index_path, out), input(order->packets_path, out));
}
