/* SPDX-License-Identifier: MIT */
/*
 * A lathe-slot that is copied for each order (see slot.h and src/pool/template.h). It runs before
 * anything of an order is known, so it needs no sandbox; each copy makes its own.
 */
#ifndef LATHE_SLOT_TEMPLATE_H
#define LATHE_SLOT_TEMPLATE_H

/* Returns 1 in each copy, which has its socket as LATHE_SLOT_FD; 0 in the template when the parent
 * is gone; or a negative errno. */
int lathe_slot_template(void);

#endif
