/* SPDX-License-Identifier: MIT */
/*
 * What an order lets its slot reach, as text: orders of the same reach may follow each other in one
 * process, which landlock has confined with the first one. Chunks of one job on one GPU are such
 * orders: same source, plan and index, outputs in one folder. Landlock knows files, not names, so a
 * file or folder that was made anew under its old name is another one.
 */
#include <string.h>
#include <sys/stat.h>

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

static unsigned long long inode_of(const char *path)
{
    struct stat st;
    return path[0] && stat(path, &st) == 0 ? (unsigned long long)st.st_ino : 0;
}

char *lathe_order_reach(const struct lathe_order *order)
{
    const char *out = order->out_paths[0];
    if (order->verb != LATHE_VERB_CHUNK || order->gpu_family == LATHE_ENCODER_AUTO || !out)
        return NULL;
    for (int i = 1; i < LATHE_RENDITIONS_MAX && order->out_paths[i]; i++)
        if (*input(order->out_paths[i], out))
            return NULL;
    _cleanup_free_ char *folder = lathe_format("%.*s/", folder_size(out), out);
    if (!folder)
        return NULL;
    const char *source = input(order->source_path, out), *plan = input(order->plan_path, out);
    const char *index = input(order->index_path, out), *packets = input(order->packets_path, out);
    return lathe_format(
        "%s %s\n%s %llu\n%s %llu\n%s %llu\n%s %llu\n%s %llu", lathe_encoder_name(order->gpu_family),
        order->gpu_path ? order->gpu_path : "", folder, inode_of(folder), source, inode_of(source),
        plan, inode_of(plan), index, inode_of(index), packets, inode_of(packets));
}
