#!/bin/bash
# SPDX-License-Identifier: MIT
# The contract suites of the store on the S3 servers that have to be built first, which is why
# scripts/test leaves them out: what the table in docs/stores.md says comes from here.
#
# usage: other_stores.sh CONTRACT_STORE [versitygw|minio]…
set -u
here=$(cd "$(dirname "$0")" && pwd)
suite=$1
shift
[ $# -gt 0 ] || set -- versitygw minio
options='&part_mib=5&stall_seconds=2&attempts=5'
failed=0

try() { # WORDS COMMAND…
    local words=$1 log result
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1
    result=$?
    case $result in
    0) echo "ok - $words: $(grep -c '  OK \]' "$log") tests" ;;
    77) echo "skip - $words: $(tail -n 1 "$log")" ;;
    *)
        tail -n 30 "$log"
        echo "not ok - $words"
        failed=1
        ;;
    esac
    rm -f "$log"
}

for server; do
    try "$server: driver s3" "$here/with.sh" "$server" "$suite" s3 "@STORE@$options"
    try "$server: driver s3 through faults" "$here/with.sh" "$server" \
        python3 "$here/store_faults.py" "$suite" "$options"
    # It knows only the newer signature.
    [ "$server" = versitygw ] ||
        try "$server: driver libs3" "$here/with.sh" "$server" "$suite" libs3 @STORE@
done
exit $failed
