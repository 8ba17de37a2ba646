#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/metrics.md has the table that the program has. "--write" makes it so.
#
# usage: tests/docs_metrics.sh METRICS_DOC SOURCE_FOLDER [--write]
set -eu
page=$2/docs/metrics.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    sed '/^<!-- table -->$/q' "$page"
    "$1"
    sed -n '/^<!-- end -->$/,$p' "$page"
} >"$new"
if cmp -s "$new" "$page"; then
    exit 0
elif [ "${3:-}" = --write ]; then
    cat "$new" >"$page"
else
    diff "$page" "$new" || true
    echo "docs_metrics: the page differs from the program; tests/docs_metrics.sh … --write"
    exit 1
fi
