#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs a program beside real servers that live as long as it does, in a folder that goes with them.
#
# usage: with.sh SERVER[,SERVER…] PROGRAM ARGUMENT…
#
# A SERVER is redis, kafka, or the store's: seaweedfs, minio, versitygw. In an argument @REDIS@,
# @KAFKA@ and @STORE@ become their locations. The program also gets the settings of
# `scripts/cluster env`, and
#   LATHE_SERVER             the program that kills and starts them (server.sh)
#   LATHE_CONTRACT_RESET     a command that empties Redis, when that runs
# Exit code 77 when a server cannot be installed here.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/cluster.d/cluster.sh"

dir=$(mktemp -d "${TMPDIR:-/tmp}/lathe-servers-XXXXXX") || exit
trap 'cluster_stop "$dir" KILL; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
parts=()
for server in ${1//,/ }; do
    case $server in
    redis | kafka) parts+=("$server") ;;
    *)
        cluster_choose_store "$dir" "$server"
        parts+=(store)
        ;;
    esac
done
shift
if ! cluster_install "$dir" "${parts[@]}"; then
    echo "skipped: one of ${parts[*]} cannot be installed here"
    exit 77
fi
export LATHE_CLUSTER_DIR=$dir LATHE_SERVER=$here/server.sh
for part in "${parts[@]}"; do
    cluster_start "$dir" "$part" || exit 1
    location=$(cluster_location "$dir" "$part")
    for argument; do
        shift
        set -- "$@" "${argument//@${part^^}@/"$location"}" # quoted: it holds an &
    done
    [ "$part" != redis ] ||
        export LATHE_CONTRACT_RESET="redis-cli -p $(cluster_port "$dir" redis) flushall >/dev/null"
done
eval "$(cluster_env "$dir")"
"$@"
