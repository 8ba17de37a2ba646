/* SPDX-License-Identifier: MIT */
/*
 * What the files of the store's contract suite share.
 */
#ifndef LATHE_TESTS_CONTRACT_STORE_H
#define LATHE_TESTS_CONTRACT_STORE_H

#include "contract.h"
#include "lathe/store.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct lathe_store *open_store(void);
/* A file of `size` bytes `fill`. */
void make_file(const char *path, size_t size, char fill);
void put_bytes(struct lathe_store *store, const char *key, size_t size, char fill,
               const struct lathe_store_meta *meta, unsigned flags);
/* The size of an object that must consist of one repeated byte, which is returned in *ret_fill; a
 * negative errno when it cannot be read. */
int64_t get_bytes(struct lathe_store *store, const char *key, char *ret_fill);

/* How many keys begin with `prefix`. */
int count_below(struct lathe_store *store, const char *prefix);

/* contract_store_races.c */
/* Replaces one object for ever, with whole contents of one byte each and metadata that says which;
 * `opaque` is the path of its local file. */
int overwrite_forever(void *opaque);
void test_readers_see_whole_objects(void **state);
void test_concurrent_writers(void **state);
void test_if_absent_has_one_winner(void **state);
/* contract_store_dir.c */
void test_dir_leftovers_are_swept(void **state);
void test_dir_links_and_reserved_names(void **state);
void test_dir_no_room(void **state);
void test_dir_full_disk(void **state);
/* contract_store_s3.c */
int contract_store_setup(void **state); /* each test has a prefix of its own */
void test_s3_parts(void **state);
void test_s3_presigned(void **state);
void test_s3_refusals(void **state);
void test_s3_faults(void **state);
void test_libs3_refusals(void **state);

#endif
