#!/bin/bash
# SPDX-License-Identifier: MIT
# The Kafka queue over TLS with SASL: it passes with the right settings, and says in words why it
# does not with a wrong authority or password.
#
# usage: kafka_tls.sh CONTRACT_QUEUE
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/cluster.d/cluster.sh"
. "$here/certificates.sh"
suite=$1

dir=$(mktemp -d "${TMPDIR:-/tmp}/lathe-kafka-tls-XXXXXX") || exit
trap 'cluster_stop "$dir" KILL; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
if ! cluster_install "$dir" kafka || ! server_packages openssl openssl; then
    echo "skipped: Kafka or OpenSSL cannot be installed here"
    exit 77
fi

write_listener() { # PORT
    local jaas='org.apache.kafka.common.security.plain.PlainLoginModule required'
    cat <<EOF
advertised.listeners=CLIENT://localhost:$1
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config=$jaas username="broker" password="b" user_broker="b" user_lathe="right";
ssl.keystore.type=PEM
ssl.keystore.location=$dir/both.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/ca.pem
EOF
}

write_settings() { # FILE AUTHORITY PASSWORD
    (
        umask 077
        cat >"$1" <<EOF
# for lathe, over TLS
security.protocol=sasl_ssl
ssl.ca.location=$dir/$2.pem
sasl.mechanism=PLAIN
sasl.username=lathe
sasl.password=$3
EOF
    )
}

run_suite() { # FILTER SETTINGS
    CMOCKA_TEST_FILTER=$1 "$suite" kafka "localhost:$port?create=2&prefix=@UNIQUE@-&config=$dir/$2"
}

failed=0
expect_words() { # SETTINGS WORDS
    local output
    output=$(run_suite test_delivered_until_done "$1" 2>&1)
    if grep -qi "$2" <<<"$output" && ! grep -q right <<<"$output"; then
        echo "ok: $1: $(grep -oi "Kafka at.*$2" <<<"$output")"
    else
        echo "not ok: $1 does not say \"$2\":"
        echo "$output"
        failed=1
    fi
}

make_certificates "$dir" || exit 1
openssl pkcs8 -topk8 -nocrypt -in "$dir/server.key" | cat - "$dir/server.pem" >"$dir/both.pem"
mkdir -p "$dir/kafka" && port=$(server_port "$dir/kafka" port) || exit
write_listener "$port" >"$dir/kafka/listener"
kafka_start "$dir/kafka" "$port" || exit 1
write_settings "$dir/good" ca right
write_settings "$dir/wrong-password" ca wrong
write_settings "$dir/wrong-authority" other right
run_suite test_delivered_until_done good || failed=1
expect_words wrong-password authentication
expect_words wrong-authority 'certificate verify failed'
exit $failed
