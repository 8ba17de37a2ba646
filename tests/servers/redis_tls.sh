#!/bin/bash
# SPDX-License-Identifier: MIT
# The Redis state over TLS: it passes with the right authority, and says in words why it does not with
# another one, or where the certificate is not the host's.
#
# usage: redis_tls.sh CONTRACT_STATE
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/cluster.d/cluster.sh"
. "$here/certificates.sh"
suite=$1

dir=$(mktemp -d "${TMPDIR:-/tmp}/lathe-redis-tls-XXXXXX") || exit
trap 'cluster_stop "$dir" KILL; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
if ! cluster_install "$dir" redis || ! server_packages openssl openssl; then
    echo "skipped: Redis or OpenSSL cannot be installed here"
    exit 77
fi
make_certificates "$dir" && mkdir -p "$dir/redis" && port=$(server_port "$dir/redis" tls_port) ||
    exit 1
echo "--tls-port $port --tls-cert-file $dir/server.pem --tls-key-file $dir/server.key" \
    "--tls-ca-cert-file $dir/ca.pem --tls-auth-clients no" >"$dir/redis/options"
redis_start "$dir/redis" || exit 1
LATHE_CONTRACT_RESET="redis-cli -p $(cluster_port "$dir" redis) flushall >/dev/null"
export LATHE_CONTRACT_RESET

run_suite() { # TEST HOST CA
    CMOCKA_TEST_FILTER=$1 "$suite" redis "rediss://$2:$port?ca=$dir/$3.pem" 2>&1
}

failed=0
expect_words() { # HOST CA WORDS
    local output
    output=$(run_suite test_life_of_a_job "$1" "$2")
    if grep -q "Redis at $1:$port is not to be trusted: .*$3" <<<"$output"; then
        echo "ok: $1 with $2.pem: $3"
    else
        echo "not ok: $1 with $2.pem does not say \"$3\":"
        echo "$output"
        failed=1
    fi
}

run_suite test_life_of_a_job localhost ca || failed=1
run_suite test_shared_handle localhost ca || failed=1
expect_words localhost other "unable to get local issuer\|self-signed"
expect_words 127.0.0.1 ca "mismatch"
exit $failed
