/* SPDX-License-Identifier: MIT */
/*
 * Prints the table of docs/metrics.md from the program's own; with "--names" the names alone, and
 * those that a histogram or counter has in queries.
 */
#include <stdio.h>
#include <string.h>

#include "lathe/metrics.h"

static const char *const types[] = {"counter", "gauge", "histogram"};

int main(int argc, char **argv)
{
    bool names = argc > 1 && strcmp(argv[1], "--names") == 0;
    if (!names)
        printf("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < LATHE_METRIC_COUNT; i++) {
        const struct lathe_metric_family *family = &lathe_metric_families[i];
        if (names && family->type == LATHE_METRIC_HISTOGRAM) {
            printf("%s_bucket\n%s_sum\n%s_count\n", family->name, family->name, family->name);
            continue;
        }
        printf(names ? "%s" : "| `%s` | ", family->name);
        if (!names)
            printf("%s | ", types[family->type]);
        for (int l = 0; !names && family->labels[l]; l++)
            printf("%s`%s`", l ? ", " : "", family->labels[l]);
        if (!names)
            printf("%s| %s |", family->labels[0] ? " " : "", family->help);
        printf("\n");
    }
    return 0;
}
