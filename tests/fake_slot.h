/* SPDX-License-Identifier: MIT */
/*
 * The two halves of the fake slot: fake_slot.c speaks the protocol and misbehaves,
 * fake_slot_results.c makes up what each verb reports.
 */
#ifndef LATHE_TESTS_FAKE_SLOT_H
#define LATHE_TESTS_FAKE_SLOT_H

#include <jansson.h>
#include <stdbool.h>

#include "lathe/hw.h"
#include "lathe/slot.h"

void fake_must(bool ok); /* ends the process when something that cannot fail has failed */
void fake_sleep_ms(int ms);
void fake_send_json(json_t *json); /* takes the reference */
void fake_send_failure(enum lathe_fault fault, enum lathe_hw_verdict verdict, const char *what);
void fake_misbehave(const char *fault); /* returns where `fault` is none of a whole process */

/* Bodies of reports; the caller owns them. `fault` is the fault of this order, or "". */
json_t *fake_split(const struct lathe_order *order);
json_t *fake_cut(const struct lathe_order *order, const char *fault);
json_t *fake_pilot(const struct lathe_order *order);
json_t *fake_chunk(const struct lathe_order *order, const char *fault);
json_t *fake_audio(const struct lathe_order *order);
json_t *fake_merge(const struct lathe_order *order, const char *fault); /* NULL: failure was sent */
json_t *fake_inspect(void);
json_t *fake_probe(const struct lathe_order *order);
json_t *fake_encoders(bool works);

#endif
