/* SPDX-License-Identifier: MIT */
/*
 * What a Redis server means by its refusals, and what to do about them.
 */
#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "redis_link.h"

static const struct refusal {
    const char *word;
    int code;
    enum lathe_fault fault;
    bool passes; /* by itself, soon */
    const char *meaning, *hint;
} refusals[] = {
    {"LOADING", -EAGAIN, LATHE_FAULT_SERVER, true, "is still reading its data from disk",
     "wait; a large append-only file takes minutes"},
    {"READONLY", -EROFS, LATHE_FAULT_SERVER, true, "is a replica and takes no writes",
     "give the address of the primary; after a failover it is another host"},
    {"MASTERDOWN", -EAGAIN, LATHE_FAULT_SERVER, true, "is a replica that has lost its primary",
     "start the primary, or promote this one"},
    {"NOREPLICAS", -EAGAIN, LATHE_FAULT_SERVER, true,
     "has fewer replicas than min-replicas-to-write asks for", "start the replicas"},
    {"MISCONF", -EIO, LATHE_FAULT_RESOURCE, false,
     "cannot save its data to disk and therefore refuses writes",
     "look at the disk of that host; the log of Redis says which file"},
    {"OOM", -ENOSPC, LATHE_FAULT_RESOURCE, false, "has used all the memory of its maxmemory",
     "raise maxmemory, or remove finished jobs with lathe rm"},
    {"NOAUTH", -EACCES, LATHE_FAULT_CONFIG, false, "asks for a password",
     "put it into a file and name that with password_file"},
    {"WRONGPASS", -EACCES, LATHE_FAULT_CONFIG, false, "does not accept this user and password",
     "compare them with the server's ACL"},
    {"NOPERM", -EACCES, LATHE_FAULT_CONFIG, false, "does not allow this user what Lathe needs",
     "allow scripts, hashes, sorted sets, strings and the keys job:*, {job:*, lathe:*"},
    {"DENIED", -EACCES, LATHE_FAULT_CONFIG, false, "is in protected mode",
     "set a password for it, or bind it to a private address"},
    {"MOVED", -ENOTSUP, LATHE_FAULT_CONFIG, false, "is part of a Redis Cluster",
     "Lathe needs one primary (with replicas, if you like), not a cluster"},
    {"CROSSSLOT", -ENOTSUP, LATHE_FAULT_CONFIG, false, "is part of a Redis Cluster",
     "Lathe needs one primary (with replicas, if you like), not a cluster"},
    {"CLUSTERDOWN", -ENOTSUP, LATHE_FAULT_CONFIG, false, "is part of a Redis Cluster",
     "Lathe needs one primary (with replicas, if you like), not a cluster"},
    {"BUSY", -EAGAIN, LATHE_FAULT_SERVER, true, "is busy with a script that takes long", NULL},
};

/* The word begins the reply, or, before Redis 7, stands in the middle of the script's error. */
static bool names(const char *text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(text, word, length) == 0 && (text[length] == ' ' || !text[length]))
        return true;
    const char *at = strstr(text, word);
    return at && at > text && at[-1] == '-' && at[length] == ' ';
}

bool redis_error_explain(const char *server, const char *text, struct lathe_error *err)
{
    for (size_t i = 0; i < LATHE_COUNT(refusals); i++) {
        const struct refusal *refusal = &refusals[i];
        if (!names(text, refusal->word))
            continue;
        lathe_error_set(err, refusal->code, refusal->fault, "Redis at %s %s (%s)", server,
                        refusal->meaning, text);
        if (refusal->hint)
            lathe_error_hint(err, "%s", refusal->hint);
        return refusal->passes;
    }
    lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL, "Redis at %s: %s", server, text);
    return false;
}
