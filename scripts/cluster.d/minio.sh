# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# MinIO (AGPL-3.0), an S3 server: a program on the PATH, or one that was built into the cache.
# Sourced after server.sh and s3.sh.

minio_install() {
    s3_find_program minio github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
}

minio_start() {
    local port
    minio_install && mkdir -p "$1/data" && port=$(server_port "$1" port "${2:-}") || return
    server_lives "$1" && return
    server_launch "$1" env MINIO_ROOT_USER="$s3_access_key" MINIO_ROOT_PASSWORD="$s3_secret_key" \
        MINIO_BROWSER=off MINIO_UPDATE=off "$s3_program" server "$1/data" \
        --address "127.0.0.1:$port" --quiet
    server_await "$1" 60 s3_serves "$port"
}

minio_stop() { server_stop "$@"; }
