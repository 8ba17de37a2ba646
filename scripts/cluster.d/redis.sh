# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Redis, from Debian; never the system's own service. Sourced after server.sh, which says what the
# functions promise.

redis_install() { server_packages "redis-server redis-cli" "redis-server redis-tools"; }

redis_answers() { [ "$(redis-cli -p "$1" ping)" = PONG ]; }

# Words of DIR/options are given to the server too.
redis_start() {
    local port options=()
    mkdir -p "$1" && port=$(server_port "$1" port "${2:-}") || return
    server_lives "$1" && return
    [ ! -f "$1/options" ] || read -ra options <"$1/options"
    server_launch "$1" redis-server --bind 127.0.0.1 --port "$port" --dir "$1" \
        --appendonly yes --appendfsync everysec --save '' --maxmemory-policy noeviction \
        --enable-debug-command local --daemonize no "${options[@]}"
    server_await "$1" 20 redis_answers "$port"
}

redis_stop() { server_stop "$@"; }
