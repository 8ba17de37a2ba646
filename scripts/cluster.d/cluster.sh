# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The servers of a fleet as one: Redis, Kafka and an S3 server below one directory. Sourced by
# scripts/cluster and by the tests, so that both start the same.
#
#   DIR/redis, DIR/kafka, DIR/store    data, log, port and process of each
#   DIR/store/kind                     which S3 server it is
#   DIR/credentials                    the keys of the store
cluster_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for cluster_piece in server redis kafka s3 seaweedfs minio versitygw; do
    # shellcheck source=/dev/null
    . "$cluster_here/$cluster_piece.sh"
done
cluster_partitions=8

# Runs X_VERB for a part, where X of the store is the chosen server.
cluster_call() { # DIR PART VERB ARGUMENT…
    local dir=$1 server=$2 part=$2 verb=$3
    shift 3
    if [ "$part" = store ]; then
        server=$(cat "$dir/store/kind" 2>/dev/null) || server=seaweedfs
    fi
    "${server}_$verb" "$dir/$part" "$@"
}

# One at a time, since they all write to the one cache.
cluster_install() ( # DIR PART…
    dir=$1
    shift
    mkdir -p "$server_cache" || exit
    exec 9>"$server_cache/lock"
    flock 9
    for part; do
        cluster_call "$dir" "$part" install || exit
    done
)

cluster_choose_store() { # DIR KIND
    mkdir -p "$1/store" || return
    if [ -f "$1/store/kind" ] && [ "$(<"$1/store/kind")" != "$2" ]; then
        echo "cluster: $1 holds the data of $(<"$1/store/kind"); take another directory for $2" >&2
        return 1
    fi
    echo "$2" >"$1/store/kind"
}

cluster_start() { # DIR PART [PORT]
    cluster_call "$1" "$2" start "${3:-}" || return
    case $2 in
    kafka) kafka_make_topics "$1/kafka" $cluster_partitions ;;
    store) s3_write_credentials "$1/credentials" ;;
    esac
}

cluster_port() { cat "$1/$2/port"; } # DIR PART

cluster_location() { # DIR PART
    local port
    port=$(cluster_port "$1" "$2") || return
    case $2 in
    redis) echo "redis://127.0.0.1:$port" ;;
    kafka) echo "127.0.0.1:$port" ;;
    store) echo "s3://$s3_bucket?endpoint=http://127.0.0.1:$port&style=path" ;;
    esac
}

cluster_env() { # DIR
    local part port kind
    for part in kafka:QUEUE redis:STATE store:STORE; do
        port=${part#*:} part=${part%:*} kind=${part/store/s3}
        [ -f "$1/$part/port" ] || continue
        echo "export LATHE_${port}_DRIVER=$kind"
        echo "export LATHE_${port}_LOCATION='$(cluster_location "$1" "$part")'"
    done
    [ ! -f "$1/credentials" ] || echo "export LATHE_S3_CREDENTIALS='$1/credentials'"
    echo "export no_proxy=127.0.0.1\${no_proxy:+,\$no_proxy}"
}

cluster_status() { # DIR: fails when one is down
    local part all=0
    if [ ! -f "$1/redis/port" ] && [ ! -f "$1/kafka/port" ] && [ ! -f "$1/store/port" ]; then
        echo "there is no cluster in $1; scripts/cluster up makes one" >&2
        return 1
    fi
    for part in redis kafka store; do
        [ -f "$1/$part/port" ] || continue
        if server_lives "$1/$part"; then
            echo "$part: up, port $(cluster_port "$1" $part), pid $(<"$1/$part/pid")"
        else
            echo "$part: down"
            all=1
        fi
    done
    return $all
}

cluster_stop() { # DIR [SIGNAL]: together, since each may take its seconds
    local part failed=0 pids=()
    for part in redis kafka store; do
        [ -d "$1/$part" ] || continue
        cluster_call "$1" $part stop "${2:-TERM}" &
        pids+=($!)
    done
    for part in "${pids[@]}"; do
        wait "$part" || failed=1
    done
    return $failed
}
