/* SPDX-License-Identifier: MIT */
/*
 * The progress line on a terminal.
 */
#ifndef LATHE_CLI_PROGRESS_H
#define LATHE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/agent.h"

struct lathe_progress_line {
    bool active; /* stderr is a terminal that can redraw a line, and nobody asked for quiet */
    bool bold;
    bool shown;
    int64_t drawn_us;
};

void lathe_progress_line_init(struct lathe_progress_line *line, bool quiet);
void lathe_progress_line_draw(struct lathe_progress_line *line,
                              const struct lathe_agent_progress *progress);
void lathe_progress_line_clear(struct lathe_progress_line *line);

/* The text alone, at most `width` columns (ASCII). */
void lathe_progress_format(char *text, size_t size, int width,
                           const struct lathe_agent_progress *progress);

#endif
