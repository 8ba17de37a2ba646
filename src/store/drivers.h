/* SPDX-License-Identifier: MIT */
/*
 * The store drivers of this build; each is defined at the end of its own file.
 */
#ifndef LATHE_STORE_DRIVERS_H
#define LATHE_STORE_DRIVERS_H

#include "lathe/store.h"

extern const struct lathe_store_driver lathe_store_dir;
extern const struct lathe_store_driver lathe_store_s3;
extern const struct lathe_store_driver lathe_store_libs3; /* where LATHE_STORE_LIBS3 is defined */

#endif
