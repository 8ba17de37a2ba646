/* SPDX-License-Identifier: MIT */
/*
 * The exposition: Prometheus' text format 0.0.4 and OpenMetrics 1.0, which differ in the names of
 * counters' families, in units and in the end mark.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/metrics.h"
#include "metrics_registry.h"

static const char *const type_names[] = {"counter", "gauge", "histogram"};

/* The shortest text that reads back as the same number. */
static void print_number(FILE *f, double value)
{
    char text[32];
    if (!isfinite(value)) {
        fputs(isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf", f);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, f);
}

static void print_value(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", f);
        else if (*text == '"' || *text == '\\')
            fprintf(f, "\\%c", *text);
        else
            fputc((unsigned char)*text < 0x80 ? *text : '?', f); /* never half a character */
    }
}

static void print_labels(FILE *f, const struct lathe_metric_family *family,
                         const struct lathe_metric_series *series, const char *bound)
{
    const char *before = "{";
    for (unsigned i = 0; family->labels[i]; i++, before = ",") {
        fprintf(f, "%s%s=\"", before, family->labels[i]);
        print_value(f, series->labels[i]);
        fputc('"', f);
    }
    if (bound) {
        fprintf(f, "%sle=\"%s\"", before, bound);
        before = ",";
    }
    fputs(*before == ',' ? "} " : " ", f);
}

static void print_histogram(FILE *f, const struct lathe_metric_family *family,
                            const struct lathe_metric_series *series)
{
    uint64_t below = 0;
    for (unsigned i = 0; i <= family->n_bounds; i++) {
        char bound[32] = "+Inf";
        if (i < family->n_bounds) {
            double b = family->bounds[i];
            snprintf(bound, sizeof bound, b == floor(b) ? "%.1f" : "%g", b);
            below += series->buckets[i];
        } else {
            below = series->count;
        }
        fprintf(f, "%s_bucket", family->name);
        print_labels(f, family, series, bound);
        fprintf(f, "%llu\n", (unsigned long long)below);
    }
    fprintf(f, "%s_sum", family->name);
    print_labels(f, family, series, NULL);
    print_number(f, series->value);
    fprintf(f, "\n%s_count", family->name);
    print_labels(f, family, series, NULL);
    fprintf(f, "%llu\n", (unsigned long long)series->count);
}

static void print_head(FILE *f, const struct lathe_metric_family *family, bool open_metrics)
{
    int length = (int)strlen(family->name);
    if (open_metrics && family->type == LATHE_METRIC_COUNTER)
        length -= (int)strlen("_total");
    fprintf(f, "# HELP %.*s %s\n", length, family->name, family->help);
    fprintf(f, "# TYPE %.*s %s\n", length, family->name, type_names[family->type]);
    if (open_metrics && family->unit[0])
        fprintf(f, "# UNIT %.*s %s\n", length, family->name, family->unit);
}

static void print_family(FILE *f, enum lathe_metric metric, bool open_metrics)
{
    const struct lathe_metric_family *family = &lathe_metric_families[metric];
    const struct lathe_metric_state *state = &lathe_metrics_registry.families[metric];
    /* What can be said to be 0 is said, so that the first event makes a rate. */
    if (!state->n_series && !family->labels[0] && family->type != LATHE_METRIC_GAUGE)
        (void)lathe_metrics_series(metric, NULL);
    if (!state->n_series)
        return;
    print_head(f, family, open_metrics);
    for (unsigned i = 0; i < state->n_series; i++) {
        const struct lathe_metric_series *series = &state->series[i];
        if (family->type == LATHE_METRIC_HISTOGRAM) {
            print_histogram(f, family, series);
            continue;
        }
        fputs(family->name, f);
        print_labels(f, family, series, NULL);
        print_number(f, series->value);
        fputc('\n', f);
    }
}

char *lathe_metrics_render(bool open_metrics)
{
    lathe_metrics_collect();
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    for (int metric = 0; metric < LATHE_METRIC_COUNT; metric++)
        print_family(f, (enum lathe_metric)metric, open_metrics);
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
    if (open_metrics)
        fputs("# EOF\n", f);
    bool broken = ferror(f);
    if (fclose(f) == EOF || broken) {
        free(text);
        return NULL;
    }
    return text;
}
