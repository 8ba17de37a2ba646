# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# A Redis server of our own on loopback, for tests and for scripts/cluster. Sourced; the caller gives
# each function a directory and, to start, a port. Never touches the system's own Redis.

# redis_install: what is missing, from Debian
redis_install() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null && return 0
    apt-get install -qq -y --no-install-recommends redis-server redis-tools >/dev/null
}

# redis_start DIR PORT: returns when it answers; its process is in DIR/pid
redis_start() {
    mkdir -p "$1"
    redis-server --bind 127.0.0.1 --port "$2" --dir "$1" --appendonly yes --appendfsync everysec \
        --save '' --maxmemory-policy noeviction --daemonize no >"$1/log" 2>&1 </dev/null &
    echo $! >"$1/pid"
    redis_tries=0
    until [ "$(redis-cli -p "$2" ping 2>/dev/null)" = PONG ]; do
        redis_tries=$((redis_tries + 1))
        if [ $redis_tries -gt 200 ] || ! kill -0 "$(cat "$1/pid")" 2>/dev/null; then
            echo "redis: it does not answer; the end of its log:" >&2
            tail -n 5 "$1/log" >&2
            return 1
        fi
        sleep .05
    done
}

# redis_stop DIR [SIGNAL]
redis_stop() {
    [ -f "$1/pid" ] || return 0
    redis_pid=$(cat "$1/pid")
    rm -f "$1/pid"
    kill -s "${2:-TERM}" "$redis_pid" 2>/dev/null || return 0
    redis_tries=0
    while kill -0 "$redis_pid" 2>/dev/null && [ $redis_tries -lt 100 ]; do
        redis_tries=$((redis_tries + 1))
        sleep .05
    done
}
