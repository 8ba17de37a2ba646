#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test program on a Redis server that lives as long as the test.
#
# usage: with_redis.sh PROGRAM ARGUMENT…    @LOCATION@ in an argument becomes the server's
#
# For the program: LATHE_CONTRACT_RESET empties the server; LATHE_REDIS_PORT and LATHE_REDIS_DIR let
# a test stop and start it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/cluster.d/redis.sh"
for tool in redis-server redis-cli python3; do
    if ! command -v $tool >/dev/null; then
        echo "skipped: there is no $tool" >&2
        exit 77
    fi
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/lathe-redis-XXXXXX")
trap 'redis_stop "$dir" KILL; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis_start "$dir" "$port"
export LATHE_CONTRACT_RESET="redis-cli -p $port flushall >/dev/null"
export LATHE_REDIS_PORT="$port" LATHE_REDIS_DIR="$dir"
program=$1
shift
for argument; do
    shift
    set -- "$@" "$(printf %s "$argument" | sed "s|@LOCATION@|redis://127.0.0.1:$port|")"
done
"$program" "$@"
