/* SPDX-License-Identifier: MIT */
/*
 * Watches one job through the flow's sink and answers: how far, how fast, what went wrong.
 * Threads: safe; one mutex.
 */
#ifndef LATHE_AGENT_TRACKER_H
#define LATHE_AGENT_TRACKER_H

#include "lathe/agent.h"

struct lathe_tracker;

int lathe_tracker_create(struct lathe_tracker **ret);
void lathe_tracker_destroy(struct lathe_tracker *tracker); /* NULL is allowed */
void lathe_tracker_fill_sink(struct lathe_tracker *tracker, struct lathe_flow_sink *sink);
void lathe_tracker_end(struct lathe_tracker *tracker);
void lathe_tracker_progress(struct lathe_tracker *tracker, struct lathe_agent_progress *ret);
bool lathe_tracker_is_resumed(struct lathe_tracker *tracker, uint32_t chunk);
json_t *lathe_tracker_retries(struct lathe_tracker *tracker);
json_t *lathe_tracker_fallbacks(struct lathe_tracker *tracker);
/* The error that ended the job; code 0 when none did. */
void lathe_tracker_failure(struct lathe_tracker *tracker, struct lathe_error *ret);

#endif
