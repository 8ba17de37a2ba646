#!/bin/bash
# SPDX-License-Identifier: MIT
# What tests do to a server of with.sh while they use it.
#
# usage: server.sh kill|stop|cont|start SERVER    (redis, kafka or store, in LATHE_CLUSTER_DIR)
#
# kill: SIGKILL, and it is gone; stop: SIGSTOP, it hangs; cont: it goes on; start: it serves again,
# with the data that it had.
set -u
. "$(dirname "$0")/../../scripts/cluster.d/cluster.sh"
dir=$LATHE_CLUSTER_DIR
case $1 in
kill) cluster_call "$dir" "$2" stop KILL ;;
stop | cont) kill -s "${1^^}" "$(<"$dir/$2/pid")" ;;
start) cluster_start "$dir" "$2" ;;
*) exit 2 ;;
esac
