# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# versitygw (Apache-2.0), an S3 server whose objects are plain files: a program on the PATH, or one
# that was built into the cache. Sourced after server.sh and s3.sh.

versitygw_install() {
    s3_find_program versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
}

versitygw_start() {
    local port
    versitygw_install && mkdir -p "$1/data" && port=$(server_port "$1" port "${2:-}") || return
    server_lives "$1" && return
    server_launch "$1" env ROOT_ACCESS_KEY_ID="$s3_access_key" \
        ROOT_SECRET_ACCESS_KEY="$s3_secret_key" "$s3_program" --port "127.0.0.1:$port" \
        --region us-east-1 posix "$1/data"
    server_await "$1" 30 s3_serves "$port"
}

versitygw_stop() { server_stop "$@"; }
