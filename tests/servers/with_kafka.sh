#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test program on a Kafka broker that lives as long as the test.
#
# usage: with_kafka.sh PROGRAM ARGUMENT…
#
# @LOCATION@ in an argument becomes the broker's, with topics of its own for each test.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/cluster.d/kafka.sh"
for tool in java mvn python3; do
    if ! command -v $tool >/dev/null; then
        echo "skipped: there is no $tool" >&2
        exit 77
    fi
done
kafka_install
dir=$(mktemp -d "${TMPDIR:-/tmp}/lathe-kafka-XXXXXX")
trap 'kafka_stop "$dir" KILL; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
set_ports() { port=$1 controller=$2; }
set_ports $(python3 -c 'import socket
s = [socket.socket() for _ in range(2)]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])')
kafka_start "$dir" "$port" "$controller"
program=$1
shift
for argument; do
    shift
    set -- "$@" "$(printf %s "$argument" |
        sed "s|@LOCATION@|127.0.0.1:$port?create=4\&prefix=@UNIQUE@-|")"
done
"$program" "$@"
