/* SPDX-License-Identifier: MIT */
/*
 * One line on stderr, redrawn a few times a second, only where somebody can be looking at it.
 */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lathe/base.h"
#include "table.h"

#define REDRAW_US 100000
#define LINE_BYTES 512

static bool environment_has(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

void lathe_progress_line_init(struct lathe_progress_line *line, bool quiet)
{
    const char *term = getenv("TERM");
    bool dumb = !term || !*term || strcmp(term, "dumb") == 0;
    *line = (struct lathe_progress_line){.active = !quiet && !dumb && isatty(STDERR_FILENO)};
    line->bold = !environment_has("NO_COLOR");
}

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void lathe_progress_format(char *text, size_t size, int width, const struct lathe_agent_progress *p)
{
    char all[LINE_BYTES], eta[32];
    int n = snprintf(all, sizeof all, "%-9s", lathe_phase_name(p->phase));
    if (p->frames_total > 0)
        n += snprintf(all + n, sizeof all - (size_t)n, " %3u%%  chunks %u/%u",
                      (unsigned)(p->frames_done * 100 / p->frames_total), p->chunks_done,
                      p->chunks_total);
    if (p->fps > 0)
        n += snprintf(all + n, sizeof all - (size_t)n, "  %.1f fps  %.2fx", p->fps, p->speed);
    if (p->eta_seconds >= 0 && p->phase == LATHE_PHASE_ENCODING) {
        lathe_time_text(eta, sizeof eta, p->eta_seconds);
        n += snprintf(all + n, sizeof all - (size_t)n, "  ETA %s", eta);
    }
    if (width < 1)
        width = 1;
    snprintf(text, size, "%.*s", n < width ? n : width, all);
}

static void put(const char *text, size_t size)
{
    /* a terminal that takes less has lost a frame of an animation, no more */
    (void)!write(STDERR_FILENO, text, size);
}

void lathe_progress_line_draw(struct lathe_progress_line *line,
                              const struct lathe_agent_progress *progress)
{
    int64_t now_us = lathe_clock_monotonic_us();
    if (!line->active || (line->shown && now_us - line->drawn_us < REDRAW_US))
        return;
    char text[LINE_BYTES], out[LINE_BYTES + 32];
    /* the last column stays empty: some terminals wrap as soon as it is written */
    lathe_progress_format(text, sizeof text, terminal_width() - 1, progress);
    int n = line->bold ? snprintf(out, sizeof out, "\r\033[K\033[1m%.9s\033[0m%s", text,
                                  strlen(text) > 9 ? text + 9 : "")
                       : snprintf(out, sizeof out, "\r\033[K%s", text);
    put(out, (size_t)n);
    line->shown = true;
    line->drawn_us = now_us;
}

void lathe_progress_line_clear(struct lathe_progress_line *line)
{
    if (!line->shown)
        return;
    put("\r\033[K", 4);
    line->shown = false;
}
