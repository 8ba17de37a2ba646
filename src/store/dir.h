/* SPDX-License-Identifier: MIT */
/*
 * What the files of the directory store share.
 *
 *   ROOT/{key}                   the objects
 *   ROOT/.tmp/{owner}/{number}   objects being written; a dead owner's are swept at the next open
 *   ROOT/.meta/{key}@{inode}     hash and frames of the object with that inode
 *
 * Metadata is in files, and not in extended attributes, because memory file systems had none before
 * Linux 6.6 and one mechanism that always runs is one that is always tested. A sidecar is durable
 * before its object is renamed into place and names the object's inode, so at every instant an
 * object has its own metadata: the old one before the rename, the new one after.
 */
#ifndef LATHE_STORE_DIR_H
#define LATHE_STORE_DIR_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lathe/base.h"
#include "lathe/store.h"

#define DIR_TMP ".tmp"
#define DIR_META ".meta"

struct dir_store {
    char *root; /* absolute */
    int root_fd;
    int meta_fd;
    int tmp_fd;      /* ROOT/.tmp */
    int own_fd;      /* ROOT/.tmp/{owner} */
    int own_lock_fd; /* locked while this handle lives */
    char own_name[37];
    atomic_uint_fast64_t next_number;
    /* The step from "old object" to "new object" is taken by one put or remove at a time, among
     * threads by the mutex and among processes by a lock on the file. */
    pthread_mutex_t commit_mutex;
    int commit_fd;
    bool is_open;
};

/* --- dir_path.c: keys to descriptors without following a link anywhere --- */

/* Opens the folder of `key` below `base_fd` and points *ret_leaf at the last part of `key`. With
 * `create`, missing folders are made durably. Returns a descriptor or a negative errno. */
int dir_open_parent(int base_fd, const char *key, bool create, const char **ret_leaf);
/* Removes the folders of `key` that are empty, innermost first. */
void dir_prune_parents(int base_fd, const char *key);
/* Opens a regular file for reading. Returns a descriptor or a negative errno (-ENOENT …). */
int dir_open_object(int base_fd, const char *key, struct stat *ret);
/* Calls `each` for every regular file below `base_fd` whose key begins with `prefix`. */
int dir_walk(int base_fd, const char *prefix,
             int (*each)(void *opaque, const char *key, uint64_t size_bytes), void *opaque);

/* --- dir_meta.c: everything but reading needs the commit lock --- */

int dir_meta_write(struct dir_store *st, const char *key, const struct stat *object,
                   const struct lathe_store_meta *meta);
/* Fills hash and frames; 0 also when the object has no metadata. */
int dir_meta_read(struct dir_store *st, const char *key, const struct stat *object,
                  struct lathe_store_meta *ret);
void dir_meta_remove(struct dir_store *st, const char *key, ino_t inode);
/* Removes sidecars whose object is gone. */
int dir_meta_sweep(struct dir_store *st);

/* --- dir_tmp.c --- */

/* Sweeps what dead owners left and makes this handle's own folder. */
int dir_tmp_open(struct dir_store *st);
void dir_tmp_close(struct dir_store *st);
int dir_commit_lock(struct dir_store *st);
void dir_commit_unlock(struct dir_store *st);

#endif
