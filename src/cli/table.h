/* SPDX-License-Identifier: MIT */
/*
 * JSON for people: trees and tables. Text from media files may hold anything, so control characters
 * never reach the terminal.
 */
#ifndef LATHE_CLI_TABLE_H
#define LATHE_CLI_TABLE_H

#include <jansson.h>
#include <stdio.h>

/* Nested "name: value" lines. */
void lathe_tree_print(FILE *f, const json_t *json, int indent);
/* An array of flat objects, a line each; columns as in the first. */
void lathe_table_print(FILE *f, const json_t *rows);
/* A value on one line; malloc'd, or NULL (memory). */
char *lathe_value_text(const json_t *value);
/* "1.5 MB", "0:40", "1:02:03". */
void lathe_size_text(char *text, size_t size, double bytes);
void lathe_time_text(char *text, size_t size, double seconds);

#endif
