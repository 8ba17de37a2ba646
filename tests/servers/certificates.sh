# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Certificates for a server of a test. Sourced.

# Makes DIR/ca.pem, DIR/server.pem with DIR/server.key for localhost, and DIR/other.pem, an authority
# that has nothing to do with them.
make_certificates() { # DIR
    local ca
    {
        for ca in ca other; do
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$ca" \
                -keyout "$1/$ca.key" -out "$1/$ca.pem" || break
        done &&
            openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$1/server.key" \
                -out "$1/server.csr" &&
            openssl x509 -req -in "$1/server.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -days 2 \
                -CAcreateserial -extfile <(echo subjectAltName=DNS:localhost) \
                -out "$1/server.pem"
    } >"$1/openssl.log" 2>&1 && return
    cat "$1/openssl.log" >&2
    return 1
}
